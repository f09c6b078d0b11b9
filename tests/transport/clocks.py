"""A clock that goes when a test says so."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


class HandClock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def monotonic(self) -> float:
        return self._seconds

    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=timezone.utc) + timedelta(seconds=self._seconds)

    def forward(self, seconds: float) -> None:
        self._seconds += seconds
