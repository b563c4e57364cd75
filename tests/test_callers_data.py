"""A model may work in place on its input: the caller's data stays as it is, and the answer is that of the model's twin.

Every public function that hands data to a model, times every way in which a model may write into what it was given, times
arrays and tensors: the data before and after are equal to the bit, and so is the answer, to that of a model that computes the
same without writing.
"""

import contextlib
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import landscape
import validation
from landscape.tracing import gate_counts
from lattice import Conv, Flatten, Lattice, PilcroError
from validation.evaluation.measures.ablation import ablation, ablation_curve, relevance
from validation.evaluation.measures.location import location_sensitivity
from validation.evaluation.measures.robustness import robustness
from validation.evaluation.measures.shifts import shift_consistency
from validation.gradients.input_gradient import WAYS, input_gradient
from validation.runtime.logits import logits, probabilities
from validation.training.penalty import Objective
from validation.training.scores import score

SHAPE = (3, 8, 8)


@pytest.fixture(autouse=True)
def few_passes(monkeypatch):
    """Rates are compared with rates over the same draws, so that few of them will do."""
    monkeypatch.setattr(gate_counts, "MOST_CALLS", 400)


def written(x, first):
    x[:, 0] = first
    return x


def tripled(x):
    x[:, 1].mul_(3)
    return x


def standardised(x):
    x -= 0.5
    x /= 0.25
    return x


# what writes into its input, and the same without writing
IN_PLACE = {
    "x -= .5, x /= .25": (standardised, lambda x: (x - 0.5) / 0.25),
    "sub_ and div_": (lambda x: x.sub_(0.5).div_(0.25), lambda x: (x - 0.5) / 0.25),
    "clamp_": (lambda x: x.clamp_(0.2, 0.7), lambda x: x.clamp(0.2, 0.7)),
    "ReLU in place": (lambda x: F.relu(x.sub_(0.3), inplace=True), lambda x: F.relu(x - 0.3)),
    "one channel": (lambda x: written(x, 0.5), lambda x: torch.cat([torch.full_like(x[:, :1], 0.5), x[:, 1:]], dim=1)),
    "a view": (tripled, lambda x: torch.cat([x[:, :1], 3 * x[:, 1:2], x[:, 2:]], dim=1)),
}


class Net(nn.Module):
    def __init__(self, first, seed=None):
        super().__init__()
        if seed is not None:
            torch.manual_seed(seed)
        self.first, self.conv, self.head = first, nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, 3)

    def forward(self, x):
        return self.head(F.silu(self.conv(self.first(x))).flatten(1))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Kept:
    """A source of images that gives out its own memory: nothing between it and the model makes a copy."""

    prefetch = False

    def __init__(self, data, labels=None):
        self.data = data
        self.labels = torch.arange(len(data)) % 2 if labels is None else labels

    def __len__(self):
        return len(self.data)

    def images(self, indices, numbers=None):
        return (255 * self.data[indices.clamp(max=len(self) - 1)]).clamp(0, 255).to(torch.uint8)

    def normalised(self, images):
        return self.data[: len(images)]

    def batch(self, indices, numbers=None):
        return self.data[int(indices.min()) : int(indices.max()) + 1] if indices.diff().eq(1).all() else self.data[indices]


def numbers(result):
    """The numbers in a result, whatever it is."""
    if isinstance(result, torch.Tensor):
        return [result.detach().numpy()]
    if isinstance(result, np.ndarray | float | int):
        return [np.asarray(result)]
    if isinstance(result, tuple | list):
        return [array for part in result for array in numbers(part)]
    fields = getattr(result, "__dataclass_fields__", {})
    return [array for name in fields for array in numbers(getattr(result, name))]


def gradients_of(model, penalty):
    return (penalty, *torch.autograd.grad(penalty, list(model.parameters()), materialize_grads=True))


def predicted(model, x):
    return landscape.predict(model, SHAPE, inputs=x, initialisation="he").squared


