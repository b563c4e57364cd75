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
from lattice.results.files import StorageError, read_arrays, write_arrays
from tests.bad_input.models import Constant, Counting, Forgetful, Rowdy, Tuple, broken, cast, compiled, small
from tests.bad_input.table import answered, refused, table
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


MONTE_CARLO = table(
    {
        "validation.plot_against_paths": [
            refused("maps of two shapes", lambda _: validation.plot_against_paths(np.ones(3), np.ones(4)), "shape"),
        ],
        "validation.measure": [
            refused("no draws", lambda _: measure(NET, draws=0), "draws is 0"),
            refused("one draw", lambda _: measure(NET, draws=1), "two draws at least"),
            refused("-5 draws", lambda _: measure(NET, draws=-5), "draws is -5"),
            refused("100.0 draws", lambda _: measure(NET, draws=100.0), "draws is 100.0"),
            refused("NaN draws", lambda _: measure(NET, draws=float("nan")), "draws is nan"),
            refused("draws in words", lambda _: measure(NET, draws="100"), "draws is '100'"),
            refused("2^60 draws", lambda _: measure(NET, draws=2**60), "GiB", ResourceError),
            answered("numpy draws", lambda _: measure(NET, draws=np.int64(20)).draws, 20),
            refused("a negative seed", lambda _: measure(NET, draws=20, seed=-1), "seed is -1"),
            refused("a float seed", lambda _: measure(NET, draws=20, seed=0.5), "seed is 0.5"),
            answered("a huge seed", lambda _: measure(NET, draws=20, seed=2**70).draws, 20),
            refused("an unknown device", lambda _: measure(NET, draws=20, device="tpu"), "device is 'tpu'"),
            refused("an unknown mode", lambda _: measure(NET, draws=20, mode="test"), "mode is 'test'"),
            refused("no shape", lambda _: measure(small, draws=20), "needs the shape"),
            refused("a shape in words", lambda _: measure(small, "3x12x12", draws=20), "shape is '3x12x12'"),
            refused("a negative size", lambda _: measure(small, (3, -12, 12), draws=20), "shape is (3, -12, 12)"),
            refused(
                "a lattice of another shape", lambda _: measure(NET, (1, 9), draws=20), "input shape (1, 8), and shape=(1, 9)"
            ),
            refused(
                "an image smaller than the model reads",
                lambda _: measure(small, (3, 9, 9), draws=20),
                "(1, 3, 9, 9)",
                PilcroError,
            ),
            refused("a module for a factory", lambda _: measure(small(), SHAPE, draws=20), "factory"),
            refused("None for a factory", lambda _: measure(None, SHAPE, draws=20), "factory"),
            refused(
                "a factory of one module",
                lambda _: measure(Forgetful(), SHAPE, draws=20),
                "same weights twice",
                AssumptionError,
            ),
            refused("a factory that raises", lambda _: measure(Rowdy.make, SHAPE, draws=20), "no weights today"),
            refused("a forward that raises", lambda _: measure(Rowdy, SHAPE, draws=20), "no forward today", PilcroError),
            refused("a factory of nothing", lambda _: measure(lambda: None, SHAPE, draws=20), "returned a NoneType"),
            refused("a tuple of outputs", lambda _: measure(Tuple, SHAPE, draws=20), "returns tuple", UnsupportedError),
            refused(
                "the relative map of a model that ignores its input",
                lambda _: measure(lambda: nn.Sequential(nn.Flatten(), _Noise()), SHAPE, draws=20).relative,
                "no draw's output depended on its input",
            ),
            refused(
                "complex weights", lambda _: measure(lambda: cast(torch.complex64), SHAPE, draws=20), "complex", PilcroError
            ),
            refused("integer weights", lambda _: measure(lambda: cast(torch.int32), SHAPE, draws=20), "int32", PilcroError),
            refused(
                "NaN weights", lambda _: measure(lambda: broken(float("nan"), whole=True), SHAPE, draws=20), "NaN", PilcroError
            ),
            refused("a meta factory", lambda _: measure(lambda: small().to("meta"), SHAPE, draws=20), "meta", PilcroError),
            refused(
                "a batch of one in train mode",
                lambda _: measure(lambda: small(norm=True), SHAPE, draws=20, mode="train"),
                "inputs_per_draw is 1",
            ),
            refused("0 inputs a draw", lambda _: measure(NET, draws=20, inputs_per_draw=0), "inputs_per_draw is 0"),
            refused(
                "images of another size",
                lambda _: measure(small, SHAPE, draws=20, inputs=torch.zeros(2, 3, 9, 9)),
                "(2, 3, 9, 9)",
            ),
            refused(
                "NaN images", lambda _: measure(small, SHAPE, draws=20, inputs=torch.full((2, *SHAPE), float("nan"))), "NaN"
            ),
            refused(
                "fewer images than a draw takes",
                lambda _: measure(small, SHAPE, draws=20, inputs=images(2), inputs_per_draw=3),
                "inputs_per_draw = 3",
            ),
            refused("a path for images", lambda _: measure(small, SHAPE, draws=20, inputs="images/"), "inputs"),
            answered(
                "bfloat16 images", lambda _: measure(NET, draws=20, inputs=torch.ones(2, 1, 8, dtype=torch.bfloat16)).draws, 20
            ),
            refused("a chunk of 0", lambda _: measure(NET, draws=20, chunk=0), "chunk is 0"),
            refused("a float chunk", lambda _: measure(NET, draws=20, chunk=2.5), "chunk is 2.5"),
            refused(
                "an unknown distribution", lambda _: measure(NET, draws=20, distribution="cauchy"), "distribution is 'cauchy'"
            ),
            refused("a folder that is a file", lambda f: measure(NET, draws=20, folder=_file(f / "run")), "cannot be used"),
            refused(
                "a folder of other draws",
                lambda f: (measure(NET, draws=20, folder=f), measure(NET, draws=20, seed=1, folder=f)),
                "seed is 0 there and 1 here",
            ),
            refused(
                "a folder with a list for a manifest",
                lambda f: (_write(f / "manifest.json", "[1, 2]"), measure(NET, draws=20, folder=f)),
                "manifest.json",
            ),
            refused(
                "a folder with a manifest that is no text",
                lambda f: (_write(f / "manifest.json", b"\xff\xfe\x00"), measure(NET, draws=20, folder=f)),
                "manifest.json is damaged",
            ),
            refused(
                "a folder with a manifest nested deeply",
                lambda f: (_write(f / "manifest.json", "[" * 100_000), measure(NET, draws=20, folder=f)),
                "manifest.json is damaged",
            ),
        ],
        "validation.Estimate": [
            refused("a file that is not there", lambda f: Estimate.load(f / "none.npz"), "there is no file"),
            refused("a folder", lambda f: Estimate.load(f), "cannot be read"),
            refused("half a file", lambda f: _cut(blank().save(f / "e.npz"), 0.5), "is damaged"),
            refused("an empty file", lambda f: _cut(blank().save(f / "e.npz"), 0), "is damaged"),
            refused("a name that is too long, to read", lambda f: Estimate.load(f / (300 * "a")), "too long"),
            refused("a name that is too long, to write", lambda f: blank().save(f / (300 * "a")), "too long", StorageError),
            refused("a folder that is too long", lambda f: blank().save(f / (300 * "a") / "b"), "does not exist"),
            refused("another version", lambda f: _rewritten(f, format="pilcro estimate 99"), "is no estimate"),
            refused("a field too many", lambda f: _rewritten(f, format="pilcro estimate 1", colour="red"), "is no estimate"),
            refused("arrays of other shapes", lambda f: _rewritten(f, arrays={"standard_error": np.ones(7)}), "shape"),
            refused("draws that are a word", lambda f: _rewritten(f, draws="many"), "draws"),
            refused("pickled arrays", lambda f: _pickled(f), "is damaged or was not written"),
            refused("saved into a folder that is not there", lambda f: blank().save(f / "none" / "e.npz"), "none"),
        ],
        "validation.compare": [
            refused("a map of another shape", lambda _: compare(np.ones(3), blank()), "shape (3,)"),
            refused("a NaN map", lambda _: compare(np.array([1.0, np.nan]), blank()), "NaN"),
            refused("a negative map", lambda _: compare(np.array([3.0, -1.0]), blank()), "negative"),
            refused("words", lambda _: compare("map", blank()), "predicted"),
            refused(
                "a Landscape for an estimate", lambda _: compare(landscape.predict(NET), landscape.predict(NET)), "estimate"
            ),
            refused("a NaN tolerance", lambda _: compare(np.ones(2), blank(), tolerance=float("nan")), "tolerance is nan"),
            refused("a negative tolerance", lambda _: compare(np.ones(2), blank(), tolerance=-0.1), "tolerance is -0.1"),
            refused("a confidence of 1", lambda _: compare(np.ones(2), blank(), confidence=1.0), "confidence is 1.0"),
            refused("a confidence in percent", lambda _: compare(np.ones(2), blank(), confidence=99), "confidence is 99"),
            refused("nine draws", lambda _: compare(landscape.predict(NET), estimate(9)), "too few"),
        ],
        "validation.comparison.compare.Agreement": [
            answered("a prediction that is right to the bit", lambda _: compare(blank().mean, blank()).error, 0.0),
        ],
        "validation.Verdict": [
            answered("three of them", lambda _: len(validation.Verdict), 3),
        ],
        "validation.build": [
            refused("no lattice", lambda _: validation.build([Conv(1, 3)]), "Lattice"),
            refused(
                "what torch does not have",
                lambda _: validation.build(Lattice.chain((1, 8), [ConvTranspose(1, 3, 2, output_padding=5)])),
                "output",
                PilcroError,
            ),
            refused(
                "an unknown distribution", lambda _: validation.build(NET, distribution="normal "), "distribution is 'normal '"
            ),
            refused("a seed for a generator", lambda _: validation.build(NET, generator=3), "generator is 3"),
        ],
        "validation.plot_agreement": [
            refused(
                "an estimate of another shape", lambda _: validation.plot_agreement(landscape.predict(NET), blank()), "shape"
            ),
            refused("an array for a landscape", lambda _: validation.plot_agreement(np.ones(8)), "Landscape"),
        ],
        "validation.plot_z": [
            refused("an estimate", lambda _: validation.plot_z(blank()), "Agreement"),
        ],
        "validation.enumerated_squared_gradients": [
            refused(
                "23 weights",
                lambda _: validation.enumerated_squared_gradients(Lattice.chain((1, 30), [Conv(1, 23)])),
                "2^23 sign patterns",
                ResourceError,
            ),
            refused(
                "inputs of another shape",
                lambda _: validation.enumerated_squared_gradients(TINY, np.ones((1, 1, 5))),
                "(1, 1, 5)",
            ),
            refused("NaN inputs", lambda _: validation.enumerated_squared_gradients(TINY, np.full((1, 1, 4), np.nan)), "NaN"),
        ],
        "validation.assert_exact": [
            refused(
                "a wrong map",
                lambda _: validation.assert_exact(TINY, np.ones(4)),
                "not the enumerated expectation",
                AssertionError,
            ),
            refused(
                "a NaN map",
                lambda _: validation.assert_exact(TINY, np.full(4, np.nan)),
                "not the enumerated expectation",
                AssertionError,
            ),
            refused("a map of another shape", lambda _: validation.assert_exact(TINY, np.ones(1)), "shape (1,)"),
        ],
        "validation.assert_chi_square": [
            refused("a map of another shape", lambda _: validation.assert_chi_square(np.ones(3), blank()), "shape (3,)"),
            refused("a NaN map", lambda _: validation.assert_chi_square(np.full(2, np.nan), blank()), "NaN"),
            refused(
                "a false-alarm rate of 2",
                lambda _: validation.assert_chi_square(np.ones(2), blank(), false_alarm=2.0),
                "false_alarm is 2.0",
            ),
        ],
        "validation.assert_agrees": [
            refused(
                "a NaN tolerance",
                lambda _: validation.assert_agrees(np.ones(2), blank(), tolerance=float("nan")),
                "tolerance is nan",
            ),
            refused(
                "a false-alarm rate of 0",
                lambda _: validation.assert_agrees(np.ones(2), blank(), tolerance=0.1, false_alarm=0.0),
                "false_alarm is 0.0",
            ),
        ],
        "validation.negative_controls": [
            refused("no lattice", lambda _: validation.negative_controls(3), "Lattice"),
        ],
    }
)

