"""Mutation testing: small random faults, made by cosmic-ray's operators, and the share of them that the tests notice.

    python -m tests.faults.mutants --area core --draw 300 --seed 0 --out mutants.json

draws mutants of an area's files, each at random among all that can be made, and runs on each the tests that reach its line, the
file's own first and then the quickest, until one fails or SECONDS of tests have passed. Which test reaches which line is
measured once (`tests.faults.reach`). The share that is noticed is given with its 95 % interval (Wilson); the survivors are
listed with their lines. An area is exhausted where `--draw` exceeds it.
"""

import argparse
import difflib
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tests.faults.anchors import ROOT
from tests.faults.planting import Planted, judged
from tests.faults.reach import Reach, reach

CORE = (
    "lattice/families.py",
    *(f"lattice/network/{name}.py" for name in ("windows/axis", "windows/window", "ops", "lattice", "shapes",)),
    *(f"lattice/sweep/{name}.py" for name in ("pullback", "routes",)),
    *(f"lattice/counts/{name}.py" for name in (
        "counting", "chains", "limbs", "cost", "bigint", "distributions", "multisets", "regular", "stacks",
    )),
    *(f"lattice/closed_forms/{name}.py" for name in ("pascal", "strips", "limits", "symbolic", "formulas",)),
    *(f"lattice/geometry/{name}.py" for name in ("receptive_field", "channel_fields", "evenness", "periods",)),
    *(f"lattice/drawing/{name}.py" for name in ("graph",)),
    *(f"landscape/laws/{name}.py" for name in ("moments", "positions/sweep", "positions/through_ops")),
    *(f"landscape/structure/{name}.py" for name in ("pairs", "plan", "signs",)),
    *(f"landscape/weights/{name}.py" for name in ("initialisation",)),
)  # fmt: skip
REST = (
    *(f"landscape/gates/{name}.py" for name in ("activations", "gate_rates", "gates",)),
    *(f"landscape/gates/forward/{name}.py" for name in ("mean_field", "mean_field_rules")),
    *(f"landscape/gates/trunks/{name}.py" for name in ("few_cases", "few_positions", "runs")),
    *(f"landscape/warrant/{name}.py" for name in ("guarantee", "sizes",)),
    *(f"landscape/{name}.py" for name in ("advise", "predict",)),
    *(f"landscape/laws/{name}.py" for name in ("batchnorm", "infinite_width", "pooled_head", "trunk",)),
    *(f"landscape/tracing/aten/{name}.py" for name in ("table",)),
    *(f"landscape/maps/{name}.py" for name in ("measures",)),
    *(f"landscape/tracing/{name}.py" for name in ("gate_counts", "trace", "weights",)),
    *(f"landscape/tracing/graph/{name}.py" for name in ("reader",)),
    *(f"validation/montecarlo/{name}.py" for name in ("build", "enumerate", "estimate", "sampler",)),
    *(f"validation/comparison/{name}.py" for name in ("compare",)),
    *(f"validation/studies/{name}.py" for name in ("shuffle",)),
    *(f"validation/gradients/{name}.py" for name in ("input_gradient", "linearised", "objective",)),
    *(f"validation/training/{name}.py" for name in ("penalty",)),
)  # fmt: skip
# One change of each kind: all eleven replacements of every `+`, most of which crash at once, would flatter the tests.
OPERATORS = (
    *(f"ReplaceBinaryOperator_{pair}" for pair in (
        "Add_Sub", "Sub_Add", "Mul_Add", "Mul_Div", "Div_Mul", "FloorDiv_Div", "FloorDiv_Mul", "Mod_FloorDiv", "Pow_Mul",
        "BitAnd_BitOr", "RShift_LShift", "LShift_RShift",
    )),
    *(f"ReplaceComparisonOperator_{pair}" for pair in (
        "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_GtE", "Gt_LtE", "Is_IsNot", "IsNot_Is",
    )),
    "ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_Invert", "AddNot",
    "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak", "NumberReplacer", "ZeroIterationForLoop",
)  # fmt: skip
AREAS = {"core": CORE, "rest": REST}
SECONDS = 40  # of tests, as long as they take without a fault
BATCH = 8  # mutants a server: what is slow to import is imported once for all of them


