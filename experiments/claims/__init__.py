"""The paper's claims under trial: `python -m experiments.claims` runs every check and writes docs/claims.md.

A claim is a sentence or an equation of the paper, the prose that belongs to it, and one small function that computes numbers
(with pilcro, and by means that share no code with it) and returns a `Finding`. The verdict follows from the finding.
"""

from experiments.claims import batchnorm, experiments, introduction, nonlinear, paths, proposition, regulariser, relevance
from experiments.claims.claim import Section

__all__ = ["SECTIONS"]

SECTIONS: tuple[Section, ...] = (
    introduction.section,
    paths.section,
    relevance.section,
    proposition.section,
    regulariser.section,
    experiments.printed_section,
    experiments.laptop_section,
    nonlinear.section,
    batchnorm.section,
)
