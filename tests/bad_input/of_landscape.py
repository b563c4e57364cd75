"""Bad and strange requests to `landscape`: models of every kind, initialisations, inputs, maps."""

import warnings

import numpy as np
import torch
from torch import nn

import landscape
from landscape import batchnorm, importance, initialisation, moments
from landscape.prior import Prior
from lattice import (
    AssumptionError,
    Conv,
    Dense,
    Flatten,
    Lattice,
    Norm,
    ResourceError,
    SpecificationError,
    UnsupportedError,
    families,
)
from tests.bad_input.models import (
    Branching,
    Constant,
    Counting,
    Dictionary,
    Forgetful,
    Rowdy,
    SoftQueries,
    Tied,
    Tuple,
    broken,
    cast,
    compiled,
    quantised,
    small,
    trained,
)
from tests.bad_input.table import answered, refused, table

SHAPE = (3, 12, 12)
NET = Lattice.chain((1, 8), [Conv(2, 3, padding=1), Conv(1, 3)])
CLASSIFIER = Lattice.chain((1, 4), [Conv(2, 3, padding=1), Flatten(), Dense(3)])


def predicted(model, shape=SHAPE, **options):
    return landscape.predict(model, shape, **options)


SHAPES = table(
    {
        "landscape.predict": [
            refused("no shape", lambda _: landscape.predict(small()), "needs the shape of one input"),
            refused("no channels", lambda _: predicted(small(), (0, 12, 12)), "shape is (0, 12, 12)"),
            refused("a negative size", lambda _: predicted(small(), (3, -1, 12)), "shape is (3, -1, 12)"),
            refused("a float size", lambda _: predicted(small(), (3, 12.0, 12)), "shape is (3, 12.0, 12)"),
            refused("a bool size", lambda _: predicted(small(), (3, True, 12)), "shape is (3, True, 12)"),
            refused("a shape in words", lambda _: predicted(small(), "3x12x12"), "shape is"),
            refused("a number", lambda _: predicted(small(), 12), "shape is 12"),
            refused("four spatial axes", lambda _: predicted(small(), (3, 4, 4, 4, 4)), "shape is (3, 4, 4, 4, 4)"),
            refused(
                "another number of channels", lambda _: predicted(small(), (1, 12, 12)), "could not take", UnsupportedError
            ),
            refused(
                "an image smaller than a kernel", lambda _: predicted(small(), (3, 2, 2)), "could not take", UnsupportedError
            ),
            refused(
                "a lattice of another shape", lambda _: landscape.predict(NET, (1, 9)), "input shape (1, 8), and shape=(1, 9)"
            ),
            answered(
                "numpy sizes", lambda _: predicted(small(), tuple(np.array(SHAPE)), gates="theory").squared.shape, (12, 12)
            ),
        ],
    }
)

