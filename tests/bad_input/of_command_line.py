"""Bad and strange command lines, every command: exit status 2 and one message, never a traceback."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from landscape.tracing.model_names import model_factory
from tests.bad_input.table import answers, refuses
from validation.__main__ import main
from validation.training.checkpoint import write_json

FACTORIES = """
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, stride=2))

def needs(width):
    return nn.Conv2d(3, width, 3)

def fails():
    raise RuntimeError("no weights today")

def nothing():
    return None

number = 3
"""


class Refused(Exception):  # noqa: N818
    """The command ended with status 2; what it said."""


def run(*arguments):
    """The command's standard output; `Refused` for a status of 2, with what it said."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:  # of the parser
            status = end.code
    said = " ".join(err.getvalue().replace("│", " ").split())
    assert "Traceback" not in said, said
    if status == 2:
        assert "--json" not in arguments or not out.getvalue(), "a machine reads nothing else"
        raise Refused(said)
    assert status in (0, None)
    return out.getvalue()


def no(command, what, arguments, says):
    return refuses(f"pilcro {command}", what, lambda f: run(command, *arguments(f)), says, Refused)


def model(folder: Path, name="small", text=FACTORIES):
    (folder / "model.py").write_text(text)
    return f"{folder / 'model.py'}:{name}"


LONG = 300 * "a"  # file systems end at 255


def small(folder, *more):
    return [model(folder), "--size", "9", *more]


def results(folder: Path):
    """A run folder with a result in it."""
    write_json(folder / "result.json", {"recipe": {"data": "digits", "size": 8}, "data": "0", "scores": {}, "before": {}})
    return folder


