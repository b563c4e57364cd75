"""Everything that reads text or files takes any bytes: they load, or a `PilcroError` says why not, and nothing else happens.

Fixed mutations of valid files, in seconds; `make fuzz` looks for new ones by coverage.
"""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.entry_points import ENTRY_POINTS
from tests.fuzz.watch import Misdeed, watched

CHEAP = [name for name in ENTRY_POINTS if name != "arguments"]  # a command line takes 30 ms to parse
PLACES = 200
STRANGE = (None, True, -1, 0, 2**70, -(2**70), 1e308, 10**400, float("nan"), "", "x" * 10_000, [], {}, [[]] * 50, {"a": {}})


def deep(levels):
    return b"[" * levels, b'{"a":' * levels, b'{"content":' * levels + b"1" + b"}" * levels


def every(name):
    return [
        pytest.param(ENTRY_POINTS[name], seed, id=f"{name}-{number}") for number, seed in enumerate(ENTRY_POINTS[name].seeds())
    ]


SEEDS = [parameter for name in CHEAP for parameter in every(name)]


@pytest.fixture(scope="module", autouse=True)
def _imported():
    """Torchvision loads its own libraries at its first import, which is nobody's input."""
    pytest.importorskip("torchvision")


@pytest.mark.parametrize(("entry", "seed"), [p for name in ENTRY_POINTS for p in every(name)])
def test_what_is_valid_does_nothing_forbidden(entry, seed):
    entry.enter(seed)


@pytest.mark.parametrize(("entry", "seed"), SEEDS)
def test_a_file_cut_off_at_any_place_is_refused(entry, seed):
    places = sorted({round(place * len(seed) / PLACES) for place in range(PLACES)})
    for place in places if entry.name != "models" else places[:40]:
        entry.enter(seed[:place])


@pytest.mark.parametrize(("entry", "seed"), SEEDS)
def test_flipped_bits_are_found(entry, seed):
    chosen = random.Random(0)
    for _ in range(60):
        flipped = bytearray(seed)
        for _ in range(chosen.choice((1, 1, 8))):
            flipped[chosen.randrange(len(seed))] ^= 1 << chosen.randrange(8)
        entry.enter(bytes(flipped))


def objects():
    """The seeds that are JSON objects: their first byte (which file), and their content."""
    for entry in ENTRY_POINTS.values():
        for seed in entry.seeds():
            kind, text = (b"", seed) if entry.name == "recipes" else (seed[:1], seed[1:])
            try:
                found = json.loads(text)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield pytest.param(entry, kind, found, id=f"{entry.name}-{kind.decode()}")


def changed(values):
    """Every value in turn, at any depth, replaced by strange ones, or left out, or under another name."""
    for key, value in values.items():
        for strange in STRANGE:
            yield {**values, key: strange}
        yield {other: held for other, held in values.items() if other != key}
        yield {**{other: held for other, held in values.items() if other != key}, f"{key}_": value}
        if isinstance(value, dict):
            for inner in changed(value):
                yield {**values, key: inner}


@pytest.mark.parametrize(("entry", "kind", "values"), list(objects()))
def test_values_of_other_types_sizes_and_names_are_refused(entry, kind, values):
    for other in changed(values):
        entry.enter(kind + json.dumps(other).encode())
    keys = list(values)
    entry.enter(kind + json.dumps(dict(zip(keys, (values[key] for key in keys[::-1]), strict=True))).encode())


@pytest.mark.parametrize("name", CHEAP)
def test_deep_nesting_is_refused(name):
    kinds = sorted({seed[:1] for seed in ENTRY_POINTS[name].seeds()}) if name != "recipes" else [b""]
    for kind in kinds:
        for levels in (50, 5_000, 100_000):
            for content in deep(levels):
                ENTRY_POINTS[name].enter(kind + content)


@settings(max_examples=60)
@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode), st.sampled_from(CHEAP))
def test_any_bytes_are_refused(data, name):
    ENTRY_POINTS[name].enter(data)


@settings(max_examples=40)
@given(
    st.sampled_from([seed.split(b"\n") for seed in ENTRY_POINTS["arguments"].seeds()]),
    st.integers(0, 14),
    st.sampled_from([b"", b"-1", b"nan", b"1e999", str(2**70).encode(), b"\xff", b"--", b"--json", b"a:b:c", b"x" * 3000]),
)
def test_command_lines_with_one_word_changed_are_refused_or_understood(words, place, word):
    ENTRY_POINTS["arguments"].enter(b"\n".join([*words[: place % len(words)], word, *words[place % len(words) + 1 :]]))


# --- the watch itself: each of its claims must be able to fail ----------------------------------------------------------------


def _writes_elsewhere(folder):
    (folder.parent / "elsewhere").write_text("")


def _starts_a_process(folder):
    import os

    os.system("true")


def _evaluates(folder):
    eval("1 + 1", {})


def _unpickles(folder):
    import pickle

    pickle.loads(b"cbuiltins\nprint\n.")


def _eats_memory(folder):
    assert len(b"a" * (600 * 2**20)) > 0


@pytest.mark.parametrize("misdeed", [_writes_elsewhere, _starts_a_process, _evaluates, _unpickles, _eats_memory])
def test_the_watch_sees(misdeed, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(Misdeed), watched(inside):
        misdeed(inside)


def test_the_watch_sees_time(tmp_path):
    with pytest.raises(Misdeed, match=r"\d s"), watched(tmp_path, seconds=0.01):
        sum(range(10**6))
