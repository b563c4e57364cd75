"""Bad and strange requests to `validation`: Monte Carlo, its judges, trained networks, the regulariser, run folders."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

import landscape
import validation
from lattice import AssumptionError, Conv, ConvTranspose, Dense, Flatten, Lattice, PilcroError, ResourceError, UnsupportedError
from tests.bad_input.models import Constant, Counting, Forgetful, Rowdy, Tuple, broken, cast, compiled, small
from tests.bad_input.table import answers, refuses
from validation import Penalty, Recipe, compare, measure
from validation.datasets.catalogue import load
from validation.datasets.cifar import CIFAR10
from validation.datasets.cifar import read as read_cifar
from validation.datasets.dataset import Arrays, arrays
from validation.datasets.folders import read as read_folder
from validation.evaluation.measures.ablation import ablation
from validation.evaluation.measures.location import location_sensitivity
from validation.evaluation.runs.tables import collect
from validation.montecarlo.estimate import Estimate
from validation.runtime.files import StorageError, read_arrays, write_arrays
from validation.training.checkpoint import Checkpoint, RunFolder, TrainingError, read_json, write_json
from validation.training.loop import train
from validation.training.models import build as build_model
from validation.training.scores import score

SHAPE = (3, 12, 12)
NET = Lattice.chain((1, 8), [Conv(2, 3, padding=1), Conv(1, 3)])
TINY = Lattice.chain((1, 4), [Conv(1, 3, padding=1), Flatten(), Dense(1)])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=4, dtype=torch.float32):
    return torch.randn(count, *SHAPE, generator=seeded()).to(dtype)


def estimate(draws=40, seed=0, net=NET):
    return measure(net, draws=draws, seed=seed)


def blank(**changed):
    """A finite estimate by hand."""
    blocks = 1 + np.arange(40.0).reshape(20, 2) / 40
    facts = {"seed": 0, "batched": False, "energies": np.ones(20)}
    return replace(Estimate.of_blocks(blocks, np.ones(20), **facts), **changed)


MONTE_CARLO = [
    refuses(
        "validation.plot_against_paths",
        "maps of two shapes",
        lambda _: validation.plot_against_paths(np.ones(3), np.ones(4)),
        "shape",
    ),
    refuses("validation.measure", "no draws", lambda _: measure(NET, draws=0), "draws is 0"),
    refuses("validation.measure", "one draw", lambda _: measure(NET, draws=1), "two draws at least"),
    refuses("validation.measure", "-5 draws", lambda _: measure(NET, draws=-5), "draws is -5"),
    refuses("validation.measure", "100.0 draws", lambda _: measure(NET, draws=100.0), "draws is 100.0"),
    refuses("validation.measure", "NaN draws", lambda _: measure(NET, draws=float("nan")), "draws is nan"),
    refuses("validation.measure", "draws in words", lambda _: measure(NET, draws="100"), "draws is '100'"),
    refuses("validation.measure", "2^60 draws", lambda _: measure(NET, draws=2**60), "GiB", ResourceError),
    answers("validation.measure", "numpy draws", lambda _: measure(NET, draws=np.int64(20)).draws, 20),
    refuses("validation.measure", "a negative seed", lambda _: measure(NET, draws=20, seed=-1), "seed is -1"),
    refuses("validation.measure", "a float seed", lambda _: measure(NET, draws=20, seed=0.5), "seed is 0.5"),
    answers("validation.measure", "a huge seed", lambda _: measure(NET, draws=20, seed=2**70).draws, 20),
    refuses("validation.measure", "an unknown device", lambda _: measure(NET, draws=20, device="tpu"), "device is 'tpu'"),
    refuses("validation.measure", "an unknown mode", lambda _: measure(NET, draws=20, mode="test"), "mode is 'test'"),
    refuses("validation.measure", "no shape", lambda _: measure(small, draws=20), "needs the shape"),
    refuses("validation.measure", "a shape in words", lambda _: measure(small, "3x12x12", draws=20), "shape is '3x12x12'"),
    refuses("validation.measure", "a negative size", lambda _: measure(small, (3, -12, 12), draws=20), "shape is (3, -12, 12)"),
    refuses(
        "validation.measure",
        "a lattice of another shape",
        lambda _: measure(NET, (1, 9), draws=20),
        "input shape (1, 8), and shape=(1, 9)",
    ),
    refuses(
        "validation.measure",
        "an image smaller than the model reads",
        lambda _: measure(small, (3, 9, 9), draws=20),
        "(1, 3, 9, 9)",
        PilcroError,
    ),
    refuses("validation.measure", "a module for a factory", lambda _: measure(small(), SHAPE, draws=20), "factory"),
    refuses("validation.measure", "None for a factory", lambda _: measure(None, SHAPE, draws=20), "factory"),
    refuses(
        "validation.measure",
        "a factory of one module",
        lambda _: measure(Forgetful(), SHAPE, draws=20),
        "same weights twice",
        AssumptionError,
    ),
    refuses("validation.measure", "a factory that raises", lambda _: measure(Rowdy.make, SHAPE, draws=20), "no weights today"),
    refuses(
        "validation.measure",
        "a forward that raises",
        lambda _: measure(Rowdy, SHAPE, draws=20),
        "no forward today",
        PilcroError,
    ),
    refuses(
        "validation.measure", "a factory of nothing", lambda _: measure(lambda: None, SHAPE, draws=20), "returned a NoneType"
    ),
    refuses(
        "validation.measure", "a tuple of outputs", lambda _: measure(Tuple, SHAPE, draws=20), "returns tuple", UnsupportedError
    ),
    refuses(
        "validation.measure",
        "the relative map of a model that ignores its input",
        lambda _: measure(lambda: nn.Sequential(nn.Flatten(), _Noise()), SHAPE, draws=20).relative,
        "no draw's output depended on its input",
    ),
    refuses(
        "validation.measure",
        "complex weights",
        lambda _: measure(lambda: cast(torch.complex64), SHAPE, draws=20),
        "complex",
        PilcroError,
    ),
    refuses(
        "validation.measure",
        "integer weights",
        lambda _: measure(lambda: cast(torch.int32), SHAPE, draws=20),
        "int32",
        PilcroError,
    ),
    refuses(
        "validation.measure",
        "NaN weights",
        lambda _: measure(lambda: broken(float("nan"), whole=True), SHAPE, draws=20),
        "NaN",
        PilcroError,
    ),
    refuses(
        "validation.measure",
        "a meta factory",
        lambda _: measure(lambda: small().to("meta"), SHAPE, draws=20),
        "meta",
        PilcroError,
    ),
    refuses(
        "validation.measure",
        "a batch of one in train mode",
        lambda _: measure(lambda: small(norm=True), SHAPE, draws=20, mode="train"),
        "inputs_per_draw is 1",
    ),
    refuses("validation.measure", "0 inputs a draw", lambda _: measure(NET, draws=20, inputs_per_draw=0), "inputs_per_draw 0"),
    refuses(
        "validation.measure",
        "images of another size",
        lambda _: measure(small, SHAPE, draws=20, inputs=torch.zeros(2, 3, 9, 9)),
        "(2, 3, 9, 9)",
    ),
    refuses(
        "validation.measure",
        "NaN images",
        lambda _: measure(small, SHAPE, draws=20, inputs=torch.full((2, *SHAPE), float("nan"))),
        "NaN",
    ),
    refuses(
        "validation.measure",
        "fewer images than a draw takes",
        lambda _: measure(small, SHAPE, draws=20, inputs=images(2), inputs_per_draw=3),
        "inputs_per_draw = 3",
    ),
    refuses("validation.measure", "a path for images", lambda _: measure(small, SHAPE, draws=20, inputs="images/"), "inputs"),
    answers(
        "validation.measure",
        "bfloat16 images",
        lambda _: measure(NET, draws=20, inputs=torch.ones(2, 1, 8, dtype=torch.bfloat16)).draws,
        20,
    ),
    refuses("validation.measure", "a chunk of 0", lambda _: measure(NET, draws=20, chunk=0), "chunk 0"),
    refuses("validation.measure", "a float chunk", lambda _: measure(NET, draws=20, chunk=2.5), "chunk 2.5"),
    refuses(
        "validation.measure",
        "an unknown distribution",
        lambda _: measure(NET, draws=20, distribution="cauchy"),
        "distribution is 'cauchy'",
    ),
    refuses(
        "validation.measure",
        "a folder that is a file",
        lambda f: measure(NET, draws=20, folder=_file(f / "run")),
        "cannot be used",
    ),
    refuses(
        "validation.measure",
        "a folder of other draws",
        lambda f: (measure(NET, draws=20, folder=f), measure(NET, draws=20, seed=1, folder=f)),
        "seed is 0 there and 1 here",
    ),
    refuses(
        "validation.measure",
        "a folder with a list for a manifest",
        lambda f: (_write(f / "manifest.json", "[1, 2]"), measure(NET, draws=20, folder=f)),
        "manifest.json",
    ),
    refuses(
        "validation.measure",
        "a folder with a manifest that is no text",
        lambda f: (_write(f / "manifest.json", b"\xff\xfe\x00"), measure(NET, draws=20, folder=f)),
        "manifest.json is damaged",
    ),
    refuses(
        "validation.measure",
        "a folder with a manifest nested deeply",
        lambda f: (_write(f / "manifest.json", "[" * 100_000), measure(NET, draws=20, folder=f)),
        "manifest.json is damaged",
    ),
    # estimates and their files
    refuses("validation.Estimate", "a file that is not there", lambda f: Estimate.load(f / "none.npz"), "there is no file"),
    refuses("validation.Estimate", "a folder", lambda f: Estimate.load(f), "cannot be read"),
    refuses("validation.Estimate", "half a file", lambda f: _cut(blank().save(f / "e.npz"), 0.5), "is damaged"),
    refuses("validation.Estimate", "an empty file", lambda f: _cut(blank().save(f / "e.npz"), 0), "is damaged"),
    refuses("validation.Estimate", "a name that is too long, to read", lambda f: Estimate.load(f / (300 * "a")), "too long"),
    refuses(
        "validation.Estimate",
        "a name that is too long, to write",
        lambda f: blank().save(f / (300 * "a")),
        "too long",
        StorageError,
    ),
    refuses(
        "validation.Estimate", "a folder that is too long", lambda f: blank().save(f / (300 * "a") / "b"), "does not exist"
    ),
    refuses("validation.Estimate", "another version", lambda f: _rewritten(f, format="pilcro estimate 99"), "is no estimate"),
    refuses(
        "validation.Estimate",
        "a field too many",
        lambda f: _rewritten(f, format="pilcro estimate 1", colour="red"),
        "is no estimate",
    ),
    refuses(
        "validation.Estimate", "arrays of other shapes", lambda f: _rewritten(f, arrays={"standard_error": np.ones(7)}), "shape"
    ),
    refuses("validation.Estimate", "draws that are a word", lambda f: _rewritten(f, draws="many"), "draws"),
    refuses("validation.Estimate", "pickled arrays", lambda f: _pickled(f), "is damaged or was not written"),
    refuses(
        "validation.Estimate", "saved into a folder that is not there", lambda f: blank().save(f / "none" / "e.npz"), "none"
    ),
    refuses("validation.compare", "a map of another shape", lambda _: compare(np.ones(3), blank()), "shape (3,)"),
    refuses("validation.compare", "a NaN map", lambda _: compare(np.array([1.0, np.nan]), blank()), "NaN"),
    refuses("validation.compare", "a negative map", lambda _: compare(np.array([3.0, -1.0]), blank()), "negative"),
    refuses("validation.compare", "words", lambda _: compare("map", blank()), "predicted"),
    refuses(
        "validation.compare",
        "a Landscape for an estimate",
        lambda _: compare(landscape.predict(NET), landscape.predict(NET)),
        "estimate",
    ),
    refuses(
        "validation.compare",
        "a NaN tolerance",
        lambda _: compare(np.ones(2), blank(), tolerance=float("nan")),
        "tolerance is nan",
    ),
    refuses(
        "validation.compare",
        "a negative tolerance",
        lambda _: compare(np.ones(2), blank(), tolerance=-0.1),
        "tolerance is -0.1",
    ),
    refuses(
        "validation.compare", "a confidence of 1", lambda _: compare(np.ones(2), blank(), confidence=1.0), "confidence is 1.0"
    ),
    refuses(
        "validation.compare",
        "a confidence in percent",
        lambda _: compare(np.ones(2), blank(), confidence=99),
        "confidence is 99",
    ),
    refuses("validation.compare", "nine draws", lambda _: compare(landscape.predict(NET), estimate(9)), "too few"),
    answers(
        "validation.comparison.compare.Agreement",
        "a prediction that is right to the bit",
        lambda _: compare(blank().mean, blank()).error,
        0.0,
    ),
    answers("validation.Verdict", "three of them", lambda _: len(validation.Verdict), 3),
    refuses("validation.build", "no lattice", lambda _: validation.build([Conv(1, 3)]), "Lattice"),
    refuses(
        "validation.build",
        "what torch does not have",
        lambda _: validation.build(Lattice.chain((1, 8), [ConvTranspose(1, 3, 2, output_padding=5)])),
        "output",
        PilcroError,
    ),
    refuses(
        "validation.build",
        "an unknown distribution",
        lambda _: validation.build(NET, distribution="normal "),
        "distribution is 'normal '",
    ),
    refuses("validation.build", "a seed for a generator", lambda _: validation.build(NET, generator=3), "generator is 3"),
    refuses(
        "validation.plot_agreement",
        "an estimate of another shape",
        lambda _: validation.plot_agreement(landscape.predict(NET), blank()),
        "shape",
    ),
    refuses(
        "validation.plot_agreement", "an array for a landscape", lambda _: validation.plot_agreement(np.ones(8)), "Landscape"
    ),
    refuses("validation.plot_z", "an estimate", lambda _: validation.plot_z(blank()), "Agreement"),
    # the judges
    refuses(
        "validation.enumerated_squared_gradients",
        "23 weights",
        lambda _: validation.enumerated_squared_gradients(Lattice.chain((1, 30), [Conv(1, 23)])),
        "2^23 sign patterns",
        ResourceError,
    ),
    refuses(
        "validation.enumerated_squared_gradients",
        "inputs of another shape",
        lambda _: validation.enumerated_squared_gradients(TINY, np.ones((1, 1, 5))),
        "(1, 1, 5)",
    ),
    refuses(
        "validation.enumerated_squared_gradients",
        "NaN inputs",
        lambda _: validation.enumerated_squared_gradients(TINY, np.full((1, 1, 4), np.nan)),
        "NaN",
    ),
    refuses(
        "validation.assert_exact",
        "a wrong map",
        lambda _: validation.assert_exact(TINY, np.ones(4)),
        "not the enumerated expectation",
        AssertionError,
    ),
    refuses(
        "validation.assert_exact",
        "a NaN map",
        lambda _: validation.assert_exact(TINY, np.full(4, np.nan)),
        "not the enumerated expectation",
        AssertionError,
    ),
    refuses(
        "validation.assert_exact", "a map of another shape", lambda _: validation.assert_exact(TINY, np.ones(1)), "shape (1,)"
    ),
    refuses(
        "validation.assert_chi_square",
        "a map of another shape",
        lambda _: validation.assert_chi_square(np.ones(3), blank()),
        "shape (3,)",
    ),
    refuses(
        "validation.assert_chi_square", "a NaN map", lambda _: validation.assert_chi_square(np.full(2, np.nan), blank()), "NaN"
    ),
    refuses(
        "validation.assert_chi_square",
        "a false-alarm rate of 2",
        lambda _: validation.assert_chi_square(np.ones(2), blank(), false_alarm=2.0),
        "false_alarm is 2.0",
    ),
    refuses(
        "validation.assert_agrees",
        "a NaN tolerance",
        lambda _: validation.assert_agrees(np.ones(2), blank(), tolerance=float("nan")),
        "tolerance is nan",
    ),
    refuses(
        "validation.assert_agrees",
        "a false-alarm rate of 0",
        lambda _: validation.assert_agrees(np.ones(2), blank(), tolerance=0.1, false_alarm=0.0),
        "false_alarm is 0.0",
    ),
    refuses("validation.negative_controls", "no lattice", lambda _: validation.negative_controls(3), "Lattice"),
]

NETWORKS = [
    refuses(
        "validation.shuffled_importance",
        "one sample",
        lambda _: validation.shuffled_importance(small(), images(1), generator=seeded()),
        "two samples at least",
    ),
    refuses(
        "validation.shuffled_importance",
        "integer samples",
        lambda _: validation.shuffled_importance(small(), images().int(), generator=seeded()),
        "torch.int32",
    ),
    refuses(
        "validation.shuffled_importance",
        "NaN samples",
        lambda _: validation.shuffled_importance(small(), images() * float("nan"), generator=seeded()),
        "finite",
    ),
    refuses(
        "validation.shuffled_importance",
        "a number for a generator",
        lambda _: validation.shuffled_importance(small(), images(), generator=0),
        "generator is 0",
    ),
    refuses(
        "validation.shuffled_importance",
        "a chunk of 2.5",
        lambda _: validation.shuffled_importance(small(), images(), generator=seeded(), chunk=2.5),
        "chunk",
    ),
    refuses(
        "validation.shuffled_importance",
        "a chunk of 0",
        lambda _: validation.shuffled_importance(small(), images(), generator=seeded(), chunk=0),
        "chunk",
    ),
    refuses(
        "validation.shuffled_importance",
        "one replacement",
        lambda _: validation.shuffled_importance(small(), images(), generator=seeded(), replacements=1),
        "replacements is 1",
    ),
    refuses(
        "validation.shuffled_importance",
        "2.5 replacements",
        lambda _: validation.shuffled_importance(small(), images(), generator=seeded(), replacements=2.5),
        "replacements is 2.5",
    ),
    refuses(
        "validation.shuffled_importance",
        "an unknown unit",
        lambda _: validation.shuffled_importance(small(), images(), generator=seeded(), unit="pixel"),
        "unit is 'pixel'",
    ),
    refuses(
        "validation.shuffled_importance",
        "samples of another size",
        lambda _: validation.shuffled_importance(small(), torch.rand(3, 3, 9, 9), generator=seeded()),
        "(3, 3, 9, 9)",
        PilcroError,
    ),
    refuses(
        "validation.shuffled_importance",
        "no module",
        lambda _: validation.shuffled_importance(small, images(), generator=seeded()),
        "must be a torch.nn.Module",
    ),
    refuses(
        "validation.studies.shuffle.ShuffledImportance",
        "a model that ignores its input",
        lambda _: validation.shuffled_importance(Constant(), images(), generator=seeded()),
        "no input changes",
        PilcroError,
    ),
    refuses(
        "validation.empirical_landscape",
        "no images",
        lambda _: validation.empirical_landscape(small(), [], generator=seeded()),
        "there are no images",
    ),
    refuses(
        "validation.empirical_landscape",
        "a tensor for batches",
        lambda _: validation.empirical_landscape(small(), images()[0, 0], generator=seeded()),
        "a batch is a Tensor",
    ),
    refuses(
        "validation.empirical_landscape",
        "None for batches",
        lambda _: validation.empirical_landscape(small(), None, generator=seeded()),
        "batches",
    ),
    refuses(
        "validation.empirical_landscape",
        "no generator",
        lambda _: validation.empirical_landscape(small(), [images()]),
        "give generator=",
    ),
    refuses(
        "validation.empirical_landscape",
        "NaN images",
        lambda _: validation.empirical_landscape(small(), [images() * float("nan")], generator=seeded()),
        "finite",
        PilcroError,
    ),
    refuses(
        "validation.empirical_landscape",
        "images of two sizes",
        lambda _: validation.empirical_landscape(_pooled(), [images(), torch.rand(2, 3, 9, 9)], generator=seeded()),
        "shape",
    ),
    refuses(
        "validation.empirical_landscape",
        "images that the model does not take",
        lambda _: validation.empirical_landscape(small(), [torch.rand(2, 3, 9, 9)], generator=seeded()),
        "(2, 3, 9, 9)",
        PilcroError,
    ),
    refuses(
        "validation.empirical_landscape",
        "images of another precision",
        lambda _: validation.empirical_landscape(small(), [images(dtype=torch.float64)], generator=seeded()),
        "float64",
        PilcroError,
    ),
    refuses(
        "validation.empirical_landscape",
        "a tuple of outputs",
        lambda _: validation.empirical_landscape(Tuple(), [images()], generator=seeded()),
        "returns a tuple",
        UnsupportedError,
    ),
    refuses(
        "validation.empirical_landscape",
        "a model that ignores its input",
        lambda _: validation.empirical_landscape(Constant(), [images()], generator=seeded()).map_of_means,
        "do not depend",
        PilcroError,
    ),
    refuses(
        "validation.empirical_landscape",
        "a factory",
        lambda _: validation.empirical_landscape(small, [images()], generator=seeded()),
        "must be a torch.nn.Module",
    ),
    refuses(
        "validation.empirical_landscape",
        "an unknown sum",
        lambda _: validation.empirical_landscape(small(), [images()], classes="argmax"),
        "classes is 'argmax'",
    ),
    answers("validation.empirical_landscape", "a model that counts its passes, left as it was", lambda _: _counted(), 0.0),
    refuses(
        "validation.gradients.empirical.EmpiricalLandscape",
        "an unknown average",
        lambda _: validation.empirical_landscape(small(), [images()], generator=seeded()).total_variation("median"),
        "average is 'median'",
    ),
    # the regulariser
    refuses(
        "validation.importance_map", "no generator", lambda _: validation.importance_map(small(), images()), "give generator="
    ),
    refuses(
        "validation.importance_map",
        "a seed for a generator",
        lambda _: validation.importance_map(small(), images(), generator=0),
        "generator is 0",
    ),
    refuses(
        "validation.importance_map",
        "an empty batch",
        lambda _: validation.importance_map(small(), images(0), generator=seeded()),
        "(0, 3, 12, 12)",
    ),
    refuses(
        "validation.importance_map",
        "integer images",
        lambda _: validation.importance_map(small(), images().long(), generator=seeded()),
        "torch.int64",
    ),
    refuses(
        "validation.importance_map",
        "NaN images",
        lambda _: validation.importance_map(small(), images() * float("nan"), generator=seeded()),
        "finite",
        PilcroError,
    ),
    refuses(
        "validation.importance_map",
        "an array",
        lambda _: validation.importance_map(small(), np.ones((2, *SHAPE)), generator=seeded()),
        "ndarray",
    ),
    refuses(
        "validation.importance_map",
        "an unknown way",
        lambda _: validation.importance_map(small(), images(), generator=seeded(), way="fast"),
        "way is 'fast'",
    ),
    refuses(
        "validation.importance_map",
        "too few numbers",
        lambda _: validation.importance_map(small(), images(), uniforms=torch.rand(3)),
        "for 4 images",
    ),
    refuses(
        "validation.importance_map",
        "NaN numbers",
        lambda _: validation.importance_map(small(), images(), uniforms=torch.full((4,), float("nan"))),
        "uniform",
    ),
    refuses(
        "validation.importance_map",
        "images of another size",
        lambda _: validation.importance_map(small(), torch.rand(2, 3, 9, 9), generator=seeded()),
        "(2, 3, 9, 9)",
        PilcroError,
    ),
    refuses(
        "validation.importance_map",
        "a model in another precision",
        lambda _: validation.importance_map(small().double(), images(), generator=seeded()),
        "give inputs of the size, channels and precision",
        PilcroError,
    ),
    refuses(
        "validation.importance_map",
        "a tuple of outputs",
        lambda _: validation.importance_map(Tuple(), images(), generator=seeded()),
        "returns a tuple",
        UnsupportedError,
    ),
    refuses(
        "validation.importance_map",
        "a model that ignores its input",
        lambda _: validation.importance_map(Constant(), images(), generator=seeded()),
        "do not depend on the input",
        PilcroError,
    ),
    answers(
        "validation.importance_map",
        "a compiled model",
        lambda _: validation.importance_map(compiled(), images(), generator=seeded()).shape,
        (12, 12),
    ),
    refuses(
        "validation.curvature_penalty",
        "an even width",
        lambda _: validation.curvature_penalty(torch.ones(5, 5), 4),
        "a Laplacian of width 4; it is odd",
    ),
    refuses(
        "validation.curvature_penalty", "a width of 1", lambda _: validation.curvature_penalty(torch.ones(5, 5), 1), "width 1"
    ),
    refuses(
        "validation.curvature_penalty",
        "a float width",
        lambda _: validation.curvature_penalty(torch.ones(5, 5), 3.0),
        "width 3.0",
    ),
    refuses(
        "validation.curvature_penalty",
        "a map smaller than the kernel",
        lambda _: validation.curvature_penalty(torch.ones(2, 5)),
        "does not fit a map of shape (2, 5)",
    ),
    refuses(
        "validation.curvature_penalty",
        "an unknown reduction",
        lambda _: validation.curvature_penalty(torch.ones(5, 5), reduction="max"),
        "reduction is 'max'",
    ),
    refuses("validation.curvature_penalty", "an array", lambda _: validation.curvature_penalty(np.ones((5, 5))), "ndarray"),
    refuses(
        "validation.target_penalty",
        "a target of another shape",
        lambda _: validation.target_penalty(torch.ones(5, 5), torch.ones(1, 5)),
        "target of shape (1, 5)",
    ),
    refuses(
        "validation.target_penalty",
        "an array for a target",
        lambda _: validation.target_penalty(torch.ones(2), np.ones(2)),
        "ndarray",
    ),
    refuses(
        "validation.smoothness_target",
        "flat images",
        lambda _: validation.smoothness_target(torch.ones(3, 1, 5, 5)),
        "no image among these",
    ),
    refuses(
        "validation.smoothness_target",
        "no images",
        lambda _: validation.smoothness_target(torch.ones(0, 1, 5, 5)),
        "no image among these",
    ),
    refuses(
        "validation.smoothness_target",
        "NaN images",
        lambda _: validation.smoothness_target(torch.full((1, 1, 5, 5), float("nan"))),
        "finite",
    ),
    refuses(
        "validation.smoothness_target",
        "an even width",
        lambda _: validation.smoothness_target(torch.rand(1, 1, 5, 5), 2),
        "a Laplacian of width 2",
    ),
    refuses(
        "validation.smoothness_target",
        "images of two sizes",
        lambda _: validation.smoothness_target([torch.rand(1, 1, 5, 5), torch.rand(1, 1, 6, 5)]),
        "(1, 1, 6, 5)",
    ),
    refuses("validation.smoothness_target", "a path", lambda _: validation.smoothness_target("images/"), "images"),
    refuses("validation.Penalty", "an unknown kind", lambda _: Penalty("flat"), "kind is one of"),
    refuses("validation.Penalty", "a NaN weight", lambda _: Penalty("curvature", alpha=float("nan")), "alpha is finite"),
    refuses("validation.Penalty", "an interval of 0", lambda _: Penalty(interval=0), "interval 1 at least"),
    refuses("validation.Penalty", "an interval of 2.5", lambda _: Penalty(interval=2.5), "interval"),
    refuses("validation.Penalty", "an even width", lambda _: Penalty(width=4), "is odd"),
    refuses("validation.Penalty", "a weight in words", lambda _: Penalty("curvature", alpha="10"), "alpha"),
    answers("validation.Penalty", "none", lambda _: Penalty("none").weight(0), 0.0),
]

TRAINING = [
    refuses("validation.Recipe", "an infinite learning rate", lambda _: Recipe(lr=float("inf")), "lr inf"),
    refuses("validation.Recipe", "a NaN learning rate", lambda _: Recipe(lr=float("nan")), "lr nan"),
    refuses("validation.Recipe", "a batch of 0", lambda _: Recipe(batch=0), "batch 0"),
    refuses("validation.Recipe", "a batch of 2.5", lambda _: Recipe(batch=2.5), "batch 2.5"),
    refuses("validation.Recipe", "epochs in words", lambda _: Recipe(epochs="3"), "epochs 3"),
    refuses("validation.Recipe", "a momentum of 1", lambda _: Recipe(momentum=1.0), "momentum 1.0"),
    refuses("validation.Recipe", "a negative seed", lambda _: Recipe(seed=-1), "seed -1"),
    refuses("validation.Recipe", "half precision", lambda _: Recipe(precision="float16"), "precision float16"),
    refuses("validation.Recipe", "a field that there is not", lambda _: Recipe.of({"colour": "red"}), "has no colour"),
    refuses("validation.Recipe", "a penalty that is a number", lambda _: Recipe.of({"penalty": 3}), "penalty"),
    refuses("validation.Recipe", "a penalty that is a word", lambda _: Recipe(penalty="target"), "penalty"),
    refuses("validation.Recipe", "a list of values", lambda _: Recipe.of([("lr", 0.1)]), "recipe"),
    refuses("validation.Recipe", "a change of what there is not", lambda _: Recipe().changed(colour="red"), "has no colour"),
    refuses("validation.Recipe", "a model that is a number", lambda _: Recipe(model=3), "model 3"),
    answers(
        "validation.Recipe",
        "what it saves, loaded",
        lambda _: Recipe.of(json.loads(json.dumps(Recipe(seed=7).json()))),
        Recipe(seed=7),
    ),
    # data
    refuses("validation.training", "an unknown data set", lambda _: load("mnists"), "there is no data set 'mnists'"),
    refuses(
        "validation.training",
        "labels out of range",
        lambda _: arrays(*[(np.zeros((2, 1, 4, 4), np.uint8), np.array(labels)) for labels in ([0, 1], [0, 2])], "none"),
        "labels run from 0 to 2",
    ),
    refuses(
        "validation.training",
        "negative labels",
        lambda _: arrays(*[(np.zeros((2, 1, 4, 4), np.uint8), np.array([0, -1]))] * 2, "none"),
        "labels run from -1",
    ),
    refuses(
        "validation.training",
        "no images",
        lambda _: Arrays(torch.zeros(0, 1, 4, 4), torch.zeros(0), (0.0,), (1.0,)),
        "0 images",
    ),
    refuses(
        "validation.training",
        "no training images",
        lambda _: arrays(
            (np.zeros((0, 1, 4, 4), np.uint8), np.zeros(0, int)), (np.zeros((0, 1, 4, 4), np.uint8), np.zeros(0, int)), "none"
        ),
        "no images",
    ),
    refuses(
        "validation.training",
        "fewer labels than images",
        lambda _: Arrays(torch.zeros(2, 1, 4, 4), torch.zeros(1), (0.0,), (1.0,)),
        "2 images and 1 labels",
    ),
    refuses(
        "validation.training",
        "an augmentation of folders for arrays",
        lambda _: Arrays(torch.zeros(1, 1, 4, 4), torch.zeros(1), (0.0,), (1.0,), "zoom"),
        "augment is 'zoom'",
    ),
    refuses(
        "validation.training",
        "a crop larger than the image",
        lambda _: Arrays(torch.zeros(1, 1, 4, 4), torch.zeros(1), (0.0,), (1.0,), "flip+crop").batch(
            torch.arange(1), torch.rand(1, 5)
        ),
        "random crop of 4 pixels",
    ),
    refuses("validation.training", "no CIFAR archive", lambda f: read_cifar(CIFAR10, f), "download it from"),
    refuses(
        "validation.training",
        "another CIFAR archive",
        lambda f: (_write(f / CIFAR10.name, b"not it"), read_cifar(CIFAR10, f)),
        "was not opened",
    ),
    refuses(
        "validation.training",
        "a folder in the place of CIFAR's archive",
        lambda f: ((f / CIFAR10.name).mkdir(), read_cifar(CIFAR10, f)),
        "cannot be read",
    ),
    refuses("validation.training", "CIFAR at 64 pixels", lambda f: read_cifar(CIFAR10, f, 64), "size is 64"),
    refuses("validation.training", "a size of 0 pixels", lambda _: load("digits", size=0), "size is 0"),
    refuses("validation.training", "no image folders", lambda f: read_folder(f, 32, 32, "none"), "there is no"),
    refuses("validation.training", "folders without images", lambda f: _folders(f, b""), "holds no images"),
    refuses(
        "validation.training",
        "an image that is none",
        lambda f: _folders(f, b"not an image").train.batch(torch.arange(1)),
        "cannot be read as an image",
    ),
    refuses(
        "validation.training",
        "a model of an unknown name",
        lambda _: build_model("resnet19", 3, 10, seed=0),
        "torchvision has no model",
    ),
    refuses(
        "validation.training",
        "a model file that is not there",
        lambda _: build_model("none.py:make", 3, 10, seed=0),
        "there is no file",
    ),
    # run folders
    refuses(
        "validation.training",
        "a run folder that is a file",
        lambda f: train(Recipe(data="digits"), _file(f / "run")),
        "cannot be used",
        TrainingError,
    ),
    refuses(
        "validation.training",
        "a save interval of 0",
        lambda f: train(Recipe(data="digits", epochs=1), f, save_every=0),
        "save_every is 0",
    ),
    refuses(
        "validation.training", "a batch larger than the data", lambda f: train(Recipe(data="digits", batch=10**6), f), "batch"
    ),
    refuses(
        "validation.training", "an unknown device", lambda f: train(Recipe(data="digits"), f, device="tpu"), "device is 'tpu'"
    ),
    refuses("validation.training", "a recipe that is a dictionary", lambda f: train({"lr": 0.1}, f), "recipe"),
    refuses(
        "validation.training",
        "a configuration that was changed",
        lambda f: (
            write_json(f / "config.json", {"recipe": {}}),
            _edited(f / "config.json"),
            RunFolder(f).agree_on(Recipe(), "0"),
        ),
        "is damaged",
    ),
    refuses(
        "validation.training",
        "a configuration with nothing in it",
        lambda f: (write_json(f / "config.json", {}), RunFolder(f).agree_on(Recipe(), "0")),
        "config.json",
    ),
    refuses(
        "validation.training",
        "a configuration nested deeply",
        lambda f: (_write(f / "config.json", '{"content":' * 50_000), read_json(f / "config.json")),
        "is damaged",
    ),
    refuses(
        "validation.training",
        "a configuration that is a list",
        lambda f: (_write(f / "config.json", "[1]"), read_json(f / "config.json")),
        "is damaged",
    ),
    refuses(
        "validation.training",
        "a file of a number, its hash right",
        lambda f: (write_json(f / "config.json", 3), read_json(f / "config.json")),
        "its content is 3, not names with values",
    ),
    refuses(
        "validation.training",
        "a configuration that is a folder",
        lambda f: ((f / "config.json").mkdir(), read_json(f / "config.json")),
        "cannot be read",
    ),
    refuses("validation.training", "tensors that are none", lambda f: _checkpoint(f, b"junk"), "is damaged"),
    refuses(
        "validation.training",
        "tensors that are not there",
        lambda f: (write_json(f / "step-00000001.json", {"tensors": ""}), RunFolder.read(f / "step-00000001.json")),
        "cannot be read",
    ),
    answers("validation.training", "a folder without checkpoints", lambda f: RunFolder(f).latest(), None),
    refuses(
        "validation.training",
        "a checkpoint into a folder that is not there",
        lambda f: RunFolder(f / "none").save(Checkpoint(1, {"a": torch.ones(1)}, [], [])),
        "could not be written",
        TrainingError,
    ),
    # trained networks
    refuses(
        "validation.evaluation",
        "labels that the model has no output for",
        lambda _: score(_pooled(2), _source(labels=(0, 5))),
        "there is a label 5",
    ),
    refuses(
        "validation.evaluation",
        "a model of other channels",
        lambda _: score(_pooled(), _source(channels=1)),
        "(2, 1, 12, 12)",
        PilcroError,
    ),
    refuses(
        "validation.evaluation",
        "shifts beyond the image",
        lambda _: location_sensitivity(_pooled(), _source(), (-12, 0, 12)),
        "shifts is (-12, 0, 12)",
    ),
    refuses(
        "validation.evaluation",
        "shifts of half a pixel",
        lambda _: location_sensitivity(_pooled(), _source(), (-0.5, 0, 0.5)),
        "shifts is (-0.5, 0, 0.5)",
    ),
    refuses("validation.evaluation", "no shifts", lambda _: location_sensitivity(_pooled(), _source(), ()), "shifts is ()"),
    refuses(
        "validation.evaluation",
        "an ablation of one image",
        lambda _: ablation(_pooled(), _source(), images=1),
        "two of each other at least",
    ),
    refuses(
        "validation.evaluation",
        "an ablation with a negative seed",
        lambda _: ablation(_pooled(), _source(), images=2, baselines=1, seed=-1),
        "seed",
    ),
    refuses(
        "validation.evaluation",
        "an ablation of more than there is",
        lambda _: ablation(_pooled(), _source(), images=2, baselines=9),
        "were found",
    ),
    refuses("validation.evaluation", "runs that are a file", lambda f: collect([_file(f / "run")]), "no finished run"),
    refuses("validation.evaluation", "a folder without runs", lambda f: collect([f]), "no finished run"),
    refuses(
        "validation.evaluation",
        "a result without a recipe",
        lambda f: (write_json(f / "result.json", {"scores": {}}), collect([f])),
        "result.json",
    ),
    refuses(
        "validation.evaluation",
        "a result whose recipe is a word",
        lambda f: (write_json(f / "result.json", {"recipe": "laptop"}), collect([f])),
        "recipe",
    ),
    refuses(
        "validation.evaluation",
        "a result without scores",
        lambda f: (write_json(f / "result.json", {"recipe": {}, "data": ""}), _tabled(f)),
        "result.json",
    ),
    refuses(
        "validation.evaluation",
        "a result whose scores are words",
        lambda f: (
            write_json(f / "result.json", {"recipe": {}, "data": "", "scores": {"top1": "x"}, "before": {}}),
            _tabled(f),
        ),
        "result.json",
    ),
]


class _Noise(nn.Module):
    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.randn(5))

    def forward(self, x):
        return self.logits.expand(len(x), -1) + 0 * x.sum()


def _counted():
    model = Counting()
    validation.empirical_landscape(model, [images()], generator=seeded())
    return float(model.passes)


def _pooled(classes=5):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))


def _source(channels=3, labels=(0, 1)):
    pixels = torch.arange(2 * channels * 144, dtype=torch.uint8).reshape(2, channels, 12, 12)
    return Arrays(pixels, torch.tensor(labels), (0.5,) * channels, (0.25,) * channels)


def _file(path: Path) -> Path:
    path.write_text("a file")
    return path


def _write(path: Path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _cut(path: Path, share: float):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return Estimate.load(path)


def _rewritten(folder: Path, arrays=None, **header):
    """An estimate's file with another header or arrays, its hash right."""
    was, held = read_arrays(blank().save(folder / "e.npz"))
    write_arrays(folder / "e.npz", {**was, **header}, {**held, **(arrays or {})})
    return Estimate.load(folder / "e.npz")


def _pickled(folder: Path):
    np.savez(folder / "e.npz", header=np.array([{"a": 1}], dtype=object))
    return Estimate.load(folder / "e.npz")


def _edited(path: Path):
    path.write_text(path.read_text().replace("{}", '{"lr": 1}'))


def _folders(root: Path, content: bytes):
    for part in ("train", "val"):
        (root / part / "cat").mkdir(parents=True)
        if content:
            (root / part / "cat" / "1.png").write_bytes(content)
    return read_folder(root, 8, 8, "none")


def _checkpoint(folder: Path, content: bytes):
    """A checkpoint whose hashes are right and whose tensors are none."""
    import hashlib

    (folder / "step-00000001.safetensors").write_bytes(content)
    facts = {"step": 1, "rows": [], "sums": [], "tensors": hashlib.sha256(content).hexdigest()}
    write_json(folder / "step-00000001.json", facts)
    return RunFolder.read(folder / "step-00000001.json")


def _tabled(folder: Path):
    from validation.evaluation.runs.tables import grouped, markdown

    return markdown(grouped(collect([folder])))


CASES = [*MONTE_CARLO, *NETWORKS, *TRAINING]
