"""Files, tables, folders to go on from, and where images come from."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lattice import SpecificationError
from lattice.results.files import read_arrays, write_arrays
from validation import EffectiveField, compare_fields, effective_receptive_field, field_growth
from validation.fields import measure
from validation.fields.comparisons import moved_share
from validation.fields.drawing import plot_beside, plot_fields, plot_growth, plot_overlay
from validation.fields.predicted import beside


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, padding=1))


@pytest.fixture
def field(model):
    return effective_receptive_field(model, torch.randn(24, 3, 12, 12))


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_a_field_is_the_same_after_a_file(field, tmp_path, ending):
    path = field.save(tmp_path / f"field{ending}")
    again = EffectiveField.load(path)
    assert np.array_equal(field.mean, again.mean)
    assert np.array_equal(field.standard_error, again.standard_error)
    assert repr(field) == repr(again)
    assert field.report() == again.report()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(SpecificationError, match=r"damaged|no field"):
        EffectiveField.load(path)


@pytest.mark.parametrize(
    ("change", "value"), [("grid", None), ("unit", [1.5, 2]), ("cell", [[1, 2]]), ("cell", 7), ("layer", 3), ("estimate", {})]
)
def test_a_whole_file_of_nonsense_is_refused(field, tmp_path, change, value):
    header, arrays = read_arrays(field.save(tmp_path / "field.npz"))
    header[change] = value
    write_arrays(tmp_path / "other.npz", header, arrays)
    with pytest.raises(SpecificationError, match="no field"):
        EffectiveField.load(tmp_path / "other.npz")


def test_files_that_are_none_are_refused(field, tmp_path):
    with pytest.raises(SpecificationError, match="ends in"):
        field.save(tmp_path / "field.pkl")
    with pytest.raises(SpecificationError, match="there is no file"):
        EffectiveField.load(tmp_path / "nowhere.npz")
    with pytest.raises(SpecificationError, match="there is no file"):
        EffectiveField.load(tmp_path / "nowhere.safetensors")
    field.estimate.save(tmp_path / "estimate.npz")
    with pytest.raises(SpecificationError, match="no field"):
        EffectiveField.load(tmp_path / "estimate.npz")


def test_the_table_has_a_row_for_every_pixel(field):
    pytest.importorskip("pandas")
    table = field.to_dataframe()
    assert len(table) == 144
    assert list(table.columns) == ["row", "column", "mean", "standard_error", "share"]
    assert table.loc[13, "mean"] == field.mean[1, 1]
    assert np.isclose(table["share"].sum(), 1)


def test_the_dictionary_is_json(field):
    found = json.loads(json.dumps(field.to_dict()))
    assert found["layer"] == "2" or found["layer"] == ""
    assert np.array_equal(np.array(found["mean"]), field.mean)
    assert {"name", "value", "error", "source"} == set(found["numbers"][0])
    signed = json.loads(
        json.dumps(effective_receptive_field(nn.Conv1d(1, 1, 3), torch.randn(2, 1, 5), statistic="signed").to_dict())
    )
    assert signed["statistic"] == "signed"


def test_numbers_carry_errors_and_sources(field):
    numbers = {number.name: number for number in field.numbers()}
    assert {"r(20%)", "r(99%), script", "Gaussian misfit", "field side", "centre bias", "lean, rows"} <= set(numbers)
    assert all(number.source for number in numbers.values())
    assert 0 < numbers["r(50%)"].error < numbers["r(50%)"].value
    assert "±" in field.report()
    with pytest.raises(SpecificationError, match="share between 0 and 1"):
        field.area_ratio(20)
    with pytest.raises(SpecificationError, match="form is"):
        field.area_ratio(0.2, "other")


def test_after_an_end_a_folder_goes_on_to_the_same_bits(model, tmp_path, monkeypatch):
    images = torch.randn(20, 3, 12, 12)
    whole = effective_receptive_field(model, images, batch_size=4)
    real, calls = measure.contributions, []

    def stops(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise RuntimeError("the power went")
        return real(*arguments, **options)

    monkeypatch.setattr(measure, "contributions", stops)
    with pytest.raises(RuntimeError, match="power"):
        effective_receptive_field(model, images, batch_size=4, folder=tmp_path)
    monkeypatch.setattr(measure, "contributions", real)
    assert len(list(tmp_path.glob("shard-*.npz"))) == 2
    counted = []
    monkeypatch.setattr(measure, "contributions", lambda *a, **o: counted.append(a) or real(*a, **o))
    again = effective_receptive_field(model, images, batch_size=4, folder=tmp_path)
    assert len(counted) == 3
    assert np.array_equal(again.mean, whole.mean)
    assert np.array_equal(again.standard_error, whole.standard_error)
    with pytest.raises(SpecificationError, match="another call"):
        effective_receptive_field(model, images, batch_size=4, folder=tmp_path, unit=(0, 0))
    with pytest.raises(SpecificationError, match="no iterable of batches"):
        effective_receptive_field(model, [images], folder=tmp_path / "other")
    with torch.no_grad():
        model[0].weight[0] += 1
    with pytest.raises(SpecificationError, match="another call"):
        effective_receptive_field(model, images, batch_size=4, folder=tmp_path)


def test_an_interrupt_returns_what_there_is(model, monkeypatch):
    real, calls = measure.contributions, []

    def stops(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(measure, "contributions", stops)
    field = effective_receptive_field(model, torch.randn(20, 3, 12, 12), batch_size=4)
    assert field.count == 12
    assert field.estimate.interrupted


def test_images_may_come_as_arrays_loaders_or_batches(model):
    images = torch.randn(10, 3, 12, 12)
    expected = effective_receptive_field(model, images, batch_size=4).mean
    loader = DataLoader(TensorDataset(images, torch.zeros(10)), batch_size=3)
    for given in (images.numpy(), loader, [images[:5], images[5:]]):
        assert np.array_equal(effective_receptive_field(model, given, batch_size=4).mean, expected)
    generator = (images[i : i + 2] for i in range(0, 10, 2))
    assert effective_receptive_field(model, generator, count=6, batch_size=4).count == 6
    few = effective_receptive_field(model, (images[i : i + 2] for i in range(0, 10, 2)), count=50)
    assert few.count == 10
    assert effective_receptive_field(model, images, count=4).count == 4


def test_a_folder_of_pictures_at_any_depth(model, tmp_path):
    from PIL import Image

    (tmp_path / "below").mkdir()
    for number, place in enumerate((tmp_path, tmp_path / "below", tmp_path)):
        pixels = np.random.default_rng(number).integers(0, 255, (20 + number, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    from validation.fields.attribution.images import named_images

    found = named_images(str(tmp_path), size=12)
    assert (found.count, found.shape) == (3, (3, 12, 12))
    assert effective_receptive_field(model, found).count == 3


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(0, 3, 12, 12), "one image at least"),
        (torch.zeros(1, 3, 12, 12), "two"),
        (torch.full((2, 3, 12, 12), float("nan")), "NaN"),
        (torch.zeros(2, 3, 12, 12, dtype=torch.int64), "floating-point"),
        ("no_such_data", "no data set of that name"),
        ([], "no images|shape"),
        (iter([torch.zeros(2, 3, 12, 12)]), "give count="),
        ([torch.zeros(2, 3, 12, 12), torch.zeros(2, 3, 10, 10)], "one shape"),
        ([torch.zeros(8, 3, 12, 12), torch.zeros(8, 3, 10, 10)], "one shape"),
        (7, "images is a int"),
        ([torch.full((2, 3, 12, 12), float("inf"))], "NaN or infinite"),
    ],
)
def test_images_that_are_none_are_refused(model, images, message):
    with pytest.raises(SpecificationError, match=message):
        effective_receptive_field(model, images)


def test_an_empty_folder_is_named(model, tmp_path):
    with pytest.raises(SpecificationError, match="holds no pictures"):
        effective_receptive_field(model, str(tmp_path))


def test_the_prediction_agrees_at_initialisation_and_training_moves_it():
    def factory():
        return nn.Sequential(nn.Conv2d(2, 16, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, bias=False))

    field = effective_receptive_field(factory, (2, 9, 9), draws=600)
    found = beside(field, factory, (2, 9, 9), tolerance=0.3)
    assert found.agreement.verdict.name == "AGREE"
    assert found.moved.value < 4 * found.moved.error + 0.02
    model = factory()
    with torch.no_grad():
        model[2].weight[:, :, :, 0] *= 5  # it looks to the left now
    trained = effective_receptive_field(model, torch.randn(40, 2, 9, 9))
    moved = beside(trained, factory, (2, 9, 9))
    assert moved.moved.value > 0.2
    assert moved.moved.value > 5 * moved.moved.error
    assert moved.distance_interval[0] > 0.1
    assert "lies elsewhere" in str(moved)
    assert moved.receptive_field == (5, 5)
    assert 0.2 < moved.effective_side.value <= 1
    absolute = effective_receptive_field(model, torch.randn(20, 2, 9, 9), statistic="absolute")
    assert "squared gradients" in beside(absolute, factory, (2, 9, 9)).refused


def test_a_network_that_cannot_be_traced_says_why(nets):
    field = effective_receptive_field(nets["patches"](), torch.randn(2, 3, 16, 16), layer="encoder")
    found = beside(field, nets["patches"], (3, 16, 16))
    assert found.land is None
    assert "no prediction" in str(found)


def test_fields_are_compared_and_grow(model):
    images = torch.randn(12, 3, 12, 12)
    grown = field_growth(model, images, ["0", "2"])
    widths = [found.area_ratio(0.5).value for found in grown.values()]
    assert widths[1] > widths[0]
    table = compare_fields({"first": grown["0"], "second": grown["2"]})
    assert table["second"]["moved"].value > 0.2
    assert table["second"]["moved"].error > 0
    assert "r(50%)" in table["first"]
    other = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2))
    both = compare_fields({"small": model, "large": other}, images, layer="0")
    assert both["large"]["r(50%)"].value > both["small"]["r(50%)"].value
    assert moved_share(grown["0"], grown["0"]).value == 0
    with pytest.raises(SpecificationError, match="two fields or more"):
        compare_fields({"one": grown["0"]})
    assert list(field_growth(nn.Sequential(model), images, most=3)) == ["0"]
    assert len(plot_growth(grown).axes) == 1
    assert len(plot_fields(grown).axes) == 4


def test_figures_of_one_two_and_three_axes(field, tmp_path):
    from matplotlib.figure import Figure

    for scale in ("linear", "log"):
        assert field.plot(Figure().subplots(), scale=scale).get_xlabel() == "column (pixels)"
    with pytest.raises(SpecificationError, match="scale is"):
        field.plot(Figure().subplots(), scale="cubic")
    assert plot_overlay(field, torch.rand(3, 12, 12), Figure().subplots()).get_ylabel() == "row (pixels)"
    with pytest.raises(SpecificationError, match="the image has shape"):
        field.overlay(torch.rand(3, 5, 5), Figure().subplots())
    one = effective_receptive_field(nn.Conv1d(1, 1, 3, padding=1), torch.randn(3, 1, 9))
    assert one.plot(Figure().subplots()).get_xlabel() == "input position"
    volume = effective_receptive_field(nn.Conv3d(1, 1, 3, padding=1), torch.randn(3, 1, 5, 5, 5))
    assert volume.plot(Figure().subplots(), scale="log").get_ylabel() == "row (pixels)"
    signed = effective_receptive_field(nn.Conv2d(1, 1, 3, padding=1), torch.randn(3, 1, 9, 9), statistic="signed")
    signed.plot(Figure().subplots())
    for shown in (field, one, volume, signed):
        assert "<svg" in shown._repr_html_()
    assert len(plot_beside(beside(one, nn.Conv1d(1, 1, 3, padding=1), (1, 9))).axes) >= 3
