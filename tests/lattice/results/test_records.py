"""Values that are written come back as they were; what is not on the list is neither written nor made."""

import numpy as np
import pytest

from lattice import Activation, Conv, Lattice, SpecificationError
from lattice.network.lattice import Node
from lattice.network.ops import Input
from lattice.results.records import decode, encode

TYPES = {one.__name__: one for one in (Lattice, Node, Input, Conv, Activation)}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.1,
        "text",
        (1, (2,)),
        [1, "a"],
        {("a", 1): 2.0},
        frozenset({"b", "a"}),
        {},
        (),
        Conv(2, (3, 1), mode="zeros"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_values_come_back_with_their_types(value):
    found = decode(encode(value, TYPES, {}), TYPES, {})
    assert found == value
    assert type(found) is type(value)


def test_a_lattice_comes_back_equal():
    net = Lattice.chain((2, 5), [Conv(3, 3, padding=((1, 0),)), Activation("leaky_relu", 0.1)])
    arrays = {}
    assert decode(encode(net, TYPES, arrays), TYPES, arrays) == net


def test_arrays_of_names_with_dots_do_not_meet():
    value = {"a.b": np.ones(1), "a": {"b": np.zeros(2)}}
    arrays = {}
    found = decode(encode(value, TYPES, arrays), TYPES, arrays)
    assert found["a.b"].tolist() == [1.0]
    assert found["a"]["b"].tolist() == [0.0, 0.0]


class Unknown:
    pass


def test_what_is_not_on_the_list_is_refused():
    with pytest.raises(SpecificationError, match=r"own\.x.* has no form"):
        encode({"x": Unknown()}, TYPES, {}, "own")
    with pytest.raises(KeyError):
        decode({"of": ["Unknown", {}]}, TYPES, {})


def test_a_record_with_other_fields_is_refused():
    with pytest.raises(ValueError, match="Node has name, op, inputs"):
        decode({"of": ["Node", {"name": "a"}]}, TYPES, {})
