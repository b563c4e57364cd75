r"""From a torch model to a lattice and its variances: the ATen graph of `torch.export`, understood completely or refused.

The graph is taken on fake tensors, so no forward pass is paid, and at ATen level, so that modules, functional calls and
in-place ops are seen alike. Every node of the graph that the output depends on must have a rule here, and the shape
that the lattice computes must be the shape that torch computes; else `UnsupportedError` lists everything that could not
be taken: name, operation, reason. Torch is imported when it is called, not before.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from landscape.gates.gates import unknown_rates
from landscape.input_checks import either_spelling, users_line
from landscape.prior import Gates, Prior
from landscape.tracing.aten.table import REASONS, RULES
from landscape.tracing.expanded import expand
from landscape.tracing.gate_counts import Parameters, observe
from landscape.tracing.graph.randomness import only_torch_draws
from landscape.tracing.graph.reader import Reader, named_tensors
from landscape.tracing.input_hint import input_hint, takes
from landscape.tracing.model_names import model_factory
from landscape.tracing.modules import drawn_module, inside, mode_of
from landscape.tracing.outputs import resolve_output
from landscape.tracing.weights import read_weights
from landscape.weights.fans import weighted
from landscape.weights.initialisation import Initialisation, layer_variances
from landscape.weights.weight_draws import FEWEST
from lattice import AssumptionError, Lattice, UnsupportedError
from lattice.checks import given_shape
from lattice.errors import listed

if TYPE_CHECKING:
    import torch

__all__ = ["Trace", "trace"]

ENOUGH_WEIGHTS = 5_000  # their second moment is known to 2 %
# a network of a million weights is drawn twice at least: that tells a fixed number from a drawn one; a smaller one until
# every single entry can be judged, or until two million numbers were drawn
LARGE, MOST_DRAWS, FEW_DRAWS, CHEAP = 1_000_000, 100, 4, 2_000_000


@dataclass(frozen=True, eq=False)
class Trace(Prior):
    """A `Prior` as a model says it: its lattice with what its weights say, by node name, and how well it is known.

    Parameters
    ----------
    lattice, variances, factors, shifted, gates, skewed, signs, shifts : as in Prior
        Fields of `Prior`. The `gates` were counted in forward passes, and are empty where that was not asked for.
    variance_errors : mapping of str to float
        The relative standard error of each V[w], 0 where `initialisation` gave it: a map that is exact is so for these V[w].
    doubts : tuple of str, default ()
        What the weights that were seen could not tell, or do not keep to: each forbids to call the law exact.
    unit : optional
        The output unit that `output` asked for beside the entry.
    unproven : str, default ""
        Why the trace could not be compared with the gradient of the model itself; empty where it was, and where that was not
        asked for.
    of_signs : frozenset of str, default ()
        The layers whose weights all have one size: few such filters are different ones.
    precision : float, default 0
        How finely numbers of the weights' type are rounded, relative to their size.
    parameters : mapping of str to str
        The parameter of the model that holds each layer's weights.
    """

    variance_errors: Mapping[str, float] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    unit: Any = None
    unproven: str = ""
    of_signs: frozenset[str] = frozenset()
    precision: float = 0.0
    parameters: Mapping[str, str] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        from landscape.display.html import trace_html

        return trace_html(self)


@either_spelling
def trace(
    model: torch.nn.Module | Callable[[], torch.nn.Module] | str,
    shape: tuple[int, ...],
    *,
    initialisation: Initialisation | Mapping[str, float] | float | str | None = None,
    inputs: Any = None,
    output: Any = None,
    train: bool = False,
    check: bool = True,
) -> Trace:
    """The lattice of a model in evaluation mode over an input of shape (channels, *spatial), with its weights' variances.

    The graph of `torch.export` is read operation by operation; then (`check`) the lattice with the model's own weights is
    compared with the model. The model and the global random state are left as they were.

    Parameters
    ----------
    model : torch.nn.Module, callable or str
        A name, as `predict` takes it; a module, which has one draw of each weight, so that the second moment of a layer with n
        normal weights is off by sqrt(2 / n); or a factory of freshly initialised modules, which is drawn from until every
        layer has shown 5,000 weights and every entry could be judged (4 to 100 draws; 2 to 4 of a network with a million
        weights). Each entry must be an independent random number: fixed filters, masks, ties and structured initialisations
        are refused. One draw tells less, `Trace.doubts` says what.
    shape : tuple of int
        Shape of one input, (channels, *spatial).
    initialisation : callable, str, float, mapping of str to float, or None, default None
        V[w]: None is the second moment of the actual weights, "weights" that of trained weights too; otherwise a scheme or its
        name, one number, or a mapping from layer name to variance.
    inputs : array_like, "noise" or None, default None
        Asks for gates to be counted in forward passes: on white noise, or on images (N, channels, *spatial); see
        `landscape.tracing.gate_counts`. Models on the meta device give none.
    output : optional
        One entry of a model that returns several tensors: a key ("out"), an index (0), or a path through nested ones ("a", 0).
    train : bool, default False
        Whether the model is traced in training mode; a model that is in evaluation mode is set to it, and in one that is in
        training mode the parts that are not (frozen norms) are left so. The factors of batch norms are then their gamma^2.
    check : bool, default True
        Whether to compare output and input gradient of lattice and model at one random point.

    Returns
    -------
    Trace
        The lattice, and by node name the variances, factors, shifts, signs and gates.

    Raises
    ------
    UnsupportedError
        If there are operations without a rule (all are listed), or the lattice and the model differ (the first layer that does
        is named).
    AssumptionError
        If weights are tied, NaN or infinite, or their mean is not zero (trained ones, for example).
    SpecificationError
        If the shape or another argument does not fit the model.

    Examples
    --------
    >>> from torch import nn
    >>> traced = trace(lambda: nn.Sequential(nn.Conv1d(2, 64, 3), nn.ReLU()), (2, 9))
    >>> traced.lattice.names, abs(traced.variances["0"] - 1 / 18) < 0.005
    (('input', '0', '1'), True)
    """
    import torch

    shape = given_shape(shape)
    model = model_factory(model) if isinstance(model, str) else model
    factory = None if isinstance(model, torch.nn.Module) or not callable(model) else model
    module: Any = inside(model if factory is None else drawn_module(factory, 0))
    program, names = _export(module, shape, train)
    result, unit = _result(program, output)
    reader = Reader(module, program, names, RULES, REASONS, result, train)
    nodes, weights = reader.read(shape)
    lattice = Lattice(tuple(nodes))
    unproven = ""
    if check:
        from landscape.tracing.proof.proving import prove

        with mode_of(module, train):
            unproven = prove(module, lattice, reader, lambda returned: resolve_output(returned, output)[0])
    as_they_are = isinstance(initialisation, str) and initialisation == "weights"
    given = None if initialisation is None or as_they_are else layer_variances(lattice, initialisation)
    parameters = {node.name: str(weights[node.name]["weight"]) for node in lattice.nodes if weighted(node.op)}
    whole = {**reader.parts, **reader.parents}
    first = {own: reader.tensors[own] for name in parameters.values() for own in [whole.get(name, name)]}
    least, most = _numbers_of_draws([tensor.numel() for tensor in first.values()])
    read = [node for node in lattice.nodes if node.name in weights]
    norms = any(weights[node.name].get("weight") for node in read if not weighted(node.op))
    biases = [reader.tensors.get(str(weights[node.name].get("bias"))) for node in read if weighted(node.op)]
    changing = norms or any(bias is not None and not bias.is_meta and bool(bias.any()) for bias in biases)
    if factory is None or (given is not None and not changing):
        more_draws: Iterator[dict[str, Any]] = iter(())
    else:  # where the variances are given, further draws still tell the norms that change, and how large biases are
        more_draws = _fresh(factory, most, first if given is None else {})
    draws = (reader.with_computed(tensors) for tensors in more_draws)
    weights_read = read_weights(lattice, weights, reader.tensors, given, train, as_they_are, draws, least)
    known = (
        weights_read.variances,
        weights_read.factors,
        weights_read.shifted,
        Gates(),
        weights_read.skewed,
        weights_read.signs,
        weights_read.shifts,
    )
    doubts = (*weights_read.doubts, *_doubts_of_reading(reader, weights, parameters))
    types = {tensor.dtype for tensor in first.values() if tensor.is_floating_point()}
    precision = max((torch.finfo(one).eps for one in types), default=0.0)
    drawn = {layer: str(whole.get(name, name)) for layer, name in parameters.items()}
    traced = Trace(
        lattice, *known, weights_read.variance_errors, doubts, unit, unproven, weights_read.of_signs, precision, drawn
    )
    if inputs is None or not unknown_rates(traced):
        return traced
    shifts = {name: str(weights[name]["bias"]) for name in parameters if weights[name].get("bias") is not None}
    drawn_shifts = {layer: name for layer, name in shifts.items() if name not in reader.made}
    images = None if isinstance(inputs, str) else inputs
    return replace(traced, gates=observe(program, names, reader, traced, Parameters(drawn, drawn_shifts), images))


def _doubts_of_reading(reader: Reader, weights: Mapping[str, Any], parameters: Mapping[str, str]) -> list[str]:
    """What forbids to call a law exact: weights that are made of others, branches that begin at zero."""
    found = []
    made = [layer for layer, name in parameters.items() if name in reader.parents and name not in reader.moved_weights]
    if made:
        found.append(f"weights that are made of a parameter: as if their entries were independent ({listed(made)})")
    zeros = [name for name in reader.left_out if name in weights]
    if zeros:
        found.append(f"a branch without a rule that parameters of zeros multiply: nothing passes it yet ({listed(zeros)})")
    return found


def _numbers_of_draws(sizes: list[int]) -> tuple[int, int]:
    """How many draws of a network with weights of these sizes are taken, at least and at most."""
    if not sizes:
        return 1, 1
    total, enough = sum(sizes), -(-ENOUGH_WEIGHTS // min(sizes))
    if total >= LARGE:
        return min(max(enough, 2), FEW_DRAWS), MOST_DRAWS
    return min(max(enough, CHEAP // total, FEW_DRAWS), MOST_DRAWS), MOST_DRAWS


def _fresh(factory: Callable[[], torch.nn.Module], draws: int, first: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The tensors of further draws than the `first`; refused where they are the first again, which few signs are by chance."""
    import torch

    same, numbers = bool(first), sum(tensor.numel() for tensor in first.values())
    for seed in range(1, draws):
        tensors = named_tensors(inside(drawn_module(factory, seed)))
        same = same and all(torch.equal(tensors[name], tensor) for name, tensor in first.items())
        if same and seed * numbers >= FEWEST:
            raise AssumptionError(
                "the factory returned the same weights twice; it must build a new module with new random weights at each "
                "call, for example lambda: torchvision.models.resnet18(weights=None); or give the module itself"
            )
        yield tensors