NETWORKS = table(
    {
        "validation.shuffled_importance": [
            refused(
                "one sample",
                lambda _: validation.shuffled_importance(small(), images(1), generator=seeded()),
                "two samples at least",
            ),
            refused(
                "integer samples",
                lambda _: validation.shuffled_importance(small(), images().int(), generator=seeded()),
                "torch.int32",
            ),
            refused(
                "NaN samples",
                lambda _: validation.shuffled_importance(small(), images() * float("nan"), generator=seeded()),
                "finite",
            ),
            refused(
                "a number for a generator",
                lambda _: validation.shuffled_importance(small(), images(), generator=0),
                "generator is 0",
            ),
            refused(
                "a chunk of 2.5",
                lambda _: validation.shuffled_importance(small(), images(), generator=seeded(), chunk=2.5),
                "chunk",
            ),
            refused(
                "a chunk of 0",
                lambda _: validation.shuffled_importance(small(), images(), generator=seeded(), chunk=0),
                "chunk",
            ),
            refused(
                "one replacement",
                lambda _: validation.shuffled_importance(small(), images(), generator=seeded(), replacements=1),
                "replacements is 1",
            ),
            refused(
                "2.5 replacements",
                lambda _: validation.shuffled_importance(small(), images(), generator=seeded(), replacements=2.5),
                "replacements is 2.5",
            ),
            refused(
                "an unknown unit",
                lambda _: validation.shuffled_importance(small(), images(), generator=seeded(), unit="pixel"),
                "unit is 'pixel'",
            ),
            refused(
                "samples of another size",
                lambda _: validation.shuffled_importance(small(), torch.rand(3, 3, 9, 9), generator=seeded()),
                "(3, 3, 9, 9)",
                PilcroError,
            ),
            refused(
                "no module",
                lambda _: validation.shuffled_importance(small, images(), generator=seeded()),
                "must be a torch.nn.Module",
            ),
        ],
        "validation.studies.shuffle.ShuffledImportance": [
            refused(
                "a model that ignores its input",
                lambda _: validation.shuffled_importance(Constant(), images(), generator=seeded()),
                "no input changes",
                PilcroError,
            ),
        ],
        "validation.empirical_landscape": [
            refused(
                "no images", lambda _: validation.empirical_landscape(small(), [], generator=seeded()), "there are no images"
            ),
            refused(
                "a tensor for batches",
                lambda _: validation.empirical_landscape(small(), images()[0, 0], generator=seeded()),
                "a batch is a Tensor",
            ),
            refused("None for batches", lambda _: validation.empirical_landscape(small(), None, generator=seeded()), "batches"),
            refused("no generator", lambda _: validation.empirical_landscape(small(), [images()]), "give generator="),
            refused(
                "NaN images",
                lambda _: validation.empirical_landscape(small(), [images() * float("nan")], generator=seeded()),
                "finite",
                PilcroError,
            ),
            refused(
                "images of two sizes",
                lambda _: validation.empirical_landscape(_pooled(), [images(), torch.rand(2, 3, 9, 9)], generator=seeded()),
                "shape",
            ),
            refused(
                "images that the model does not take",
                lambda _: validation.empirical_landscape(small(), [torch.rand(2, 3, 9, 9)], generator=seeded()),
                "(2, 3, 9, 9)",
                PilcroError,
            ),
            refused(
                "images of another precision",
                lambda _: validation.empirical_landscape(small(), [images(dtype=torch.float64)], generator=seeded()),
                "float64",
                PilcroError,
            ),
            refused(
                "a tuple of outputs",
                lambda _: validation.empirical_landscape(Tuple(), [images()], generator=seeded()),
                "returns a tuple",
                UnsupportedError,
            ),
            refused(
                "a model that ignores its input",
                lambda _: validation.empirical_landscape(Constant(), [images()], generator=seeded()).map_of_means,
                "do not depend",
                PilcroError,
            ),
            refused(
                "a factory",
                lambda _: validation.empirical_landscape(small, [images()], generator=seeded()),
                "must be a torch.nn.Module",
            ),
            refused(
                "an unknown sum",
                lambda _: validation.empirical_landscape(small(), [images()], classes="argmax"),
                "classes is 'argmax'",
            ),
            answered("a model that counts its passes, left as it was", lambda _: _counted(), 0.0),
        ],
        "validation.gradients.empirical.EmpiricalLandscape": [
            refused(
                "an unknown average",
                lambda _: validation.empirical_landscape(small(), [images()], generator=seeded()).total_variation("median"),
                "average is 'median'",
            ),
        ],
        "validation.importance_map": [
            refused("no generator", lambda _: validation.importance_map(small(), images()), "give generator="),
            refused(
                "a seed for a generator", lambda _: validation.importance_map(small(), images(), generator=0), "generator is 0"
            ),
            refused(
                "an empty batch", lambda _: validation.importance_map(small(), images(0), generator=seeded()), "(0, 3, 12, 12)"
            ),
            refused(
                "integer images",
                lambda _: validation.importance_map(small(), images().long(), generator=seeded()),
                "torch.int64",
            ),
            refused(
                "NaN images",
                lambda _: validation.importance_map(small(), images() * float("nan"), generator=seeded()),
                "finite",
                PilcroError,
            ),
            refused(
                "an array", lambda _: validation.importance_map(small(), np.ones((2, *SHAPE)), generator=seeded()), "ndarray"
            ),
            refused(
                "an unknown way",
                lambda _: validation.importance_map(small(), images(), generator=seeded(), way="fast"),
                "way is 'fast'",
            ),
            refused(
                "too few numbers",
                lambda _: validation.importance_map(small(), images(), uniforms=torch.rand(3)),
                "for 4 images",
            ),
            refused(
                "NaN numbers",
                lambda _: validation.importance_map(small(), images(), uniforms=torch.full((4,), float("nan"))),
                "uniform",
            ),
            refused(
                "images of another size",
                lambda _: validation.importance_map(small(), torch.rand(2, 3, 9, 9), generator=seeded()),
                "(2, 3, 9, 9)",
                PilcroError,
            ),
            refused(
                "a model in another precision",
                lambda _: validation.importance_map(small().double(), images(), generator=seeded()),
                "give inputs of the size, channels and precision",
                PilcroError,
            ),
            refused(
                "a tuple of outputs",
                lambda _: validation.importance_map(Tuple(), images(), generator=seeded()),
                "returns a tuple",
                UnsupportedError,
            ),
            refused(
                "a model that ignores its input",
                lambda _: validation.importance_map(Constant(), images(), generator=seeded()),
                "do not depend on the input",
                PilcroError,
            ),
            answered(
                "a compiled model",
                lambda _: validation.importance_map(compiled(), images(), generator=seeded()).shape,
                (12, 12),
            ),
        ],
        "validation.curvature_penalty": [
            refused(
                "an even width",
                lambda _: validation.curvature_penalty(torch.ones(5, 5), 4),
                "a Laplacian of width 4; it is odd",
            ),
            refused("a width of 1", lambda _: validation.curvature_penalty(torch.ones(5, 5), 1), "width 1"),
            refused("a float width", lambda _: validation.curvature_penalty(torch.ones(5, 5), 3.0), "width 3.0"),
            refused(
                "a map smaller than the kernel",
                lambda _: validation.curvature_penalty(torch.ones(2, 5)),
                "does not fit a map of shape (2, 5)",
            ),
            refused(
                "an unknown reduction",
                lambda _: validation.curvature_penalty(torch.ones(5, 5), reduction="max"),
                "reduction is 'max'",
            ),
            refused("an array", lambda _: validation.curvature_penalty(np.ones((5, 5))), "ndarray"),
        ],
        "validation.target_penalty": [
            refused(
                "a target of another shape",
                lambda _: validation.target_penalty(torch.ones(5, 5), torch.ones(1, 5)),
                "target of shape (1, 5)",
            ),
            refused("an array for a target", lambda _: validation.target_penalty(torch.ones(2), np.ones(2)), "ndarray"),
        ],
        "validation.smoothness_target": [
            refused("flat images", lambda _: validation.smoothness_target(torch.ones(3, 1, 5, 5)), "no image among these"),
            refused("no images", lambda _: validation.smoothness_target(torch.ones(0, 1, 5, 5)), "no image among these"),
            refused("NaN images", lambda _: validation.smoothness_target(torch.full((1, 1, 5, 5), float("nan"))), "finite"),
            refused(
                "an even width", lambda _: validation.smoothness_target(torch.rand(1, 1, 5, 5), 2), "a Laplacian of width 2"
            ),
            refused(
                "images of two sizes",
                lambda _: validation.smoothness_target([torch.rand(1, 1, 5, 5), torch.rand(1, 1, 6, 5)]),
                "(1, 1, 6, 5)",
            ),
            refused("a path", lambda _: validation.smoothness_target("images/"), "images"),
        ],
        "validation.Penalty": [
            refused("an unknown kind", lambda _: Penalty("flat"), "kind is one of"),
            refused("a NaN weight", lambda _: Penalty("curvature", alpha=float("nan")), "alpha is finite"),
            refused("an interval of 0", lambda _: Penalty(interval=0), "interval 1 at least"),
            refused("an interval of 2.5", lambda _: Penalty(interval=2.5), "interval"),
            refused("an even width", lambda _: Penalty(width=4), "is odd"),
            refused("a weight in words", lambda _: Penalty("curvature", alpha="10"), "alpha"),
            answered("none", lambda _: Penalty("none").weight(0), 0.0),
        ],
    }
)