def main() -> None:
    """Draw, judge, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--area", choices=AREAS, default="core")
    parser.add_argument("--draw", type=int, default=100, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=3 * SECONDS, help="seconds a mutant")
    parser.add_argument("--out", type=Path, default=Path("mutants.json"), help="what was judged before is not judged again")
    asked = parser.parse_args()
    reached = reach(Path("reach.json"))
    every = [site for file in AREAS[asked.area] for site in sites(file)]
    random.Random(asked.seed).shuffle(every)
    chosen = list(islice(filter(None, (mutant(site, reached) for site in every)), asked.draw))
    known = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    print(f"{len(chosen)} of {len(every)} mutants of {len(AREAS[asked.area])} files", flush=True)
    known |= {fault.name: 0 for fault in chosen if not fault.tests}  # what no test reaches none can notice
    new = [fault for fault in chosen if fault.name not in known]
    for batch in (new[start : start + BATCH] for start in range(0, len(new), BATCH)):
        for fault, verdict in zip(batch, judged(batch, limit=asked.limit), strict=True):
            known[fault.name] = verdict.code
        asked.out.write_text(json.dumps(known, indent=1))
    for number, fault in enumerate(chosen):
        if known[fault.name] == 0:
            print(f"survived {number}: {fault.name}\n{difference(fault)}", flush=True)
    noticed = sum(known[fault.name] != 0 for fault in chosen)
    low, high = wilson(noticed, len(chosen))
    print(f"{noticed} of {len(chosen)} noticed: {noticed / len(chosen):.1%} (95 %: {low:.1%} to {high:.1%})")


@dataclass(frozen=True)
class Site:
    """One place of a file at which one operator can change something."""

    file: str
    line: int
    operator: str
    occurrence: int


def sites(file: str) -> Iterator[Site]:
    """Every place of a file at which an operator applies, apart from prose."""
    from cosmic_ray.ast import get_ast
    from cosmic_ray.plugins import get_operator

    text = (ROOT / file).read_text(encoding="utf-8")
    nodes = list(_walk(get_ast(text)))
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, ((line, _), _) in enumerate(places):
            if not _is_prose(text, line):
                yield Site(file, line, name, occurrence)


def mutant(site: Site, reached: Reach) -> Planted | None:
    """The fault of a site; None where the changed text does not compile or is what it was."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    text = (ROOT / site.file).read_text(encoding="utf-8")
    changed = mutate_code(text, get_operator(f"core/{site.operator}")(), site.occurrence)
    if changed is None or changed == text:
        return None
    try:
        compile(changed, site.file, "exec")
    except SyntaxError:
        return None
    name = f"{site.file}:{site.line} {site.operator} {site.occurrence}"
    return Planted(name, site.file, changed, reached.tests(site.file, site.line, seconds=SECONDS))


def _walk(node: object) -> Iterator[object]:
    yield node
    for child in getattr(node, "children", ()):
        yield from _walk(child)


def _is_prose(text: str, line: int) -> bool:
    """Imports, `__all__`, overloads of types and messages of errors are not what the tests are about."""
    return text.splitlines()[line - 1].lstrip().startswith(("import ", "from ", "@dataclass", "raise ", 'f"'))


def difference(fault: Planted) -> str:
    """What the mutant changes, as a diff without its surroundings."""
    before = (ROOT / fault.file).read_text(encoding="utf-8")
    lines = difflib.unified_diff(before.splitlines(), fault.source.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share."""
    p = successes / trials
    middle = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * ((p * (1 - p) + z * z / (4 * trials)) / trials) ** 0.5 / (1 + z * z / trials)
    return middle - half, middle + half


if __name__ == "__main__":
    sys.exit(main())
