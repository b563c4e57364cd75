"""Networks as people write them: what is predicted of each is right within its guarantee, or refused by name.

`python -m tests.nets --seed N --count 1 --show` prints one of them with its verdict; `make nets` judges 5,000.
"""

import functools
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from landscape import Guarantee
from lattice import UnsupportedError
from tests.nets import __main__ as runs
from tests.nets import statistics
from tests.nets.autograd import enumerated, monte_carlo, random_signs
from tests.nets.build import Case, factory_of
from tests.nets.generate import net
from tests.nets.judge import Verdict, compared, judge
from tests.nets.metamorphic import broken_laws

DRAWS = (100, 400, 4000)  # fewer at first than `make nets` takes: a suspicion is followed up all the same
CHAIN = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.b = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.c = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        for p in self.parameters():
            with torch.no_grad():
                p.copy_((torch.randint(0, 2, p.shape) * 2 - 1) * (2 / p[0].numel()) ** 0.5)
    def forward(self, x):
        y = self.a(x)
        y = self.b(y) + y
        return self.c(y)
"""


def chain(source=CHAIN, shape=(1, 6, 6), **more):
    return Case(0, factory_of(source), shape, "eval", source, frozenset(), **more)


def counted(case):
    """The exact map of a linear net without tied weights: the gradient of a net whose weights are their variances, summed over
    outputs, is the sum over paths of the product of variances."""
    model = case.factory().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.square_()
    x = torch.zeros(1, *case.shape, requires_grad=True)
    y = model(x)
    (g,) = torch.autograd.grad(y.sum(), x)
    return g[0].mean(0).double().numpy() / y.numel()


def said(squared, guarantee=Guarantee.EXACT):
    return SimpleNamespace(squared=np.asarray(squared), guarantee=guarantee, reasons=())


# --- the judge itself


def test_a_right_map_is_called_right():
    verdict = compared(chain(), said(counted(chain())), DRAWS)
    assert verdict.outcome == "right", verdict


def test_a_scale_off_by_fifteen_percent_is_caught():
    for factor in (1.15, 1 / 1.15):
        verdict = compared(chain(), said(factor * counted(chain())), DRAWS)
        assert (verdict.outcome, verdict.kind) == ("miss", "scale"), verdict


def test_a_map_shifted_by_one_pixel_is_caught():
    squared = counted(chain())
    verdict = compared(chain(), said(np.roll(squared, 1, 1)), DRAWS)
    assert verdict.outcome == "miss", verdict
    assert "map" in verdict.kind


def test_a_dropped_skip_is_caught():
    wide = CHAIN.replace("1, 4, 3, padding=1", "1, 4, 1").replace("c = nn.Conv2d(4, 4, 3, padding=1", "c = nn.Conv2d(4, 4, 1")
    wide = wide.replace("4, 4, 3, padding=1", "4, 4, 5, padding=2")
    right, wrong = counted(chain(wide)), counted(chain(wide.replace(" + y", "")))
    for squared in (wrong, wrong * right.mean() / wrong.mean()):  # as it is, and with the right scale
        verdict = compared(chain(wide), said(squared), DRAWS)
        assert verdict.outcome == "miss", verdict


def test_a_map_error_passes_within_the_stated_size_and_not_beyond():
    squared = counted(chain())
    assert compared(chain(), said(1.8 * squared, Guarantee.APPROXIMATE), DRAWS).outcome == "right"
    assert compared(chain(), said(2.5 * squared, Guarantee.APPROXIMATE), DRAWS).outcome == "miss"
    narrow = said(1.8 * squared, Guarantee.APPROXIMATE)
    narrow.scale_range = (0.8, 1.25)
    assert compared(chain(), narrow, DRAWS).outcome == "miss"


def test_a_map_of_zeros_is_right_only_where_no_gradient_comes():
    dead = chain(CHAIN.replace("self.c(y)", "self.c(y.detach())"))
    assert compared(dead, said(np.zeros((6, 6))), DRAWS).outcome == "right"
    assert compared(dead, said(counted(chain())), DRAWS).outcome == "miss"
    assert compared(chain(), said(np.zeros((6, 6))), DRAWS).outcome == "miss"


def test_raw_errors_are_misses_and_refusals_are_not():
    def refuses(*arguments, **more):
        raise UnsupportedError("conv1: not yet")

    def crashes(*arguments, **more):
        raise IndexError("list index out of range")

    assert judge(chain(), refuses).outcome == "refused"
    assert judge(chain(), crashes).kind == "raw error"


def test_enumeration_finds_what_is_smaller_than_the_noise():
    source = (
        CHAIN.replace("1, 4, 3, padding=1", "1, 1, 2")
        .replace("4, 4, 3, padding=1", "1, 1, 1")
        .replace("4, 4, 3, padding=1", "1, 1, 1")
    )
    case = chain(source, shape=(1, 3, 3), signs=True)
    right = counted(case)
    assert random_signs(case) is not None
    np.testing.assert_allclose(enumerated(case, random_signs(case)).mean(0), right, rtol=1e-6)  # float32 weights
    assert compared(case, said(right), DRAWS).outcome == "right"
    wrong = right.copy()
    wrong[1, 1] *= 1.004
    assert compared(case, said(wrong), DRAWS).kind == "enumeration"


@pytest.mark.parametrize("count", [10, pytest.param(300, marks=pytest.mark.slow)])
def test_the_judge_raises_no_false_alarm_over_linear_nets(count):
    """Their exact map is a gradient of its own: no pilcro code on either side."""
    rng = np.random.default_rng(0)
    for seed in range(count):
        channels = [1, *rng.integers(1, 5, size=rng.integers(1, 5)).tolist()]
        convs = [f"nn.Conv2d({i}, {o}, {rng.integers(1, 4)}, bias=False)" for i, o in pairwise(channels)]
        source = CHAIN[: CHAIN.index("        self.a")] + f"        self.n = nn.Sequential({', '.join(convs)})\n"
        source += CHAIN[CHAIN.index("        for p") : CHAIN.index("        y = ")] + "        return self.n(x)\n"
        case = Case(seed, factory_of(source), (1, 9, 9), "eval", source, frozenset())
        verdict = compared(case, said(counted(case)), DRAWS)
        assert verdict.outcome == "right", (source, verdict)


@pytest.mark.parametrize("squares", [1, 2, 3, 4, 5])
def test_the_statistic_raises_no_false_alarm_over_heavy_tails(squares):
    """Products of several squared normals, believed or not: Student's t is beyond its alarm in many of these samples."""
    rng = np.random.default_rng(squares)
    for draws in (200, 2000):
        for _ in range(200):
            totals = np.prod(rng.normal(size=(draws, squares)) ** 2, axis=1)
            z = statistics.scale_excess(totals, 1.0, 1.0)
            assert z < statistics.alarm(totals)