TRAINING = table(
    {
        "validation.Recipe": [
            refused("an infinite learning rate", lambda _: Recipe(lr=float("inf")), "lr inf"),
            refused("a NaN learning rate", lambda _: Recipe(lr=float("nan")), "lr nan"),
            refused("a batch of 0", lambda _: Recipe(batch=0), "batch 0"),
            refused("a batch of 2.5", lambda _: Recipe(batch=2.5), "batch 2.5"),
            refused("epochs in words", lambda _: Recipe(epochs="3"), "epochs 3"),
            refused("a momentum of 1", lambda _: Recipe(momentum=1.0), "momentum 1.0"),
            refused("a negative seed", lambda _: Recipe(seed=-1), "seed -1"),
            refused("half precision", lambda _: Recipe(precision="float16"), "precision float16"),
            refused("a field that there is not", lambda _: Recipe.of({"colour": "red"}), "has no colour"),
            refused("a penalty that is a number", lambda _: Recipe.of({"penalty": 3}), "penalty"),
            refused("a penalty that is a word", lambda _: Recipe(penalty="target"), "penalty"),
            refused("a list of values", lambda _: Recipe.of([("lr", 0.1)]), "recipe"),
            refused("a change of what there is not", lambda _: Recipe().changed(colour="red"), "has no colour"),
            refused("a model that is a number", lambda _: Recipe(model=3), "model 3"),
            answered(
                "what it saves, loaded", lambda _: Recipe.of(json.loads(json.dumps(Recipe(seed=7).json()))), Recipe(seed=7)
            ),
        ],
        "validation.training": [
            refused("an unknown data set", lambda _: load("mnists"), "there is no data set 'mnists'"),
            refused(
                "labels out of range",
                lambda _: arrays(
                    *[(np.zeros((2, 1, 4, 4), np.uint8), np.array(labels)) for labels in ([0, 1], [0, 2])], "none"
                ),
                "labels run from 0 to 2",
            ),
            refused(
                "negative labels",
                lambda _: arrays(*[(np.zeros((2, 1, 4, 4), np.uint8), np.array([0, -1]))] * 2, "none"),
                "labels run from -1",
            ),
            refused("no images", lambda _: Arrays(torch.zeros(0, 1, 4, 4), torch.zeros(0), (0.0,), (1.0,)), "0 images"),
            refused(
                "no training images",
                lambda _: arrays(
                    (np.zeros((0, 1, 4, 4), np.uint8), np.zeros(0, int)),
                    (np.zeros((0, 1, 4, 4), np.uint8), np.zeros(0, int)),
                    "none",
                ),
                "no images",
            ),
            refused(
                "fewer labels than images",
                lambda _: Arrays(torch.zeros(2, 1, 4, 4), torch.zeros(1), (0.0,), (1.0,)),
                "2 images and 1 labels",
            ),
            refused(
                "an augmentation of folders for arrays",
                lambda _: Arrays(torch.zeros(1, 1, 4, 4), torch.zeros(1), (0.0,), (1.0,), "zoom"),
                "augment is 'zoom'",
            ),
            refused(
                "a crop larger than the image",
                lambda _: Arrays(torch.zeros(1, 1, 4, 4), torch.zeros(1), (0.0,), (1.0,), "flip+crop").batch(
                    torch.arange(1), torch.rand(1, 5)
                ),
                "random crop of 4 pixels",
            ),
            refused("no CIFAR archive", lambda f: read_cifar(CIFAR10, f), "download it from"),
            refused(
                "another CIFAR archive",
                lambda f: (_write(f / CIFAR10.name, b"not it"), read_cifar(CIFAR10, f)),
                "was not opened",
            ),
            refused(
                "a folder in the place of CIFAR's archive",
                lambda f: ((f / CIFAR10.name).mkdir(), read_cifar(CIFAR10, f)),
                "cannot be read",
            ),
            refused("CIFAR at 64 pixels", lambda f: read_cifar(CIFAR10, f, 64), "size is 64"),
            refused("a size of 0 pixels", lambda _: load("digits", size=0), "size is 0"),
            refused("no image folders", lambda f: read_folder(f, 32, 32, "none"), "there is no"),
            refused("folders without images", lambda f: _folders(f, b""), "holds no images"),
            refused(
                "an image that is none",
                lambda f: _folders(f, b"not an image").train.batch(torch.arange(1)),
                "cannot be read as an image",
            ),
            refused("a model of an unknown name", lambda _: build_model("resnet19", 3, 10, seed=0), "torchvision has no model"),
            refused("a model file that is not there", lambda _: build_model("none.py:make", 3, 10, seed=0), "there is no file"),
            refused(
                "a run folder that is a file",
                lambda f: train(Recipe(data="digits"), _file(f / "run")),
                "cannot be used",
                TrainingError,
            ),
            refused(
                "a save interval of 0", lambda f: train(Recipe(data="digits", epochs=1), f, save_every=0), "save_every is 0"
            ),
            refused("a batch larger than the data", lambda f: train(Recipe(data="digits", batch=10**6), f), "batch"),
            refused("an unknown device", lambda f: train(Recipe(data="digits"), f, device="tpu"), "device is 'tpu'"),
            refused("a recipe that is a dictionary", lambda f: train({"lr": 0.1}, f), "recipe"),
            refused(
                "a configuration that was changed",
                lambda f: (
                    write_json(f / "config.json", {"recipe": {}}),
                    _edited(f / "config.json"),
                    RunFolder(f).agree_on(Recipe(), "0"),
                ),
                "is damaged",
            ),
            refused(
                "a configuration with nothing in it",
                lambda f: (write_json(f / "config.json", {}), RunFolder(f).agree_on(Recipe(), "0")),
                "config.json",
            ),
            refused(
                "a configuration nested deeply",
                lambda f: (_write(f / "config.json", '{"content":' * 50_000), read_json(f / "config.json")),
                "is damaged",
            ),
            refused(
                "a configuration that is a list",
                lambda f: (_write(f / "config.json", "[1]"), read_json(f / "config.json")),
                "is damaged",
            ),
            refused(
                "a file of a number, its hash right",
                lambda f: (write_json(f / "config.json", 3), read_json(f / "config.json")),
                "its content is 3, not names with values",
            ),
            refused(
                "a configuration that is a folder",
                lambda f: ((f / "config.json").mkdir(), read_json(f / "config.json")),
                "cannot be read",
            ),
            refused("tensors that are none", lambda f: _checkpoint(f, b"junk"), "is damaged"),
            refused(
                "tensors that are not there",
                lambda f: (write_json(f / "step-00000001.json", {"tensors": ""}), RunFolder.read(f / "step-00000001.json")),
                "cannot be read",
            ),
            answered("a folder without checkpoints", lambda f: RunFolder(f).latest(), None),
            refused(
                "a checkpoint into a folder that is not there",
                lambda f: RunFolder(f / "none").save(Checkpoint(1, {"a": torch.ones(1)}, [], [])),
                "could not be written",
                TrainingError,
            ),
        ],
        "validation.evaluation": [
            refused(
                "labels that the model has no output for",
                lambda _: score(_pooled(2), _source(labels=(0, 5))),
                "there is a label 5",
            ),
            refused(
                "a model of other channels", lambda _: score(_pooled(), _source(channels=1)), "(2, 1, 12, 12)", PilcroError
            ),
            refused(
                "shifts beyond the image",
                lambda _: location_sensitivity(_pooled(), _source(), (-12, 0, 12)),
                "shifts is (-12, 0, 12)",
            ),
            refused(
                "shifts of half a pixel",
                lambda _: location_sensitivity(_pooled(), _source(), (-0.5, 0, 0.5)),
                "shifts is (-0.5, 0, 0.5)",
            ),
            refused("no shifts", lambda _: location_sensitivity(_pooled(), _source(), ()), "shifts is ()"),
            refused(
                "an ablation of one image", lambda _: ablation(_pooled(), _source(), images=1), "two of each other at least"
            ),
            refused(
                "an ablation with a negative seed",
                lambda _: ablation(_pooled(), _source(), images=2, baselines=1, seed=-1),
                "seed",
            ),
            refused(
                "an ablation of more than there is",
                lambda _: ablation(_pooled(), _source(), images=2, baselines=9),
                "were found",
            ),
            refused("runs that are a file", lambda f: collect([_file(f / "run")]), "no finished run"),
            refused("a folder without runs", lambda f: collect([f]), "no finished run"),
            refused(
                "a result without a recipe",
                lambda f: (write_json(f / "result.json", {"scores": {}}), collect([f])),
                "result.json",
            ),
            refused(
                "a result whose recipe is a word",
                lambda f: (write_json(f / "result.json", {"recipe": "laptop"}), collect([f])),
                "recipe",
            ),
            refused(
                "a result without scores",
                lambda f: (write_json(f / "result.json", {"recipe": {}, "data": ""}), _tabled(f)),
                "result.json",
            ),
            refused(
                "a result whose scores are words",
                lambda f: (
                    write_json(f / "result.json", {"recipe": {}, "data": "", "scores": {"top1": "x"}, "before": {}}),
                    _tabled(f),
                ),
                "result.json",
            ),
        ],
    }
)


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
    from validation.evaluation.runs.tables import grouped
    from validation.evaluation.summaries.scores import scores_table

    return scores_table(grouped(collect([folder])))


CASES = [*MONTE_CARLO, *NETWORKS, *TRAINING]
