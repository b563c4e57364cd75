"""A real browser without a window, spoken to over a pipe in its own protocol: no driver, no network, no other package."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import threading
from contextlib import contextmanager

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
]  # fmt: skip
PATIENCE = 300  # seconds, after which a browser that hangs is ended and its test fails
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def found():
    """The path of a browser, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """Calls are answered in order; what the page itself reports meanwhile is kept in `events`."""

    def __init__(self, write, read):
        self.write, self.read, self.numbers, self.session, self.events = write, read, itertools.count(1), None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.write.fileno(), json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def next(self):
        content = bytearray()
        while (byte := self.read.read(1)) != b"\0":
            assert byte, "the browser ended"
            content += byte
        message = json.loads(content)
        self.events += [message] if "method" in message else []
        return message

    def show(self, url, width, height, scheme="light", media=""):
        """Load a page in a window of this size, in a light or dark scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.events = []
        self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.next()

    def evaluate(self, expression):
        """The value of an expression in the page, awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def complaints(self):
        """Errors and warnings of the console, and exceptions, since the page was asked for."""
        told = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Network.loadingFailed")
        return [event for event in self.events if event["method"] in told]

    def requests(self):
        """Every address that the page asked for."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def screenshot(self, path, whole=False):
        """What is to be seen, as a PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))


@contextmanager
def browser(folder):
    """A browser with an empty profile in `folder`, ended on leaving."""
    (there, write), (read, back) = os.pipe(), os.pipe()
    # the protocol's pipes are 3 and 4; a plain sh knows no descriptors of two digits
    line = f'exec "$0" "$@" 3<&{there} 4>&{back}'
    process = subprocess.Popen(
        ["bash", "-c", line, found(), *FLAGS, f"--user-data-dir={folder}"],
        pass_fds=(there, back), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(there)
    os.close(back)
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        with os.fdopen(write, "wb", buffering=0) as out, os.fdopen(read, "rb") as answers:
            yield Browser(out, answers)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
