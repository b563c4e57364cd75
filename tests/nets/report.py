"""What was found, by kind: for the screen, and as a table in Markdown."""

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from tests.nets.build import Case
from tests.nets.judge import Verdict

Result = tuple[Case, Verdict, tuple[str, ...]]

# the feature that a miss is most likely about, the rarest first
FEATURES = (
    "no-gradient", "changed-backward", "inplace-view", "inplace-input", "tied", "weights-mask", "weights-identity",
    "weights-delta", "weights-constant", "weights-zero", "weights-mean", "weights-copies", "weights-icnr", "frozen",
    "requires-grad-false", "scaled", "bias-constant", "dropout-always", "if-training", "copies-of-channels", "copies-meet",
    "glu", "squeeze", "softmax", "written-out", "spatial-gate", "attention", "gate", "plain-product", "stochastic-depth",
    "train-dropout", "averages-around", "group-norm", "instance-norm", "layer-norm", "rms-norm", "negative-gamma",
    "random-gamma", "skip-norm", "skip-factor", "skip-dropout", "skip-gamma", "skip-projection", "trunk", "gate-on-gate",
    "split", "concat", "difference", "several-outputs", "bfloat16", "inplace", "batch-norm", "skip", "max-pool", "clamp",
    "abs", "prelu", "smooth", "kinked", "resize", "pad", "shift", "transposed", "pooled-head", "average", "bias", "relu",
)  # fmt: skip


def feature(case: Case) -> str:
    """The feature that a miss of this net is filed under."""
    found = next((name for name in FEATURES if name in case.kinds), "plain")
    return f"{found}, train" if case.mode == "train" else found


def summary(results: list[Result]) -> None:
    print(f"\n{len(results)} nets:", dict(Counter(f"{v.outcome} {v.guarantee}".strip() for _, v, _ in results)))
    missed = [(c, v) for c, v, _ in results if v.outcome == "miss"]
    _listed("misses", [(f"{v.kind} {v.guarantee}", c.seed) for c, v in missed])
    _listed("misses by feature", [(feature(c), c.seed) for c, _ in missed])
    _listed("laws broken", [(law.split(":")[0], c.seed) for c, _, laws in results for law in laws])
    _listed("undecided", [(v.kind, c.seed) for c, v, _ in results if v.outcome == "undecided"])
    _listed("refusals", [(_reason(v.message), c.seed) for c, v, _ in results if v.outcome == "refused"])
    print("\nwhat is allowed, and how much of it is used (half of the nets, nine in ten):")
    for name in sorted({v.guarantee for _, v, _ in results if v.stated}):
        print(f"  {name:12}", _used([v for _, v, _ in results if v.guarantee == name and v.scale_error < 0.2 * v.scale]))
    print("\nmeasured / predicted (least, median, largest) and map error (median, largest) by reason:")
    for reason, (scale, error) in _sizes(results).items():
        low, mid, high = np.quantile(scale, [0, 0.5, 1])
        print(f"  {len(scale):4} {low:8.3g} {mid:6.3g} {high:8.3g}   {np.median(error):6.1%} {max(error):7.1%}  {reason}")


def _used(verdicts: list[Verdict]) -> str:
    """Quantiles of the factor and the map error that are allowed and measured."""
    if not verdicts:
        return "none is known well enough"
    stated = np.array([v.stated for v in verdicts])
    factors = np.maximum(stated[:, 1], 1 / stated[:, 0]), np.exp(np.abs(np.log([v.scale for v in verdicts])))
    errors = stated[:, 2], np.array([v.map_error for v in verdicts])
    half, most = (np.quantile([*factors, *errors], q, axis=1) for q in (0.5, 0.9))
    names = ("factor allowed", "measured", "map error allowed", "measured")
    return ", ".join(f"{name} {low:.3g} {high:.3g}" for name, low, high in zip(names, half, most, strict=True))


def _sizes(results: Iterable[Result]) -> dict[str, tuple[list[float], list[float]]]:
    """Scale ratios and map errors by the text of a reason, the most frequent first; those known well enough."""
    sizes: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for _, verdict, _ in results:
        if verdict.outcome in ("right", "miss") and verdict.scale_error < 0.2 * verdict.scale:
            for reason in verdict.reasons:
                scale, error = sizes[reason.split("(")[0].strip()[:100]]
                scale.append(verdict.scale)
                error.append(verdict.map_error)
    return dict(sorted(sizes.items(), key=lambda item: -len(item[1][0])))


def _reason(message: str) -> str:
    lines = [line for line in message.splitlines() if line.strip()]
    return lines[1 if len(lines) > 1 else 0].split(":", 1)[-1].strip()[:100] if lines else "no message"


def _by_kind(found: list[tuple[str, int]]) -> list[tuple[str, list[int]]]:
    seeds = defaultdict(list)
    for kind, seed in found:
        seeds[kind].append(seed)
    return sorted(seeds.items(), key=lambda item: -len(item[1]))


def _listed(title: str, found: list[tuple[str, int]]) -> None:
    if found:
        print(f"\n{title}:")
    for kind, seeds in _by_kind(found):
        print(f"  {len(seeds):4}  {kind}: seeds {', '.join(map(str, seeds[:8]))}{' ...' if len(seeds) > 8 else ''}")


def table(results: list[Result], title: str) -> str:
    """Misses by feature and by broken law: how many, an example's seed, what was said and measured, the source in one line."""
    lines = [f"# {title}", "", f"{len(results)} nets: {dict(Counter(v.outcome for _, v, _ in results))}", ""]
    lines += [
        "| feature | misses of nets | of what sort | seeds | example: said, measured | its forward |",
        "|---|---|---|---|---|---|",
    ]
    seen = Counter(feature(case) for case, _, _ in results)
    missed = {case.seed: (case, verdict) for case, verdict, _ in results if verdict.outcome == "miss"}
    for name, seeds in _by_kind([(feature(case), seed) for seed, (case, _) in missed.items()]):
        case, verdict = missed[seeds[0]]
        sorts = ", ".join(
            f"{n} {kind}" for kind, n in Counter(f"{missed[s][1].kind} {missed[s][1].guarantee}" for s in seeds).items()
        )
        cells = (
            name,
            f"{len(seeds)} of {seen[name]}",
            sorts,
            _seeds(seeds),
            _clean(str(verdict), 260),
            _clean(_forward(case), 260),
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| law broken | nets | seeds | example |", "|---|---|---|---|"]
    laws = [(law.split(":")[0], case.seed, law) for case, _, found in results for law in found]
    for name, seeds in _by_kind([law[:2] for law in laws]):
        example = next(text for law, seed, text in laws if (law, seed) == (name, seeds[0]))
        lines.append(f"| {name} | {len(seeds)} | {_seeds(seeds)} | {_clean(example, 300)} |")
    return "\n".join(lines) + "\n"


def _seeds(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds[:6])) + (" ..." if len(seeds) > 6 else "")


def _clean(text: str, most: int) -> str:
    text = " ".join(text.replace("|", "/").split())
    return text if len(text) <= most else text[: most - 3] + "..."


def _forward(case: Case) -> str:
    text = case.source.split("def forward(self, x):")[1]
    for name in {part.split(" = ")[0] for part in case.source.split("\n") if part.strip().startswith("self.")}:
        text = text.replace(name.strip(), name.strip().removeprefix("self."))
    return "; ".join(line.strip() for line in text.strip().split("\n"))
