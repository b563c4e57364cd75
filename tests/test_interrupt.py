"""The caller's world after a call: as it was, whether the call returns, fails or is interrupted, at whichever forward pass.

Every public function that takes a model has a row here. Its model raises in the middle of a chosen forward pass, behind a
batch norm that has just seen the batch, and two pictures of all global state are compared: the one before and the one after.
"""

import _thread
import copy
import importlib
import inspect
import multiprocessing
import os
import pkgutil
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from itertools import repeat

import matplotlib
import numpy as np
import pytest
import sympy  # noqa: F401 - which sets a filter of warnings when it is first imported
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

import landscape
import lattice
import validation
from lattice import PilcroError, families
from validation.datasets.dataset import Arrays
from validation.evaluation.measures.ablation import ablation, ablation_curve, relevance
from validation.evaluation.measures.location import location_sensitivity
from validation.evaluation.measures.robustness import under_corruption
from validation.evaluation.measures.shifts import shift_consistency
from validation.fields.attribution.layers import find_layer, layer_shapes
from validation.gradients.input_gradient import input_gradient
from validation.runtime import workers
from validation.training import loop
from validation.training.recipes import LAPTOP
from validation.training.scores import score

# --- a network that fails when it is told to ------------------------------------------------------------------------------


class Fuse:
    """Counts forward passes and calls of the factory, and raises `error` at number `at`."""

    def __init__(self):
        self.calls, self.at, self.error = 0, None, None

    def burn(self):
        self.calls += 1
        if self.calls == self.at:
            raise self.error


class Network(nn.Module):
    """Parts in mixed modes, a frozen weight, a gradient, a hook: all that a careless function could lose."""

    def __init__(self, fuse):
        super().__init__()
        self.fuse = fuse
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(6, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(54, 3))

    def forward(self, x):
        x = self.stem(x)
        self.fuse.burn()
        return self.head(self.body(x))


def nothing(*_):
    """A hook of the user's."""


def network(fuse):
    model = Network(fuse)
    model.train()
    model.body[1].eval()  # a frozen norm
    model.stem[0].weight.requires_grad_(False)
    model.head[1].weight.grad = torch.ones_like(model.head[1].weight)
    model.body.register_forward_hook(nothing)
    return model


# --- global state ------------------------------------------------------------------------------------------------------------


def content(tensor):
    if tensor is None:
        return None
    return id(tensor), tensor.dtype, tensor.requires_grad, tensor.detach().numpy().tobytes(), content(tensor.grad)


def picture_of_model(model):
    found = {}
    for name, part in model.named_modules():
        found[f"{name}: class"] = type(part)
        found[f"{name}: training"] = part.training
        found[f"{name}: attributes"] = sorted(part.__dict__)
        for kind in [key for key in part.__dict__ if key.endswith("hooks")]:
            found[f"{name}: {kind}"] = list(part.__dict__[kind].values())
        for kind in ("_parameters", "_buffers"):
            for key, tensor in part.__dict__[kind].items():
                found[f"{name}.{key}"] = content(tensor)
    return found


def picture():
    kind, state, *rest = np.random.get_state()  # noqa: NPY002
    cpu = torch.get_autocast_dtype("cpu")
    return {
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "numpy's random state": (kind, state.tobytes(), *rest),
        "python's random state": random.getstate(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "autocast": (torch.is_autocast_enabled("cpu"), cpu, torch.is_autocast_cache_enabled()),
        "torch's settings": (torch.get_num_threads(), torch.get_default_dtype(), torch.get_default_device()),
        "precision": [getattr(place, name) for place, name, _ in workers._precisions()],
        "determinism": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark),
        "modes": (_get_current_dispatch_mode_stack(), _get_current_function_mode_stack()),
        "forward mode": torch.autograd.forward_ad._current_level,
        "matplotlib": dict(matplotlib.rcParams),
        "figures": sys.modules["matplotlib.pyplot"].get_fignums() if "matplotlib.pyplot" in sys.modules else [],
        "warnings": (list(warnings.filters), warnings.showwarning),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        # tqdm keeps one idle thread in a process from its first bar on, and torch.export makes one
        "threads": {thread for thread in threading.enumerate() if type(thread).__name__ != "TMonitor"},
        "processes": multiprocessing.active_children(),
        "streams": (sys.stdout, sys.stderr),
    }


