"""The tests are tested: each planted fault, a wrong piece of one rule, is noticed by the tests that answer for that rule."""

import os
from dataclasses import replace

import pytest

from tests.faults.anchors import ROOT, AnchorError, planted
from tests.faults.catalogue import FAULTS
from tests.faults.planting import Planted, judged

SHARE = 12  # faults a test, so that the tests spread over workers


@pytest.mark.skipif(not hasattr(os, "fork"), reason="faults are planted in forked processes")
@pytest.mark.parametrize(("area", "start"), [(area, i) for area in FAULTS for i in range(0, len(FAULTS[area]), SHARE)])
def test_every_planted_fault_is_noticed(area, start):
    faults = FAULTS[area][start : start + SHARE]
    verdicts = judged([fault.planted() for fault in faults])
    unnoticed = [
        f"{fault.name}: pytest ended with {verdict.code}\n{verdict.output[-600:]}"
        for fault, verdict in zip(faults, verdicts, strict=True)
        if verdict.code != 1  # 1: tests ran and one failed; an import error or a crash would prove nothing
    ]
    assert not unnoticed, "\n\n".join(unnoticed)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="faults are planted in forked processes")
def test_without_a_fault_the_same_tests_pass():
    file = "lattice/counts/counting.py"
    (verdict,) = judged([Planted("no fault", file, (ROOT / file).read_text(), ("tests/lattice/counts/test_counting.py",))])
    assert verdict.code == 0, verdict.output


@pytest.mark.parametrize(
    ("place", "old", "says"),
    [
        ("second_moment[Weighted]", "name_that_is_gone", "has 0 pieces `name_that_is_gone`, not one"),
        ("second_moment[Weighted]", "X", "pieces `X`, not one"),
        ("no_such_function", "X + 1", "no_such_function is defined in no file"),
        ("_channels", "X + 1", "a fault needs one place"),
    ],
)
def test_a_fault_that_no_longer_fits_is_told(place, old, says):
    with pytest.raises(AnchorError) as told:
        replace(FAULTS["moments"][0], place=place, old=old).planted()
    assert str(told.value).startswith("standard deviation for variance: ")
    assert says in str(told.value)


def test_a_planted_fault_changes_one_piece_and_nothing_else():
    file, source = planted("stern", "n & X", "not n & X")
    before = (ROOT / file).read_text()
    assert (before.count("if n & 1:"), source) == (1, before.replace("if n & 1:", "if (not n & 1):"))


def test_there_are_seventy_and_no_two_alike():
    faults = [fault.planted() for area in FAULTS.values() for fault in area]
    assert len(faults) >= 70
    assert len({fault.name for fault in faults}) == len({fault.source for fault in faults}) == len(faults)


def test_the_tests_that_a_fault_names_exist():
    named = {test for area in FAULTS.values() for fault in area for test in fault.tests}
    for test in named:
        file, _, name = test.partition("::")
        assert not name or f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8"), test
        assert (ROOT / file).is_file(), test
