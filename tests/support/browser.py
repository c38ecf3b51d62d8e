"""Chromium, spoken to over a pipe in its own protocol: pages are opened, asked, clicked and photographed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.real import require, require_peer
from tests.support.shared import ROOT

__all__ = ["AXE", "Browser", "Page", "browser"]

AXE = ROOT / ".cache" / "browser" / "axe.min.js"
"""axe-core, as .ci/peers unpacks it: https://github.com/dequelabs/axe-core."""

_PATIENCE = 60
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # CI runs as root, in which the sandbox does not start
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
)


class Browser:
    """A running Chromium, which reads commands from descriptor 3 and answers on 4: JSON and a NUL."""

    def __init__(self, program: str, profile: Path) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        words = [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        # The shell puts the two ends where Chromium looks for them.
        line = f'exec "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", line, "bash", *words],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._number = 0
        self._rest = b""
        self._pages: dict[str, Page] = {}

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Return what Chromium answers to a command; events that come before it go to their pages."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result = answer["result"]
                assert isinstance(result, dict)
                return result
            self._tell(answer)

    def open(
        self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False, scripts: bool = True
    ) -> Page:
        """Return the page of a file, loaded, on a screen of this size and colour."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        page.call("Emulation.setEmulatedMedia", features=scheme)
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        if not scripts:
            page.call("Emulation.setScriptExecutionDisabled", value=True)
        page.call("Page.navigate", url=path.resolve().as_uri())
        while "Page.loadEventFired" not in page.events:
            self._tell(self._read())
        return page

    def close(self) -> None:
        """Shut it down and wait until it is gone."""
        try:
            self.call("Browser.close")
        except (AssertionError, OSError):
            self._process.kill()
        os.close(self._commands)
        os.close(self._answers)
        self._process.wait(_PATIENCE)

    def _read(self) -> dict[str, Any]:
        import select

        while b"\0" not in self._rest:
            assert select.select([self._answers], [], [], _PATIENCE)[0], "Chromium does not answer"
            data = os.read(self._answers, 1 << 20)
            assert data, "Chromium has ended"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        found = json.loads(message)
        assert isinstance(found, dict)
        return found

    def _tell(self, event: dict[str, Any]) -> None:
        page = self._pages.get(event.get("sessionId", ""))
        if page is not None:
            page.take(event["method"], event["params"])


class Page:
    """One page: what it has complained of, what it has asked for, and what it is."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.events: set[str] = set()
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def take(self, method: str, parameters: dict[str, Any]) -> None:
        """Take note of an event."""
        self.events.add(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.complaints.append(json.dumps(parameters))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return what Chromium answers to a command for this page."""
        return self._browser.call(method, self._session, **parameters)

    def ask(self, expression: str) -> Any:
        """Return the value of an expression in the page; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression, returnByValue=True, awaitPromise=True, userGesture=True,
        )  # fmt: skip
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def allow_clipboard(self) -> None:
        """Let the page use the clipboard, as a browser that somebody looks at does after a click."""
        self._browser.call(
            "Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"]
        )
        self.call("Page.bringToFront")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        text = json.dumps(selector)
        at = self.ask(
            f"(e => {{ e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();"
            f" return [r.x + r.width / 2, r.y + r.height / 2]; }})(document.querySelector({text}))"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def wait_for(self, condition: str) -> None:
        """Wait until an expression in the page holds."""
        end = time.monotonic() + _PATIENCE
        while not self.ask(condition):
            assert time.monotonic() < end, f"never came true: {condition}"

    def write(self, text: str) -> None:
        """Enter text where the focus is."""
        self.call("Input.insertText", text=text)

    def violations(self) -> list[str]:
        """Return what axe-core finds, by rule and element."""
        require_peer(AXE.exists(), f"axe-core ({AXE})")
        # The page's policy lets no script in but its own; this one comes from outside, as a debugger's do.
        self.ask(AXE.read_text(encoding="utf-8") + "; true")
        found = self.ask("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)")
        return [
            f"{entry['impact']}: {entry['id']}: {node['html'][:200]}"
            for entry in found
            for node in entry["nodes"]
        ]

    def photograph(self, path: Path, *, whole: bool = True) -> None:
        """Write a picture of the page as PNG, `whole` or what the screen shows."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 8000), "scale": 1}
            data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)[
                "data"
            ]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Run Debian's Chromium, with a profile of its own; without one the test skips, or fails in CI."""
    program = shutil.which("chromium")
    require(program, "chromium")
    assert program is not None
    found = Browser(program, profile)
    try:
        yield found
    finally:
        found.close()