def changed(before, after):
    """What differs; of threads those that are new, for one of an earlier test may end meanwhile."""
    new = after.get("threads", set()) - before.get("threads", set())
    names = sorted((before.keys() | after.keys()) - {"threads"})
    return [*(f"thread {thread}" for thread in new), *(name for name in names if before.get(name) != after.get(name))]


# --- every public function that takes a model -----------------------------------------------------------------------------

IMAGES = torch.randn(6, 2, 6, 6, generator=torch.Generator().manual_seed(5))
PIXELS = torch.randint(0, 256, (12, 2, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(6))
SOURCE = Arrays(PIXELS, torch.arange(12) % 3, (0.5, 0.5), (0.25, 0.25))
UNIFORMS = torch.linspace(0.1, 0.9, 6)
PENALTY = validation.Penalty("curvature")


def seeded():
    return torch.Generator().manual_seed(0)


def with_gradient(way):
    def call(model):
        found = validation.importance_map(model, IMAGES, generator=seeded(), way=way)
        return torch.autograd.grad(found.square().mean() + found[0, 0], model.body[0].weight)[0]

    return call


def right_labels(model):
    """The source whose labels are the model's own answers, so that there is something to ablate."""
    twin = copy.deepcopy(model)
    twin.fuse = Fuse()
    with torch.no_grad():
        answers = twin.eval()(SOURCE.batch(torch.arange(12))).argmax(dim=1)
    return Arrays(PIXELS, answers, (0.5, 0.5), (0.25, 0.25))


class Negative:
    """Stands for corrupted images, of two channels."""

    def images(self, name, severity, first, last):
        return 255 - PIXELS[first:last]


def small_ablation(model):
    return ablation(model, right_labels(model), images=2, baselines=2, steps=2, points=3, chunk=5)


TAKES_MODEL = {
    "landscape.tracing.trace.trace": lambda model: landscape.trace(model, (2, 6, 6), inputs="noise"),
    "landscape.predict.predict": lambda model: landscape.predict(model, (2, 6, 6)),
    "landscape.advise.advise": lambda model: landscape.advise(model, (2, 6, 6), most=1),
    "validation.gradients.empirical.empirical_landscape": lambda model: validation.empirical_landscape(
        model, IMAGES.split(2), generator=seeded()
    ),
    "validation.studies.shuffle.shuffled_importance": lambda model: validation.shuffled_importance(
        model, IMAGES, generator=seeded(), chunk=200
    ),
    "validation.gradients.objective.importance_map": with_gradient("auto"),
    "validation.gradients.objective.importance_map double_backward": with_gradient("double_backward"),
    "validation.gradients.objective.importance_map forward_mode": with_gradient("forward_mode"),
    "validation.gradients.input_gradient.input_gradient": lambda model: input_gradient(model, IMAGES, UNIFORMS),
    "validation.training.penalty.Penalty.of_model": lambda model: PENALTY.of_model(model, IMAGES, UNIFORMS),
    "validation.training.scores.score": lambda model: score(model, SOURCE, batch=5),
    "validation.evaluation.measures.location.location_sensitivity": lambda model: location_sensitivity(
        model, SOURCE, (-1, 0, 1), chunk=5
    ),
    "validation.evaluation.measures.shifts.shift_consistency": lambda model: shift_consistency(
        model, SOURCE, most=2, pairs=2, chunk=5
    ),
    "validation.evaluation.measures.robustness.under_corruption": lambda model: under_corruption(
        [model], SOURCE, "negative", (1, 2), Negative(), images=range(12), chunk=5
    ),
    "validation.evaluation.measures.ablation.ablation": small_ablation,
    "validation.evaluation.measures.ablation.ablation_curve": lambda model: ablation_curve(
        model, IMAGES[0], 1, torch.arange(36), [0, 9, 36], chunk=1
    ),
    "validation.evaluation.measures.ablation.relevance": lambda model: relevance(
        model, IMAGES[0], 1, IMAGES[1:3], steps=2, chunk=2
    ),
    "validation.fields.measure.effective_receptive_field": lambda model: validation.effective_receptive_field(
        model, IMAGES, layer="body"
    ),
    "validation.fields.attribution.layers.find_layer": lambda model: find_layer(model, IMAGES[:1], "body"),
    "validation.fields.attribution.layers.layer_shapes": lambda model: layer_shapes(model, IMAGES[:1]),
    "validation.fields.comparisons.field_growth": lambda model: validation.field_growth(model, IMAGES, ["stem", "body"]),
    "validation.fields.predicted.predicted_field": lambda model: validation.predicted_field(model, (2, 6, 6), layer="body"),
}
TAKES_FACTORY = {
    "landscape.tracing.trace.trace": lambda factory: landscape.trace(factory, (2, 6, 6), inputs="noise"),
    "landscape.predict.predict": lambda factory: landscape.predict(factory, (2, 6, 6)),
    "landscape.advise.advise": lambda factory: landscape.advise(factory, (2, 6, 6), most=1),
    "validation.montecarlo.measure.measure": lambda factory: validation.measure(factory, (2, 6, 6), draws=12, chunk=3),
    "validation.montecarlo.measure.measure one by one": lambda factory: validation.measure(
        factory, (2, 6, 6), draws=4, mode="train", inputs_per_draw=2, batched=False
    ),
}
NOT_HERE = {
    "landscape.output_map.output_map": "predict, unit by unit",
    "landscape.stages.complete": "a part of predict",
    "landscape.stages.read": "a part of predict",
    "validation.fields.files.manifest_of": "what a folder belongs to; a part of effective_receptive_field",
    "validation.runtime.preserve_state.call_model": "one call, inside what preserves the state",
    "validation.training.start.decay_groups": "reads the parameters of the network that is trained",
    "validation.runtime.logits.logits": "one forward pass, in the mode that the caller chose",
    "validation.runtime.logits.probabilities": "the same",
    "validation.evaluation.measures.robustness.robustness": "under_corruption for each; corruptions take one or three channels",
    "validation.evaluation.runs.subjects.Subject.__init__": "holds a network",
    "landscape.tracing.graph.reader.Reader.__init__": "a part of trace",
    "landscape.tracing.graph.numbers.Numbers.__init__": "a part of trace",
    "landscape.tracing.graph.numbers.named_tensors": "a part of trace",
    "landscape.tracing.modules.drawn_module": "a part of trace",
    "landscape.tracing.modules.mode_of": "a part of trace",
    "landscape.tracing.proof.ensemble.Ensemble.__init__": "a part of predict",
    "landscape.tracing.proof.ensemble.Ensemble.squares": "a part of predict",
    "landscape.warrant.drawn_networks.ensemble": "a part of predict",
    "landscape.tracing.proof.proving.prove": "a part of trace",
    "landscape.tracing.proof.closed.opened": "a part of trace",
    "landscape.tracing.proof.closed.turn_signs": "a part of trace",
    "landscape.tracing.proof.running.copied": "a part of trace",
    "landscape.tracing.proof.running.run_model": "runs a copy; a part of trace",
    "validation.runtime.preserve_state.device_of": "reads where the first tensor lies",
    "validation.runtime.preserve_state.preserve_state": "the promise itself; what stands inside is the caller's",
    "validation.montecarlo.build.draw_weights": "writes the weights: that is what it is for",
    "validation.studies.lemma.train_briefly": "trains the network that it is given: that is what it is for",
    "validation.montecarlo.sampler.Sampler.__init__": "a part of measure",
    "validation.montecarlo.sources.ModuleSource.__init__": "a part of measure",
    "validation.fields.halo.halo": "a field, and a prediction of which it says why there is none",
    "validation.fields.predicted.beside": "a prediction beside a field; it says why there is none",
    "validation.fields.attribution.layers.UpTo.__init__": "a network around a network",
    "validation.fields.attribution.layers.uncompiled": "reads which module is inside",
    "validation.runtime.process_group.averaging": "wraps the objective that training trains",
    "validation.training.models.Reweighted.__init__": "a network around a network",
    "validation.training.penalty.Objective.__init__": "a loss around a network, which is trained through it",
}


def takes_a_model(function):
    parameters = inspect.signature(function).parameters.values()
    return any("Module" in str(p.annotation) or "torch.nn" in str(p.annotation) for p in parameters)


def public_functions():
    """Every function in an `__all__` of the three packages, and every public method and constructor of a class there."""
    for package in (lattice, landscape, validation):
        for place in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(place.name)
            for name in getattr(module, "__all__", ()):
                value = getattr(module, name)
                if getattr(value, "__module__", None) != place.name:
                    continue
                if inspect.isfunction(value):
                    yield f"{place.name}.{name}", value
                elif inspect.isclass(value):
                    for key, method in vars(value).items():
                        method = getattr(method, "__func__", method)
                        if inspect.isfunction(method) and (not key.startswith("_") or key == "__init__"):
                            yield f"{place.name}.{name}.{key}", method


def test_every_public_function_that_takes_a_model_has_a_row():
    found = {name for name, function in public_functions() if takes_a_model(function)}
    rows = {name.split(" ")[0] for name in TAKES_MODEL | TAKES_FACTORY}
    assert found == rows | NOT_HERE.keys()


# --- the claims -----------------------------------------------------------------------------------------------------------


class BoomError(Exception):
    """An ordinary failure of the user's own code."""


def played(row, of_factory, at=None, error=None):
    """What one call changes of the global state, what became of it, and how often the network was called."""
    fuse = Fuse()
    fuse.at, fuse.error = at, error
    given, call = [], (TAKES_FACTORY if of_factory else TAKES_MODEL)[row]

    def factory():
        made = network(fuse)
        fuse.burn()
        given.append((made, picture_of_model(made)))
        return made

    if not of_factory:
        made = network(fuse)
        given.append((made, picture_of_model(made)))
    images, before, outcome = IMAGES.clone(), picture(), None
    try:
        outcome = call(factory if of_factory else given[0][0])
    except BaseException as caught:
        outcome = caught
    assert torch.equal(images, IMAGES)
    assert not IMAGES.requires_grad
    after = picture()
    return changed(before, after) + [c for made, b in given for c in changed(b, picture_of_model(made))], outcome, fuse.calls


ROWS = [(row, False) for row in TAKES_MODEL] + [(row, True) for row in TAKES_FACTORY]
NAMES = [f"{row.rsplit('.', 1)[1]} of a {'factory' if of_factory else 'model'}" for row, of_factory in ROWS]


@pytest.fixture(scope="module")
def calls():
    """How often each row calls its network when nothing happens."""
    return {}


def moments(calls, row, of_factory):
    if (row, of_factory) not in calls:
        calls[row, of_factory] = played(row, of_factory)[2]
    last = calls[row, of_factory]
    return sorted({1, min(2, last), (last + 1) // 2, last})


@pytest.mark.parametrize(("row", "of_factory"), ROWS, ids=NAMES)
def test_after_a_call_the_world_is_as_it_was(row, of_factory, calls):
    difference, outcome, count = played(row, of_factory)
    assert not isinstance(outcome, BaseException), outcome
    assert count
    assert not difference
    calls[row, of_factory] = count


@pytest.mark.parametrize(("row", "of_factory"), ROWS, ids=NAMES)
def test_an_interrupt_leaves_no_side_effects_and_the_call_can_be_repeated(row, of_factory, calls):
    for at in moments(calls, row, of_factory):
        difference, outcome, _ = played(row, of_factory, at, KeyboardInterrupt())
        # measure promises the draws so far
        assert isinstance(outcome, KeyboardInterrupt) or outcome.interrupted
        assert (at, difference) == (at, [])
    assert not isinstance(played(row, of_factory)[1], BaseException)


@pytest.mark.parametrize(("row", "of_factory"), ROWS, ids=NAMES)
def test_after_a_failure_inside_the_network_the_world_is_as_it_was(row, of_factory, calls):
    for at in moments(calls, row, of_factory):
        difference, outcome, _ = played(row, of_factory, at, BoomError("the network's own"))
        if isinstance(outcome, PilcroError):  # trace says what torch.export could not take
            outcome = outcome.__cause__
        # what fails together is tried one by one, where measure and predict find out whether that can be run
        assert isinstance(outcome, BoomError | validation.Estimate | landscape.Landscape), outcome
        assert (at, difference) == (at, [])


@pytest.mark.parametrize(("at", "told"), [(12, False), (60, True)])
def test_an_interrupted_measurement_needs_an_error_to_be_an_estimate(at, told):
    fuse = Fuse()  # two calls a draw; a block is ten draws, and one has no spread
    fuse.at, fuse.error = at, KeyboardInterrupt()

    def factory():
        fuse.burn()
        return network(fuse)

    if not told:
        with pytest.raises(KeyboardInterrupt):
            validation.measure(factory, (2, 6, 6), draws=2000, batched=False)
        return
    estimate = validation.measure(factory, (2, 6, 6), draws=2000, batched=False)
    assert estimate.interrupted
    assert 10 < estimate.draws < 30
    assert np.isfinite(estimate.standard_error).all()


@pytest.mark.parametrize("at", [1, 7, 30])
def test_an_interrupt_while_gates_are_counted_leaves_nothing_behind(monkeypatch, at):
    model, count, run_node = network(Fuse()), 0, torch.fx.Interpreter.run_node

    def interrupted(self, node):
        nonlocal count
        count += 1
        if count == at:
            raise KeyboardInterrupt
        return run_node(self, node)

    monkeypatch.setattr(torch.fx.Interpreter, "run_node", interrupted)
    model.body.append(nn.SiLU())  # a gate whose slope must be counted
    before, world = picture_of_model(model), picture()
    with pytest.raises(KeyboardInterrupt):
        landscape.predict(model, (2, 6, 6), gates="measured")
    assert not changed(before, picture_of_model(model)) + changed(world, picture())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BoomError()], ids=["interrupt", "failure"])
def test_interrupted_training_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch, error):
    """Training that is interrupted goes on from its folder as if nothing had happened."""
    pytest.importorskip("safetensors")
    pytest.importorskip("sklearn")
    recipe = LAPTOP.changed(data="digits", size=8, epochs=1, kind="curvature", alpha=1e-3, interval=5)
    whole = loop.train(recipe, tmp_path / "whole", device="cpu", save_every=4)
    update = loop.update

    def failing(run, *arguments):
        if run.step == 9:
            raise error
        update(run, *arguments)

    before = picture()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "update", failing)
        with pytest.raises(type(error)):
            loop.train(recipe, tmp_path / "again", device="cpu", save_every=4)
    assert not changed(before, picture())
    assert loop.train(recipe, tmp_path / "again", device="cpu", save_every=4)["scores"] == whole["scores"]


