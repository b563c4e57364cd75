"""One output of several, and one unit of it, measured: the gradient that autograd takes of just that."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import predict
from lattice import PilcroError, SpecificationError, UnsupportedError, families
from validation import compare, empirical_landscape, importance_map, measure, shuffled_importance
from validation.evaluation.measures.ablation import relevance
from validation.montecarlo.outputs import checked_output, selected
from validation.runtime.logits import logits
from validation.training.penalty import Objective

SHAPE = (1, 6, 6)


class Several(nn.Module):
    def __init__(self, shape=lambda y, z: (y, z)):
        super().__init__()
        self.a, self.b, self.shape = nn.Conv2d(1, 2, 3, bias=False), nn.Linear(36, 3, bias=False), shape

    def forward(self, x):
        return self.shape(self.a(x), self.b(x.flatten(1)))


def factory(shape):
    return lambda: Several(shape)


@pytest.mark.parametrize(
    ("shape", "output", "alone"),
    [
        (lambda y, z: (y, z), 0, lambda y, z: y),
        (lambda y, z: [y, z], 1, lambda y, z: z),
        (lambda y, z: {"out": y, "aux": z}, "aux", lambda y, z: z),
        (lambda y, z: {"out": y, "aux": z}, ("out", 2, 1), lambda y, z: y[:, :, 2, 1]),
        (lambda y, z: {"out": y, "aux": z}, ("out", (2, 1)), lambda y, z: y[:, :, 2, 1]),
        (lambda y, z: {"a": [z, y], "b": z}, ("a", 1), lambda y, z: y),
        (lambda y, z: {"a": [z, y], "b": z}, ("a", 1, 0, 3), lambda y, z: y[:, :, 0, 3]),
        (lambda y, z: y, (2, 1), lambda y, z: y[:, :, 2, 1]),
        (lambda y, z: {"out": y, "aux": None}, "out", lambda y, z: y),
        (lambda y, z: (y,), 0, lambda y, z: y),
    ],
)
@pytest.mark.parametrize("batched", [False, True])
def test_an_output_is_measured_as_if_it_were_all_that_the_model_returns(shape, output, alone, batched):
    found = measure(factory(shape), SHAPE, draws=6, output=output, batched=batched)
    assert np.array_equal(found.mean, measure(factory(alone), SHAPE, draws=6, batched=batched).mean)
    assert found.batched is batched


def test_one_unit_is_what_predict_says_of_it():
    net = families.plain((8, 8), depth=2, channels=4)
    for output in ((0, 1), (3, 2)):
        land, estimate = predict(net, output=output), measure(net, draws=2000, output=output, seed=3)
        assert np.array_equal(land.squared > 0, estimate.mean > 0)  # its receptive field, and nothing beside it
        found = compare(land, estimate)
        assert abs(found.scale_ratio - 1) < 4 * found.scale_ratio_error < 0.1


@pytest.mark.parametrize(
    ("shape", "output", "error", "words"),
    [
        (lambda y, z: (y, z), None, UnsupportedError, "tuple of 0, 1, and output is None: say which"),
        (lambda y, z: (y, z), 2, UnsupportedError, "output=0"),
        (lambda y, z: {"out": y, "aux": z}, None, UnsupportedError, "output='out'"),
        (lambda y, z: {"out": y, "aux": z}, "main", UnsupportedError, "dict of 'out', 'aux'"),
        (lambda y, z: {"a": [y, z], "b": y}, "a", UnsupportedError, "list of 0, 1"),
        (lambda y, z: {}, None, UnsupportedError, "nothing"),
        (lambda y, z: {"a": "text"}, "a", UnsupportedError, "returns str"),
        (lambda y, z: y, (4, 0), SpecificationError, r"no unit .* of \(4, 4\) positions"),
        (lambda y, z: y, (-1, 0), SpecificationError, "no unit"),
        (lambda y, z: y, (1,), SpecificationError, "no unit"),
        (lambda y, z: y, "out", SpecificationError, "no unit"),
        (lambda y, z: y, 1.5, SpecificationError, "output is 1.5"),
        (lambda y, z: y, [1, 2], SpecificationError, "output is"),
        (lambda y, z: y.sum(), None, UnsupportedError, "one tensor of floats"),
        (lambda y, z: y[0], None, UnsupportedError, "for 1 inputs"),
        (lambda y, z: y.argmax(1), None, UnsupportedError, "one tensor of floats"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(shape, output, error, words):
    with pytest.raises(error, match=words):
        measure(factory(shape), SHAPE, draws=2, output=output)


IMAGES = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))
READERS = {
    "importance_map": lambda m: importance_map(m, IMAGES, generator=torch.Generator()),
    "importance_map by double backward": lambda m: importance_map(
        m, IMAGES, generator=torch.Generator(), way="double_backward"
    ),
    "empirical_landscape": lambda m: empirical_landscape(m, [IMAGES], classes="all"),
    "shuffled_importance": lambda m: shuffled_importance(m, IMAGES, generator=torch.Generator()),
    "logits": lambda m: logits(m, IMAGES),
    "relevance": lambda m: relevance(m, IMAGES[0], 0, IMAGES),
    "the loss of training": lambda m: Objective(m)(IMAGES, torch.zeros(4).long(), torch.rand(4), 1.0),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "shape", [lambda y, z: (z, z), lambda y, z: {"out": z}, lambda y, z: {"a": [z, z]}, lambda y, z: z.sum(), lambda y, z: None]
)
def test_whoever_reads_logits_says_so(reader, shape):
    with pytest.raises(PilcroError, match=r"wrap it|must return logits"):
        READERS[reader](Several(shape))


def test_names_may_be_nested_as_deep_as_the_outputs():
    deep = {"a": ({"b": [torch.zeros(1, 2), torch.ones(1, 2)]}, None)}
    assert torch.equal(selected(deep, checked_output(("a", 0, "b", 1))), torch.ones(1, 2))
