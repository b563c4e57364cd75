"""How far influence reaches: known shares, exact receptive fields, and the worst phase of a stride."""

import numpy as np
import pytest
import torch
from torch import nn

from lattice import SpecificationError
from validation import effective_receptive_field, halo


def conv(kernel, **options):
    weight = torch.tensor(kernel, dtype=torch.float32)
    layer = nn.Conv1d(1, 1, len(kernel), padding=len(kernel) // 2, bias=False, **options)
    layer.weight.data = weight[None, None]
    return layer


def test_the_shares_of_a_known_kernel_and_the_overlap_for_each_share():
    field = effective_receptive_field(conv([1, 3, 5, 3, 1]), torch.randn(3, 1, 21))
    found = halo(field, keep=0.9)
    assert np.allclose(found.beyond[:4], [20 / 45, 2 / 45, 0, 0], rtol=1e-15)
    assert [halo(field, keep=keep).overlap for keep in (0.5, 0.55, 0.56, 0.9, 0.96, 1.0)] == [0, 0, 1, 1, 2, 2]
    assert not found.is_cut
    assert found.exact is None


def test_small_shares_keep_their_digits():
    field = effective_receptive_field(conv([1e-12, 0, 1, 0, 1e-12]), torch.randn(2, 1, 9))
    assert np.isclose(halo(field, keep=0.5).beyond[1], 2e-24, rtol=1e-5)


def test_of_a_strided_layer_the_cell_of_a_unit_is_its_stride():
    field = effective_receptive_field(conv([1, 1, 1, 1, 1], stride=4), torch.randn(2, 1, 32), unit=3)
    assert field.cell == ((12, 16),)
    # pixels 10..14: 10 and 11 lie below the cell by 2 and 1
    assert np.allclose(halo(field, keep=0.7).beyond[:3], [0.4, 0.2, 0])


class Phases(nn.Module):
    """Nearest-neighbour upsampling of a strided convolution: unit 2 j sees [2j, 2j + 1], unit 2 j + 1 the same."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv1d(1, 8, 2, stride=2, bias=False)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.side = nn.Conv1d(8, 8, 3, padding=1, bias=False)

    def forward(self, x):
        return self.side(self.up(self.down(x)))


def test_the_worst_phase_is_found_and_the_receptive_field_is_exact():
    found = halo(Phases, (1, 24), keep=1.0, draws=20)
    # unit 2 j reads cells 2j-1, 2j, 2j+1 of the upsampled map: pixels 2j-2 .. 2j+1; unit 2 j + 1 pixels 2j .. 2j+3
    assert found.exact == ((2, 2),)
    assert found.phases == 2
    assert found.overlap == found.predicted_overlap == 2
    assert found.source == "at initialisation"
    one = halo(Phases, (1, 24), keep=1.0, draws=20, unit=12)
    assert one.exact == ((2, 1),)
    assert one.phases == 1


def test_a_small_unet_reaches_far_and_looks_near(nets):
    torch.manual_seed(0)
    found = halo(nets["unet"], (1, 40, 40), draws=60)
    assert found.phases == 16
    low, high = found.exact[0]
    assert low + high + 1 >= 19
    assert found.beyond[4] < 0.05
    shared = min(len(found.beyond), len(found.predicted))
    z = (found.beyond - found.predicted)[:6] / found.beyond_error[:6]
    assert shared > 6
    assert np.abs(z[1:4]).max() < 6  # correlated: one draw carries the whole curve


def test_a_trained_network_has_an_exact_receptive_field_too(nets):
    model = nets["unet"]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5)  # a mean that is not zero: refused as an initialisation
    found = halo(model, torch.randn(4, 1, 32, 32))
    assert found.exact is not None
    assert "weights" in found.source
    assert halo(model, torch.randn(4, 1, 32, 32), fresh=nets["unet"]).source == "at initialisation"


def test_what_cannot_be_traced_is_measured_along_the_diagonal(nets):
    found = halo(nets["patches"](), torch.randn(2, 3, 16, 16), layer="embed")
    assert found.exact == ((0, 0), (0, 0))
    blind = halo(nets["state_space"](), torch.randn(3, 12, 2), channels_last=True, period=3, keep=0.9)
    assert blind.exact is None or blind.predicted is not None
    assert blind.overlap >= 1


@pytest.mark.parametrize("keep", [0, 1.5, "most", float("nan")])
def test_a_share_that_is_none_is_refused(keep):
    with pytest.raises(SpecificationError, match="keep is"):
        halo(conv([1.0, 1.0, 1.0]), torch.randn(2, 1, 9), keep=keep)


def test_a_unit_that_stands_nowhere_has_no_halo(nets):
    with pytest.raises(SpecificationError, match="stands for no pixels"):
        halo(nets["patches"](), torch.randn(2, 3, 16, 16), unit=0)
    with pytest.raises(SpecificationError, match="stands for no pixels"):
        halo(effective_receptive_field(conv([1.0, 1.0, 1.0]), torch.randn(2, 1, 9), unit="mean"))
    with pytest.raises(SpecificationError, match="needs images"):
        halo(conv([1.0, 1.0, 1.0]))
