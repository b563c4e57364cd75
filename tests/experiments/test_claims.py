"""The paper's claims: every check runs, the committed page is what they say now, and nothing of the paper is missing."""

import re
from pathlib import Path

import pytest

from experiments.claims import SECTIONS
from experiments.claims.claim import Claim, Finding, Verdict
from experiments.claims.page import MATTER, page

ROOT = Path(__file__).parents[2]
CLAIMS = [claim for section in SECTIONS for claim in section.claims]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_check_of_a_claim_bears_its_prose(claim):
    """A verdict that contradicts the condition or the correction beside it is an error (`Claim.verdict`)."""
    assert claim.verdict in Verdict
    assert claim.finding.measured


def test_the_committed_page_is_what_the_checks_say_now():
    assert (ROOT / "docs/claims.md").read_text(encoding="utf-8") == page(SECTIONS), "run `make claims` and read what changed"


@pytest.mark.parametrize(
    "statement", [*(f"Eq. {n}" for n in range(1, 24)), "Def. 1", "Def. 2", "Lemma 1", "Lemma 2", "Prop. 1"]
)
def test_every_numbered_statement_of_the_paper_has_a_row(statement):
    assert any(re.search(rf"{re.escape(statement)}(?!\d)", claim.where) for claim in CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_tests_that_a_row_names_exist(claim):
    assert claim.tests, "every row names a test of the suite"
    for reference in claim.tests:
        file, _, name = reference.partition("::")
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), reference


def test_the_summary_speaks_of_rows_that_exist():
    assert set(MATTER) <= {claim.name for claim in CLAIMS}


def found(**says):
    return lambda: Finding("numbers", **says)


@pytest.mark.parametrize(
    ("says", "prose", "verdict"),
    [
        ({"printed": True}, {}, Verdict.HOLDS),
        ({"printed": False, "within": True}, {"when": "it rains"}, Verdict.HOLDS_WHEN),
        ({"printed": False, "corrected": True}, {}, Verdict.FAILS),
        ({"printed": False, "corrected": True}, {"misprint": True}, Verdict.MISPRINT),
        ({"printed": None}, {}, Verdict.NOT_TESTED),
    ],
)
def test_the_verdict_follows_from_the_finding(says, prose, verdict):
    assert Claim("Eq. 0", "so it is", found(**says), **prose).verdict is verdict


@pytest.mark.parametrize(
    ("says", "prose", "message"),
    [
        ({"printed": False, "corrected": False}, {}, "corrected statement is not true"),
        ({"printed": True, "within": True}, {"when": "it rains"}, "holds without its condition"),
        ({"printed": False, "within": False}, {"when": "it rains"}, "although its condition is met"),
        ({"printed": False, "within": True}, {}, "belong together"),
        ({"printed": False}, {}, "nothing true is put in its place"),
        ({"printed": True, "corrected": True}, {"misprint": True}, "is right as printed"),
    ],
)
def test_prose_that_the_numbers_do_not_bear_is_an_error(says, prose, message):
    with pytest.raises(AssertionError, match=message):
        _ = Claim("Eq. 0", "so it is", found(**says), **prose).verdict
