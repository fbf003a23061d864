"""A headless Chromium for looks tests, driven over its DevTools pipe: no package beside Python's own is needed."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

from tests import clocks


def find():
    """The path of a Chromium or Chrome, or None."""
    setting = os.environ.get("MINILM_TEST_CHROMIUM")
    if setting:
        return setting
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Page:
    """One open page.

    Attributes
    ----------
    complaints : list of str
        Console errors and warnings, exceptions, and requests that are no file of ours or data.
    """

    def __init__(self, width=1200, height=900, dark=False):
        self._folder = tempfile.mkdtemp(prefix="minilm-chromium-")
        # the browser reads orders from its descriptor 3 and answers at 4
        order_out, self._orders = os.pipe()
        self._answers, answer_in = os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        options += ["--no-first-run", "--disable-background-networking", f"--user-data-dir={self._folder}"]
        options += [f"--window-size={width},{height}", "--remote-debugging-pipe", "about:blank"]
        line = f'exec "$@" 3<&{order_out} 4>&{answer_in}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", line, "chromium", find(), *options],
            pass_fds=(order_out, answer_in),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(order_out)
        os.close(answer_in)
        self._buffer, self._number, self._session, self.complaints = b"", 0, None, []
        try:
            target = self.send("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.send(f"{domain}.enable")
            features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            self.send("Emulation.setEmulatedMedia", features=features)
            self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        except BaseException:
            self.close()
            raise

    def send(self, method, **params):
        """Do something, and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._orders, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._event(answer)

    def _read(self, seconds=clocks.PATIENCE):
        end = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0, end - time.monotonic()))
            part = os.read(self._answers, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError("the browser does not answer")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _event(self, message):
        method, params = message.get("method", ""), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("exception", {}).get("description", params)))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(f"console.{params['type']}: {params['args']}")
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"log: {params['entry']['text']}")
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:", "about:")):
            self.complaints.append(f"request: {params['request']['url']}")

    def open(self, path):
        """Load a file, and wait until it has drawn itself."""
        self.send("Page.navigate", url=f"file://{os.path.abspath(path)}")
        end = time.monotonic() + clocks.PATIENCE
        while self.run("location.protocol === 'file:' && document.documentElement?.dataset.ready") != "1":
            if time.monotonic() > end:
                raise RuntimeError(f"the page was not ready after {clocks.PATIENCE} s: {self.complaints}")
            time.sleep(0.05)

    def run(self, script):
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def _place(self, selector):
        place = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return {"x": place[0], "y": place[1]}

    def hover(self, selector):
        """Move the mouse onto the middle of an element."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", **self._place(selector))

    def click(self, selector):
        """Click on the middle of an element."""
        place = self._place(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def key(self, key):
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key)

    def picture(self, path=None, whole=True):
        """A screenshot as PNG."""
        content = base64.b64decode(self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])
        if path:
            with open(path, "wb") as file:
                file.write(content)
        return content

    def close(self):
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for descriptor in (self._orders, self._answers):
            os.close(descriptor)
        with contextlib.suppress(OSError):
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
