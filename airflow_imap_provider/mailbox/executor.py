"""The threads in which blocking IMAP work runs, a bounded number for a whole process.

Neither the event loop nor asyncio's default executor may be used for it: Airflow and other triggers need both.
Connecting has threads of its own, so that servers that do not answer cannot starve the mailboxes that do.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

__all__ = ["connecting", "transferring", "working"]

T = TypeVar("T")

WORKERS = 8
"""Catch-ups that run at once. One costs a few round trips; the event loop hands out thousands a minute to these."""

WORKERS_PER_HOST = 6
"""Catch-ups on one host at once: a server that stalls, without IDLE to notice it cheaply, holds each of its threads for
the connection's whole timeout."""

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
    async with _shares(host):
        return await asyncio.get_running_loop().run_in_executor(_pool("work", WORKERS), function)


async def connecting(function: Callable[[], T]) -> T:
    """Run ``function`` in one of the threads for opening sessions."""
    return await asyncio.get_running_loop().run_in_executor(_pool("connect", CONNECTORS), function)


async def transferring(function: Callable[[], T]) -> T:
    """Run ``function`` in one of the threads for what takes long: saving and forwarding."""
    return await asyncio.get_running_loop().run_in_executor(_pool("transfer", TRANSFERS), function)


def _shares(host: Hashable) -> asyncio.Semaphore:
    loop = asyncio.get_running_loop()
    hosts = _hosts.get(loop)
    if hosts is None:
        hosts = _hosts[loop] = WeakValueDictionary()
    share = hosts.get(host)
    if share is None:
        share = hosts[host] = asyncio.Semaphore(WORKERS_PER_HOST)
    return share


_hosts: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[Hashable, asyncio.Semaphore]] = (
    WeakKeyDictionary()
)
