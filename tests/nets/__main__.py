"""python -m tests.nets --count 5000 --seed 0: nets judged one after the other, misses by kind with the seed of each.

With `--verdicts FILE` every verdict is kept. Another run over the same seeds predicts each net again, and measures those alone
of which something else is said than before, or whose verdict was a miss.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import torch

from tests.nets.build import Case
from tests.nets.generate import net
from tests.nets.judge import Verdict, judge, said
from tests.nets.metamorphic import broken_laws
from tests.nets.report import summary, table

Outcome = tuple[Case, Verdict, tuple[str, ...], float]


def one(seed: int, laws: bool, known: Path | None = None) -> Outcome:
    """A net without its factory (which another process cannot read), its verdict, the laws that it breaks, the seconds."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    case = net(seed)
    before = _known(known).get(seed)
    same = before is not None and before["outcome"] != "miss" and before["said"] == said(case)
    verdict = Verdict(before["outcome"], "as before", before["guarantee"]) if before and same else judge(case)
    broken = broken_laws(case) if laws else ()
    if known is not None and not same:
        row = {"seed": seed, "said": verdict.said, "outcome": verdict.outcome, "guarantee": verdict.guarantee}
        with known.open("a") as file:
            file.write(json.dumps(row) + "\n")
    return Case(**{**vars(case), "factory": int}), verdict, broken, time.perf_counter() - start


@lru_cache(maxsize=1)
def _known(path: Path | None) -> dict[int, dict[str, str]]:
    """The last verdict of each net that a file has, by seed."""
    if path is None or not path.exists():
        return {}
    return {row["seed"]: row for row in map(json.loads, path.read_text().splitlines())}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.nets", description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; the others follow")
    parser.add_argument("--only", help="only nets that have this kind, for example inplace-view")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--no-laws", action="store_true", help="leave the metamorphic laws out")
    parser.add_argument("--show", action="store_true", help="print each net with its verdict, for example of one seed")
    parser.add_argument("--table", type=Path, help="a file for the table of misses, in Markdown")
    parser.add_argument("--verdicts", type=Path, help="a file that keeps all verdicts, as JSON lines")
    options = parser.parse_args(arguments)
    results = []
    for case, verdict, laws, seconds in _run(options):
        results.append((case, verdict, laws))
        if options.show or verdict.outcome == "miss" or laws:
            print(f"seed {case.seed} ({seconds:.1f} s) {sorted(case.kinds)}\n  {verdict}", *laws, sep="\n  ", flush=True)
        if options.show:
            print(case.shape, case.mode, case.dtype, case.output, case.initialisation, case.source, sep="\n")
    summary(results)
    if options.table:
        options.table.write_text(table(results, f"nets {options.seed} to {options.seed + options.count - 1}"))
    return int(any(verdict.outcome == "miss" or laws for _, verdict, laws in results))


def _run(options: argparse.Namespace) -> Iterator[Outcome]:
    seeds = range(options.seed, options.seed + options.count)
    wanted = [seed for seed in seeds if options.only is None or options.only in net(seed).kinds]
    judged = partial(one, laws=not options.no_laws, known=options.verdicts)
    if options.jobs == 1:
        yield from map(judged, wanted)
        return
    with get_context("fork").Pool(options.jobs) as pool:
        yield from pool.imap(judged, wanted, chunksize=4)


if __name__ == "__main__":
    sys.exit(main())