MODELS = table(
    {
        "landscape.predict": [
            refused("None", lambda _: predicted(None), "not a NoneType", UnsupportedError),
            refused("a misspelt name", lambda _: predicted("resnet_18"), "did you mean resnet18", SpecificationError),
            refused("a state dict", lambda _: predicted(small().state_dict()), "not a OrderedDict", UnsupportedError),
            refused("a class for a factory", lambda _: predicted(nn.Conv2d), "factory", SpecificationError),
            refused("a factory of nothing", lambda _: predicted(lambda: None), "returned a NoneType", UnsupportedError),
            refused("a factory that raises", lambda _: predicted(Rowdy.make), "factory", SpecificationError),
            refused("a forward that raises", lambda _: predicted(Rowdy()), "could not take Rowdy", UnsupportedError),
            refused("control flow that depends on data", lambda _: predicted(Branching()), "control flow", UnsupportedError),
            refused("a tuple of outputs", lambda _: predicted(Tuple()), "returns 2 tensors", UnsupportedError),
            refused("a dictionary of outputs", lambda _: predicted(Dictionary()), "'out', 'aux'", UnsupportedError),
            refused(
                "an entry that is not there",
                lambda _: predicted(Dictionary(), output="logits"),
                "output='logits' is not one",
                UnsupportedError,
            ),
            answered(
                "an entry of a dictionary",
                lambda _: predicted(Dictionary(), output="out", gates="theory").squared.shape,
                (12, 12),
            ),
            refused("a model that ignores its input", lambda _: predicted(Constant()), "", UnsupportedError),
            answered("a model that counts its passes, left as it was", lambda _: _passes(Counting()), 0.0),
            answered("a model without parameters", lambda _: predicted(nn.Flatten(), (1, 2)).squared, np.full(2, 0.5)),
            answered("an identity", lambda _: predicted(nn.Identity(), (1, 4), output=(1,)).squared, np.eye(4)[1]),
            refused(
                "recurrence", lambda _: predicted(nn.Sequential(nn.Flatten(2), nn.LSTM(144, 5)), SHAPE), "", UnsupportedError
            ),
            answered(
                "attention over the batch",  # of one image, so that every share is 1
                lambda _: predicted(_encoder(), gates="theory").guarantee.name,
                "APPROXIMATE",
            ),
            refused("attention to what is no key", lambda _: predicted(SoftQueries()), "than the keys", UnsupportedError),
            refused("softmax", lambda _: predicted(nn.Sequential(small(), nn.Softmax(1))), "softmax", UnsupportedError),
        ],
        "landscape.trace": [
            refused("a scripted module", lambda _: landscape.trace(_scripted(), SHAPE), "a scripted module", UnsupportedError),
            refused(
                "a lazy module", lambda _: landscape.trace(_quiet(nn.LazyConv2d, 4, 3), SHAPE), "lazy layers", UnsupportedError
            ),
            refused("a quantised module", lambda _: landscape.trace(quantised(), SHAPE), "quantised", UnsupportedError),
            refused(
                "a meta module without variances",
                lambda _: landscape.trace(small().to("meta"), SHAPE),
                "meta device",
                AssumptionError,
            ),
            answered(
                "a meta module with variances",
                lambda _: landscape.trace(small().to("meta"), SHAPE, initialisation=1.0).variances["0"],
                1.0,
            ),
            refused("complex weights", lambda _: landscape.trace(cast(torch.complex64), SHAPE), "complex64", UnsupportedError),
            refused("integer weights", lambda _: landscape.trace(cast(torch.int32), SHAPE), "int32", UnsupportedError),
            answered("half weights", lambda _: landscape.trace(cast(torch.float16), SHAPE).lattice.output_shape, (5,)),
            answered("bfloat16 weights", lambda _: landscape.trace(cast(torch.bfloat16), SHAPE).lattice.output_shape, (5,)),
            answered("double weights", lambda _: landscape.trace(cast(torch.float64), SHAPE).lattice.output_shape, (5,)),
            answered("a compiled module", lambda _: landscape.trace(compiled(), SHAPE).lattice.output_shape, (5,)),
            answered(
                "a DataParallel module", lambda _: landscape.trace(nn.DataParallel(small()), SHAPE).lattice.output_shape, (5,)
            ),
            refused("a lattice", lambda _: landscape.trace(NET, (1, 8)), "a Lattice", UnsupportedError),
            refused(
                "an output that is not there",
                lambda _: landscape.trace(Tuple(), SHAPE, output=2),
                "output=2 is not one of them",
                UnsupportedError,
            ),
        ],
    }
)

