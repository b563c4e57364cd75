"""Model and lattice are compared relative to their size: rounding and ties pass, and what leaves the range is said."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from landscape import Guarantee, predict, trace
from landscape.tracing.proof import proving
from landscape.tracing.proof.proving import CLOSE, _apart
from lattice import AssumptionError, PilcroError, UnsupportedError
from lattice.geometry.receptive_field import cells_seen
from tests.landscape.tracing.proof.models import Layers, Reversed, passes, refused, traced

SHAPE = (2, 8)


@pytest.mark.parametrize("train", [False, True])
def test_functions_that_are_zero_but_for_rounding_pass(train):
    """A mean over what was normalised is zero: all that both sides give is the noise of their sums."""
    passes(lambda m, x: functional.instance_norm(m.one(x)).mean(2), train=train)
    passes(lambda m, x: functional.layer_norm(m.one(x), (4, 8)).mean(2), train=train)
    passes(lambda m, x: functional.group_norm(m.two(functional.instance_norm(m.one(x)).mean(2, True)), 1), train=train)
    passes(lambda m, x: m.norm(m.one(x)).mean(2), train=train)


def test_ties_pass():
    """At zero signals every gate is at its threshold and every window tied: the same functions take the same side."""
    model = Layers(lambda m, x: functional.max_pool1d(m.two(m.act(m.norm(m.one(x))).clamp(0, 6)).clamp(min=0), 2))
    for part in (model.norm, model.two):
        nn.init.zeros_(part.weight)
        nn.init.zeros_(part.bias)
    assert trace(model, SHAPE, initialisation="he").unproven == ""


def test_numbers_out_of_range_are_said_and_not_refused():
    def huge(m, x):
        y = m.one(x)
        for _ in range(9):
            y = y * 1e40
        return y

    small = Layers(huge)
    nn.init.zeros_(small.one.bias)
    assert trace(small, SHAPE, initialisation="he").unproven == ""  # at a smaller input
    model = Layers(lambda m, x: huge(m, x) * 1e150 * 1e150)
    assert trace(model, SHAPE, initialisation="he").unproven == "its values or gradients are not finite at a random input"
    with torch.device("meta"):
        assert "meta" in trace(Layers(lambda m, x: m.one(x)), SHAPE, initialisation="he").unproven


def test_a_pass_that_does_not_fit_into_memory_is_not_tried(monkeypatch):
    monkeypatch.setattr("landscape.tracing.proof.proving._memory", lambda lattice, reader: (2e12, 1e9))
    assert "about 2000.0 GB of memory, and 1.0 GB are free" in traced(lambda m, x: m.one(x)).unproven


def test_two_values_apart_are_measured_relative_to_the_larger():
    one = torch.tensor([1.0, 2.0], dtype=torch.double)
    assert _apart(one, one) == 0
    assert _apart(one * 1e-300, 2 * one * 1e-300) == pytest.approx(0.5)
    assert _apart(one, 0 * one) == 1
    assert _apart(0 * one, 0 * one) == 0
    assert _apart(one * (1 + 1e-8), one) > CLOSE


def hidden(small, change=lambda y: y):
    """A branch that is so small that a single-precision sum does not show it, with a change inside."""

    def function(m, x):
        y = m.one(x)
        return y + small * change(m.two(m.act(m.norm(y))))

    return function


def proof_of(function, monkeypatch):
    """What `prove` is told of a network, and the network."""
    told = []
    monkeypatch.setattr(proving, "prove", lambda *network: told.append(network) or "")
    traced(function)
    monkeypatch.undo()
    model, *network = told[0]
    return model.eval(), *network


def test_most_networks_are_compared_in_single_precision_alone(monkeypatch):
    monkeypatch.setattr(proving.Comparison, "compare", lambda self: pytest.fail("double precision"))
    passes(lambda m, x: m.two(m.act(m.norm(m.one(x)))) + x.mean(1, True))
    passes(hidden(1e-9))
    torch.manual_seed(0)
    assert trace(torchvision.models.resnet18(), (3, 32, 32)).unproven == ""


CHANGES = {
    "the same": (lambda y: y, True),
    "cut": (torch.detach, False),
    "reversed": (Reversed.apply, False),
    "an epsilon": (lambda y: y, False),
    "a factor": (lambda y: 1.0001 * y, False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_sum_hides_is_compared_in_its_branch(change, monkeypatch):
    """Single precision has 1e-7: of a branch of 1e-9 of the sum the output shows nothing."""
    function, same = CHANGES[change]
    model, *network = proof_of(hidden(1e-9), monkeypatch)
    torch.manual_seed(0)
    other = Layers(hidden(1e-9, function)).eval()
    other.norm.eps *= 1.1 if change == "an epsilon" else 1
    x = torch.randn(1, *SHAPE)
    assert torch.equal(model(x), other(x))
    assert proving._same_bits(model, *network)
    assert proving._same_bits(other, *network) == same


def test_branches_that_one_side_lacks_are_seen_where_a_sum_hides_them(monkeypatch):
    whole, part = proof_of(hidden(1e-9), monkeypatch), proof_of(lambda m, x: m.one(x), monkeypatch)
    for model, network in ((whole[0], part[1:]), (part[0], whole[1:])):
        assert not proving._same_bits(model, *network)


def test_single_precision_says_nothing_of_masks_and_zeros(monkeypatch):
    said = []
    plain = proving._same_bits
    monkeypatch.setattr(proving, "_same_bits", lambda *network: said.append(plain(*network)) or said[-1])
    passes(lambda m, x: m.two(m.drop(m.one(x))), train=True)
    traced(lambda m, x: m.two(m.act(m.one(x) - 1e6)))
    passes(lambda m, x: m.two(m.one(x) * 1e30) * 1e30)
    assert said == [False] * 3


NETWORKS = {
    "resnet18": {}, "mobilenet_v3_small": {}, "googlenet": {"aux_logits": False, "init_weights": False}, "densenet121": {},
    "efficientnet_b0": {}, "convnext_tiny": {}, "shufflenet_v2_x1_0": {},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_torchvision_prove_themselves(name, train):
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None, **NETWORKS[name])
    assert trace(model, (3, 64, 64), initialisation="he", train=train).unproven == ""


def test_a_batch_norm_whose_gradient_comes_from_tokens_is_proven():
    """Torch 2.14 confuses channels and positions there, for a batch of one; of two samples it does not."""

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.stem(x).flatten(2).transpose(1, 2)).flatten(1)

    torch.manual_seed(0)
    traced = trace(Tokens().eval(), (3, 5, 6), initialisation="weights")
    assert not traced.unproven


def test_a_gradient_that_is_cut_is_no_fault_of_a_batch_of_one():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Conv1d(2, 3, 1), nn.Conv1d(3, 2, 1)

        def forward(self, x):
            with torch.no_grad():
                kept = self.one(x)
            return self.other(kept) + self.other(self.one(x)) * 0

    torch.manual_seed(0)
    with pytest.raises(PilcroError):
        trace(Cut().eval(), (2, 5), initialisation="weights")


@pytest.mark.parametrize("kept", [0.1, 0.9])
def test_what_a_mask_drops_as_a_whole_is_looked_at_again(kept):
    """A backward function of its own below a branch that is dropped at the first random points, or at the last."""

    def dropped(m, x):
        mask = torch.empty(1, 1, 1).bernoulli_(kept)
        return m.two(Reversed.apply(m.one(x))) * mask

    refused(dropped, "the gradient at", train=True)


def test_a_gradient_that_is_zero_at_one_point_is_looked_at_again():
    """A gate that is rarely open hides what stands below it."""
    refused(lambda m, x: (Reversed.apply(m.one(x)).mean((1, 2), keepdim=True) - 0.12).relu(), "the gradient at")


@pytest.mark.parametrize("below", [Reversed.apply, lambda y: y])
def test_a_gradient_that_is_zero_at_every_point_proves_nothing(below):
    """A gate that no signal of this size opens, with a backward function of its own below it, or not."""

    def model():
        torch.manual_seed(0)
        return Layers(lambda m, x: (below(m.one(x)).mean((1, 2), keepdim=True) - 0.6).relu())

    why = "its input gradient is zero at each of 16 random inputs, so that it shows nothing"
    assert trace(model, SHAPE, initialisation="he").unproven == why
    land = predict(model, SHAPE, initialisation="he")
    assert land.guarantee is Guarantee.APPROXIMATE
    assert land.reasons[0].endswith(why)


def test_a_mask_that_drops_everything_at_every_point_is_named():
    def dropped(m, x):
        y = m.one(x)
        return y + m.two(Reversed.apply(y)) * torch.empty(1, 1, 1).bernoulli_(1e-6)

    assert "a mask drops everything at each of 16 random inputs (" in traced(dropped, train=True).unproven


def test_a_gradient_that_no_path_comes_to_is_zero_as_it_must_be():
    """What is read of a padded signal is its padding."""
    found = traced(lambda m, x: m.two(m.one(functional.pad(x, (0, 9)))[..., 10:]))
    assert not cells_seen(found.lattice).any()
    assert found.unproven == ""


class Centred(nn.Module):
    """The average of a signal less its average; with a hook that cuts the gradient of the one, another thing."""

    def __init__(self, cut):
        super().__init__()
        self.stem, self.head, self.same = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 4, 1), nn.Identity()
        if cut:
            self.same.register_full_backward_hook(lambda module, inputs, outputs: (0 * inputs[0],))

    def forward(self, x):
        y = self.stem(x)
        return self.head((y - self.same(y.mean((2, 3), keepdim=True))).mean((2, 3), keepdim=True))


def test_branches_that_cancel_but_for_rounding_are_said_to_cancel():
    with pytest.raises(
        AssumptionError, match="stem: the branches that read it cancel, so that the squared gradient is exactly 0"
    ):
        predict(lambda: Centred(False), (2, 6, 6))
    with pytest.raises(UnsupportedError, match="the lattice that was read is not the model"):
        predict(lambda: Centred(True), (2, 6, 6))


class Reversing(torch.autograd.Function):
    """The identity, whose gradient has another sign."""

    @staticmethod
    def forward(ctx, y):
        return y.view_as(y)

    @staticmethod
    def backward(ctx, gradient):
        return -0.3 * gradient


@pytest.mark.parametrize("changed", [False, True])
def test_rounding_of_a_coarse_type_excuses_no_other_gradient(changed):
    """A resize to the nearest cell is compared in the model's own type, where a change in the last digits opens other gates."""

    class Net(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.one = nn.Conv2d(1, channels, 3, stride=2, padding=1, bias=False)
            self.resize = nn.Upsample(scale_factor=1.5, mode="nearest-exact")
            self.two = nn.Conv2d(channels, 4, 2, bias=False)

        def forward(self, x):
            y = self.one(x)
            return self.two(self.resize((Reversing.apply(y) if changed else y).relu()))

    for channels in range(8, 32):
        if changed:
            with pytest.raises(UnsupportedError, match="the lattice that was read is not the model"):
                trace(lambda channels=channels: Net(channels).bfloat16(), (1, 4, 4), initialisation="he")
        else:
            assert trace(lambda channels=channels: Net(channels).bfloat16(), (1, 4, 4), initialisation="he").unproven == ""
