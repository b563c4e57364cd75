"""The lattice: a convolutional network as a frozen, hashable, topologically ordered graph of ops."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

from lattice.checks import is_whole
from lattice.errors import ResourceError, SpecificationError
from lattice.network.branches import Branches, Layer, as_layers
from lattice.network.nodes import Node, SavedNetwork, Unit
from lattice.network.ops import Input, Op, Shape
from lattice.network.shapes import output_shape

__all__ = ["Lattice", "Node", "Unit", "check_lattice"]

MOST_UNITS = 2**256  # of a layer; estimates of the cost, in float64, stay finite below


@dataclass(frozen=True)
class Lattice(SavedNetwork):
    """A network as a lattice of units: nodes in topological order, the input first, the output last (Section 3.1).

    Every node must be reached from the output. `shapes` has the output shape of each node.

    Parameters
    ----------
    nodes : iterable of Node
        The layers in topological order; the first is the `Input`, the last the output. `Lattice.chain` makes them of layers.

    Raises
    ------
    SpecificationError
        If shapes do not fit, a name occurs twice, or a node is not read; the message names the node.
    ResourceError
        If a layer has 2^256 units or more.

    Examples
    --------
    >>> from lattice import Conv, residual
    >>> net = Lattice.chain(
    ...     (1, 8), [Conv(4, kernel=3, padding=1), residual([Conv(4, kernel=3, padding=1)])]
    ... )
    >>> net.names, net.shapes[-1]
    (('input', 'conv1', 'conv2', 'add1'), (4, 8))
    """

    nodes: tuple[Node, ...]
    shapes: tuple[Shape, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        given: Any = tuple(self.nodes) if isinstance(self.nodes, Iterable) else None
        if given is None or not all(isinstance(node, Node) for node in given):
            raise SpecificationError(
                f"Lattice: nodes is {self.nodes!r}; it takes nodes, and Lattice.chain(input_shape, layers) makes them of layers"
            )
        object.__setattr__(self, "nodes", given)
        if not self.nodes or not isinstance(self.nodes[0].op, Input):
            raise SpecificationError("the first node of a lattice is its Input")
        repeated = [name for name, count in Counter(node.name for node in self.nodes).items() if count > 1]
        if repeated:
            raise SpecificationError(f"two nodes are called {repeated[0]!r}; names tell nodes apart")
        object.__setattr__(self, "shapes", self._infer_shapes())
        unread = set(range(len(self.nodes) - 1)) - {i for node in self.nodes for i in node.inputs}
        if unread:
            names = ", ".join(self.nodes[i].name for i in sorted(unread))
            raise SpecificationError(f"no layer reads {names}; only the last node is an output")

    def _infer_shapes(self) -> tuple[Shape, ...]:
        shapes: list[Shape] = []
        for position, node in enumerate(self.nodes):
            if isinstance(node.op, Input):
                if position:
                    raise SpecificationError(f"{node.name}: a lattice has one Input, its first node")
                shapes.append(node.op.shape)
                continue
            if not node.inputs or not all(is_whole(i) and 0 <= i < position for i in node.inputs):
                raise SpecificationError(f"{node.name}: reads nodes {node.inputs}; a node reads nodes that stand before it")
            try:
                shapes.append(output_shape(node.op, *(shapes[i] for i in node.inputs)))
            except SpecificationError as error:
                raise type(error)(f"{node.name}: {error}") from None
            except TypeError:
                raise SpecificationError(f"{node.name}: {node.op} does not take {len(node.inputs)} inputs") from None
        for node, shape in zip(self.nodes, shapes, strict=True):
            if prod(shape) > MOST_UNITS:
                raise ResourceError(f"{node.name}: {shape} has 2^{prod(shape).bit_length() - 1} units or more, above 2^256")
        return tuple(shapes)

    @classmethod
    def chain(cls, input_shape: Shape, layers: Iterable[Layer]) -> "Lattice":
        """Layers on top of each other, bottom first, over one input.

        Nodes are called conv1, conv2, add1, ... after their ops.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one input, (channels, *spatial), with up to three spatial axes.
        layers : iterable of Op or Branches
            The layers, bottom first: ops, and what `residual` and `concatenate` return.

        Returns
        -------
        Lattice
            The network.

        Raises
        ------
        SpecificationError
            If something is not a layer, or does not fit what it reads.

        Examples
        --------
        >>> from lattice import Conv, Dense, Flatten
        >>> Lattice.chain((3, 8, 8), [Conv(16, kernel=3), Flatten(), Dense(10)]).output_shape
        (10,)
        """
        layers = as_layers(layers)
        nodes = [Node("input", Input(input_shape))]
        seen: Counter[str] = Counter()

        def append(op: Op, inputs: tuple[int, ...]) -> int:
            kind = type(op).__name__.lower()
            seen[kind] += 1
            nodes.append(Node(f"{kind}{seen[kind]}", op, inputs))
            return len(nodes) - 1

        def stack(layers: Iterable[Layer], top: int) -> int:
            for layer in layers:
                if isinstance(layer, Branches):
                    top = append(layer.merge, tuple(stack(chain, top) for chain in layer.chains))
                elif isinstance(layer, Op) and not isinstance(layer, Input):
                    top = append(layer, (top,))
                else:
                    raise SpecificationError(f"{layer!r} is not a layer: give ops, residual(...) or concatenate(...)")
            return top

        stack(layers, 0)
        return cls(tuple(nodes))

    @property
    def input_shape(self) -> Shape:
        """Shape of the input, (channels, *spatial)."""
        return self.shapes[0]

    @property
    def output_shape(self) -> Shape:
        """Shape of the output, (channels, *spatial) or (features,)."""
        return self.shapes[-1]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes, the input first."""
        return tuple(node.name for node in self.nodes)

    @cached_property
    def readers(self) -> tuple[tuple[int, ...], ...]:
        """For each node the indices of the nodes that read it, once per reading."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for position, node in enumerate(self.nodes):
            for i in node.inputs:
                readers[i].append(position)
        return tuple(map(tuple, readers))

    def input_shapes(self, node: Node) -> tuple[Shape, ...]:
        """The shapes that a node reads, in the order of its inputs.

        Parameters
        ----------
        node : Node
            A node of this lattice.

        Returns
        -------
        tuple of tuple of int
            Shapes (channels, *spatial) or (features,).
        """
        return tuple(self.shapes[i] for i in node.inputs)

    def at_size(self, size: int) -> "Lattice":
        """The same layers over an input of `size` cells on every axis.

        Parameters
        ----------
        size : int
            Cells on every spatial axis, at least 1.

        Returns
        -------
        Lattice
            The network at that size.

        Raises
        ------
        SpecificationError
            If a layer does not fit an input of that size.

        Examples
        --------
        >>> from lattice import families
        >>> families.plain(9, depth=2).at_size(33).output_shape
        (1, 29)
        """
        if isinstance(size, bool) or not hasattr(size, "__index__") or size < 1:
            raise SpecificationError(f"size is {size!r}; it is the number of cells on every axis, for example 224")
        channels, *spatial = self.input_shape
        first, *others = self.nodes
        return Lattice((Node(first.name, Input((channels, *(size for _ in spatial))), first.inputs), *others))

    def up_to(self, node: "int | str") -> "Lattice":
        """The lattice whose output is this node: what the node depends on.

        Parameters
        ----------
        node : int or str
            Index or name of a node.

        Returns
        -------
        Lattice
            The part of the network below and including the node.

        Raises
        ------
        SpecificationError
            If there is no layer of that name.

        Examples
        --------
        >>> from lattice import Conv
        >>> Lattice.chain((1, 8), [Conv(4, 3), Conv(2, 3)]).up_to("conv1").output_shape
        (4, 6)
        """
        if isinstance(node, str) and node not in self.names:
            raise SpecificationError(f"there is no layer {node!r} in this lattice; its layers are {', '.join(self.names)}")
        position = self.names.index(node) if isinstance(node, str) else range(len(self.nodes))[node]
        needed = {position}
        for i in range(position, 0, -1):
            if i in needed:
                needed.update(self.nodes[i].inputs)
        kept = sorted(needed)
        moved = {old: new for new, old in enumerate(kept)}
        nodes = (self.nodes[i] for i in kept)
        return Lattice(tuple(Node(node.name, node.op, tuple(moved[i] for i in node.inputs)) for node in nodes))

    def unit(self, where: "Unit | tuple[int, ...] | int", node: int = -1) -> Unit:
        """The unit of a node that `where` names.

        Parameters
        ----------
        where : Unit, tuple of int or int
            A `Unit`, or a bare position, which means channel 0; () is the first feature of a flat layer.
        node : int, default -1
            Index of the node; the output unless told otherwise.

        Returns
        -------
        Unit
            Position and channel.

        Raises
        ------
        SpecificationError
            If the node has no such unit.

        Examples
        --------
        >>> from lattice import Conv
        >>> Lattice.chain((1, 8), [Conv(4, 3)]).unit(2)
        Unit(position=(2,), channel=0)
        """
        shape = self.shapes[node]
        bare = tuple(where) if isinstance(where, tuple | list) else (where,)
        unit = where if isinstance(where, Unit) else Unit(bare)  # type: ignore[arg-type]
        sizes = (*shape[1:], shape[0])
        indices = (*unit.position, unit.channel) if isinstance(unit.position, tuple | list) else ()
        fits = len(indices) == len(sizes) and all(is_whole(i) and 0 <= i < n for i, n in zip(indices, sizes, strict=True))
        if not fits:
            raise SpecificationError(
                f"{self.nodes[node].name} has shape {shape}: it has no unit at position {unit.position}, channel {unit.channel}"
                + ("; it is flat, its units have position ()" if len(shape) == 1 else "")
            )
        return unit

    def _repr_html_(self) -> str:
        """A table of the layers with their graph, for notebooks."""
        from lattice.drawing.html import lattice_html

        return lattice_html(self)

    def __str__(self) -> str:
        rows = [("layer", "op", "reads", "shape")]
        for node, shape in zip(self.nodes, self.shapes, strict=True):
            rows.append((node.name, str(node.op), ", ".join(self.nodes[i].name for i in node.inputs), str(shape)))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def check_lattice(given: Any, request: str) -> None:
    """`SpecificationError` unless a request was given a `Lattice`."""
    if not isinstance(given, Lattice):
        raise SpecificationError(
            f"{request} takes a lattice.Lattice, not a {type(given).__name__}; Lattice.chain(input_shape, layers) makes one, "
            "and landscape.trace(model, shape).lattice is that of a torch model"
        )
