"""A signal: as an event of asyncio, with a limit."""

from __future__ import annotations

import asyncio
import gc

from airflow_imap_provider.mailbox.waiting import Signal
from tests.servers.waiting import until


async def test_who_waits_is_woken_and_who_comes_later_does_not_wait() -> None:
    signal = Signal()
    first, second = (asyncio.ensure_future(signal.wait(60)) for _ in range(2))
    await until(lambda: len(signal._waiting) == 2, "both wait")
    signal.set()
    signal.clear()
    assert await first is True
    assert await second is True
    signal.set()
    assert await signal.wait(0) is True


async def test_a_wait_ends_at_its_limit() -> None:
    signal = Signal()
    assert await signal.wait(0.001) is False
    assert await signal.wait(-1) is False
    signal.set()
    signal.clear()
    assert await signal.wait(0.001) is False


async def test_one_who_is_cancelled_leaves_the_others_waiting() -> None:
    signal = Signal()
    one, other = (asyncio.ensure_future(signal.wait()) for _ in range(2))
    await until(lambda: len(signal._waiting) == 2, "both wait")
    one.cancel()
    await asyncio.wait([one])
    assert one.cancelled()
    assert not other.done()
    signal.set()
    assert await other is True


async def test_a_cancellation_in_the_moment_of_being_woken_is_not_swallowed() -> None:
    signal = Signal()
    waiting = asyncio.ensure_future(signal.wait(60))
    await until(lambda: bool(signal._waiting), "it waits")
    signal.set()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()


async def test_a_wait_leaves_nothing_to_the_garbage_collector() -> None:
    signal = Signal()
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            await signal.wait(0)
            waiting = asyncio.ensure_future(signal.wait(60))
            await asyncio.sleep(0)
            signal.set()
            await waiting
            signal.clear()
            del waiting
        assert gc.collect() < 100
    finally:
        gc.enable()
