"""Drills in forked processes: `python -m tests.drills.server` imports torch once, and forks a process for every job.

It reads a job (a JSON line) and answers with the process's id; it reads {"wait": id} and answers with how that one ended.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "CUDA_VISIBLE_DEVICES": "",
    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
}  # fmt: skip


@dataclass(frozen=True)
class End:
    """How a process ended: its exit status (negative: the signal that killed it), and what it had told until then."""

    code: int
    told: list

    def of(self, event):
        return [line for line in self.told if line["event"] == event]

    @property
    def error(self):
        """The exception's message, and whether it is one of this project's; None where there was none."""
        raised = self.of("raised")
        return (raised[0]["message"], "PilcroError" in raised[0]["kinds"]) if raised else None

    @property
    def saved(self):
        """The last step, or number of blocks, that it said to be safe."""
        return max((line["amount"] for line in self.of("saved")), default=0)

    @property
    def calls(self):
        return self.of("ended")[0]["calls"]

    @property
    def warnings(self):
        return [line["message"] for line in self.of("warned")]


class Server:
    """The other end of it."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.drills.server"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **ENVIRONMENT}, text=True,
        )  # fmt: skip
        self.reports = {}

    def _ask(self, question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, body, folder, **job):
        """Fork a process; returns its id. The folder's parent belongs to this drill alone."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        report = folder.parent.with_name(f"{folder.parent.name}-report-{len(self.reports)}")
        pid = self._ask({"body": body, "folder": str(folder), "report": str(report), **job})
        self.reports[pid] = report
        return pid

    def until(self, pid, event, timeout=60):
        """Wait until the process has told this."""
        deadline = time.monotonic() + timeout
        while not any(line["event"] == event for line in self._told(pid)):
            assert time.monotonic() < deadline, self._told(pid)
            time.sleep(0.001)

    def _told(self, pid):
        path = self.reports[pid]
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait(self, pid):
        code = self._ask({"wait": pid})
        return End(code, self._told(pid))

    def run(self, body, folder, **job):
        return self.wait(self.start(body, folder, **job))

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def _late(number, frame):
    raise TimeoutError


def serve():
    """Fork for every job read, until there is nothing more to read; then end what is still there."""
    from tests.drills.bodies import play, prepare

    prepare()
    answer, children = os.fdopen(os.dup(1), "w"), set()
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, _late)
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            pid = job["wait"]
            signal.alarm(120)
            try:
                _, status = os.waitpid(pid, 0)
            except TimeoutError:  # it hangs: that is an answer too
                os.kill(pid, signal.SIGABRT)
                _, status = os.waitpid(pid, 0)
            signal.alarm(0)
            children.discard(pid)
            print(os.waitstatus_to_exitcode(status), file=answer, flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            status = 99
            try:
                status = play(job)
            except KeyboardInterrupt:  # it came when all was done but to say so
                status = 2
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.add(pid)
        print(pid, file=answer, flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    serve()
