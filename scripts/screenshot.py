"""Takes the picture of the connection form for the documentation: Add Connection with type IMAP4, one section open.

    .venv/bin/python -m scripts.screenshot http://127.0.0.1:PORT docs/connection-form.png

PORT is that of a running demo. It drives Debian's Chromium over its debugging pipe (fd 3 and 4, JSON between NULs),
which needs no library.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scripts.local_airflow import wait_until

CHROMIUM = "chromium"
# Pixels; twice as many in the picture, for sharp text.
WIDTH, HEIGHT, HIGHEST, SCALE = 1100, 1000, 4000, 2
# Seconds for a page or a click to have its effect.
DEADLINE = 60.0
GLANCE = 0.5

# In the page: finds what a person would see and read.
HELPERS = """
window.visible = (selector, text) => [...document.querySelectorAll(selector)].find(
    element => element.offsetParent !== null && (!text || element.textContent.trim().startsWith(text)));
window.box = element => {
    const {x, y, width, height} = element.getBoundingClientRect();
    return {x, y, width, height};
};
"""
DIALOG = "visible('[role=dialog]')"


class Browser:
    """A headless Chromium with one page."""

    def __init__(self, profile: Path) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        self._ids = itertools.count(1)
        self._unread = b""
        self._process = subprocess.Popen(
            [
                "bash",
                *("-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", CHROMIUM),
                *("--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-sandbox"),
                *("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
                *("--disable-sync", "--force-color-profile=srgb", "--hide-scrollbars"),
                "about:blank",
            ],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._session = None
        page = self.command("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.command("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        self.resize(HEIGHT)

    def resize(self, height: int) -> None:
        """Set the height of the window."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=WIDTH, height=height, deviceScaleFactor=SCALE, mobile=False
        )

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result."""
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._unread:
                if not (piece := os.read(self._in, 1 << 16)):
                    raise RuntimeError("Chromium has gone")
                self._unread += piece
            line, _, self._unread = self._unread.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self.command("Runtime.evaluate", expression=f"{HELPERS}({expression})", returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Evaluate again and again until the expression is true."""
        wait_until(lambda: self.evaluate(f"!!({expression})"), expression, seconds=DEADLINE, every=GLANCE)

    def click(self, element: str) -> None:
        """Wait for an element and click into its middle, as a mouse does."""
        self.until(element)
        box = self.evaluate(f"({element}.scrollIntoView({{block: 'center'}}), box({element}))")
        for kind in ("mousePressed", "mouseReleased"):
            self.command(
                "Input.dispatchMouseEvent",
                type=kind,
                x=box["x"] + box["width"] / 2,
                y=box["y"] + box["height"] / 2,
                button="left",
                clickCount=1,
            )

    def write(self, text: str) -> None:
        """Type text into whatever has the focus."""
        self.command("Input.insertText", text=text)

    def picture(self, element: str) -> bytes:
        """Return a PNG of this element."""
        clip = {**self.evaluate(f"box({element})"), "scale": 1}
        return base64.b64decode(self.command("Page.captureScreenshot", format="png", clip=clip)["data"])

    def close(self) -> None:
        """End the browser."""
        self.command("Browser.close")
        self._process.wait()
        os.close(self._in)
        os.close(self._out)


def take(url: str, file: Path, section: str) -> None:
    """Open the form, choose its type, open a section instead of the first, and save the picture."""
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        try:
            browser.command("Page.navigate", url=f"{url}/connections")
            browser.click("visible('button', 'Add Connection')")
            browser.click("visible('input[name=connection_id]')")
            browser.write("imap4_default")
            browser.click("visible('[role=dialog] input[role=combobox]')")
            browser.write("IMAP4")
            browser.click("visible('[role=option]', 'IMAP4')")
            trigger = f"visible('[role=dialog] [data-part=item-trigger]', {json.dumps(section)})"
            browser.until(trigger)
            if (
                browser.evaluate(f"{trigger}.ariaExpanded") != "true"
            ):  # the first one is open already: a click closes it
                browser.click(trigger)
            browser.until(f"{trigger}.ariaExpanded == 'true'")
            # High enough for the whole form, and then as long as its panes slide.
            browser.resize(HIGHEST)
            heights = [browser.evaluate(f"box({DIALOG}).height")]
            while heights[-1:] != heights[-2:-1]:
                time.sleep(GLANCE)
                heights.append(browser.evaluate(f"box({DIALOG}).height"))
            file.write_bytes(browser.picture(DIALOG))
        finally:
            browser.close()


if __name__ == "__main__":
    take(sys.argv[1].rstrip("/"), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "Main settings")