# functions of a factory of networks and images, arrays or tensors
MEASURED = {
    kind: lambda f, x, options=options: validation.measure(f, SHAPE, draws=4, inputs=x, device="cpu", **options).mean
    for kind, options in {
        "one by one": {"batched": False},
        "together": {"batched": True},
        "training": {"mode": "train", "inputs_per_draw": 2, "batched": False},
    }.items()
}
# functions of one network and images, which are tensors
OF_MODELS = {
    "logits": logits,
    "probabilities": probabilities,
    "empirical_landscape": lambda m, x: validation.empirical_landscape(m, [x, x], generator=seeded()),
    "empirical_landscape over all classes": lambda m, x: validation.empirical_landscape(m, [(x, 0)], classes="all"),
    "shuffled_importance": lambda m, x: validation.shuffled_importance(m, x, generator=seeded()),
    "shuffled_importance of positions": lambda m, x: validation.shuffled_importance(m, x, generator=seeded(), unit="position"),
    **{
        f"importance_map, {way}": lambda m, x, way=way: gradients_of(
            m, validation.importance_map(m, x, generator=seeded(), way=way).pow(3).sum()
        )
        for way in WAYS
        if way != "linearised"
    },
    "effective_receptive_field": lambda m, x: validation.effective_receptive_field(m, x, layer="conv"),
    "input_gradient": lambda m, x: input_gradient(m, x, torch.linspace(0, 1, len(x))),
    "Penalty": lambda m, x: gradients_of(m, validation.Penalty("curvature").of_model(m, x, torch.linspace(0, 1, len(x)))),
    "a training step": lambda m, x: Objective(m, validation.Penalty("norm"))(
        x, torch.arange(len(x)) % 3, torch.linspace(0, 1, len(x)), 1.0
    ),
    "relevance": lambda m, x: relevance(m, x[0], 1, x[1:], steps=4),
    "ablation_curve": lambda m, x: ablation_curve(m, x[0], 1, torch.arange(64), [0, 5, 64]),
    "ablation": lambda m, x: ablation(m, Kept(x, logits(m, x).argmax(dim=1)), images=2, baselines=1, steps=2, points=3),
    "location_sensitivity": lambda m, x: location_sensitivity(m, Kept(x), (-2, 0, 2)),
    "shift_consistency": lambda m, x: shift_consistency(m, Kept(x), most=2),
    "robustness": lambda m, x: robustness(m, Kept(x), categories=("digital",), severities=(1,)).kept,
    "score": lambda m, x: score(m, Kept(x)),
}


def images():
    return np.random.default_rng(0).random((6, *SHAPE), dtype=np.float32)


def read_only(x):
    x.setflags(write=False)
    return x


KINDS = {
    "array": images,
    "tensor": lambda: torch.from_numpy(images()),
    "leaf": lambda: torch.from_numpy(images()).requires_grad_(),
    "read-only array": lambda: read_only(images()),
}


def asked(function, model, data):
    """The numbers of an answer, and what it does to the data; without any warning of torch about shared memory."""
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.filterwarnings("error", message=".*not writable.*")
        torch.manual_seed(1)
        found = numbers(function(model, data))
    assert np.array_equal(np.asarray(data.detach() if isinstance(data, torch.Tensor) else data), images())
    assert found
    return found


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6 * np.abs(other).max(initial=0))  # float32: in other steps


@pytest.mark.parametrize(("how", "kind"), [*((how, "leaf") for how in IN_PLACE), *(("clamp_", kind) for kind in KINDS)])
@pytest.mark.parametrize("name", MEASURED)
def test_measured_models_get_copies(name, how, kind):
    writing, twin = IN_PLACE[how]
    found = asked(MEASURED[name], lambda: Net(writing), KINDS[kind]())
    assert_equal(found, asked(MEASURED[name], lambda: Net(twin), KINDS["array"]()))


@pytest.mark.parametrize("kind", KINDS)
def test_predicted_models_get_copies(kind):
    writing, twin = IN_PLACE["x -= .5, x /= .25"]
    found = asked(predicted, Net(writing, seed=0), KINDS[kind]())
    assert_equal(found, asked(predicted, Net(twin, seed=0), KINDS["array"]()))


@pytest.mark.parametrize("how", ["clamp_", "ReLU in place", "a view"])
def test_a_prediction_leaves_the_images_alone_or_is_refused(how):
    """Whether the trace has a rule for these writes is another question."""
    data = images()
    with contextlib.suppress(PilcroError):
        predicted(Net(IN_PLACE[how][0], seed=0), data)
    assert np.array_equal(data, images())


@pytest.mark.parametrize(("how", "kind"), [*((how, "tensor") for how in IN_PLACE), ("sub_ and div_", "leaf")])
@pytest.mark.parametrize("name", OF_MODELS)
def test_models_get_copies(name, how, kind):
    writing, twin = IN_PLACE[how]
    found = asked(OF_MODELS[name], Net(writing, seed=0), KINDS[kind]())
    assert_equal(found, asked(OF_MODELS[name], Net(twin, seed=0), KINDS[kind]()))


@pytest.mark.parametrize("kind", KINDS)
def test_enumeration_leaves_its_inputs_alone(kind):
    tiny = Lattice.chain(SHAPE, [Conv(1, kernel=1, stride=2), Flatten()])
    asked(lambda _, x: validation.enumerated_squared_gradients(tiny, x), None, KINDS[kind]())


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[..., ::-1],
        lambda x: x.astype(">f4"),
        lambda x: x.astype(np.longdouble),
        lambda x: x.astype("f2"),
        np.asfortranarray,
    ],
)
def test_arrays_of_any_layout_and_precision_are_the_images_that_they_hold(change):
    """Reversed (negative strides), byte-swapped, extended and half precision: torch takes none of the first three."""
    given = change(images().astype("f2").astype("f4"))
    plain = np.array(given, dtype="f4", order="C")
    factory = lambda: Net(lambda x: x)  # noqa: E731
    for one, other in (
        (predicted(Net(lambda x: x, seed=0), read_only(given)), predicted(Net(lambda x: x, seed=0), plain)),
        (MEASURED["one by one"](factory, given), MEASURED["one by one"](factory, plain)),
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_target_is_computed_beside_the_images():
    data = torch.from_numpy(images()).double()
    before = data.clone()
    validation.smoothness_target(data)
    assert torch.equal(data, before)
