"""Inventories of what other projects document, for intersphinx: the few names that pilcro's signatures use.

Written here, so that the build needs no network; `make docs` follows their pages by the addresses that they publish.
"""

import zlib
from pathlib import Path

NUMPY = "reference/generated/numpy.{}.html#numpy.{}"
# project -> address, {name: (kind, page)}
PROJECTS: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "python": (
        "https://docs.python.org/3/",
        {
            **{f"collections.abc.{n}": ("class", f"library/collections.abc.html#collections.abc.{n}") for n in (
                "Callable", "Collection", "Iterable", "Iterator", "Mapping", "Sequence",
            )},
            **{n: ("class", f"library/stdtypes.html#{n}") for n in ("dict", "tuple", "list", "str", "int", "set", "bytes")},
            **{n: ("class", f"library/functions.html#{n}") for n in ("float", "bool", "object", "complex")},
            **{n: ("exception", f"library/exceptions.html#{n}") for n in ("ValueError", "ImportError", "OSError")},
            "pathlib.Path": ("class", "library/pathlib.html#pathlib.Path"),
            "fractions.Fraction": ("class", "library/fractions.html#fractions.Fraction"),
            "typing.Any": ("data", "library/typing.html#typing.Any"),
            "typing.Literal": ("data", "library/typing.html#typing.Literal"),
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        {f"numpy.{n}": ("class", NUMPY.format(n, n)) for n in ("ndarray", "dtype")}
        | {"numpy.random.Generator": ("class", "reference/random/generator.html#numpy.random.Generator")},
    ),
    "torch": (
        "https://docs.pytorch.org/docs/stable/",
        {
            "torch.Tensor": ("class", "tensors.html#torch.Tensor"),
            "torch.device": ("class", "tensor_attributes.html#torch.device"),
            "torch.Generator": ("class", "generated/torch.Generator.html#torch.Generator"),
            "torch.nn.Module": ("class", "generated/torch.nn.Module.html#torch.nn.Module"),
            "torch.export.export": ("function", "export.html#torch.export.export"),
        },
    ),
    "matplotlib": (
        "https://matplotlib.org/stable/",
        {
            "matplotlib.axes.Axes": ("class", "api/_as_gen/matplotlib.axes.Axes.html#matplotlib.axes.Axes"),
            "matplotlib.figure.Figure": ("class", "api/figure_api.html#matplotlib.figure.Figure"),
        },
    ),
    "networkx": (
        "https://networkx.org/documentation/stable/",
        {
            "networkx.DiGraph": ("class", "reference/classes/digraph.html#networkx.DiGraph"),
            "networkx.MultiDiGraph": ("class", "reference/classes/multidigraph.html#networkx.MultiDiGraph"),
        },
    ),
    "sympy": ("https://docs.sympy.org/latest/", {
        "sympy.Expr": ("class", "modules/core.html#sympy.core.expr.Expr"),
        "sympy.Symbol": ("class", "modules/core.html#sympy.core.symbol.Symbol"),
    }),
}  # fmt: skip


def inventories(folder: Path) -> dict[str, tuple[str, str]]:
    """Write the inventories into a folder, in Sphinx's second format; returns Sphinx's `intersphinx_mapping`."""
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for project, (address, names) in PROJECTS.items():
        header = (
            "# Sphinx inventory version 2",
            f"# Project: {project}",
            "# Version: ",
            "# The remainder is compressed using zlib.",
        )
        body = "".join(f"{name} py:{kind} 1 {page} -\n" for name, (kind, page) in sorted(names.items()))
        file = folder / f"{project}.inv"
        file.write_bytes("".join(f"{line}\n" for line in header).encode() + zlib.compress(body.encode()))
        mapping[project] = (address, str(file))
    return mapping
