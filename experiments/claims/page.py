"""The page: a summary, and a table of claims for each section of the paper."""

from collections import Counter
from collections.abc import Sequence

from experiments.claims.claim import Claim, Section, Verdict

__all__ = ["page"]

INTRODUCTION = """# The paper's claims under trial

Made by `make claims` (`python -m experiments.claims`), which runs a check for every row: the numbered statements, the sentences
of sections 3.1 to 3.3 that claim something, Appendix A, and the empirical claims. The paper is Moens, Yu & Salimi-Khorshidi,
*¶ILCRO: Making importance landscapes flat again*.

How to read it. A check computes numbers with pilcro and by means that share no code with it (listed command vectors, every
pattern of ±1 weights, rational arithmetic, torch's autograd, Monte Carlo with stated seeds), and the verdict follows from
the numbers: **HOLDS** wherever it was tried; **HOLDS WHEN** a condition is met, with a case that fails without it;
**MISPRINT**, where the formula as printed is wrong and its evident intention right; **DOES NOT HOLD**, with what is true
instead; **NOT TESTED AT SCALE**, with what was run. *Smallest* means the first failure in a search in order of size, or a
case with nothing to take away. K is a kernel, L a depth, N a number of cells (of samples, under batch norm), C channels, Z
output units, V a variance of weights.
"""

SURVIVES = """**What survives.** The central idea does: at initialisation a convolutional network's expected squared
gradient is a variance-weighted count of paths, so that the architecture decides where it looks. Proposition
1 is exact at any width for linear networks and, with a factor 1/2 a gate, for ReLU chains under a flatten
head; with its gates computed, no measurement of torchvision's networks at 64 pixels contradicts it. The target penalty
flattens what it is meant to flatten, on what a laptop can train; the curvature penalty as printed leaves the
border free, and networks go there.
"""

# name of the check -> why it matters to a reader
MATTER: dict[str, str] = {
    "independent_of_the_data": (
        "Proposition 1 does not reach the networks of the experiments unchanged: under a global average pool gates at "
        "different positions share filters, and the landscape depends on the data."
    ),
    "violated_maps_slow_training": (
        "Why the landscape matters is borne out on small networks: features at dark places are learnt more slowly, and a "
        "confounder at a bright place prevails; in the same network without dark places neither happens."
    ),
    "skips_add_a_constant": (
        "Residual connections change the shape of the landscape: they add more paths in the middle than at padded borders, "
        "and their paths carry other variances, so that neither Eq. 12 nor a batch norm's “multiplicative constant” carries "
        "over to ResNets."
    ),
    "layers_multiply_along_paths": (
        "Lemma 2's product over layers is not a path sum: its map is wrong from two layers on, and its scale too. What it "
        "says about the variance of the weights is right."
    ),
    "zero_second_derivative_is_enough": (
        "A second derivative that is zero almost everywhere does not make Lemma 1 true; linearity over the range of the data "
        "does. And a shuffle is twice Eq. 4."
    ),
    "imagenet_gains_are_consistent": (
        "The CIFAR-100 table bears out the gain of the target penalty with α = 10; the ImageNet table does not bear out gains "
        "“consistent across Top-1, Top-5 and Loss”."
    ),
}


def page(sections: Sequence[Section]) -> str:
    """The whole page as markdown; runs every check that has not run."""
    claims = [claim for section in sections for claim in section.claims]
    numbers = {claim.name: place for place, claim in enumerate(claims, start=1)}
    assert len(numbers) == len(claims), "two checks have one name"
    parts = [INTRODUCTION, *_summary(claims, numbers)]
    for section in sections:
        parts += [f"## {section.title}", "", *_table(section.claims, numbers), ""]
    return "\n".join(parts)


def _summary(claims: Sequence[Claim], numbers: dict[str, int]) -> list[str]:
    count = Counter(claim.verdict for claim in claims)
    lines = ["## Summary", "", f"| verdict | of {len(claims)} |", "| --- | --- |"]
    lines += [f"| {verdict.value} | {count[verdict]} |" for verdict in Verdict]
    lines += ["", SURVIVES, "**What matters most to a reader**, each with its row:", ""]
    found = {claim.name: claim for claim in claims}
    for name, text in MATTER.items():
        row = f'<a href="#row-{numbers[name]}">row {numbers[name]}</a>'  # HTML: no page generator knows the targets in a table
        lines.append(f"- {text} ({row}: {found[name].verdict.value})")
    return [*lines, ""]


def _table(claims: Sequence[Claim], numbers: dict[str, int]) -> list[str]:
    lines = ["| row, where | the paper says | verdict, what is true, what the check found |", "| --- | --- | --- |"]
    for claim in claims:
        number = numbers[claim.name]
        links = "; ".join([f"[`{claim.name}`]({claim.file})", *(_test(test) for test in claim.tests)])
        verdict = f"**{claim.verdict.value}**" + (f" {claim.when}." if claim.when else "")
        parts = [verdict, claim.instead, f"*Found:* {claim.finding.measured}.", f"*Check, test:* {links}"]
        cells = [f'<a id="row-{number}"></a>**{number}** {claim.where}', claim.statement, "<br>".join(filter(None, parts))]
        escaped = [cell.replace("|", r"\|") for cell in cells]
        lines.append(f"| {' | '.join(escaped)} |")
    return lines


def _test(reference: str) -> str:
    file, _, name = reference.partition("::")
    return f"[`{name}`](../{file})"
