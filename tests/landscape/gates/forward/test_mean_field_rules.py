"""What single ops make of the moments of a signal."""

import numpy as np
import pytest

from landscape.gates.forward.mean_field_rules import batch_variance
from landscape.gates.forward.signal import Level, Signal
from lattice import UnsupportedError


def test_a_variance_that_is_less_than_its_error_is_refused():
    one = np.ones((1, 4))
    signal = Signal(one, 0.5 * one, np.zeros((1, 4)))
    assert batch_variance(signal, Level(0.9 * one, np.full((1, 1), 0.9), np.full((1, 1), 4.0))) == pytest.approx(0.1)
    with pytest.raises(UnsupportedError, match="the variance of a batch is less than the error of the moments"):
        batch_variance(signal, Level(1.1 * one, np.full((1, 1), 1.1), np.full((1, 1), 4.0)))
