"""Which output of a model is meant: a tensor among nested dictionaries, lists and tuples, and a unit of it."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from landscape import predict, trace
from landscape.tracing.outputs import resolve_output
from lattice import UnsupportedError

Outputs = namedtuple("Outputs", ["logits", "aux"])
NESTED = {"p3": {"cls": "a", "box": ["b", "c"]}, "p4": ("d", None, 3), 5: "e", "named": Outputs("f", "g")}


@pytest.mark.parametrize(
    ("structure", "output", "found"),
    [
        ("y", None, ("y", None)),
        ("y", 3, ("y", 3)),
        ("y", (), ("y", ())),
        ("y", (3,), ("y", (3,))),
        ("y", (0, 1), ("y", (0, 1))),
        (("y", "z"), 0, ("y", None)),
        (("y", "z"), np.int64(1), ("z", None)),
        (["y", "z"], (1, 7), ("z", 7)),
        (("y",), None, ("y", None)),
        ({"out": "y"}, 3, ("y", 3)),
        ({"out": "y"}, "out", ("y", None)),
        ({"out": "y", "aux": "z"}, ("out", 2), ("y", 2)),
        ({"out": "y", "aux": "z"}, ("out", (0, 1)), ("y", (0, 1))),
        ({"out": "y", "aux": "z"}, ("out", 0, 1), ("y", (0, 1))),
        (NESTED, ("p3", "cls"), ("a", None)),
        (NESTED, ("p3", "box", 1, 4, 5), ("c", (4, 5))),
        (NESTED, "p4", ("d", None)),
        (NESTED, ("p4", 0, 6), ("d", 6)),
        (NESTED, 5, ("e", None)),
        (NESTED, ("named", "aux"), ("g", None)),
        (NESTED, ("named", 0), ("f", None)),
    ],
)
def test_keys_and_indices_lead_to_a_tensor_and_the_rest_is_its_unit(structure, output, found):
    assert resolve_output(structure, output) == found


@pytest.mark.parametrize(
    "output", [None, 0, -1, "a", True, ("p3",), ("p3", "box"), ("p3", 0), [1], {"a": 1}, slice(2), np.zeros(2)]
)
def test_what_is_not_there_is_refused_with_all_that_is(output):
    with pytest.raises(UnsupportedError, match=r"returns 7 tensors, \('p3', 'cls'\), \('p3', 'box', 0\), .*, \('named', 1\): "):
        resolve_output(NESTED, output)


class Several(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.one, self.function = nn.Conv1d(1, 2, 3), function

    def forward(self, x):
        return self.function(self.one(x))


def test_predictions_are_those_of_the_output_that_is_named():
    def predicted(function, output):
        torch.manual_seed(0)
        return predict(Several(function), (1, 7), output=output).squared

    plain = predicted(lambda y: y, None)
    nested = lambda y: {"a": [y, 2 * y], "b": (y.relu(), None)}  # noqa: E731
    np.testing.assert_allclose(predicted(nested, ("a", 0)), plain)
    np.testing.assert_allclose(predicted(nested, ("a", 1)), 4 * plain)
    np.testing.assert_allclose(predicted(lambda y: (y, 2 * y), 1), 4 * plain)
    np.testing.assert_allclose(predicted(lambda y: (y, 2 * y), (1, 2)), 4 * predicted(lambda y: y, 2))
    np.testing.assert_allclose(predicted(lambda y: Outputs(y, 2 * y), "aux"), 4 * plain)


def test_an_output_that_is_no_tensor_is_refused():
    with pytest.raises(UnsupportedError, match="not a tensor"):
        trace(Several(lambda y: (y, y, None)), (1, 7), output=2)
    with pytest.raises(UnsupportedError, match="returns no tensor"):
        trace(Several(lambda y: [None]), (1, 7))