MODELS = [
    no("map", "no model", lambda f: [], "Required options"),
    no("map", "an empty name", lambda f: [""], "torchvision has no model ''"),
    no("map", "a name of torchvision with a mistake", lambda f: ["resnet19"], "did you mean"),
    no("map", "a name with a null character", lambda f: ["a\0b:c"], "cannot import"),
    no("map", "a colon alone", lambda f: [":"], "names no module"),
    no("map", "a package alone", lambda f: ["json:"], "has no callable ''"),
    no("map", "a factory alone", lambda f: [":make"], "names no module"),
    no("map", "a relative package", lambda f: [".models:make"], "cannot import"),
    no("map", "a package that is not there", lambda f: ["no.such.package:make"], "cannot import"),
    no("map", "a file that is not there", lambda f: [f"{f}/none.py:make"], "there is no file"),
    no("map", "a file whose name is too long", lambda f: [f"{f}/{LONG}.py:make"], "there is no file"),
    no("map", "a file to write whose name is too long", lambda f: [*small(f), "--out", f"{f}/{LONG}.png"], "too long"),
    no(
        "map",
        "a folder to write to whose name is too long",
        lambda f: [*small(f), "--out", f"{f}/{LONG}/a.png"],
        "does not exist",
    ),
    no("map", "a folder called like a file", lambda f: ((f / "a.py").mkdir(), [f"{f}/a.py:make"])[1], "there is no file"),
    no("map", "a file with a mistake in it", lambda f: [model(f, text="def small(:\n")], "SyntaxError"),
    no("map", "a file that is no text", lambda f: ((f / "a.py").write_bytes(b"\xff\xfe\0"), [f"{f}/a.py:make"])[1], "a.py"),
    no("map", "a file that raises", lambda f: [model(f, text="raise RuntimeError('not today')")], "not today"),
    no("map", "a file that exits", lambda f: [model(f, text="raise SystemExit(0)")], "SystemExit"),
    no("map", "a factory that is a number", lambda f: [model(f, "number")], "has no callable 'number'"),
    no("map", "a factory that is not there", lambda f: [model(f, "tiny")], "it has fails, needs, nothing, small"),
    no("map", "a factory that needs arguments", lambda f: [model(f, "needs"), "--size", "9"], "a factory takes no arguments"),
    no("map", "a factory that raises", lambda f: [model(f, "fails"), "--size", "9"], "no weights today"),
    no("map", "a factory of nothing", lambda f: [model(f, "nothing"), "--size", "9"], "NoneType"),
    no("map", "a size of 0", lambda f: [model(f), "--size", "0"], "shape is (3, 0, 0)"),
    no("map", "a negative size", lambda f: [model(f), "--size", "-3"], "shape is (3, -3, -3)"),
    no("map", "a size in words", lambda f: [model(f), "--size", "large"], "large"),
    no("map", "a NaN size", lambda f: [model(f), "--size", "nan"], "nan"),
    no("map", "four sizes", lambda f: [model(f), "--size", "4", "4", "4", "4"], "shape is (3, 4, 4, 4, 4)"),
    no("map", "another number of channels", lambda f: small(f, "--channels", "1"), "could not take"),
    no("map", "a shape of one number", lambda f: [model(f), "--shape", "9"], "shape is (9,)"),
    no("map", "one draw", lambda f: small(f, "--check", "1"), "a comparison needs 20 draws at least"),
    no("map", "-5 draws", lambda f: small(f, "--check", "-5"), "--check is -5"),
    no("map", "2^60 draws", lambda f: small(f, "--check", str(2**60)), "GiB"),
    no("map", "a negative seed", lambda f: small(f, "--check", "20", "--seed", "-1"), "--seed is -1"),
    no("map", "a NaN tolerance", lambda f: small(f, "--check", "20", "--tolerance", "nan"), "--tolerance nan"),
    no("map", "a negative tolerance", lambda f: small(f, "--check", "20", "--tolerance", "-1"), "--tolerance -1.0"),
    no("map", "an output into a folder that is not there", lambda f: small(f, "--out", f"{f}/none/a.png"), "does not exist"),
    no("map", "an output that is a folder", lambda f: small(f, "--out", f), "is a folder"),
    no("map", "an output of another kind", lambda f: small(f, "--out", f"{f}/map.docx"), "docx"),
    no("map", "an unknown option", lambda f: small(f, "--colour", "red"), "--colour"),
    answers("pilcro map", "json of a small net", lambda f: json.loads(run("map", *small(f), "--json"))["shape"], [3, 9, 9]),
    no("advise", "most 0", lambda f: small(f, "--most", "0"), "most is 0"),
    no("advise", "most in words", lambda f: small(f, "--most", "all"), "all"),
    no("advise", "a factory that raises", lambda f: [model(f, "fails"), "--size", "9"], "no weights today"),
    no("advise", "an output of another kind", lambda f: small(f, "--out", f"{f}/map.docx"), "docx"),
    no("advise", "an output into a folder that is not there", lambda f: small(f, "--out", f"{f}/none/a.png"), "does not exist"),
    no(
        "advise", "a page into a folder that is not there", lambda f: small(f, "--report", f"{f}/none/a.html"), "does not exist"
    ),
    answers(
        "pilcro advise", "json of a small net", lambda f: sorted(json.loads(run("advise", *small(f), "--json")))[0], "before"
    ),
    refuses("pilcro map", "a model name that is a number", lambda _: model_factory(3), "3"),
]