def _export(model: Any, shape: tuple[int, ...], train: bool) -> tuple[Any, dict[str, str]]:
    """The exported program, and for each of its placeholders the name of the parameter or buffer that it stands for."""
    import torch

    if not isinstance(model, torch.nn.Module) or isinstance(model, torch.jit.ScriptModule):
        kind = "a scripted module" if isinstance(model, torch.nn.Module) else f"a {type(model).__name__}"
        raise UnsupportedError(f"trace takes a torch.nn.Module or a factory of them, not {kind}; give the module itself")
    if any(isinstance(p, torch.nn.parameter.UninitializedParameter) for p in model.parameters()):
        raise UnsupportedError("the model has lazy layers that were never run; run it once on an example to give them shapes")
    packed = next((name for name, part in model.named_modules() if ".quantized" in type(part).__module__), None)
    if packed is not None:
        raise UnsupportedError(
            f"{packed}: a quantised layer has no weights with a variance; give the model before quantisation"
        )
    first = next(iter(model.parameters()), torch.zeros(()))
    if not first.dtype.is_floating_point:
        raise UnsupportedError(f"the model's weights are {first.dtype}; only real floating-point weights have a variance here")
    # a norm refuses to take the statistics of a batch of one
    example = torch.zeros(2 if train else 1, *shape, dtype=first.dtype, device=first.device)
    with mode_of(model, train), torch.no_grad(), _quiet(), only_torch_draws(), _uncompiled():
        try:
            program = torch.export.export(model, (example,), strict=False)
        except Exception as error:
            raise UnsupportedError(_why_not_exported(model, shape, error)) from error
    expand(program.graph_module)
    signature = program.graph_signature
    constants = getattr(signature, "inputs_to_lifted_tensor_constants", {})
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **constants}
    return program, {placeholder: str(name) for placeholder, name in names.items()}


