"""Waiting with a limit, without ``asyncio.wait_for``.

Until Python 3.12 ``wait_for`` swallows a cancellation that arrives in the moment in which what it waits for is done
(python/cpython issue 86296). Airflow cancels a trigger once: it would live on for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["Signal", "within"]

T = TypeVar("T")


async def within(work: Coroutine[Any, Any, T], seconds: float | None) -> T:
    """Return what ``work`` returns.

    :param seconds: the limit; ``None`` for none.
    :raises asyncio.TimeoutError: if it takes longer; it is cancelled then, as it is if the caller is.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task,), timeout=seconds)
        if not task.done():
            raise asyncio.TimeoutError
        return task.result()
    finally:
        task.cancel()  # of no effect if it is done
        del task  # it knows its error, whose traceback knows this frame: a circle


class Signal:
    """What :class:`asyncio.Event` is, for ten thousand that wait all day, most of them with a limit.

    An event has a list of 600 bytes for those who wait, and a limit beside it takes a task: 2 KiB and twenty objects
    for the garbage collector. This has neither.
    """

    __slots__ = ("_set", "_waiting")

    def __init__(self) -> None:
        self._set = False
        self._waiting: tuple[asyncio.Future[bool], ...] = ()

    def set(self) -> None:
        """Wake everybody who waits; who comes later does not wait, until it is cleared."""
        self._set = True
        for one in self._waiting:
            if not one.done():
                one.set_result(True)

    def clear(self) -> None:
        """Who comes from now on waits."""
        self._set = False

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, ``seconds`` at most; return whether it is, or was meanwhile."""
        if self._set:
            return True
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[bool] = loop.create_future()
        self._waiting = (*self._waiting, mine)
        timer = None if seconds is None else loop.call_later(seconds, _too_late, mine)
        try:
            return await mine
        finally:
            self._waiting = tuple(one for one in self._waiting if one is not mine)
            if timer is not None:
                timer.cancel()


def _too_late(waiting: asyncio.Future[bool]) -> None:
    if not waiting.done():
        waiting.set_result(False)
