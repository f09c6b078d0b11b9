"""Runs at the start of each Python process whose clock was moved: it mends the one function that libfaketime breaks.

``time.sleep`` sleeps until a moment of the monotonic clock (``clock_nanosleep`` with ``TIMER_ABSTIME``), from which
libfaketime 0.9.10 subtracts the days even where it was told to leave that clock alone: the answer is EINVAL.
"""

from __future__ import annotations

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex, /) -> None:
    """Sleep for so many seconds, by a system call that takes seconds and not a moment."""
    length = seconds if isinstance(seconds, (int, float)) else seconds.__index__()
    if length < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], length)


time.sleep = _sleep
