"""The tests are tested: each planted fault, a wrong piece of one rule, is noticed by the tests that answer for that rule."""

import os
from dataclasses import replace

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.planting import Fault, judged

SHARE = 12  # faults a test, so that the tests spread over workers


@pytest.mark.skipif(not hasattr(os, "fork"), reason="faults are planted in forked processes")
@pytest.mark.parametrize(("room", "start"), [(room, i) for room in FAULTS for i in range(0, len(FAULTS[room]), SHARE)])
def test_every_planted_fault_is_noticed(room, start):
    faults = FAULTS[room][start : start + SHARE]
    verdicts = judged(list(faults))
    unnoticed = [
        f"{fault.name}: pytest ended with {verdict.code}\n{verdict.output[-600:]}"
        for fault, verdict in zip(faults, verdicts, strict=True)
        if verdict.code != 1  # 1: tests ran and one failed; an import error or a crash would prove nothing
    ]
    assert not unnoticed, "\n\n".join(unnoticed)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="faults are planted in forked processes")
def test_without_a_fault_the_same_tests_pass():
    sound = Fault(
        "no fault", "lattice/counts/counting.py", "counts[0]\n", "counts[0]\n", ("tests/lattice/counts/test_counting.py",)
    )
    (verdict,) = judged([sound])
    assert verdict.code == 0, verdict.output


def test_a_fault_that_no_longer_fits_is_told():
    stale = replace(FAULTS["moments"][0], old="a line that is not there")
    with pytest.raises(ValueError, match=r"stands 0 times in landscape/laws/connections\.py, not once"):
        stale.source()


def test_there_are_forty_and_no_two_alike():
    faults = [fault for room in FAULTS.values() for fault in room]
    assert len(faults) >= 40
    assert len({fault.name for fault in faults}) == len({fault.source() for fault in faults}) == len(faults)
