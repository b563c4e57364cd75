"""A fault is one wrong piece of source. It is planted at import: nothing on disk changes, and nothing is patched afterwards.

`python -m tests.faults.planting` reads a JSON list of faults from standard input and writes a list of verdicts. What is slow to
import and not under test is imported once; then one forked process per fault imports the library with that fault in it and
runs the tests that should notice.
"""

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from tests.faults.anchors import LIBRARY, ROOT, AnchorError, planted

MOST_BYTES = 8 * 2**30
ERRORED = 99  # the exit code of a process that could not run its tests at all


@dataclass(frozen=True)
class Planted:
    """A file of the library with a faulty source, and the tests (pytest's node ids) that must fail with it."""

    name: str
    file: str
    source: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """In `place`, a function of the library, the piece `old` becomes `new` (written as `tests.faults.anchors` says)."""

    name: str
    place: str
    old: str
    new: str
    tests: tuple[str, ...]

    def planted(self) -> Planted:
        """The fault in its file; `AnchorError` where it no longer fits the library."""
        try:
            return Planted(self.name, *planted(self.place, self.old, self.new), self.tests)
        except AnchorError as gone:
            raise AnchorError(f"{self.name}: {gone}") from None


@dataclass(frozen=True)
class Verdict:
    """pytest's exit code (0: nothing was noticed; 1: a test failed), what it printed, and how long it took."""

    code: int
    output: str
    seconds: float


class Finder(importlib.abc.MetaPathFinder):
    """Finds one module of the library, with the given source."""

    def __init__(self, file: str, source: str) -> None:
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.name, self.path, self.source = module, str(ROOT / file), source

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=Loader(name, self.path, self.source))


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from a source that is not what its file says."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self.text = source

    def get_code(self, fullname: str) -> Any:
        return compile(self.text, self.path, "exec", dont_inherit=True)


def judged(faults: list[Planted], *, limit: int = 300) -> list[Verdict]:
    """Each fault's verdict, in order, from one fresh process that forks for each; `limit` seconds a fault."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.planting", str(limit)],
        cwd=ROOT,
        input=json.dumps([asdict(fault) for fault in faults]),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    if done.returncode:
        raise RuntimeError(f"the faults could not be judged: {done.stderr}")
    return [Verdict(**verdict) for verdict in json.loads(done.stdout)]


def main(limit: int) -> None:
    """Judge what standard input asks for."""
    import hypothesis
    import matplotlib.figure  # noqa: F401
    import networkx  # noqa: F401
    import pytest  # noqa: F401
    import scipy.ndimage
    import scipy.stats  # noqa: F401
    import sympy  # noqa: F401
    import torch
    import torch.export
    import torchvision  # noqa: F401

    torch.set_num_threads(1)
    # a failure is enough: no time is spent on making it small or on explaining it
    quick = hypothesis.settings(
        derandomize=True, deadline=None, database=None, phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    hypothesis.settings.register_profile("quick", quick)
    gc.freeze()  # pytest collects garbage as it ends; what all processes share is none
    assert not any(name.partition(".")[0] in LIBRARY for name in sys.modules)
    json.dump([asdict(_forked(request, limit)) for request in json.load(sys.stdin)], sys.stdout)


def _forked(request: dict[str, Any], limit: int) -> Verdict:
    """One fault in a process of its own."""
    start = time.monotonic()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = ERRORED
        with contextlib.suppress(BaseException):
            os.close(reading)
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            code = _run(request, limit)
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, errors="replace") as pipe:
        output = pipe.read()
    _, status = os.waitpid(child, 0)
    return Verdict(os.waitstatus_to_exitcode(status), output[-4000:], time.monotonic() - start)


def _run(request: dict[str, Any], limit: int) -> int:
    import resource
    import signal

    import pytest

    signal.alarm(limit)  # an endless loop ends as a fault that was noticed: the process dies
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))  # and so does one that eats memory
    finder = Finder(request["file"], request["source"])
    sys.meta_path.insert(0, finder)
    importlib.import_module(finder.name)  # before pytest does, which would read the file of a module whose examples it runs
    os.environ["PILCRO_HYPOTHESIS"] = "quick"
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "--tb=line", "-W", "ignore"]
    files: dict[str, list[str]] = {}
    for test in request["tests"]:
        files.setdefault(test.partition("::")[0], []).append(test)
    codes = (int(pytest.main([*options, *tests])) for tests in files.values())  # no file is read before its turn
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