WEIGHTS = table(
    {
        "landscape.predict": [
            refused("tied weights", lambda _: predicted(Tied()), "tied weights", AssumptionError),
            refused("NaN weights", lambda _: predicted(broken(float("nan"))), "0: its weight has NaN", AssumptionError),
            refused("infinite weights", lambda _: predicted(broken(float("inf"))), "0: its weight has NaN", AssumptionError),
            refused("weights whose mean is not zero", lambda _: predicted(trained()), "not zero", AssumptionError),
            answered(
                "trained weights as they are",
                lambda _: predicted(trained(), initialisation="weights", gates="theory").guarantee.name,
                "APPROXIMATE",
            ),
            answered(
                "weights that are all zero",
                lambda _: float(predicted(broken(0.0, whole=True), gates="theory").squared.sum()),
                0.0,
            ),
            refused(
                "a report of a map that is zero",
                lambda _: predicted(broken(0.0, whole=True), gates="theory").report(),
                "zero everywhere",
            ),
            refused("a factory of one module", lambda _: predicted(Forgetful()), "same weights", AssumptionError),
            refused("no batch in train mode", lambda _: predicted(small(norm=True), mode="train", batch=0), "batch is 0"),
            refused("a batch of 2.5", lambda _: predicted(small(norm=True), mode="train", batch=2.5), "batch is 2.5"),
            refused(
                "a batch of one value",
                lambda _: landscape.predict(_flat_norm(), mode="train", batch=1),
                "one value, which has no variance",
            ),
            refused("an unknown mode", lambda _: predicted(small(), mode="training"), "mode is 'training'"),
            refused("unknown gates", lambda _: predicted(small(), gates="half"), "gates is 'half'"),
            refused("an output of another rank", lambda _: predicted(small(), output=(1, 1)), "no unit at position (1, 1)"),
            refused("an output that is not there", lambda _: landscape.predict(NET, output=6), "no unit at position (6,)"),
            refused(
                "an unknown scheme",
                lambda _: landscape.predict(NET, initialisation="xavier"),
                "there is no initialisation 'xavier'",
            ),
            refused("a NaN variance", lambda _: landscape.predict(NET, initialisation=float("nan")), "conv1: the variance"),
            refused(
                "a negative variance", lambda _: landscape.predict(NET, initialisation=-1.0), "must be finite and not negative"
            ),
            refused(
                "variances of other layers",
                lambda _: landscape.predict(NET, initialisation={"conv9": 1.0}),
                "unknown ['conv9']",
            ),
            refused(
                "a variance that is a word",
                lambda _: landscape.predict(NET, initialisation={"conv1": "big", "conv2": 1.0}),
                "conv1",
            ),
            refused(
                "a scheme that returns None", lambda _: landscape.predict(NET, initialisation=lambda op, shape: None), "conv1"
            ),
            refused(
                "a list of variances",
                lambda _: landscape.predict(NET, initialisation=[1.0, 2.0]),
                "initialisation is [1.0, 2.0]",
            ),
            refused(
                "variances that overflow",
                lambda _: landscape.predict(NET, initialisation=1e200),
                "overflows float64",
                ResourceError,
            ),
            refused("factors of a layer that is not there", lambda _: landscape.predict(NET, factors={"norm7": 2.0}), "norm7"),
            refused("a negative factor", lambda _: landscape.predict(_normed(), factors={"norm1": -1.0}), "norm1"),
            refused("a NaN factor", lambda _: landscape.predict(_normed(), factors={"norm1": float("nan")}), "norm1"),
            refused(
                "factors of another number of channels",
                lambda _: landscape.predict(_normed(), factors={"norm1": [1.0] * 3}),
                "norm1",
            ),
        ],
    }
)

IMAGES = table(
    {
        "landscape.predict": [
            refused("images of another size", lambda _: predicted(small(), inputs=torch.zeros(2, 3, 9, 9)), "(2, 3, 9, 9)"),
            refused(
                "images of other channels", lambda _: predicted(small(), inputs=torch.zeros(2, 1, 12, 12)), "(2, 1, 12, 12)"
            ),
            refused("one image without its batch", lambda _: predicted(small(), inputs=torch.zeros(3, 12, 12)), "(3, 12, 12)"),
            refused("no images", lambda _: predicted(small(), inputs=torch.zeros(0, 3, 12, 12)), "(0, 3, 12, 12)"),
            refused("NaN images", lambda _: predicted(small(), inputs=torch.full((2, 3, 12, 12), float("nan"))), "NaN"),
            refused(
                "integer images", lambda _: predicted(small(), inputs=torch.ones(2, 3, 12, 12, dtype=torch.uint8)), "uint8"
            ),
            refused(
                "complex images",
                lambda _: predicted(small(), inputs=torch.ones(2, 3, 12, 12, dtype=torch.complex64)),
                "complex",
            ),
            refused("a path for images", lambda _: predicted(small(), inputs="images/"), "inputs is 'images/'"),
            refused(
                "images in train mode",
                lambda _: predicted(small(norm=True), mode="train", inputs=torch.ones(2, 3, 12, 12)),
                "mode='train' with inputs",
                UnsupportedError,
            ),
            refused(
                "images of a lattice of another size",
                lambda _: landscape.predict(_gated(), inputs=np.ones((2, 1, 9))),
                "(2, 1, 9)",
            ),
            refused("NaN images of a lattice", lambda _: landscape.predict(_gated(), inputs=np.full((2, 1, 8), np.nan)), "NaN"),
            answered(
                "images of another precision than the model",
                lambda _: predicted(small(), inputs=torch.ones(2, 3, 12, 12, dtype=torch.float64)).squared.shape,
                (12, 12),
            ),
            answered(
                "images that need a gradient",
                lambda _: predicted(small(), inputs=torch.ones(2, 3, 12, 12, requires_grad=True)).squared.shape,
                (12, 12),
            ),
        ],
    }
)

