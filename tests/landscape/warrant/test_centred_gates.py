"""Gates of a signal less its average under another average: refused where slopes cancel, answered where they differ."""

import pytest
import torch
from torch import nn

from landscape import predict
from lattice import AssumptionError


class Centred(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.gate = gate
        self.first = nn.Conv1d(3, 8, 3, padding=1, bias=False)
        self.last = nn.Linear(8, 4, bias=False)

    def forward(self, x):
        y = self.first(x)
        y = self.gate(y - y.mean(-1, keepdim=True))
        return self.last(y.mean(-1))


@pytest.mark.parametrize("gate", [torch.tanh, nn.functional.hardsigmoid, nn.functional.hardtanh])
@pytest.mark.parametrize("cells", [2, 3, 4])
def test_slopes_that_cancel_under_an_average_are_refused(gate, cells):
    with pytest.raises(AssumptionError, match=r"less its average over few positions"):
        predict(lambda: Centred(gate), (3, cells))


@pytest.mark.parametrize(("gate", "cells"), [(torch.tanh, 8), (torch.relu, 2), (nn.functional.gelu, 2)])
def test_slopes_that_differ_are_answered(gate, cells):
    assert predict(lambda: Centred(gate), (3, cells)).squared.any()
