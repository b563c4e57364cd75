"""`pilcro erf` and `pilcro halo`, as a person and as a machine would use them."""

import json

import pytest
import torch
from safetensors.torch import save_file

from landscape import Landscape
from tests.whole import Whole
from validation import EffectiveField
from validation.__main__ import main

MODEL = """
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1))

def sequence():
    return nn.Sequential(nn.LSTM(4, 5, batch_first=True))

def grey():
    return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3, stride=2, padding=1))
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def test_at_initialisation_it_measures_predicts_draws_and_saves(model, tmp_path, capsys):
    figure, saved = tmp_path / "field.png", tmp_path / "field.safetensors"
    arguments = ["erf", f"{model}:small", "--size", "12", "--images", "60", "--out", str(figure), "--save", str(saved)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for expected in ("60 draws", "r(50%)", "Gaussian width", "predicted (", "map error", str(figure)):
        assert expected in printed
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert EffectiveField.load(saved).count == 60


def test_of_trained_weights_over_a_data_set(model, tmp_path, capsys):
    torch.manual_seed(0)
    namespace = {}
    exec(MODEL, namespace)
    weights = tmp_path / "weights.safetensors"
    save_file(namespace["grey"]().state_dict(), weights)
    arguments = ["erf", f"{model}:grey", "--weights", str(weights), "--data", "digits", "--size", "16", "--channels", "1"]
    assert (
        main([*arguments, "--images", "30", "--json", "--layer", "2", "--unit", "3,5", "--save", str(tmp_path / "f.npz")]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert (found["count"], found["over"], found["layer"], found["unit"]) == (30, "image", "2", [3, 5])
    assert found["shape"] == [16, 16]
    assert "mean" not in found
    assert "relative" not in found["prediction"]
    assert found["saved"] == [str(tmp_path / name) for name in ("f.npz", "f-predicted.npz")]
    assert EffectiveField.load(found["saved"][0]).mean.shape == Landscape.load(found["saved"][1]).squared.shape == (16, 16)
    assert 0 <= found["prediction"]["moved"]["share"] <= 1
    assert "digits" in found["images"]


def test_the_page_is_whole_and_opens_layers(model, tmp_path):
    page = tmp_path / "field.html"
    assert main(["erf", f"{model}:small", "--size", "12", "--images", "24", "--report", str(page), "--json"]) == 0
    text = page.read_text()
    Whole(text)
    assert text.count("<details") >= 1
    for expected in ("Its numbers", "Where the architecture puts it", "Gaussian misfit", "pilcro erf", "<svg"):
        assert expected in text
    assert "<script" not in text


def test_a_sequence_model_without_a_prediction(model, capsys):
    arguments = ["erf", f"{model}:sequence", "--shape", "12", "4", "--channels-last", "--layer", "0", "--unit", "7"]
    assert main([*arguments, "--images", "6"]) == 0
    assert "6 draws" in capsys.readouterr().out


def test_halo_tells_an_overlap(model, tmp_path, capsys):
    figure = tmp_path / "halo.svg"
    assert main(["halo", f"{model}:small", "--size", "15", "--images", "20", "--keep", "1", "--out", str(figure)]) == 0
    assert "an overlap of 2 pixels" in capsys.readouterr().out
    assert figure.stat().st_size > 1000
    assert main(["halo", f"{model}:small", "--size", "15", "--images", "20", "--layer", "0", "--keep", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["overlap"], found["receptive_field"]) == (1, [[1, 1], [1, 1]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["erf", "{model}:small", "--layer", "conv7"], "nearest names first"),
        (["erf", "{model}:small", "--unit", "a,b"], "--unit a,b"),
        (["erf", "{model}:small", "--size", "12", "--unit", "40,2"], "12 x 12 units"),
        (["erf", "{model}:small", "--data", "nowhere"], "no data set of that name"),
        (["erf", "{model}:small", "--weights", "nowhere.safetensors"], "cannot be read"),
        (["erf", "{model}:small", "--images", "1"], "--images is 1"),
        (["erf", "{model}:small", "--t", "20"], "share between 0 and 1"),
        (["erf", "{model}:small", "--out", "field.txt"], "ends in"),
        (["erf", "{model}:small", "--save", "field.pkl"], "ends in"),
        (["erf", "resnet19"], "did you mean"),
        (["halo", "{model}:small", "--keep", "2"], "keep is 2"),
    ],
)
def test_a_request_that_cannot_be_met_exits_with_2_and_one_message(model, capsys, arguments, message):
    assert main([argument.format(model=model) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
