"""Waiting with a limit, without ``asyncio.wait_for``.

Until Python 3.12 ``wait_for`` swallows a cancellation that arrives in the moment in which what it waits for is done
(python/cpython issue 86296). Airflow cancels a trigger once: it would live on for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["within", "woken"]

T = TypeVar("T")


async def within(work: Coroutine[Any, Any, T], seconds: float | None) -> T:
    """Return what ``work`` returns.

    :param seconds: the limit; ``None`` for none.
    :raises asyncio.TimeoutError: if it takes longer; it is cancelled then, as it is if the caller is.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.cancel()
        raise asyncio.TimeoutError
    return task.result()


async def woken(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until ``event`` is set, ``seconds`` at most; return whether it is."""
    try:
        return await within(event.wait(), seconds)
    except asyncio.TimeoutError:
        return False
