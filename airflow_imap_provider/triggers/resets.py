"""Beginning anew, because somebody asked for it: requests that a trigger finds in its asset's state store.

Whoever asks (``airflow imap4 reset``) does not touch the place, which a running trigger would write over in its next
commit. It leaves a request; the trigger that runs, or the next one that starts, honours it: a new place in a new epoch,
which remembers the request's id, and then the request is taken away. A crash in between honours nothing twice. Whoever
asks also rings (``reset_bell.py``), so that the trigger looks at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_imap_provider.mailbox.place import Place, begin_again
from airflow_imap_provider.triggers.reset_bell import bell
from airflow_imap_provider.triggers.store import AssetStore, Stream

__all__ = ["LOOK", "Request", "Resets"]

log = logging.getLogger(__name__)

LOOK = 600.0
"""Seconds between two looks for a request that nobody has heard of: two rings in the same moment may be one."""

LOOKS_A_SECOND = 5.0
"""Looks in a second over all streams of a triggerer, at most; each takes Airflow's API some 14 ms. With more than 3,000
streams they come less often."""


@dataclass(frozen=True)
class Request:
    """Somebody wants a stream to begin anew.

    :param id: tells requests apart.
    :param to: the start policy from which it is to begin, as
        :func:`~airflow_imap_provider.mailbox.place.parse_start` returns it.
    :param at: when it was asked for; ``new`` is meant from then on.
    """

    id: str
    to: str
    at: datetime

    def to_json(self) -> dict[str, str]:
        """Return the stored form."""
        return {"id": self.id, "to": self.to, "at": self.at.isoformat()}

    @classmethod
    def from_json(cls, data: Any) -> Request:
        """Rebuild a request from :meth:`to_json`'s form."""
        return cls(str(data["id"]), str(data["to"]), datetime.fromisoformat(data["at"]))


class Resets:
    """Looks for requests to one stream, from the first call of :meth:`listen` until :meth:`stop`: when the bell rings,
    and now and then besides.

    :param on_request: called when there is one.
    """

    _listening = 0

    def __init__(self, store: AssetStore, stream: Stream, on_request: Callable[[], None]) -> None:
        self.asked = False
        self._store, self._stream, self._on_request = store, stream, on_request
        self._names = [(asset, stream.name) for asset in store.assets]
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Task[None] | None = None
        self._stopped = True

    def listen(self) -> None:
        """Begin to listen."""
        if self._stopped:
            self._stopped = False
            Resets._listening += 1
            bell().join(self._names, self._begin_look)
            self._plan()

    def stop(self) -> None:
        """Look no more."""
        if not self._stopped:
            self._stopped = True
            Resets._listening -= 1
            bell().leave(self._names, self._begin_look)
        if self._timer is not None:
            self._timer.cancel()
        if self._look is not None:
            self._look.cancel()

    async def honour(self, place: Place) -> Place:
        """Return the place to go on from: the given one, or a new one that was asked for; it is stored by then."""
        requests = [Request.from_json(data) for data in await self._store.read(self._stream.key("reset")) if data]
        if not requests:
            self.asked = False
            return place
        request = max(requests, key=lambda one: one.at)
        if request.id != place.reset:
            for todo in place.todo:
                log.error(
                    "%s is asked to begin anew, and %s, due to mails with the UIDs %s, is given up",
                    self._stream.name,
                    ", ".join(action.do for action in todo.actions),
                    todo.uids.dumps(),
                )
            place = begin_again(place, request.to, request.at, request.id)
            await self._store.write(self._stream.key("place"), place.to_json())
            log.warning(
                "%s begins anew in epoch %d, from %r, as it was asked for at %s: mails that were told before may be "
                "told again.",
                self._stream.name,
                place.epoch,
                request.to,
                request.at.isoformat(timespec="seconds"),
            )
        # Another request may have come meanwhile: it is found by its own ring.
        left = [data for data in await self._store.read(self._stream.key("reset")) if data]
        if all(Request.from_json(data).at <= request.at for data in left):
            await self._store.delete(self._stream.key("reset"))
            self.asked = False
        return place

    def _plan(self) -> None:
        pause = max(LOOK, Resets._listening / LOOKS_A_SECOND) * random.uniform(0.7, 1.3)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(pause, self._begin_look)

    def _begin_look(self) -> None:
        if self._look is not None and not self._look.done():
            self._look.cancel()
        self._look = asyncio.get_running_loop().create_task(self._find())

    async def _find(self) -> None:
        try:
            self.asked = any(await self._store.read(self._stream.key("reset")))
        except Exception as error:  # noqa: BLE001 - Airflow raises its own errors here; the next look may succeed
            log.debug("no look at requests: %s", error)
        if self.asked:
            self._on_request()
        self._plan()
