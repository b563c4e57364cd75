"""Every result, found by looking for them: plain values, tables, arrays and files say the same, and come back as they were."""

import json
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from inspect import isclass, isfunction
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np
import pytest
import torch
from torch import nn

import landscape
import lattice
import pilcro
import validation
from landscape import Prior, advise, predict
from lattice import (
    Activation,
    Conv,
    Dense,
    Flatten,
    Lattice,
    SpecificationError,
    evenness,
    families,
    gaussian_limit,
    receptive_fields,
)
from lattice.network.branches import Branches
from lattice.results.files import write_arrays
from lattice.results.saved import Saved
from lattice.results.values import MapResult, Result
from validation import beside, compare, compare_fields, effective_receptive_field, halo, measure
from validation.evaluation.measures.ablation import Ablation
from validation.evaluation.measures.corruption_error import corruption_error
from validation.evaluation.measures.location import Location
from validation.evaluation.measures.robustness import Robustness
from validation.evaluation.measures.shifts import ShiftConsistency
from validation.evaluation.summaries.cells import Cell, Row
from validation.evaluation.summaries.cells import Table as Evaluated
from validation.studies.study import error_against_draws

PACKAGES = (lattice, landscape, validation)
OWN = tuple(package.__name__ for package in PACKAGES)
NETWORKS = (Lattice, Prior, Branches, nn.Module)  # what results are about
NET = Lattice.chain((2, 6, 4), [Conv(3, 3, 2, padding=1), Activation(), Flatten(), Dense(3)])


def factory():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))


def samples():
    """Results of the public functions, and of what commands print."""
    land, estimate = predict(NET), measure(NET, draws=30)
    yield from (land, land.report(), predict(factory, (1, 6, 6), gates="measured"), estimate, compare(land, estimate))
    yield advise(families.plain(12, depth=2, stride=2))
    yield from (*receptive_fields(NET), *evenness(NET), gaussian_limit(families.plain(9, depth=3), 1))
    field = effective_receptive_field(factory, (1, 8, 8), draws=30)
    yield from (field, beside(field, factory, (1, 8, 8)), halo(factory, (1, 8, 8), draws=30))
    yield from compare_fields({"a": field, "b": field})["b"].values()
    generator = torch.Generator().manual_seed(0)
    head = nn.Sequential(factory(), nn.Flatten(), nn.Linear(72, 2))
    yield validation.empirical_landscape(head, [torch.randn(8, 1, 6, 6)], generator=generator)
    yield validation.shuffled_importance(head.double(), torch.randn(12, 1, 6, 6, dtype=torch.float64), generator=generator)
    yield error_against_draws(families.plain(9, depth=2), (20, 40), repeats=3)
    shifts, right = (-1, 0, 1), np.random.default_rng(0).random((6, 3, 3)) < 0.7
    yield from (Location(shifts, right, ~right), ShiftConsistency(4, right[:, 0]))
    yield Ablation(np.array([0, 2, 4]), np.array([[1.0, 0.5, 0.1], [1.0, 0.7, 0.2]]), 4)
    answers = np.random.default_rng(1).random((2, 5, 20)) < 0.6
    robust = Robustness(("fog", "snow"), (1, 2, 3, 4, 5), answers * 0.5, answers, np.ones(20, dtype=bool))
    yield from (robust, corruption_error(robust, [robust]))
    cells = (Cell.of([(0.5, 0.1), (0.6, 0.1)]), Cell(0.5, float("nan"), float("nan")))
    yield Evaluated("T", (("", "Top-1"), ("paper", "Top-1")), (Row("a", 2, cells), Row("b", 1, cells)), best="high")


