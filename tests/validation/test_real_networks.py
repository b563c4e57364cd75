"""The README's table: torchvision's networks at their own initialisation, predicted and measured (minutes; `make slow`)."""

import pytest
import torchvision

from landscape import predict
from validation import Verdict, compare, measure

SHAPE = (3, 64, 64)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "draws"), [("resnet18", 1000), ("vgg11", 200)])
def test_the_map_error_lies_below_four_percent(name, draws):
    def factory():
        return getattr(torchvision.models, name)(weights=None)

    agreement = compare(predict(factory, SHAPE), measure(factory, SHAPE, draws=draws, seed=1), tolerance=0.04)
    print(f"{name}: {agreement}")
    assert agreement.verdict is not Verdict.DISAGREE
    assert agreement.error <= 0.04
