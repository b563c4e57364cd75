"""A landscape in a file: what is read answers as what was written; damage and strangers are refused."""

import numpy as np
import pytest
from torch import nn

from landscape import Landscape, predict
from lattice import Activation, Conv, Dense, Flatten, Lattice, PilcroError, SpecificationError, Unit, residual
from lattice.results.files import read_arrays, write_arrays
from tests.nets.generate import net
from tests.nets.judge import asked


def model():
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=2, padding=1), nn.GELU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(4, 3)
    )


CASES = {
    "lattice": lambda: predict(Lattice.chain((1, 8), [residual([Conv(1, 3, padding=1), Activation()]), Flatten(), Dense(2)])),
    "theory": lambda: predict(model, (2, 12, 12), output=Unit((), 1)),
    "counted": lambda: predict(model, (2, 12, 12), gates="measured"),
    "maxima under an average": lambda: predict(
        lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.MaxPool1d(3, 1), nn.Conv1d(4, 4, 3), nn.AdaptiveAvgPool1d(1)),
        (2, 12),
    ),
    "training": lambda: predict(lambda: nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4)), (1, 9), mode="train", batch=8),
}


@pytest.mark.parametrize("case", CASES)
def test_a_loaded_landscape_answers_as_the_saved_one(case, tmp_path):
    land = CASES[case]()
    found = Landscape.load(land.save(tmp_path / "map.npz"))
    assert repr(found) == repr(land)
    assert found.lattice == land.lattice
    assert found.to_dict() == land.to_dict()
    for name, squared in land.layers().items():
        np.testing.assert_array_equal(found.layers()[name], squared)


def test_numpy_alone_reads_the_maps(tmp_path):
    land = CASES["lattice"]()
    with np.load(land.save(tmp_path / "map.npz"), allow_pickle=False) as file:
        np.testing.assert_array_equal(file["squared"], land.squared)
        np.testing.assert_array_equal(file["relative"], land.relative)
        np.testing.assert_array_equal(file["standard_error"], land.standard_error)


@pytest.mark.parametrize("name", ["map.pkl", "map", "nowhere/map.npz"])
def test_a_name_that_cannot_be_written_to_is_refused(name, tmp_path):
    with pytest.raises(SpecificationError, match="cannot save to"):
        CASES["lattice"]().save(tmp_path / name)


@pytest.mark.parametrize("seed", range(16))
def test_what_is_said_of_generated_networks_can_be_saved(seed, tmp_path):
    try:
        land = asked(net(seed))
    except PilcroError:
        pytest.skip("refused")
    found = Landscape.load(land.save(tmp_path / "map.npz"))
    assert repr(found) == repr(land)
    np.testing.assert_array_equal(found.squared, land.squared)


def test_a_map_of_zeros_can_be_shown_and_saved(tmp_path):
    land = predict(Lattice.chain((1, 5), [Conv(1, 3)]), initialisation=0.0)
    assert "zero everywhere: no path" in repr(land)
    assert "zero everywhere: no path" in land._repr_html_()
    found = Landscape.load(land.save(tmp_path / "map.npz"))
    assert repr(found) == repr(land)
    with pytest.raises(SpecificationError, match="zero everywhere: no path"):
        land.report()


class Halved(Conv):
    pass


def test_an_operation_of_the_users_own_is_refused_and_named(tmp_path):
    land = predict(Lattice.chain((1, 5), [Halved(1, 3)]), initialisation=1.0)
    with pytest.raises(SpecificationError, match=r"cannot be saved as a whole: .*Halved.*to_dict"):
        land.save(tmp_path / "map.npz")
    assert not list(tmp_path.iterdir())


def changed(path, change):
    header, arrays = read_arrays(path)
    change(header, arrays)
    write_arrays(path, header, arrays)


CHANGES = {
    "another kind": lambda header, arrays: header.update(format="other"),
    "a missing field": lambda header, arrays: header.pop("pooled"),
    "an unknown type": lambda header, arrays: header.update(traced={"of": ["Popen", {}]}),
    "a reason that is a number": lambda header, arrays: header.update(reasons=3),
    "a map of another shape": lambda header, arrays: arrays.update(squared=np.ones(3)),
    "an array that is not there": lambda header, arrays: header.update(output={"array": "x"}),
    "a code of two kinds": lambda header, arrays: header.update(output={"list": [], "tuple": []}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_does_not_fit_is_refused(change, tmp_path):
    path = CASES["lattice"]().save(tmp_path / "map.npz")
    changed(path, CHANGES[change])
    with pytest.raises(SpecificationError, match="is no landscape"):
        Landscape.load(path)