@pytest.mark.parametrize("name", ["predict", "importance_map", "location_sensitivity"])
def test_an_interrupt_during_restoration_is_raised_when_that_is_done(name, monkeypatch):
    monkeypatch.setattr("landscape.warrant.drawn_networks.FIRST", 2)  # draws: every one is interrupted
    monkeypatch.setattr("landscape.warrant.drawn_networks.MOST", 2)
    model, line, put_back = network(Fuse()), 0, 0

    def interrupted(frame, event, argument):
        nonlocal put_back
        if frame.f_code.co_name != "restore":
            return interrupted if "preserve_state" in frame.f_code.co_filename else None
        if event == "line":
            put_back += 1
            if put_back == line:
                raise KeyboardInterrupt
        return interrupted

    outcome = KeyboardInterrupt()
    while outcome is not None:
        line, put_back, outcome = line + 1, 0, None
        known, world = picture_of_model(model), picture()
        before = sys.gettrace()
        sys.settrace(interrupted)
        try:
            LONG[name](model)
        except KeyboardInterrupt as caught:
            outcome = caught  # kept, so that no generator ends with it
        finally:
            sys.settrace(before)
        assert not changed(known, picture_of_model(model)) + changed(world, picture()), line
    assert line > 20  # until no line was left


SHOWN = {
    "empirical_landscape": lambda model: validation.empirical_landscape(
        model, IMAGES.split(1), generator=seeded(), progress=True
    ),
    "ablation": lambda model: ablation(
        model, right_labels(model), images=2, baselines=2, steps=2, points=3, chunk=5, progress=True
    ),
    "measure": lambda model: validation.measure(lambda: Network(model.fuse), (2, 6, 6), draws=5, batched=False, progress=True),
}


