"""The command line, as a person and as a machine would use it."""

import json

import pytest

from landscape import Advice, Landscape
from lattice.results.values import plain
from validation import Estimate, compare
from validation.__main__ import main

MODEL = """
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, stride=2))

number = 3
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def test_map_prints_the_report_and_the_agreement_and_draws(model, tmp_path, capsys):
    figure = tmp_path / "map.png"
    assert main(["map", f"{model}:small", "--size", "12", "10", "--check", "40", "--out", str(figure)]) == 0
    printed = capsys.readouterr().out
    for expected in ("EXACT", "centre bias", "map error", "scale: measured / predicted", str(figure)):
        assert expected in printed
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_json_is_one_object_with_the_same_content(model, capsys):
    assert main(["map", f"{model}:small", "--size", "9", "--check", "20", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["shape"] == [3, 9, 9]
    assert result["guarantee"] == "EXACT"
    assert not {"relative", "squared", "measured"} & set(result)
    assert result["report"]["errors"] is None
    assert result["agreement"]["verdict"] in ("AGREE", "DISAGREE", "NOT_ENOUGH_DATA")


def test_figure_1_is_one_command(capsys, tmp_path):
    figure = tmp_path / "figure1.png"
    options = ["--depth", "2", "--size", "7", "--output", "1", "--commands", "2", "0", "--out", str(figure)]
    assert main(["paths", *options]) == 0
    assert capsys.readouterr().out.startswith("0 1 2 3 2 1 0\n")
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_paths_takes_values_per_layer_skips_and_axes(capsys):
    assert main(["paths", "--depth", "2", "--stride", "2", "1", "--size", "7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == [1, 1, 2, 1, 2, 1, 1]
    assert main(["paths", "--depth", "2", "--padding", "1", "--skip", "1", "--size", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == [10, 14, 10]  # (A + 1)^2 summed: A the 3x3 band of ones
    assert main(["paths", "--depth", "1", "--axes", "2", "--kernel", "2"]) == 0
    assert capsys.readouterr().out == "1 1\n1 1\n"


def test_fields_lists_the_receptive_field_of_every_layer(capsys):
    assert main(["fields", "squeezenet1_1", "--size", "64", "--windows", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    first, *_ = said["layers"]
    assert (first["layer"], first["size"], first["stride"], first["padding"]) == (
        "features.0",
        [3, 3],
        ["2", "2"],
        [[0, -1]] * 2,
    )
    assert first["even"] is False  # 64 - 3 leaves one cell
    assert "features.0" in said["uneven"]
    assert main(["fields", "squeezenet1_1", "--size", "64", "--windows"]) == 0
    assert "features.0" in capsys.readouterr().out


def test_paths_prints_a_row_of_pascals_triangle(capsys):
    assert main(["paths", "--kernel", "3", "--depth", "4"]) == 0
    assert capsys.readouterr().out == "1 4 10 16 19 16 10 4 1\n"
    assert main(["paths", "--kernel", "3", "--depth", "2", "--padding", "1", "--size", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"size": 4, "outputs": 4, "counts": [5, 8, 8, 5]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["map", "resnet19"], "did you mean"),
        (["map", "no_such_package:factory"], "cannot import"),
        (["map", "nowhere.py:factory"], "there is no file"),
        (["map", "{model}:tiny"], "has no callable 'tiny'; it has"),
        (["map", "{model}:number"], "has no callable 'number'"),
        (["map", "{model}:small", "--size", "2"], "could not take"),
        (["map", "{model}:small", "--size", "9", "--out", "nowhere/map.png"], "does not exist"),
        (["map", "{model}:small", "--size", "9", "--check", "5"], "--check 5: a comparison needs 20 draws at least"),
        (["map", "vit_b_16"], "no path reaches the input"),  # its head starts at zero
        (["paths", "--kernel", "0"], "the least is 1"),
        (["paths", "--depth", "2", "--skip", "1"], "layers that keep the size"),
        (["paths", "--depth", "3", "--skip", "2"], "do not divide into blocks of 2"),
        (["paths", "--depth", "3", "--stride", "2", "1"], "2 values and there are 3 layers"),
        (["paths", "--commands", "0"], "a route from --output on one axis"),
        (["paths", "--kernel", "9", "--size", "5"], "a kernel of 9"),
    ],
)
def test_a_request_that_cannot_be_met_exits_with_2_and_one_message(model, capsys, arguments, message):
    assert main([argument.format(model=model) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_advise_ranks_changes_and_draws_before_and_after(model, tmp_path, capsys):
    figure = tmp_path / "advice.png"
    assert main(["advise", f"{model}:small", "--size", "12", "--most", "3", "--out", str(figure)]) == 0
    printed = capsys.readouterr().out
    for expected in ("as it is", "inputs of 13 pixels", "no claim about accuracy", str(figure)):
        assert expected in printed
    assert figure.stat().st_size > 1000
    kept = tmp_path / "advice.npz"
    assert main(["advise", f"{model}:small", "--size", "12", "--json", "--save", str(kept)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["changes"][0]["deviation"] < found["before"]["deviation"]
    assert "reweighting" not in found
    advice = Advice.load(found["saved"])
    assert advice.changes[0].deviation == found["changes"][0]["deviation"]
    assert advice.reweighting.shape == (12, 12)
    assert main(["advise", f"{model}:small", "--size", "12", "--most", "0"]) == 2
    assert "most is 0" in capsys.readouterr().err


def test_map_keeps_the_maps_that_json_leaves_out(model, tmp_path, capsys):
    kept = tmp_path / "map.npz"
    assert main(["map", f"{model}:small", "--size", "9", "--check", "20", "--save", str(kept), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["saved"] == [str(kept), str(tmp_path / "map-measured.npz")]
    land, estimate = Landscape.load(kept), Estimate.load(result["saved"][1])
    assert land.squared.shape == estimate.mean.shape == (9, 9)
    assert plain(land.report()) == result["report"]
    assert compare(land, estimate).to_dict(arrays=False) == result["agreement"]
