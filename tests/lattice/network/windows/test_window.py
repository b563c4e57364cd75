"""Windows of one axis read the cells that torch's and numpy's read."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from lattice import (
    SpecificationError,
)
from lattice.network.windows.window import Window
from tests.lattice.in_torch import padded

NUMPY = {"circular": "wrap", "reflect": "reflect", "replicate": "edge", "symmetric": "symmetric"}


def test_a_window_has_the_outputs_of_torch_in_ceil_mode_and_without():
    for n, kernel, stride, dilation, ceil in itertools.product(range(1, 8), range(1, 5), range(1, 6), (1, 2), (False, True)):
        for padding in range(kernel // 2 + 1):
            window = Window(kernel, stride, dilation, (padding, padding), ceil=ceil)
            try:
                expected = F.max_pool1d(torch.zeros(1, 1, n), kernel, stride, padding, dilation, ceil).shape[-1]
            except RuntimeError:
                with pytest.raises(SpecificationError, match="spans"):
                    window.outputs(n)
            else:
                assert window.outputs(n) == expected


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_numpy_and_torch_pad_alike(axes, mode):
    """The oracle for paddings is numpy's; torch's own agree with it where torch has them."""
    x = torch.arange(4.0**axes, dtype=torch.float64).reshape(1, 1, *(4,) * axes)
    pads = [(2, 1), (0, 3), (1, 2)][:axes]
    flat = [side for pair in reversed(pads) for side in pair]
    assert torch.equal(padded(x, pads, mode), F.pad(x, flat, mode=mode))
