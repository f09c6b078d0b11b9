"""An event loop whose time runs faster than the clock on the wall, for what takes minutes in earnest."""

from __future__ import annotations

import asyncio
import selectors
import time
from datetime import datetime, timedelta, timezone

FACTOR = 100.0
"""Seconds of the loop in a second: ten minutes in six seconds."""


class _HurriedSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]  # chosen by the platform
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout and timeout / FACTOR)
        return found


class HurriedLoop(asyncio.SelectorEventLoop):
    """Give it to ``asyncio.Runner`` or run it by hand."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        super().__init__(_HurriedSelector())

    def time(self) -> float:
        return self._began + (time.monotonic() - self._began) * FACTOR


class HurriedClock:
    """The clock that goes with it."""

    def __init__(self) -> None:
        self._began, self._date = time.monotonic(), datetime.now(timezone.utc)

    def monotonic(self) -> float:
        return self._began + (time.monotonic() - self._began) * FACTOR

    def now(self) -> datetime:
        return self._date + timedelta(seconds=self.monotonic() - self._began)
