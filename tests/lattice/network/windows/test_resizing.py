"""Resizes of one axis read the cells that torch's read, with its weights."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lattice.network.windows.resizing import ResizeWindow


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize(("mode", "align"), [("nearest", None), ("linear", False), ("linear", True)])
def test_an_axis_resized_to_any_size_reads_what_torch_reads(mode, align, size):
    for n in range(1, 9):
        window, one_hot = ResizeWindow(size, mode, bool(align)), torch.eye(n, dtype=torch.float64)[:, None]
        reads = F.interpolate(one_hot, size=size, mode=mode, align_corners=align)[:, 0].T.numpy()
        np.testing.assert_allclose(window.matrix(n), reads, atol=1e-12)
        cells = [{cell for k in range(window.taps(n)) if (cell := window.cell(j, k, n)) is not None} for j in range(size)]
        assert cells == [set(np.flatnonzero(row > 1e-12)) for row in reads]


def test_nearest_resizing_reads_the_cells_that_torch_reads_in_float32():
    """All pairs of sizes to 96; j n / size rounded down would read another cell in 74 of them."""
    other = 0
    for n in range(1, 97):
        cells = torch.arange(n, dtype=torch.float32)[None, None]
        for size in range(1, 97):
            truth = F.interpolate(cells, size=size)[0, 0].numpy().astype(int)
            window = ResizeWindow(size)
            np.testing.assert_array_equal([window.cell(j, 0, n) for j in range(size)], truth)
            other += bool((truth != np.arange(size) * n // size).any())
    assert other == 74


@pytest.mark.parametrize("align", [False, True])
def test_linear_resizing_has_the_taps_of_torch_in_single_precision(align):
    """Its coefficients are those of torch but for rounding; taps below that are none."""
    for n, size in itertools.product(range(1, 25), repeat=2):
        read = F.interpolate(torch.eye(n)[:, None], size=size, mode="linear", align_corners=align)[:, 0].T.numpy()
        window = ResizeWindow(size, "linear", align)
        np.testing.assert_allclose(window.matrix(n), read, atol=1e-5)
        np.testing.assert_array_equal(window.matrix(n) > 1e-4, read > 1e-4)
