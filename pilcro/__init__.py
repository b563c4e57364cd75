"""Where a convolutional network looks before it has seen an image: the front of `lattice`, `landscape` and `validation`.

=========== ================================================ =====================================================
name         question                                         function
=========== ================================================ =====================================================
`predict`    which pixels does this architecture look at?     `landscape.predict`
`measure`    what do random initialisations say?              `validation.measure`
`compare`    do prediction and measurement agree?             `validation.compare`
`advise`     what would flatten the map?                      `landscape.advise`
`erf`        where does a layer look, trained or not?         `validation.effective_receptive_field`
`train`      train, with or without the regulariser           `validation.training.loop.train`
=========== ================================================ =====================================================

Each is imported when it is first asked for.
"""

from typing import TYPE_CHECKING

from pilcro.shadows import check_packages

if TYPE_CHECKING:
    from landscape.advise import advise
    from landscape.predict import predict
    from lattice.version import __version__
    from validation.comparison.compare import compare
    from validation.fields.measure import effective_receptive_field as erf
    from validation.montecarlo.measure import measure
    from validation.training.loop import train

__all__ = ["__version__", "advise", "compare", "erf", "measure", "predict", "train"]

EXPORTS = {
    "landscape.advise": ["advise"],
    "landscape.predict": ["predict"],
    "lattice.version": ["__version__"],
    "validation.comparison.compare": ["compare"],
    "validation.fields.measure": ["effective_receptive_field as erf"],
    "validation.montecarlo.measure": ["measure"],
    "validation.training.loop": ["train"],
}


def __getattr__(name: str) -> object:
    """One of `__all__`, from a package that is known to be pilcro's own."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    check_packages()
    from lattice.lazy import lazy_exports

    find, _ = lazy_exports(__name__, EXPORTS)
    return find(name)


def __dir__() -> list[str]:
    """What tab completion offers."""
    return sorted({*globals(), *__all__})
