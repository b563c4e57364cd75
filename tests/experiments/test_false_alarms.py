"""The statements of `compare` are false as seldom as they claim, and sees what it says it sees (experiments/false_alarms.py).

Of 1000 runs of these tests less than one fails by chance: every rate is held to its claim at 1e-7.
"""

import pytest

from experiments.false_alarms import CONFIDENCE, DOCS, NETS, RUNS, Rate, row
from validation.comparison.compare import POWER

ALLOWED = 1 - CONFIDENCE
ROWS = [(name, draws) for draws in RUNS for name in NETS]


def test_a_rate_is_held_to_its_claim():
    assert not Rate(17, 340).exceeds(0.05)
    assert not Rate(36, 340).exceeds(0.05)
    assert Rate(60, 340).exceeds(0.05)
    assert not Rate(260, 340).falls_short_of(0.8)
    assert Rate(200, 340).falls_short_of(0.8)
    assert Rate(0, 100).interval == pytest.approx((0, 1 - 0.025**0.01))  # (1 - p)^100 = 0.025


@pytest.mark.slow
@pytest.mark.parametrize(("name", "draws"), ROWS)
def test_a_true_prediction_is_refuted_as_seldom_as_claimed(name, draws):
    for statement, rate in row(name, draws).alarms.items():
        print(name, draws, statement, rate)
        assert not rate.exceeds(ALLOWED), statement


@pytest.mark.slow
@pytest.mark.parametrize(("name", "draws"), ROWS)
def test_an_error_of_the_stated_resolution_is_seen_and_sized(name, draws):
    planted = row(name, draws).planted
    assert planted
    for kind, (told, mistaken) in planted.items():
        print(name, draws, kind, told, mistaken)
        assert not told.falls_short_of(POWER), kind
        assert not mistaken.exceeds(ALLOWED), kind


@pytest.mark.slow
@pytest.mark.parametrize(("name", "draws"), ROWS)
def test_negative_controls_beyond_the_resolution_are_seen(name, draws):
    found = row(name, draws)
    for kind, (error, told, off) in found.controls.items():
        print(name, draws, kind, told, off)
        if error >= found.resolution:
            assert not told.falls_short_of(POWER), kind
    if draws == max(RUNS):  # a wrong variance changes the scale by 1.1 for every layer
        assert not found.controls["variance"][2].falls_short_of(POWER)


@pytest.mark.slow
def test_the_page_is_what_was_measured():
    page = (DOCS / "false_alarms.md").read_text(encoding="utf-8")
    for name, draws in ROWS[:2]:
        for rate in row(name, draws).alarms.values():
            assert f"{rate}" in page
