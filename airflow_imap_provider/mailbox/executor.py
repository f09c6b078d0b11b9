"""The threads in which blocking IMAP work runs, a bounded number for a whole process.

Neither the event loop nor asyncio's default executor may be used for it: Airflow and other triggers need both.
Connecting has threads of its own, so that servers that do not answer cannot starve the mailboxes that do.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["connecting", "transferring", "working"]

T = TypeVar("T")

WORKERS = 8
"""Catch-ups that run at once. One costs a few round trips; the event loop hands out thousands a minute to these."""

CONNECTORS = 8
"""Connects that run at once. An unreachable host holds one for the connection's whole timeout."""

TRANSFERS = 4
"""Saves and forwards that run at once. Each holds a connection of its own, and some MiB of memory."""


@functools.cache
def _pool(name: str, size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=size, thread_name_prefix=f"imap4-{name}")


async def working(function: Callable[[], T]) -> T:
    """Run ``function`` in one of the threads for work on open sessions."""
    return await asyncio.get_running_loop().run_in_executor(_pool("work", WORKERS), function)


async def connecting(function: Callable[[], T]) -> T:
    """Run ``function`` in one of the threads for opening sessions."""
    return await asyncio.get_running_loop().run_in_executor(_pool("connect", CONNECTORS), function)


async def transferring(function: Callable[[], T]) -> T:
    """Run ``function`` in one of the threads for what takes long: saving and forwarding."""
    return await asyncio.get_running_loop().run_in_executor(_pool("transfer", TRANSFERS), function)
