"""Products of products: how much rare draws raise their mean, and where that is refused."""

from math import log

import pytest
import torch
from torch import nn

from landscape import predict
from landscape.warrant.growing_products import growth_of_products, nested_products
from lattice import AssumptionError
from validation import measure


class Gate(nn.Module):
    """Half of the channels times the other half, on a skip or not."""

    def __init__(self, channels: int, scale: float = 0.0) -> None:
        super().__init__()
        self.above, self.below = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, 2 * channels, 1)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = self.below(x).chunk(2, 1)
        found = self.above(one * other)
        return x + self.scale * found if self.scale else found


def network(gates: int, channels: int = 8, norm: bool = False, scale: float = 0.0):
    def model() -> nn.Module:
        blocks = [part for _ in range(gates) for part in ([nn.GroupNorm(1, channels)] * norm, [Gate(channels, scale)])]
        layers = [nn.Conv2d(3, channels, 3, padding=1), *(layer for block in blocks for layer in block)]
        found = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * channels, 2))
        for layer in found.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        return found

    return model


def test_products_of_products_are_covered_or_refused():
    land = predict(network(2), (3, 4, 4))
    assert nested_products(land.lattice) == ["2.mul"]
    found = measure(network(2), (3, 4, 4), draws=600, seed=0).mean.mean() / land.squared.mean()
    assert 1.3 < found < land.scale_range[1]
    assert 1.3 < growth_of_products(land.traced) < 8
    with pytest.raises(AssumptionError, match=r"2.mul, 3.mul, 4.mul: a product of products grows"):
        predict(network(4, scale=1.0), (3, 4, 4))


@pytest.mark.parametrize("options", [{"norm": True}, {"scale": 0.01}])
def test_norms_and_small_branches_hold_the_size(options):
    assert log(growth_of_products(predict(network(4, **options), (3, 4, 4)).traced)) < 0.05


def test_one_product_grows_by_nothing():
    assert growth_of_products(predict(network(1, channels=2), (3, 4, 4)).traced) == 1
