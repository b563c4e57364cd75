"""What pilcro stands on: every requirement has a floor, which `make lowest` installs; every licence goes with MIT.

pilcro carries none of it: its wheel holds its own code alone, and pip fetches the rest under the licence of each.
"""

import configparser
import re
import subprocess
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
EXTRAS = (
    "cli",
    "vision",
    "train",
    "tensorboard",
    "data",
    "evaluate",
    "fast",
    "strategies",
    "notebooks",
)  # those of users; the others are tools

PERMISSIVE = r"(mit|isc|zlib|0bsd|bsl-1|cc0|psf|python software foundation|hpnd|historical permission notice|apache|bsd)\b.*"
# they ask the same of changed copies of their own files, which pilcro has none of, and nothing of who imports them
OF_ITS_OWN_FILES = r"(mpl-2\.0|mozilla public license 2\.0|lgpl|gnu (library or )?lesser)\b.*"
EXCEPTION = r"llvm-exception"  # grants more
# torch's CUDA builds bring NVIDIA's libraries under NVIDIA's own terms; torch's CPU builds work too, and bring none
FROM_TORCH_ALONE = re.compile(r"(nvidia|cuda)-.*")


def requirements() -> dict[str, list[Requirement]]:
    """What setup.cfg asks for, by extra; '' is what every user gets. References to pilcro's own extras are left out."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    asked = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    found = {extra: [Requirement(line) for line in lines.split("\n") if line] for extra, lines in asked.items()}
    return {extra: [one for one in some if one.name != "pilcro"] for extra, some in found.items()}


def accepted(licence: str) -> bool:
    """Every licence that an expression names, with AND as with OR, goes with MIT."""
    names = [name.strip(" ()") for name in re.split(r"\b(?:AND|OR|WITH)\b|;", licence)]
    return all(re.fullmatch(f"{PERMISSIVE}|{OF_ITS_OWN_FILES}|{EXCEPTION}", name, re.IGNORECASE) for name in names)


def licence(found: Distribution) -> str:
    """The SPDX expression if there is one, or else the classifiers, or else the first line of the field for free text."""
    facts = found.metadata
    classifiers = [text.rpartition(" :: ")[2] for text in facts.get_all("Classifier") or [] if text.startswith("License ::")]
    named = [text for text in classifiers if text != "OSI Approved"]
    return str(facts["License-Expression"] or "; ".join(named) or (facts["License"] or "").strip().partition("\n")[0])


def installed_below(asked: list[Requirement]) -> dict[str, Distribution]:
    """All that is installed because of some requirements, and of theirs: by name."""
    found: dict[str, Distribution] = {}
    seen, waiting = set(), [("pilcro", one) for one in asked]
    while waiting:
        parent, one = waiting.pop()
        name = canonicalize_name(one.name)
        if (name, *one.extras) in seen or (FROM_TORCH_ALONE.fullmatch(name) and parent == "torch"):
            continue
        seen.add((name, *one.extras))
        try:
            new = distribution(name)
        except PackageNotFoundError:  # an extra that this environment does without
            continue
        found[name] = new
        under = [Requirement(text) for text in new.requires or []]
        applies = [r for r in under if not r.marker or any(r.marker.evaluate({"extra": e}) for e in ("", *one.extras))]
        waiting += [(name, child) for child in applies]
    return found


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_all_that_users_install_has_a_licence_that_goes_with_mit(extra):
    below = installed_below(requirements()[extra])
    assert below or extra, "none of what setup.cfg requires is installed"
    assert {name: licence(found) for name, found in below.items() if not accepted(licence(found))} == {}


@pytest.mark.parametrize(
    "text",
    [
        *("", "UNKNOWN", "GPL-3.0-or-later", "GNU General Public License v3 (GPLv3)", "AGPL-3.0", "SSPL-1.0", "CC-BY-NC-4.0"),
        *("MIT AND GPL-2.0-only", "LicenseRef-NVIDIA-Proprietary", "Other/Proprietary License; MIT License"),
    ],
)
def test_a_licence_that_is_unknown_or_asks_for_more_is_not_accepted(text):
    assert not accepted(text)


def test_every_requirement_has_a_floor_and_make_lowest_pins_it():
    asked = [one for some in requirements().values() for one in some]
    floors = {f"{one.name}=={bound.version}" for one in asked for bound in one.specifier if bound.operator == ">="}
    assert {one.name for one in asked} == {floor.partition("==")[0] for floor in floors}
    command = re.search(r"sed .* setup\.cfg", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert command, "make lowest no longer reads the floors from setup.cfg"
    pinned = subprocess.run(["sh", "-c", command[0]], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert set(pinned) == floors
