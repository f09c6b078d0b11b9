"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

PAUSE = 0.005
"""Seconds between two looks: short against what is waited for, long against what a look costs."""


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
    """Return when *condition* holds; fail saying *what* did not come about within *seconds*."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(PAUSE)


async def until(condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
    """The same on an event loop."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        await asyncio.sleep(PAUSE)


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
