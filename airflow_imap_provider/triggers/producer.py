"""The producer half of Airflow's shared stream: it hands out wake-ups, one at a time, and learns when each is settled.

A wake-up carries no mail. Each subscriber reads for itself what is new for its place, and hangs on the wake-up what is
to be committed once Airflow has confirmed that the event is stored (``airflow.triggers.shared_stream``, ack mode).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from typing import Any, Protocol
from weakref import WeakValueDictionary

from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_imap_provider.mailbox.waiting import Signal

__all__ = ["Doorbell", "FolderProducer", "Settling", "WakeUp", "doorbell"]


class Settling(Protocol):
    """What a subscriber hangs on a wake-up."""

    def confirmed(self) -> None:
        """The events of the wake-up are stored."""

    def revoked(self) -> None:
        """Some event of the wake-up may not be stored: nothing of it may be committed."""


class WakeUp:
    """Something may be new."""

    __slots__ = ("promises",)

    def __init__(self) -> None:
        self.promises: list[Settling] = []

    def settle(self, *, clean: bool) -> None:
        """Pass on what became of the wake-up's events."""
        for promise in self.promises:
            if clean:
                promise.confirmed()
            else:
                promise.revoked()


class Doorbell:
    """How subscribers, who know that something may be new, reach the producer, who alone may say so to Airflow."""

    def __init__(self) -> None:
        self._rung = Signal()

    def ring(self) -> None:
        """Ask for a wake-up as soon as possible. Many rings before it are one."""
        self._rung.set()

    async def wait(self) -> None:
        """Wait for a ring and take it."""
        await self._rung.wait()
        self._rung.clear()


_doorbells: WeakValueDictionary[tuple[int, Hashable], Doorbell] = WeakValueDictionary()


def doorbell(key: Hashable) -> Doorbell:
    """Return the doorbell of a shared stream in this event loop; it lives as long as somebody holds it."""
    place = (id(asyncio.get_running_loop()), key)
    bell = _doorbells.get(place)
    if bell is None:
        bell = _doorbells[place] = Doorbell()
    return bell


class FolderProducer(SharedStreamProducer):
    """Hands out a wake-up whenever the bell rings and the one before is settled.

    One at a time, so that no subscriber's queue can overflow and no burst can reach Airflow's scheduler unpaced.
    """

    def __init__(self, key: Hashable) -> None:
        self._bell = doorbell(key)
        self._settled = Signal()
        self._settled.set()

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield wake-ups for ever; the connection belongs to the subscribers' watcher, so nothing here can fail."""
        while True:
            await self._bell.wait()
            await self._settled.wait()
            self._settled.clear()
            wake_up = WakeUp()
            yield wake_up, wake_up

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Airflow has settled wake-ups. Never raises and never waits: that would end the stream for everybody."""
        for item in batch:
            # Called as well after an acknowledgement timeout; the outcome does not say whose.
            item.broker_payload.settle(clean=item.outcome.failed == 0)
        self._settled.set()
