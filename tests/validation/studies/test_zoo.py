"""The zoo's machinery, with models of a few weights in place of torchvision's and timm's."""

import json

import pytest
from torch import nn

import validation.studies.zoo as study
from lattice import SpecificationError


def tiny():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


class Sorted(nn.Module):
    def forward(self, x):
        return x.sort(-1)[0]


class Fixed(nn.Module):
    """Takes 12 pixels only."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * 12 * 12, 2)

    def forward(self, x):
        return self.layer(x.flatten(1))


def silent():
    model = tiny()
    nn.init.zeros_(model[-1].weight)
    return model


@pytest.fixture(autouse=True)
def made(monkeypatch):
    calls = []

    def counted(factory):
        return lambda: calls.append(factory) or factory()

    models = {"tiny": tiny, "sorted": lambda: nn.Sequential(tiny()[0], Sorted()), "fixed": Fixed, "silent": silent}
    found = tuple(study.Entry(name, counted(factory), (8, 12)) for name, factory in models.items())
    monkeypatch.setattr(study, "entries", lambda size: found)
    return calls


def test_each_model_has_a_row_that_says_what_became_of_it():
    table = study.zoo(size=8)
    assert table.column("read") == ["proven", "refused", "proven", "proven"]
    assert table.column("pixels") == [8, 8, 12, 8]
    assert "sort" in table.column("why")[1]
    assert "no gradient" in table.column("why")[3]
    assert table.notes[0] == "read: 3 of 4 models"
    centre, unreachable = table.column("centre bias")[0], table.column("unreachable")[0]
    assert centre >= 1
    assert unreachable == 0


def test_rows_that_are_kept_are_not_made_again(tmp_path, made):
    first = study.zoo(("tiny",), size=8, folder=tmp_path)
    count = len(made)
    assert study.zoo(("tiny",), size=8, folder=tmp_path).rows == first.rows
    assert len(made) == count
    kept = json.loads((tmp_path / "tiny.json").read_text())
    kept["asked"]["seed"] = 5  # of another call
    (tmp_path / "tiny.json").write_text(json.dumps(kept))
    study.zoo(("tiny",), size=8, folder=tmp_path)
    assert len(made) > count


def test_map_errors_stand_where_draws_were_asked_for():
    (row,) = study.zoo(("tiny",), size=8, draws=60).rows
    found = dict(zip(study.COLUMNS, row, strict=True))
    assert 0 <= found["map error"] < 0.5
    assert found["resolution"] > 0


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(SpecificationError, match="no model giraffe"):
        study.zoo(("giraffe",))


def test_a_table_without_series_writes_no_figure(tmp_path):
    assert [path.name for path in study.zoo(("tiny",), size=8).write(tmp_path / "zoo")] == ["zoo.md"]
