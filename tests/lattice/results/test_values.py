"""Results as plain values and tables: each form says the same as the result."""

import json
import sys

import numpy as np
import pytest

from landscape import advise, predict
from lattice import Conv, Dense, Flatten, Lattice, SpecificationError, families
from lattice.results.values import plain
from validation import compare, measure

NET = Lattice.chain((2, 6, 4), [Conv(3, 3, 2, padding=1), Flatten(), Dense(3)])
LAND = predict(NET)
MEASURED = measure(NET, draws=30)
AGREEMENT = compare(LAND, MEASURED)
RESULTS = [LAND, MEASURED, AGREEMENT, LAND.report(), advise(families.plain(12, depth=2, stride=2))]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_a_dict_comes_back_from_json_as_it_was(result):
    content = result.to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content


@pytest.mark.parametrize(("result", "first"), [(LAND, LAND.squared), (MEASURED, MEASURED.mean), (AGREEMENT, AGREEMENT.z)])
def test_a_map_is_an_array_a_list_and_a_table_of_pixels(result, first):
    np.testing.assert_array_equal(np.asarray(result), first)
    name = next(iter(result._maps()))
    np.testing.assert_array_equal(result.to_dict()[name], first)
    assert name not in result.to_dict(arrays=False)
    pytest.importorskip("pandas")
    table = result.to_dataframe()
    assert list(table.columns[:2]) == ["row", "column"]
    assert table.pivot(index="row", columns="column", values=name).to_numpy().tolist() == first.tolist()


def test_an_array_of_a_result_keeps_numpys_rules_of_copies():
    assert np.asarray(LAND) is LAND.squared
    assert np.array(LAND, dtype=np.float32).dtype == np.float32
    assert np.array(LAND, copy=True) is not LAND.squared


def test_the_table_of_advice_has_a_row_for_each_network():
    pytest.importorskip("pandas")
    advice = RESULTS[-1]
    table = advice.to_dataframe()
    assert table["text"].tolist() == ["as it is", *(change.text for change in advice.changes)]
    assert table["report.centre_bias"].tolist() == [c.report().centre_bias for c in (advice.before, *advice.changes)]


@pytest.mark.parametrize(("module", "method"), [("pandas", "to_dataframe"), ("xarray", "to_xarray")])
def test_what_is_not_installed_is_named(module, method, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SpecificationError, match=rf"{method}\(\) needs {module}: pip install {module}"):
        getattr(LAND, method)()


def test_xarray_has_named_axes_and_the_facts():
    xarray = pytest.importorskip("xarray")
    made = LAND.to_xarray()
    assert isinstance(made, xarray.Dataset)
    assert made["squared"].dims == ("row", "column")
    np.testing.assert_array_equal(made["relative"].to_numpy(), LAND.relative)
    assert made.attrs["guarantee"] == "EXACT"


def test_a_value_without_a_form_in_json_is_refused():
    with pytest.raises(SpecificationError, match="has no form in JSON"):
        plain(object())
