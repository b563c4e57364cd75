"""A norm over channels between averages: how far off the map may be, against networks that are drawn."""

import numpy as np
import pytest
from torch import nn
from torch.nn import functional

from landscape import predict
from landscape.warrant.norms_between_averages import error_of_sizes
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, Norm, Pool, residual
from validation import measure


class Between(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv3d(3, 16, 1, bias=False), nn.LayerNorm(16)
        self.head = nn.Conv3d(16, 2, 1, bias=False)

    def forward(self, x):
        y = self.norm(functional.avg_pool3d(self.stem(x), 2, 1).movedim(1, -1)).movedim(-1, 1)
        return self.head(functional.avg_pool3d(y, 2, 1))


def test_the_map_of_a_norm_between_averages_is_within_its_error():
    """3000 draws; three inputs a position, where 0.22 was stated."""
    land = predict(Between, (3, 3, 3, 3), check=False)
    found = measure(Between, (3, 3, 3, 3), draws=3000, seed=0).mean
    found = np.asarray(found) / np.mean(found)
    error = np.sqrt(((found - land.relative) ** 2).mean())
    assert 0.22 < error < land.map_error


AVERAGE, HEAD = Pool("avg", 2, 1), [GlobalPool("avg"), Flatten(), Dense(2)]


@pytest.mark.parametrize(
    ("layers", "error"),
    [
        ([Conv(8, 1), AVERAGE, Norm("layer"), *HEAD], 1 / 2),
        ([Conv(8, 1), Norm("layer"), *HEAD], 1 / 8),
        ([Conv(8, 3), AVERAGE, Conv(8, 2), Norm("rms"), Conv(8, 3), Norm("layer"), *HEAD], 1 / 12),
        ([Conv(8, 9), AVERAGE, Conv(8, 2), Norm("layer"), *HEAD], 1 / 24),
        ([AVERAGE, Conv(8, 1), residual([Conv(8, 3, padding=1)]), Norm("layer"), *HEAD], 1 / 2),
        ([Conv(8, 1), AVERAGE, Norm("layer"), Flatten(), Dense(2)], 0),
        ([Conv(8, 1), AVERAGE, Activation("relu"), Norm("group", 2), *HEAD], 0),
    ],
)
def test_a_norm_states_one_over_the_inputs_that_a_position_sees(layers, error):
    assert error_of_sizes(Lattice.chain((2, 12), layers)) == pytest.approx(error)