@pytest.mark.parametrize(("at", "error"), [(None, None), (5, KeyboardInterrupt()), (5, BoomError())])
@pytest.mark.parametrize("name", SHOWN)
def test_a_progress_bar_is_closed_on_every_way_out(name, at, error, monkeypatch):
    tqdm = pytest.importorskip("tqdm.auto")
    bars, plain = [], tqdm.tqdm

    class Watched(plain):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            bars.append(self)
            self.closed = 0

        def close(self):
            self.closed += 1
            super().close()

    monkeypatch.setattr(tqdm, "tqdm", Watched)
    fuse = Fuse()
    fuse.at, fuse.error = at, error
    # the traceback is kept, as a notebook keeps it: nothing may rest on the garbage collector
    kept = None
    try:
        SHOWN[name](network(fuse))
    except (KeyboardInterrupt, BoomError, PilcroError) as caught:
        kept = caught
    assert (kept is None) == (at is None or (name == "measure" and isinstance(error, KeyboardInterrupt)))
    assert len(bars) == 1
    assert bars[0].closed


def test_without_tqdm_a_bar_is_silent(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert SHOWN["empirical_landscape"](network(Fuse())).count == 6


def test_imports_neither_start_pyplot_nor_change_matplotlib():
    code = (
        "import matplotlib; before = dict(matplotlib.rcParams)\n"
        "import lattice, landscape, validation, validation.__main__, sys\n"
        "everything = [getattr(p, name) for p in (lattice, landscape, validation) for name in p.__all__]\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert dict(matplotlib.rcParams) == before\n"
    )
    agg = os.environ | {"MPLBACKEND": "agg"}  # to look up a backend that was not chosen starts pyplot
    done = subprocess.run([sys.executable, "-c", code], env=agg, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


LONG = {
    "predict": lambda model: landscape.predict(model, (2, 6, 6)),
    "advise": lambda model: landscape.advise(model, (2, 6, 6)),
    "measure": lambda model: validation.measure(lambda: network(Fuse()), (2, 6, 6), draws=10_000),
    "measure a lattice": lambda model: validation.measure(families.plain(9, depth=2, channels=4), draws=200_000),
    "empirical_landscape": lambda model: validation.empirical_landscape(model, repeat(IMAGES), generator=seeded()),
    "importance_map": with_gradient("auto"),
    "shuffled_importance": lambda model: validation.shuffled_importance(model, IMAGES.repeat(50, 1, 1, 1), generator=seeded()),
    "location_sensitivity": lambda model: location_sensitivity(model, SOURCE, (-2, -1, 0, 1, 2)),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python loses one at a weak reference's end
@pytest.mark.parametrize("name", LONG)
def test_an_interrupt_from_outside_at_any_time_leaves_the_world_as_it_was(name, request):
    model, moment = network(Fuse()), random.Random(0)
    landscape.predict(model, (2, 6, 6))  # what torch imports and starts once is there
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores interrupts
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, handler))
    for _ in range(8):
        known, world = picture_of_model(model), picture()
        timer = threading.Timer(moment.uniform(0.02, 1.5), _thread.interrupt_main)
        timer.start()
        try:
            while timer.is_alive():
                LONG[name](model)
            time.sleep(1)
        except KeyboardInterrupt:
            pass
        timer.join()
        assert not changed(known, picture_of_model(model)) + changed(world, picture())
