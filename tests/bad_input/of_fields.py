"""Bad and strange requests to effective receptive fields, halos, and their commands."""

import contextlib
import io

import numpy as np
import torch
from torch import nn

from lattice import AssumptionError, SpecificationError, UnsupportedError
from tests.bad_input.table import answered, refused, table
from validation import EffectiveField, beside, compare_fields, effective_receptive_field, field_growth, halo, predicted_field
from validation.__main__ import main
from validation.fields.halo import Halo

SHAPE = (1, 9)


def conv(weight=1.0):
    layer = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    nn.init.constant_(layer.weight, weight)
    return layer


def images(count=3):
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0))


def field(**options):
    return effective_receptive_field(conv(), images(), **options)


def fails(*arguments):
    """What a command writes to stderr; it must exit with 2."""
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert main(list(arguments)) == 2
    raise SpecificationError(said.getvalue())


ERF, HALO, FIELD = "validation.effective_receptive_field", "validation.halo", "validation.EffectiveField"
CASES = table(
    {
        ERF: [
            refused("a layer that is none", lambda _: field(layer="fc"), "has no layer 'fc'"),
            refused("a unit outside", lambda _: field(unit=9), "9 units"),
            refused("a negative unit", lambda _: field(unit=(-1,)), "unit is (-1,)"),
            refused("a unit that is true", lambda _: field(unit=True), "unit is True"),
            refused("no statistic", lambda _: field(statistic=None), "statistic is None"),
            refused("no images", lambda _: effective_receptive_field(conv(), images(0)), "one image at least"),
            refused("one image", lambda _: effective_receptive_field(conv(), images(1)), "give two at least"),
            refused("one draw", lambda _: effective_receptive_field(conv, SHAPE, draws=1), "draws is 1"),
            refused("a seed below zero", lambda _: field(seed=-1), "seed is -1"),
            refused("images that are text", lambda _: effective_receptive_field(conv(), "cats"), "no data set of that name"),
            refused("images of no kind", lambda _: effective_receptive_field(conv(), None), "images is a NoneType"),
            refused("no model", lambda _: effective_receptive_field(None, images()), "the model is a NoneType"),
            refused("a factory of no model", lambda _: effective_receptive_field(lambda: 3, SHAPE), "returned a int"),
            refused(
                "weights that are NaN", lambda _: effective_receptive_field(conv(np.nan), images()), "NaN", AssumptionError
            ),
            refused(
                "weights that overflow",
                lambda _: effective_receptive_field(nn.Sequential(conv(3e38), conv(3e38)), images()),
                "infinite",
                AssumptionError,
            ),
            refused(
                "weights of zero",
                lambda _: effective_receptive_field(conv(0.0), images()),
                "does not depend on the input",
                UnsupportedError,
            ),
            refused(
                "images of another size",
                lambda _: effective_receptive_field(conv(), torch.zeros(2, 3, 9)),
                "raised",
                UnsupportedError,
            ),
            answered("float64 weights and images", lambda _: effective_receptive_field(conv().double(), images()).mean[4], 1.0),
            answered("small weights", lambda _: effective_receptive_field(conv(2.0**-70), images()).mean[4], 2.0**-140),
        ],
        FIELD: [
            refused(
                "shares of signed maps",
                lambda _: effective_receptive_field(conv(-1.0), images(), statistic="signed").share,
                "none",
            ),
            refused("a share of 20", lambda _: field().area_ratio(20), "between 0 and 1"),
            refused("a file that is none", lambda f: EffectiveField.load(f / "field.npz"), "there is no file"),
            refused("a pickle", lambda f: field().save(f / "field.pkl"), "ends in"),
        ],
        "validation.predicted_field": [
            refused("no shape", lambda _: predicted_field(conv, (9,)), "shape is"),
            refused("no layer", lambda _: predicted_field(conv, SHAPE, layer="2"), "has no layer"),
        ],
        "validation.beside": [
            refused("another size", lambda _: beside(field(), conv, (1, 12)), "the field has (9,) positions"),
        ],
        "validation.compare_fields": [
            refused("one field", lambda _: compare_fields({"a": field()}), "two fields or more"),
            refused("maps", lambda _: compare_fields({"a": field(), "b": np.ones(9)}), "two fields or more"),
        ],
        "validation.field_growth": [
            refused("no such layer", lambda _: field_growth(conv(), images(), ["7"]), "has no layer '7'"),
        ],
        HALO: [
            refused("no images", lambda _: halo(conv()), "needs images"),
            refused("all and more", lambda _: halo(field(), keep=1.01), "keep is 1.01"),
            refused("a period of zero", lambda _: halo(conv(), images(), period=0), "period is 0"),
        ],
        "validation.fields.halo.Halo": [
            answered("everything is kept", lambda _: halo(field(), keep=1).overlap, 1),
            answered("of the class itself", lambda _: isinstance(halo(field()), Halo), True),
        ],
        "pilcro erf": [
            refused("a folder of nothing", lambda f: fails("erf", "resnet18", "--data", str(f)), "holds no pictures"),
            refused("no such model", lambda _: fails("erf", "resnet19"), "did you mean"),
        ],
        "pilcro halo": [
            refused("a share above one", lambda _: fails("halo", "resnet18", "--keep", "1.5"), "keep is 1.5"),
        ],
    }
)
