"""What a caller gives is checked once, and the message names the cause."""

from inspect import isfunction, signature

import numpy as np
import pytest

import landscape
import validation
from landscape.input_checks import call_factory, checked_images, users_line
from lattice import SpecificationError, families


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        ((3, 8, 9), r"add the batch axis, inputs\[None\]"),
        ((5, 8, 9, 3), r"channels come first, np.moveaxis\(inputs, -1, 1\)"),
        ((1, 5, 3, 8, 9), "one axis too many"),
        ((0, 3, 8, 9), "none were given"),
        ((5, 4, 8, 9), "one image at least$"),
    ],
)
def test_images_of_a_wrong_shape_are_told_what_is_wrong(found, cause):
    with pytest.raises(SpecificationError, match=cause):
        checked_images(np.zeros(found), (3, 8, 9))


def test_what_is_proposed_for_images_works():
    images = np.arange(5 * 8 * 9 * 3.0).reshape(5, 8, 9, 3)
    assert checked_images(np.moveaxis(images, -1, 1), (3, 8, 9)).shape == (5, 3, 8, 9)


def test_a_factory_that_raises_is_named_with_its_line():
    def broken():
        return [1, 2][5]

    with pytest.raises(
        SpecificationError, match=r"broken raised IndexError: .* \(at .*test_input_checks.py:\d+, in broken: return"
    ):
        call_factory(broken)


def test_an_error_of_torch_is_traced_to_the_callers_line():
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.nn.Conv2d(3, 4, 3)(torch.zeros(1, 2, 5, 5))  # mine
    assert users_line(caught.value).endswith("# mine)")


TAKING = [
    getattr(package, name)
    for package in (landscape, validation)
    for name in package.__all__
    if isfunction(getattr(package, name)) and "initialisation" in signature(getattr(package, name)).parameters
]


@pytest.mark.parametrize("function", TAKING, ids=lambda function: function.__name__)
def test_every_public_function_understands_the_american_spelling(function):
    with pytest.raises(SpecificationError, match="initialisation= and initialization= are one argument"):
        function(families.plain(5, depth=1), initialization=1.0, initialisation=1.0)


def test_the_american_spelling_has_the_same_effect():
    net = families.plain(9, depth=2)
    assert len(TAKING) >= 8
    assert (landscape.path_sum(net, initialization=2.0) == landscape.path_sum(net, initialisation=2.0)).all()
    first, second = (validation.measure(net, draws=20, **{name: "he"}) for name in ("initialization", "initialisation"))
    assert (first.mean == second.mean).all()
    report = landscape.predict(net).report()
    assert report.center_bias == report.centre_bias == landscape.importance.center_bias(landscape.predict(net).squared)