def modules(package):
    """All modules of a package but those that run when they are imported."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            yield import_module(found.name)


def kinds(above=Result):
    for kind in above.__subclasses__():
        # a dataclass with slots is made twice
        if getattr(sys.modules[kind.__module__], kind.__name__, None) is kind and kind.__module__.split(".")[0] in OWN:
            yield kind
        yield from kinds(kind)


IMPORTED = [module for package in PACKAGES for module in modules(package)]
KINDS = sorted({kind for kind in kinds() if kind is not MapResult}, key=lambda kind: f"{kind.__module__}.{kind.__name__}")


def inside(value: Any):
    """The results that a value holds, itself among them."""
    if isinstance(value, Result):
        yield value
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from inside(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from inside(one)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for one in value:
            yield from inside(one)


@pytest.fixture(scope="module")
def found():
    """By type, every result that the samples hold."""
    by_kind: dict[type, list[Any]] = {}
    for sample in samples():
        for result in inside(sample):
            by_kind.setdefault(type(result), []).append(result)
    return by_kind


def same(first: Any, second: Any) -> bool:
    """Are two values the same, arrays and NaN included?"""
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
    if is_dataclass(first) and not isinstance(first, type):
        return type(first) is type(second) and all(
            same(getattr(first, field.name), getattr(second, field.name)) for field in fields(first) if field.init
        )
    if isinstance(first, Mapping):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, tuple | list):
        return type(first) is type(second) and len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and (first == second or first != first)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__qualname__)
def test_a_result_comes_back_from_its_file_and_its_values_from_json(kind, found, tmp_path):
    assert kind in found, "none of `samples` holds one"
    for number, result in enumerate(found[kind][:3]):
        content = result.to_dict()
        assert json.loads(json.dumps(content, allow_nan=False)) == content
        path = result.save(tmp_path / f"{number}.npz")
        loaded = kind.load(path)
        assert same(result, loaded)
        assert loaded.to_dict() == content
        assert str(loaded) == str(result)
        with np.load(path, allow_pickle=False) as file:
            assert all(file[name].dtype != object for name in file.files)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__qualname__)
def test_a_result_is_a_table_with_the_numbers_of_its_dict(kind, found):
    pytest.importorskip("pandas")
    result = found[kind][0]
    table = result.to_dataframe()
    assert len(table) > 0
    assert all(isinstance(name, str) for name in table.columns)
    assert not any(isinstance(value, dict | list) and value for value in table.iloc[0])


MAPS = [kind for kind in KINDS if issubclass(kind, MapResult)]


@pytest.mark.parametrize("kind", MAPS, ids=lambda kind: kind.__qualname__)
def test_a_map_is_an_array_and_variables_over_named_axes(kind, found):
    result = found[kind][0]
    maps = result._maps()
    first = next(iter(maps))
    np.testing.assert_array_equal(np.asarray(result), maps[first])
    assert result.to_dict()["shape"] == list(maps[first].shape)
    assert not set(result.to_dict(arrays=False)) & set(maps)
    pytest.importorskip("xarray")
    data = result.to_xarray()
    assert set(data.data_vars) == set(maps)
    for name, values in maps.items():
        np.testing.assert_array_equal(data[name].to_numpy(), values)


@pytest.mark.parametrize("kind", [kind for kind in MAPS if hasattr(kind, "plot")], ids=lambda kind: kind.__qualname__)
def test_a_plot_of_a_map_takes_what_matplotlib_takes(kind, found):
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    result = next(one for one in found[kind] if next(iter(one._maps().values())).ndim == 2)
    ax = Figure().subplots()
    assert result.plot(ax, cmap="magma", vmin=0.5, vmax=2.0) is ax
    (image,) = ax.images
    assert (image.get_cmap().name, image.get_clim()) == ("magma", (0.5, 2.0))
    assert isinstance(result.plot(ax=Figure().subplots(), norm=LogNorm(0.1, 3)).images[0].norm, LogNorm)


def test_a_file_of_another_kind_is_refused(found, tmp_path):
    some = [results[0] for results in found.values()]
    for result, other in zip(some, [*some[1:], some[0]], strict=True):
        path = result.save(tmp_path / "one.npz")
        with pytest.raises(SpecificationError, match="is no "):
            type(other).load(path)
    with pytest.raises(SpecificationError, match=r"ends in \.txt; the name ends in \.npz"):
        NET.save(tmp_path / "net.txt")


def returned(hint: Any):
    """The classes in an annotation; what an iterator makes one by one is no result."""
    if get_origin(hint) is Iterator:
        return
    if get_origin(hint) in (Union, UnionType) or get_args(hint):
        for part in get_args(hint):
            yield from returned(part)
    elif isclass(hint) and hint is not NoneType:
        yield hint


def test_what_public_functions_return_is_a_result_if_it_is_ours():
    for package in (*PACKAGES, pilcro):
        for name in package.__all__:
            function = getattr(package, name)
            function = getattr(function, "__wrapped__", function)
            if not isfunction(function):
                continue
            names = {**vars(sys.modules[function.__module__]), **{kind.__name__: kind for kind in KINDS}}
            text = function.__annotations__.get("return")
            try:
                hint = eval(text, names) if isinstance(text, str) else text
            except NameError:
                continue  # matplotlib's, networkx's
            for kind in returned(hint):
                ours = kind.__module__.split(".")[0] in OWN
                if ours and is_dataclass(kind) and not issubclass(kind, NETWORKS):
                    assert issubclass(kind, Result), f"{package.__name__}.{name} returns a {kind.__name__}"


def test_a_lattice_comes_back_from_its_file(tmp_path):
    assert issubclass(Lattice, Saved)
    found = Lattice.load(NET.save(tmp_path / "net.npz"))
    assert found == NET
    assert found.shapes == NET.shapes


def nested(depth):
    return {"list": [nested(depth - 1)]} if depth else None


WRONG = {
    "another type": {"of": ["Popen", {}]},
    "a missing field": {"of": ["Report", {}]},
    "a fraction of nothing": {"fraction": [1, 0]},
    "an array that is not there": {"array": "gone"},
    "a code of two kinds": {"list": [], "tuple": []},
    "a pair without a second": {"dict": [["a"]]},
    "an enum of no member": {"enum": ["Guarantee", "SURE"]},
    "a text": "Report",
    "deeper than Python goes": nested(300),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_says_what_no_result_is_is_refused(case, tmp_path):
    path = tmp_path / "report.npz"
    write_arrays(path, {"format": "pilcro landscape.maps.measures.Report 1", "value": WRONG[case]}, {})
    with pytest.raises(SpecificationError, match=r"is no Report|is damaged"):
        landscape.Report.load(path)