def test_a_draw_does_not_depend_on_when_it_is_taken():
    np.testing.assert_array_equal(monte_carlo(chain(), 5)[3:], monte_carlo(chain(), 2, start=3))


# --- the generator


def test_a_net_depends_on_its_seed_only():
    state = torch.get_rng_state()
    first = [net(seed).source for seed in range(20)]
    torch.rand(3)
    assert [net(seed).source for seed in range(20)] == first
    assert len(set(first)) == 20
    torch.set_rng_state(state)
    net(0)
    assert torch.equal(torch.get_rng_state(), state)


KINDS = {
    "inplace", "inplace-view", "inplace-input", "product", "gate", "plain-product", "squeeze", "written-out", "glu",
    "frozen", "structured", "weights-mask", "tied", "scaled", "norm", "batch-norm", "layer-norm", "group-norm",
    "instance-norm", "negative-gamma", "skip", "skip-norm", "skip-factor", "skip-dropout", "skip-projection", "trunk",
    "average", "averages-around", "train-dropout", "stochastic-depth", "if-training", "dropout-always", "no-gradient",
    "no_grad", "detach", "cast", "floor", "changed-backward", "hook", "custom-function", "requires-grad-false",
    "copies-meet", "copies-of-channels", "difference", "concat", "split", "channel-shuffle", "pixel-shuffle", "resize",
    "transposed", "pad", "copying-pad", "max-pool", "bias-constant", "several-outputs", "float64", "bfloat16", "train", "x",
    "xx", "xxx", "gate-on-gate", "softmax", "attention", "spatial-gate",
    "sequential", "module-list", "block-class",
}  # fmt: skip


@pytest.mark.slow
def test_every_kind_of_net_is_drawn():
    drawn = set().union(*(net(seed).kinds for seed in range(1500)))
    assert not KINDS - drawn


# --- the nets


@functools.cache
def _case(seed):
    return net(seed)


@pytest.mark.parametrize("start", range(0, 300, 10))
def test_generated_nets_are_predicted_right_or_refused(start):
    found = {seed: judge(_case(seed), draws=DRAWS) for seed in range(start, start + 10)}
    misses = [
        f"seed {seed} {sorted(_case(seed).kinds)}\n{v}\n{_case(seed).source}"
        for seed, v in found.items()
        if v.outcome == "miss"
    ]
    assert not misses, "\n".join(misses)


@pytest.mark.parametrize("start", range(0, 20, 5))
def test_changes_that_must_not_matter_do_not(start):
    broken = {seed: broken_laws(_case(seed)) for seed in range(start, start + 5)}
    assert not any(broken.values()), "\n".join(f"seed {s}: {laws}\n{_case(s).source}" for s, laws in broken.items() if laws)


def test_kept_verdicts_are_measured_again_where_the_map_has_changed(tmp_path, monkeypatch):
    """A second run measures nothing; one after another prediction, or after a miss, does."""
    kept = tmp_path / "verdicts.jsonl"
    asked = []

    def judged(case):
        asked.append(case.seed)
        return Verdict(outcome, said="a map")

    monkeypatch.setattr(runs, "judge", judged)
    for outcome, said, expected in (
        ("miss", "a map", [3]),
        ("right", "a map", [3]),
        ("right", "a map", []),
        ("right", "another map", [3]),
    ):
        runs._known.cache_clear()
        monkeypatch.setattr(runs, "said", lambda case, said=said: said)
        verdict = runs.one(3, laws=False, known=kept)[1]
        assert (verdict.outcome, asked) == (outcome, expected)
        asked.clear()
    runs._known.cache_clear()