def _why_not_exported(model: torch.nn.Module, shape: tuple[int, ...], error: Exception) -> str:
    """The message of a model that torch.export could not take: its cause, and where in the user's code it lies."""
    reason = str(error).strip().split("\n")[0][:300]
    asked = f"torch.export could not take {type(model).__name__} over an input of shape {shape}"
    line = users_line(error)
    if "DataDependent" in type(error).__name__:  # torch's own names of bool(tensor), int(tensor) and the like
        return f"{asked}: control flow that depends on data{line}; the theory counts fixed paths. torch says: {reason}"
    hint = input_hint(model, shape)
    if not hint:
        hint = (
            "torch itself cannot export an operation of it" if takes(model, shape) else "the model cannot be run on this shape"
        )
    return f"{asked}: {hint}{line}{'' if hint[-1] == '?' and not line else '.'} torch says: {type(error).__name__}: {reason}"


def _result(program: Any, output: Any) -> tuple[Any, Any]:
    """The graph node of the output that is meant, and the unit of it."""
    import torch
    from torch.utils import _pytree

    returned = list(program.graph_module.graph.output_node().args[0])
    returned = returned[len(returned) - program.call_spec.out_spec.num_leaves :]  # older torch returns changed buffers before
    node, unit = resolve_output(_pytree.tree_unflatten(returned, program.call_spec.out_spec), output)
    if not isinstance(node, torch.fx.Node):
        raise UnsupportedError(f"output={output!r} of the model is {node!r}, not a tensor")
    return node, unit


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own warnings, logs and prints about what it cannot export: the error that is raised says it.

    And without the lines of Python that each call came from, a quarter of the time of an export.
    """
    import torch.fx.config as settings

    before, untraced = logging.root.manager.disable, getattr(settings, "do_not_emit_stack_traces", False)
    logging.disable(logging.CRITICAL)
    try:
        settings.do_not_emit_stack_traces = True  # older torch does not know it
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        settings.do_not_emit_stack_traces = untraced


def _uncompiled() -> AbstractContextManager[Any]:
    """Graphs on the way to the last one are not compiled to Python: they are read, and none of them is run."""
    try:
        from torch.fx._lazy_graph_module import _use_lazy_graph_module
    except ImportError:  # torch's own, and not promised
        return nullcontext()
    return _use_lazy_graph_module(True)
