"""Which test reaches which line of the library, and how long it takes: measured once, by coverage.py with a context a test."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.anchors import LIBRARY, ROOT

JUDGES = ("tests/lattice", "tests/landscape", "tests/validation", "tests/test_bad_input.py", *LIBRARY)


@dataclass(frozen=True)
class Reach:
    """`lines[file][line]` are numbers of tests, `names[number]` and `seconds[number]` what they are called and take."""

    names: list[str]
    seconds: list[float]
    lines: dict[str, dict[str, list[int]]]

    def tests(self, file: str, line: int, *, seconds: float) -> tuple[str, ...]:
        """The tests that reach a line, the file's own first and then the quickest, as many as take `seconds`.

        A line that runs as the file is imported is reached by every test that reaches any of its lines.
        """
        lines = self.lines.get(file, {})
        numbers = lines.get(str(line)) or sorted({number for reached in lines.values() for number in reached})
        own = (f"{file}::", f"test_{Path(file).stem}.py::")
        ranked = sorted(numbers, key=lambda number: (not any(part in self.names[number] for part in own), self.seconds[number]))
        chosen, total = [], 0.0
        for number in ranked:
            if total + self.seconds[number] <= seconds or not chosen:
                total += self.seconds[number]
                chosen.append(self.names[number])
        return tuple(chosen)


def reach(path: Path) -> Reach:
    """What `path` holds, measured where it is not there yet (a quarter of an hour)."""
    if not path.exists():
        subprocess.run([sys.executable, "-m", "tests.faults.reach", str(path.absolute())], cwd=ROOT, check=True)
    return Reach(**json.loads(path.read_text()))


class Watch:
    """A pytest plugin: every test is a context of its own, and is timed; failures are no judges."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Any:
        self.coverage.switch_context(item.nodeid)
        result = yield
        self.coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if not report.passed:
            self.failed.add(report.nodeid)


def main(path: Path) -> None:
    """Run the judges under coverage and write what reaches what."""
    from coverage import Coverage

    coverage = Coverage(data_file=None, config_file=False, source=[str(ROOT / name) for name in LIBRARY])
    watch = Watch(coverage)
    coverage.start()
    pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", *JUDGES], plugins=[watch])
    coverage.stop()
    names = [name for name in watch.seconds if name not in watch.failed]
    number = {name: i for i, name in enumerate(names)}
    data, lines = coverage.get_data(), {}
    for file in data.measured_files():
        contexts = data.contexts_by_lineno(file)
        lines[str(Path(file).relative_to(ROOT))] = {
            str(line): sorted(number[name] for name in reached if name in number) for line, reached in contexts.items()
        }
    path.write_text(json.dumps({"names": names, "seconds": [watch.seconds[name] for name in names], "lines": lines}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
