"""What a graph's parameters and constants are: weights by name, and tensors that are made of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from landscape.tracing.graph.calls import Refusal, place_of, shape_of
from landscape.tracing.graph.constants import Constants, operation
from landscape.tracing.graph.values import Fixed

if TYPE_CHECKING:
    import torch

__all__ = ["Numbers", "named_tensors"]

COMPUTED = "computes a {} from other tensors (weight norm, masks, a parametrisation); remove that, or fold it into the {}"

CUTS = (
    "<built-in function getitem>", "split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_chunk", "tensor_split",
    "slice", "select", "narrow", "unbind", "t", "transpose", "permute", "view", "reshape", "_unsafe_view", "unflatten",
    "flatten", "squeeze", "unsqueeze", "contiguous", "alias", "detach",
)  # fmt: skip


class Numbers:
    """Tensors by name: the model's own, the constants of its graph, and what is made of them."""

    values: dict[Any, Any]
    parents: dict[str, str]

    def __init__(self, model: torch.nn.Module, program: Any, names: Mapping[str, str], constants: Constants) -> None:
        self.names, self.constants = names, constants
        self.tensors = {**named_tensors(model), **program.constants}
        self.fixed = {*program.constants, *(name for name, _ in model.named_buffers(remove_duplicate=False))}
        self.made: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {}  # tensor: call, argument, what is made of it
        self.moved_weights: set[str] = set()  # of weights that are made of a parameter: its own entries in other places
        self.parts: dict[str, str] = {}  # weight that is a part of a parameter: that parameter
        self.rounded = False  # does the graph have something that double precision changes?
        self._known: dict[tuple[Any, Any], Any] | None = None

    def names_of(self, argument: Any) -> str | None:
        """The parameter or buffer that a fixed argument is, in any shape; None where it is made of several, or of none."""
        found = self.values.get(argument)
        return found.name if isinstance(found, Fixed) else None

    def is_fixed(self, argument: Any) -> bool:
        """Is the argument made of parameters and constants alone?"""
        return isinstance(self.values.get(argument), Fixed)

    def parameter(self, value: Any, what: str) -> str | None:
        """The name of an argument that must be a parameter or buffer itself, or None where there is none."""
        if value is None:
            return None
        parameter = self.values.get(value)
        if isinstance(parameter, Fixed) and parameter.name is not None:
            return parameter.name
        if isinstance(parameter, Fixed):
            raise Refusal(f"replace: {COMPUTED.format(what, what)}")
        raise Refusal(f"never: its {what} depends on the input")

    def bias(self, call: Any, argument: Any) -> str | None:
        """The name of a layer's bias: a parameter, or numbers that are made of parameters and constants; None without one."""
        if isinstance(self.values.get(argument), Fixed) and self.names_of(argument) is None:
            return self.keep(call, argument, lambda value: value)
        return self.parameter(argument, "bias")

    def weight(self, call: Any, argument: Any, made: Callable[[Any], Any] | None = None) -> str:
        """The name of a layer's weight: a parameter, or numbers that are made of one parameter alone (a parametrisation).

        What is `made` of the argument is that parameter's entries in other places.
        """
        if made is None and (not isinstance(self.values.get(argument), Fixed) or self.names_of(argument) is not None):
            return str(self.parameter(argument, "weight"))
        if made is None and (whole := self._cut_from(argument)) is not None:
            return self._part(call, argument, whole)
        parents, waiting, seen = set(), [argument], set()
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                waiting += node.all_input_nodes
                if node.op == "placeholder" and node.name in self.names:
                    parents.add(self.names[node.name])
        own = [name for name in parents if name not in self.fixed]
        entries = made(self.known(call, argument)) if made else None
        drawn = [
            name
            for name in own
            if (
                tuple(self.tensors[name].shape) == shape_of(argument)
                if entries is None
                else _among(entries, self.tensors[name])
            )
        ]
        if len(drawn) != 1:
            raise Refusal(f"replace: {COMPUTED.format('weight', 'weight')}")
        if made:
            name = self.keep(call, argument, made)
            self.parents[name] = drawn[0]
            self.moved_weights.add(name)
            return name
        own = self.known(call, argument)
        negated = self.constants.values(self.tensors | {drawn[0]: -self.tensors[drawn[0]]}, self.constants.dtype)
        if not bool((negated[call, argument] + own).abs().max() <= own.abs().max() * torch_eps(own) ** 0.5):
            raise Refusal("makes a weight of a parameter whose sign it does not keep, so that its mean is not zero")
        name = self.keep(call, argument, lambda value: value)
        self.parents[name] = drawn[0]
        return name

    def _cut_from(self, argument: Any) -> str | None:
        """The parameter of which a tensor is a part, as a split leaves it; None where it is anything else."""
        node = argument
        while node.op == "call_function" and operation(node) in CUTS and len(node.all_input_nodes) == 1:
            node = node.all_input_nodes[0]
        name = self.names.get(node.name) if node.op == "placeholder" and node is not argument else None
        return None if name in self.fixed else name

    def _part(self, call: Any, argument: Any, whole: str) -> str:
        """The name of a part of a parameter: fresh weights of their own, apart from those of its other parts."""
        rounded = self.rounded
        name = self.keep(call, argument, lambda value: value)
        self.rounded = rounded
        if not self.tensors[name].is_meta:
            self.tensors[name].requires_grad_(self.tensors[whole].requires_grad)
        self.parts[name] = whole
        return name

    def is_zero(self, call: Any, argument: Any) -> bool:
        try:
            return not bool(self.known(call, argument).any())
        except Refusal:  # no numbers on the meta device: nothing is known to vanish
            return False

    def known(self, call: Any, argument: Any) -> Any:
        """The numbers of an argument that is made of parameters and constants, as this call finds them."""
        if self._known is None:
            self._known = self.constants.values(self.tensors, self.constants.dtype)
        constant = self._known.get((call, argument))
        if constant is None or constant.is_meta:
            raise Refusal("reads numbers that are not known on the meta device")
        return constant

    def keep(self, call: Any, argument: Any, made: Callable[[Any], Any]) -> str:
        """A tensor made of the numbers of an argument, under a name of its own."""
        name = f"{place_of(call) or call.name}: {argument.name}"
        self.made[name] = (call, argument, made)
        self.tensors[name] = made(self.known(call, argument))
        self.rounded = True
        return name

    def with_computed(self, tensors: Mapping[str, Any], dtype: Any = None) -> dict[str, Any]:
        """Another draw of the model's tensors, by name, with the constants of the graph and what is made of them."""
        all_of_them = {**self.tensors, **tensors}
        if not self.made:
            return all_of_them
        values = self.constants.values(all_of_them, dtype or self.constants.dtype)
        made = {name: make(values[call, argument]) for name, (call, argument, make) in self.made.items()}
        return all_of_them | (made if dtype is None else {name: tensor.to(dtype) for name, tensor in made.items()})


def torch_eps(tensor: Any) -> float:
    """The resolution of a tensor's type."""
    import torch

    return float(torch.finfo(tensor.dtype).eps)


def _among(entries: Any, parameter: Any) -> bool:
    """Are these entries of a parameter, each in one place at most?"""
    import torch

    own, there = (one.detach().flatten().unique(return_counts=True) for one in (entries, parameter))
    place = torch.searchsorted(there[0], own[0]).clamp_max(len(there[0]) - 1)
    return torch.equal(there[0][place], own[0]) and bool((own[1] <= there[1][place]).all())


def named_tensors(module: torch.nn.Module) -> dict[str, Any]:
    """Parameters and buffers by every name that they have."""
    return {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))}
