r"""The one reverse sweep: values that can be added, carried from the output of a network down to its input.

    c(u) = sum over the states v above u of step(v, c(v)),        c(top) = the given value,

each state after all that lead to it. Whatever is counted or measured along paths is this sum with values of some kind: path
counts, variances, limbs of long integers, bounds, booleans, polynomials (`lattice.sweep.pullback` and what calls it) over the
nodes of a lattice; second moments and covariances over nodes and pairs of nodes (`landscape.laws.positions.sweep`).
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, TypeVar

from lattice.network.lattice import Lattice

__all__ = ["accumulate", "bottom", "sweep"]

State = TypeVar("State", bound=Hashable)
Value = TypeVar("Value", bound=Any)


def accumulate(
    states: Iterable[State], top: Value, step: Callable[[State, Value], Iterable[tuple[State, Value]]]
) -> Iterator[tuple[State, Value]]:
    """The value of every state, from the first one, which has `top`, to the last: yields (state, value).

    `states` are in an order in which every state comes after all that lead to it. `step(state, value)` is what a state passes
    on: (state below, value) for each of its connections; values that meet in a state are added with `+`.

    >>> below = {"c": ["b", "a"], "b": ["a"]}  # two ways from c to a
    >>> dict(accumulate("cba", 1, lambda state, here: [(to, here) for to in below[state]]))
    {'c': 1, 'b': 1, 'a': 2}
    """
    *inner, last = states
    waiting = {(inner or [last])[0]: top}
    for state in inner:
        here = waiting.pop(state)
        yield state, here
        for below, passed in step(state, here):
            waiting[below] = waiting[below] + passed if below in waiting else passed
    yield last, waiting[last]


def sweep(
    lattice: Lattice, top: Value, step: Callable[[int, Value], Iterable[Value]], down_to: int = 0
) -> Iterator[tuple[int, Value]]:
    """The value of every node from the output, which has `top`, down to the input: yields (position, value).

    `step(position, value)` gives what each input of a node gets, in their order. `down_to` is the input, or another node that
    lies on every path.

    >>> from lattice import Conv, residual
    >>> net = Lattice.chain(
    ...     (1, 8), [residual([Conv(1, 3, padding=1)]), residual([Conv(1, 3, padding=1)])]
    ... )
    >>> # ways down
    >>> [
    ...     value
    ...     for _, value in sweep(
    ...         net, 1, lambda position, here: [here] * len(net.nodes[position].inputs)
    ...     )
    ... ]
    [1, 1, 2, 2, 4]
    """
    nodes = lattice.nodes

    def onward(position: int, here: Value) -> Iterable[tuple[int, Value]]:
        return zip(nodes[position].inputs, step(position, here), strict=True)

    return accumulate(reversed(range(down_to, len(nodes))), top, onward)


def bottom(values: Iterable[tuple[State, Value]]) -> Value:
    """The last value of a sweep, with those above it let go.

    >>> bottom([("b", 1), ("a", 2)])
    2
    """
    return deque(values, maxlen=1)[0][1]