OTHERS = [
    no("paths", "kernel 0", lambda f: ["--kernel", "0"], "the least is 1"),
    no("paths", "a negative depth", lambda f: ["--depth", "-1"], "--depth is -1"),
    no("paths", "stride 0", lambda f: ["--stride", "0"], "stride is 0"),
    no("paths", "a float dilation", lambda f: ["--dilation", "1.5"], "1.5"),
    no("paths", "negative padding", lambda f: ["--padding", "-1", "--size", "9"], "padding is -1"),
    no("paths", "an unknown mode", lambda f: ["--mode", "mirror"], "mode is 'mirror'"),
    no("paths", "a depth of a million", lambda f: ["--depth", "1000000"], "--depth is 1000000"),
    no("paths", "a stride of 2^40 over 40 layers", lambda f: ["--stride", str(2**40), "--depth", "40"], "2^256"),
    no("paths", "an unknown option", lambda f: ["--kernels", "3"], "--kernels"),
    answers("pilcro paths", "no depth", lambda f: run("paths", "--depth", "0"), "1\n"),
    answers("pilcro paths", "json", lambda f: json.loads(run("paths", "--depth", "1", "--json"))["counts"], [1, 1, 1]),
    answers("pilcro paths", "an even kernel", lambda f: run("paths", "--kernel", "2", "--depth", "3"), "1 3 3 1\n"),
    no("study", "no kind", lambda f: [], "draws,width,depth"),
    no("study", "an unknown kind", lambda f: ["height"], "height"),
    no("study", "negative draws", lambda f: ["draws", "--draws", "-1"], "--draws -1"),
    no("study", "a net that is not there", lambda f: ["gallery", "--nets", "resnet19"], "resnet19"),
    no("study", "a gallery of no pixels", lambda f: ["gallery", "--nets", "alexnet", "--size", "0"], "0"),
    no(
        "study",
        "a folder of a study that keeps none",
        lambda f: ["lemma", "--folder", f"{f}/kept"],
        "only the gallery has that",
    ),
    no(
        "study",
        "pixels of a study of rows",
        lambda f: ["depth", "--size", "32", "--every"],
        "--every, --size: only the gallery",
    ),
    no("study", "a negative seed", lambda f: ["draws", "--seed", "-1"], "--seed is -1"),
    no("study", "an unknown device", lambda f: ["draws", "--device", "tpu"], "device is 'tpu'"),
    no("study", "an output into a folder that is not there", lambda f: ["draws", "--out", f"{f}/none/a"], "does not exist"),
    no("train", "no folder", lambda f: [], "the folder of the run"),
    no("train", "an unknown preset", lambda f: [f, "--preset", "mnist"], "mnist"),
    no("train", "an unknown penalty", lambda f: [f, "--penalty", "flat"], "flat"),
    no("train", "a NaN weight", lambda f: [f, "--penalty", "target", "--alpha", "nan"], "alpha"),
    no("train", "a negative weight", lambda f: [f, "--penalty", "target", "--alpha", "-1"], "alpha"),
    no("train", "an even width", lambda f: [f, "--width", "4"], "is odd"),
    no("train", "a batch of 0", lambda f: [f, "--batch", "0"], "batch 0"),
    no("train", "an infinite learning rate", lambda f: [f, "--lr", "inf"], "lr inf"),
    no("train", "a save interval of 0", lambda f: [f, "--save-every", "0"], "save_every is 0"),
    no("train", "an unknown data set", lambda f: [f / "run", "--data", "mnists"], "there is no data set"),
    no("train", "an unknown device", lambda f: [f / "run", "--device", "tpu"], "device is 'tpu'"),
    no("train", "a page that is a folder", lambda f: [f / "run", "--report", f], "is a folder"),
    no("train", "a folder that is a file", lambda f: [Path(model(f).split(":")[0])], "cannot be used"),
    no(
        "train",
        "a model that is not there",
        lambda f: [f / "run", "--data", "digits", "--size", "8", "--model", "resnet19"],
        "no model",
    ),
    no(
        "train",
        "a model that returns another thing",
        lambda f: [f / "run", "--data", "digits", "--size", "8", "--model", model(f, "nothing")],
        "NoneType",
    ),
    no("train", "no CIFAR archive", lambda f: [f / "run", "--preset", "cifar100", "--root", f], "download it from"),
    no("train", "no image folders", lambda f: [f / "run", "--preset", "imagenet", "--root", f], "there is no"),
    no("train", "an unknown reading", lambda f: [f, "--reading", "beta"], "beta"),
    no("train", "an unknown border", lambda f: [f, "--border", "zeros"], "zeros"),
    no("train", "a negative warm-up of the rate", lambda f: [f, "--lr-warmup", "-1"], "lr_warmup -1"),
    no("train", "momentum 1", lambda f: [f, "--momentum", "1"], "momentum 1.0 (0 at least and below 1)"),
    no("train", "a negative weight decay", lambda f: [f, "--weight-decay", "-1"], "weight_decay -1.0 (a finite number"),
    no("train", "all mass smoothed", lambda f: [f, "--label-smoothing", "1"], "label_smoothing 1.0 (0 at least"),
    no("train", "no epochs", lambda f: [f, "--epochs", "0"], "epochs 0 (a whole number, 1 at least)"),
    no("train", "decay that may be", lambda f: [f, "--decay-norms", "maybe"], "'True'"),
    no(
        "train",
        "another evaluation size for images in memory",
        lambda f: [f / "run", "--data", "digits", "--size", "8", "--evaluation-size", "16"],
        "are for folders",
    ),
    no("train", "a stem of a factory", lambda f: [f / "run", "--data", "digits", "--size", "8", "--stem", "cifar"], "own"),
    no("reproduce", "no experiment", lambda f: [], "of the paper"),
    no("reproduce", "a table that the paper has not", lambda f: ["table5"], "table5"),
    no("reproduce", "an unknown scale", lambda f: ["table1", "--scale", "phone"], "phone"),
    no("reproduce", "no seeds", lambda f: ["table1", "--seeds", "0", "--out", f], "--seeds 0"),
    no("reproduce", "a save interval of 0", lambda f: ["table1", "--out", f, "--save-every", "0"], "save_every is 0"),
    no("reproduce", "an unknown device", lambda f: ["table1", "--out", f, "--device", "tpu"], "device is 'tpu'"),
    no("reproduce", "no CIFAR archive", lambda f: ["table1", "--scale", "cifar", "--out", f, "--root", f], "download it from"),
    no("reproduce", "no image folders", lambda f: ["figure4", "--scale", "paper", "--out", f, "--root", f], "there is no"),
    no("tables", "no runs", lambda f: [], "no run folders were named"),
    no("tables", "a folder without runs", lambda f: [f], "no finished run"),
    no("tables", "a folder that is not there", lambda f: [f / "none"], "no finished run"),
    no("tables", "a result without scores", lambda f: [results(f)], "result.json has no number"),
    no("tables", "an output into a folder that is not there", lambda f: [results(f), "--out", f"{f}/none/a"], "does not exist"),
    no("figures", "no runs", lambda f: [], "no run folders were named"),
    no("figures", "a folder without runs", lambda f: [f], "no finished run"),
    no("figures", "a result without landscapes", lambda f: [results(f), "--out", f / "a"], "landscape.npz"),
    no("evaluate", "nothing to do", lambda f: [f], "nothing was asked for"),
    no("evaluate", "a folder without runs", lambda f: [f, "--location"], "no finished run"),
    no("evaluate", "a stride of 0", lambda f: [f, "--location", "--stride", "0"], "the stride divides the reach"),
    no("evaluate", "a negative reach", lambda f: [f, "--location", "--reach", "-4"], "--reach -4"),
    no("evaluate", "a result without data", lambda f: [results(f), "--location"], "trained on other data"),
    no("evaluate", "an unknown device", lambda f: [results(f), "--location", "--device", "tpu"], "device is 'tpu'"),
    no(
        "evaluate",
        "an output into a folder that is not there",
        lambda f: [f, "--location", "--out", f"{f}/none/a"],
        "does not exist",
    ),
]

if sys.platform != "win32":
    OTHERS.append(no("map", "a file that is a device", lambda f: ["/dev/null.py:make"], "there is no file"))

CASES = [*MODELS, *OTHERS]
