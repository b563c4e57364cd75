"""Attention: the positions that it reads, against gradients of the module that it stands for."""

import pytest
import torch

from lattice import Attention, SpecificationError
from lattice.network.shapes import output_shape
from tests.lattice.sweep.test_attended import attended
from validation.montecarlo.build import build


def test_attention_reads_the_positions_that_it_says():
    net = attended((((0, 1), (0, 1), (2, 3), (2, 3)),))
    module = build(net, generator=torch.Generator().manual_seed(0)).double()
    x = torch.randn(1, 2, 4, dtype=torch.double, requires_grad=True)
    module(x)[..., 0].sum().backward()
    assert (x.grad[..., :2] != 0).all()
    assert (x.grad[..., 2:] == 0).all()


def test_the_output_has_channels_of_values_at_positions_of_queries():
    assert output_shape(Attention(2), (4, 3, 5), (4, 2, 2), (6, 2, 2)) == (6, 3, 5)
    with pytest.raises(SpecificationError, match="its axes are 1"):
        output_shape(Attention(), (4, 3, 5), (4, 6), (6, 6))
    assert output_shape(Attention(2), (6, 5), (10, 3)) == (6, 3)  # values, and logits of two heads times five positions
    for inputs in (((6, 5),), ((6, 5), (9, 3)), ((4, 3), (4, 5), (6, 5), (10, 2)), ((6, 5), (4, 3))):
        with pytest.raises(SpecificationError):
            output_shape(Attention(2), *inputs)
    assert str(Attention(2, (((0,), (0, 1)), None))) == "Attention(heads=2, reads 2 x all)"
