"""The threads in which blocking IMAP work runs, a bounded number for a whole process.

Neither the event loop nor asyncio's default executor may be used for it: Airflow and other triggers need both.
Connecting has threads of its own, so that servers that do not answer cannot starve the mailboxes that do.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from airflow_imap_provider.errors import ImapTimeoutError

__all__ = ["connecting", "transferring", "working"]

T = TypeVar("T")

WORKERS = 8
"""Catch-ups that run at once. One costs a few round trips; the event loop hands out thousands a minute to these."""

WORKERS_PER_HOST = 6
"""Catch-ups on one host at once. A host that has let one time out has one thread, until it answers again: each is held
for the connection's whole timeout, and two such hosts would leave none to the others."""

CONNECTORS = 16
"""Connects that run at once; :mod:`airflow_imap_provider.mailbox.entrance` shares them out among the hosts. They wait
nearly all the time; more of them would only compete with the event loop for Python's lock."""

TRANSFERS = 4
"""Saves and forwards that run at once. Each holds a connection of its own, and some MiB of memory."""


@functools.cache
def _pool(name: str, size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=size, thread_name_prefix=f"imap4-{name}")


async def working(function: Callable[[], T], host: Hashable = None) -> T:
    """Run ``function`` in one of the threads for work on open sessions.

    :param host: whose session it is: one host never has all the threads, however slowly it answers.
    """
    share = _share(host)
    await share.enter()
    answers = True
    try:
        return await asyncio.get_running_loop().run_in_executor(_pool("work", WORKERS), function)
    except ImapTimeoutError:
        answers = False
        raise
    finally:
        share.leave(answers)


async def connecting(function: Callable[[], T]) -> T:
    """Run ``function`` in one of the threads for opening sessions."""
    return await asyncio.get_running_loop().run_in_executor(_pool("connect", CONNECTORS), function)


async def transferring(function: Callable[[], T]) -> T:
    """Run ``function`` in one of the threads for what takes long: saving and forwarding."""
    return await asyncio.get_running_loop().run_in_executor(_pool("transfer", TRANSFERS), function)


class _Share:
    """The threads that one host may have: a semaphore whose value changes."""

    def __init__(self) -> None:
        self._limit = WORKERS_PER_HOST
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append(granted)
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._running -= 1
                self._grant()
            raise

    def leave(self, answers: bool) -> None:
        self._running -= 1
        self._limit = WORKERS_PER_HOST if answers else 1
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._running < self._limit:
            granted = self._waiting.popleft()
            if not granted.done():
                self._running += 1
                granted.set_result(None)


def _share(host: Hashable) -> _Share:
    loop = asyncio.get_running_loop()
    hosts = _hosts.get(loop)
    if hosts is None:
        hosts = _hosts[loop] = WeakValueDictionary()
    share = hosts.get(host)
    if share is None:
        share = hosts[host] = _Share()
    return share


_hosts: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[Hashable, _Share]] = WeakKeyDictionary()