REST = table(
    {
        "landscape.path_sum": [
            refused("no lattice", lambda _: landscape.path_sum(small()), "takes a lattice.Lattice"),
            refused("a NaN variance", lambda _: landscape.path_sum(NET, float("nan")), "conv1: the variance"),
            refused("an output that is not there", lambda _: landscape.path_sum(NET, output=9), "no unit at"),
        ],
        "landscape.output_map": [
            refused("no shape", lambda _: landscape.output_map(small()), "needs the shape of one input"),
            refused("a lattice of another shape", lambda _: landscape.output_map(NET, (1, 9)), "input shape (1, 8)"),
            refused("unknown gates", lambda _: landscape.output_map(NET, gates="half"), "gates is 'half'"),
            refused("a NaN variance", lambda _: landscape.output_map(NET, initialisation=float("nan")), "conv1: the variance"),
            refused("a flat output", lambda _: landscape.output_map(CLASSIFIER), "has no positions", UnsupportedError),
            refused(
                "too many positions", lambda _: landscape.output_map(families.plain(5000, 1)), "4998 positions", ResourceError
            ),
            answered(
                "a lattice without layers",
                lambda _: landscape.output_map(Lattice.chain((1, 4), []), initialisation=1.0),
                np.ones(4),
            ),
        ],
        "landscape.Landscape": [
            refused("layers of an output that is not there", lambda _: landscape.predict(NET).layers(77), "no unit at"),
            refused("a plot into a word", lambda _: landscape.predict(NET).plot("axes"), "ax is 'axes'"),
        ],
        "landscape.Trace": [
            answered("its parts", lambda _: landscape.trace(nn.Flatten(), (1, 2)).variances, {}),
        ],
        "landscape.Guarantee": [
            answered("order", lambda _: min(landscape.Guarantee).name, "APPROXIMATE"),
        ],
        "landscape.Gates": [
            answered("nothing known", lambda _: dict(landscape.Gates().gains), {}),
        ],
        "landscape.Report": [
            answered("a map of one pixel", lambda _: importance.report(np.ones((1, 1))).centre_bias, 1.0),
        ],
        "landscape.assess": [
            refused("no lattice", lambda _: landscape.assess("net"), "Lattice"),
        ],
        "landscape.squared_gradients": [
            refused("missing variances", lambda _: landscape.squared_gradients(NET, {"conv1": 1.0}), "conv2"),
            refused(
                "a NaN variance", lambda _: landscape.squared_gradients(NET, {"conv1": float("nan"), "conv2": 1.0}), "conv1"
            ),
            refused("no lattice", lambda _: landscape.squared_gradients(None, {}), "Lattice"),
        ],
        "landscape.Prior": [
            refused("no lattice", lambda _: landscape.Prior("net", {}), "Lattice"),
        ],
        "landscape.moments": [
            refused(
                "an output that is not there",
                lambda _: moments.layer_gradients(Prior(NET, {"conv1": 1.0, "conv2": 1.0}), output=9),
                "no unit at",
            ),
        ],
        "landscape.advise": [
            refused("most 0", lambda _: landscape.advise(NET, most=0), "most is 0"),
            refused("most 2.5", lambda _: landscape.advise(NET, most=2.5), "most is 2.5"),
            refused("no shape", lambda _: landscape.advise(small()), "shape"),
            refused("a model that ignores its input", lambda _: landscape.advise(Constant(), SHAPE), "", UnsupportedError),
        ],
        "landscape.Advice": [
            answered(
                "a map that is flat already",
                lambda _: landscape.advise(families.plain(8, 2, padding=1, mode="circular")).changes,
                (),
            ),
        ],
        "landscape.Change": [
            answered("what there is before", lambda _: landscape.advise(NET, most=1).before.text, "as it is"),
        ],
        "landscape.he": [
            refused("a layer without weights", lambda _: landscape.he(Flatten(), (1, 4)), "has no weights"),
        ],
        "landscape.he_fan_out": [
            refused("a layer without weights", lambda _: landscape.he_fan_out(Norm(), (1, 4)), "has no weights"),
        ],
        "landscape.glorot": [
            refused("a kernel larger than its padded input", lambda _: landscape.glorot(Conv(1, (3, 3)), (1, 4)), "2 entries"),
        ],
        "landscape.lecun": [
            refused("a layer without weights", lambda _: landscape.lecun(Flatten(), (1, 4)), "has no weights"),
        ],
        "landscape.torch_default": [
            refused("a layer without weights", lambda _: landscape.torch_default(Flatten(), (1, 4)), "has no weights"),
        ],
        "landscape.orthogonal": [
            refused("a layer without weights", lambda _: landscape.orthogonal(Flatten(), (1, 4)), "has no weights"),
        ],
        "landscape.rademacher": [
            answered("any layer", lambda _: landscape.rademacher(Flatten(), (1, 4)), 1.0),
        ],
        "landscape.truncated_normal": [
            refused("cuts that are not symmetric", lambda _: landscape.truncated_normal(1.0, -1.0, 2.0), "-c and c"),
            refused("a NaN deviation", lambda _: landscape.truncated_normal(float("nan")), "the cuts must be"),
            refused("infinite deviation", lambda _: landscape.truncated_normal(float("inf")), "deviation"),
            refused("words", lambda _: landscape.truncated_normal("1"), "deviation"),
        ],
        "landscape.initialisation": [
            refused(
                "an unknown scheme", lambda _: initialisation.layer_variances(NET, "uniform"), "there is no initialisation"
            ),
        ],
        "landscape.initialization": [
            refused(
                "both spellings",
                lambda _: landscape.predict(NET, initialisation="he", initialization="he"),
                "are one argument",
            ),
        ],
        "landscape.importance": [
            refused("a map of zeros", lambda _: importance.importance(np.zeros(4)), "zero everywhere"),
            refused(
                "a map with one NaN", lambda _: importance.report(np.array([1.0, np.nan, 1.0])), "NaN, infinite or negative"
            ),
            refused("an infinite map", lambda _: importance.importance(np.array([1.0, np.inf])), "infinite"),
            refused("a negative map", lambda _: importance.relative(np.array([3.0, -1.0])), "negative"),
            refused("an empty map", lambda _: importance.report(np.zeros((0, 4))), "not empty"),
            refused("a map of no axes", lambda _: importance.total_variation(np.array(1.0)), "shape ()"),
            refused("a period of 0", lambda _: importance.gridding(np.ones(4), 0), "period of 0"),
            refused("a share of 2", lambda _: importance.effective_area(np.ones(4), 2.0), "share is 2.0"),
            refused("an effective area of nothing", lambda _: importance.effective_area(np.zeros(4)), "zero everywhere"),
            answered("values near the end of float64", lambda _: importance.importance(np.array([1e300, 1e300])), np.ones(2)),
            answered("values near zero", lambda _: importance.importance(np.array([1e-300, 1e-300])), np.ones(2)),
            answered("total variation of one pixel", lambda _: importance.total_variation(np.ones(1)), 0.0),
        ],
        "landscape.batchnorm": [
            refused("no batch", lambda _: batchnorm.train_factors(Prior(_normed(), {"conv1": 1.0}), 0), "batch"),
        ],
    }
)


def _scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(small())


def _encoder():
    return nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(144, 2))


def _quiet(make, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(*arguments)


def _passes(model):
    landscape.predict(model, SHAPE)
    return float(model.passes)


def _flat_norm():
    return Lattice.chain((1, 4), [Flatten(), Dense(3), Norm()])


def _normed():
    return Lattice.chain((1, 8), [Conv(2, 3, padding=1), Norm()])


def _gated():
    from lattice import Activation, GlobalPool

    return Lattice.chain((1, 8), [Conv(4, 3), Activation("relu"), GlobalPool(), Flatten(), Dense(2)])


CASES = [*SHAPES, *MODELS, *WEIGHTS, *IMAGES, *REST]
