"""The paper's claims under trial: `python -m experiments.claims` runs every check and writes docs/claims.md.

A claim is a sentence or an equation of the paper, the prose that belongs to it, and one small function that computes numbers
(with pilcro, and by means that share no code with it) and returns a `Finding`. The verdict follows from the finding.
"""

from experiments.claims.appendix import batchnorm, lemma_2, nonlinear
from experiments.claims.claim import Section
from experiments.claims.importance import networks, proposition, relevance
from experiments.claims.network import counts, introduction, routes
from experiments.claims.training import estimation, laptop, printed, regulariser, trials

__all__ = ["SECTIONS"]

# a section that is spread over two modules gets its rows when they are imported, in the order of the paper
assert all(
    more.section is first.section
    for first, more in (
        (routes, counts),
        (proposition, networks),
        (regulariser, estimation),
        (laptop, trials),
        (batchnorm, lemma_2),
    )
)

SECTIONS: tuple[Section, ...] = (
    introduction.section,
    routes.section,
    relevance.section,
    proposition.section,
    regulariser.section,
    printed.section,
    laptop.section,
    nonlinear.section,
    batchnorm.section,
)
