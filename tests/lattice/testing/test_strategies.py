"""The strategies draw valid lattices only, and reach every op, mode and parameter; every op has every rule."""

import subprocess
import sys
from collections import Counter
from dataclasses import is_dataclass
from functools import cache
from math import prod

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lattice
from lattice import (
    Add,
    Concat,
    Conv,
    ConvTranspose,
    Lattice,
    Multiply,
    Pool,
    SpecificationError,
    Unit,
    path_counts,
    path_exists,
    route,
)
from lattice.counts.counting import _spatial_op
from lattice.geometry.channel_fields import channel_fields
from lattice.network.ops import Input, Op, Summed
from lattice.network.shapes import output_shape
from lattice.network.windows.window import Window
from lattice.sweep.choices import choices
from lattice.sweep.pullback import pull
from lattice.testing.layer_strategies import MOST_UNITS
from lattice.testing.strategies import EVERY_MODE, EVERY_OP, blocks, lattices, layers, routes, units, windows

OPS = [value for name, value in sorted(vars(lattice.network.ops).items()) if isinstance(value, type) and issubclass(value, Op)]
LEAVES = [op for op in OPS if is_dataclass(op)]


def drawn(strategy, examples):
    found = []

    @settings(max_examples=examples, database=None)
    @given(strategy)
    def collect(example):
        found.append(example)

    collect()
    return found


@cache
def drawn_layers(op):
    shapes = st.sampled_from([(1, 5), (2, 6), (3, 4), (4, 3, 4), (2, 2, 3, 2)])
    return drawn(shapes.flatmap(lambda shape: layers(shape, modes=EVERY_MODE, ops=[op])), 800)


# --- completeness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", LEAVES, ids=lambda op: op.__name__)
@pytest.mark.parametrize("rule", [output_shape, pull, choices, _spatial_op, channel_fields], ids=lambda rule: rule.__name__)
def test_every_op_has_every_rule(op, rule):
    if (op is Input and rule is not channel_fields and rule is not _spatial_op) or (issubclass(op, Summed) and rule is choices):
        pytest.skip("an input is where sweeps and routes end; sums are routed by the lattice, which knows which branch is SKIP")
    default = rule.dispatch(object)
    if rule is _spatial_op:  # its default is right for ops without channels of their own
        assert rule.dispatch(op) is not default or not {"channels", "groups", "units", "start"} & set(op.__dataclass_fields__)
    else:
        assert rule.dispatch(op) is not default


def test_every_op_can_be_drawn():
    heads_and_merges = {"Input", "Flatten", "Dense", "Add", "Concat", "Multiply"}
    assert {op.__name__ for op in EVERY_OP} | heads_and_merges == {op.__name__ for op in LEAVES}


# --- statistics over drawn examples -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nets():
    return drawn(lattices(), 800)


@pytest.mark.parametrize("op", [op for op in LEAVES if op is not Multiply], ids=lambda op: op.__name__)
def test_every_op_is_reached(nets, op):  # but products: the Jacobian of an all-ones net with a gate counts no paths
    count = sum(any(type(node.op) is op for node in net.nodes) for net in nets)
    assert count >= 12, f"{op.__name__} in {count} of {len(nets)} nets"


def test_every_dimension_and_depth_is_reached(nets):
    axes = Counter(len(net.input_shape) - 1 for net in nets)
    assert min(axes[k] for k in (1, 2, 3)) >= 50, axes
    assert max(len(net.nodes) for net in nets) >= 10


def test_branches_stride_and_project(nets):
    merges = [(net, node) for net in nets for node in net.nodes if isinstance(node.op, Add | Concat)]
    strided = projected = identity = wide = 0
    for net, node in merges:
        ops = [net.nodes[i].op for i in node.inputs]
        strided += any(isinstance(op, Conv | Pool) and op.stride not in (1, (1,) * len(net.input_shape[1:])) for op in ops)
        projected += isinstance(node.op, Add) and all(isinstance(op, Conv) for op in ops)
        identity += any(node.inputs[0] > i + 1 or i == 0 for i in node.inputs)
        wide += len(node.inputs) > 2
    assert min(strided, projected, identity, wide) >= 10, (strided, projected, identity, wide)


@pytest.mark.parametrize(
    ("op", "feature"),
    [
        (Conv, lambda op: op.padding == "same"),
        (Conv, lambda op: op.padding == "valid"),
        (Conv, lambda op: isinstance(op.padding, tuple) and any(isinstance(p, tuple) and p[0] != p[1] for p in op.padding)),
        (Conv, lambda op: op.groups > 1),
        (Conv, lambda op: isinstance(op.kernel, tuple)),
        (Conv, lambda op: isinstance(op.kernel, int)),
        (Conv, lambda op: np.max(op.dilation) > 1),
        (Conv, lambda op: np.max(op.kernel) % 2 == 0),
        *[(Conv, lambda op, mode=mode: op.mode == mode and op.padding not in (0, "same")) for mode in EVERY_MODE],
        (ConvTranspose, lambda op: np.max(op.dilation) > 1),
        (ConvTranspose, lambda op: np.max(op.output_padding) > 0),
        (ConvTranspose, lambda op: op.groups > 1),
        (ConvTranspose, lambda op: np.max(op.stride) > np.max(op.kernel)),
        (Pool, lambda op: op.ceil and np.max(op.stride) > 1),
        (Pool, lambda op: not op.count_include_pad and np.max(op.padding) > 0),
        (Pool, lambda op: np.max(op.dilation) > 1),
        (lattice.Upsample, lambda op: op.mode == "linear" and np.max(op.scale) > 1),
        (lattice.Blur, lambda op: len(op.taps) == 3 and np.max(op.stride) > 1 and op.mode != "zeros"),
        (lattice.PixelShuffle, lambda op: op.factor == 2),
        (lattice.PixelShuffle, lambda op: op.factor == 3),
        (lattice.Pad, lambda op: np.max(op.padding) > 0),
    ],
)
def test_every_parameter_of_a_layer_is_reached(op, feature):
    assert sum(bool(feature(layer)) for layer in drawn_layers(op) if type(layer) is op) >= 2


# --- validity -----------------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(lattices())
def test_drawn_layers_stay_small(net):
    assert max(prod(shape) for shape in net.shapes) <= 3 * MOST_UNITS


@settings(max_examples=200)
@given(st.integers(1, 9), st.sampled_from(EVERY_MODE), st.integers(1, 12), st.data())
def test_a_drawn_window_has_outputs_and_no_more_than_asked_for(n, mode, most, data):
    kernel, stride, dilation, padding, mode = windows(data.draw, n, (mode,), most)
    assert 1 <= Window(kernel, stride, dilation, padding, mode).outputs(n) <= max(n, most)


@settings(max_examples=200)
@given(lattices(ops=[Conv, Pool], modes=["circular"], heads=False, channels=2))
def test_restrictions_are_kept(net):
    kinds = {type(node.op) for node in net.nodes[1:]}
    assert kinds <= {Conv, Pool, Add, Concat}
    assert all(node.op.mode == "circular" for node in net.nodes if isinstance(node.op, Conv))
    assert net.input_shape[0] <= 2


@settings(max_examples=100)
@given(st.sampled_from([(1, 5), (2, 4, 3), (3, 6), (2, 2, 2, 2), (1, 1)]), st.data())
def test_blocks_are_lattices_of_their_own(shape, data):
    block = data.draw(blocks(shape, modes=EVERY_MODE))
    net = Lattice.chain(shape, [block])
    assert isinstance(net.nodes[-1].op, Add | Concat)


@settings(max_examples=150)
@given(lattices(), st.data())
def test_drawn_routes_exist(net, data):
    if path_counts(net, input_channel=0).sum() == 0:
        assume(net.input_shape[0] == 1)  # other channels may be read
        with pytest.raises(SpecificationError, match="no output unit"):
            data.draw(routes(net))
        return
    commands, output = data.draw(routes(net))
    assert path_exists(net, output, route(net, commands, output))


@given(lattices(), st.data())
def test_drawn_units_exist(net, data):
    node = data.draw(st.integers(0, len(net.nodes) - 1))
    unit = data.draw(units(net, node))
    assert isinstance(unit, Unit)
    assert net.unit(unit, node) == unit


def test_without_hypothesis_the_error_says_what_to_install():
    code = "import sys; sys.modules['hypothesis'] = None; import lattice; import lattice.testing.strategies"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install '.[strategies]'" in result.stderr
