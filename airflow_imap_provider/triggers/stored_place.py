"""One stream's place as Airflow's state store holds it: the place and the actions that are owed, in a single value.

The committer moves the place and the actions' worker strikes off what is done, each in a task of its own; here they
take turns, and write on until the store has taken it. What is owed is known by the UIDs and the UIDVALIDITY under which
it came to be owed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_imap_provider.mailbox.actions import OUTGOING, Action
from airflow_imap_provider.mailbox.backoff import Backoff
from airflow_imap_provider.mailbox.place import Place, Todo
from airflow_imap_provider.mailbox.ranges import UidRanges
from airflow_imap_provider.transport.clock import Clock
from airflow_imap_provider.triggers.complaints import complain
from airflow_imap_provider.triggers.store import AssetStore, Stream

__all__ = ["Owed", "StoredPlace", "SupersededError", "patiently"]

STORE_RETRY = (1.0, 60.0)
"""First and longest wait in seconds before a failed write to Airflow's state store is tried again."""


class SupersededError(Exception):
    """The stored place is of a later epoch: somebody else has begun anew."""


@dataclass(eq=False)
class Owed:
    """Actions that are owed to some mails.

    :param uidvalidity: under which their UIDs mean them.
    :param repeated: whether an earlier attempt at the first action may have been interrupted.
    :param begun: whether the last attempt has reached the server.
    :param not_before: when to try it again, in the clock's seconds.
    :param limits: how often the server said that it is too much for now, and how long that makes us wait.
    :param limited_since: when it said so first, in the clock's seconds; zero if it has not.
    """

    todo: Todo
    uidvalidity: int | None
    repeated: bool = False
    begun: bool = False
    not_before: float = 0.0
    limits: Backoff = field(default_factory=Backoff)
    limited_since: float = 0.0

    def fresh(self) -> None:
        """The next action is due, which nobody has tried yet."""
        self.repeated, self.limits, self.limited_since = False, Backoff(), 0.0

    @property
    def outgoing(self) -> bool:
        """Whether a transfer is due next."""
        return bool(self.todo.actions) and self.todo.actions[0].do in OUTGOING


class StoredPlace:
    """See the module.

    :param place: what is stored now, with the actions that it still owes.
    """

    def __init__(self, store: AssetStore, stream: Stream, place: Place, clock: Clock) -> None:
        self.place = place.paid
        self.owed = [Owed(todo, place.uidvalidity, repeated=True) for todo in place.todo]
        self.written_at = clock.monotonic()
        self._store, self._key, self._clock = store, stream.key("place"), clock
        self._writing = asyncio.Lock()

    async def move(self, place: Place, more: Iterable[Owed]) -> None:
        """Store another place, with what is owed besides from now on.

        :raises SupersededError: if somebody has begun anew; nothing is written then.
        """
        async with self._writing:  # what was saved or forwarded meanwhile must not come back
            # The UIDs of another generation's actions mean other mails now.
            owed = [*(self.owed if place.epoch == self.place.epoch else ()), *more]
            await self._write(place, owed)
            self.place, self.owed = place, owed

    async def note(self) -> None:
        """Store what is owed now.

        :raises SupersededError: as :meth:`move`.
        """
        async with self._writing:
            await self._write(self.place, self.owed)

    async def forget(self, item: Owed) -> None:
        """Nothing is owed to these mails any more.

        :raises SupersededError: as :meth:`move`.
        """
        async with self._writing:
            self.owed = [other for other in self.owed if other is not item]
            await self._write(self.place, self.owed)

    async def first_mail(self, item: Owed) -> Owed:
        """Part the first mail from the others that the same is owed to, and return what is owed to it."""
        async with self._writing:
            (first, last), *rest = item.todo.uids.spans
            if item not in self.owed or (first == last and not rest):
                return item
            one = replace(item, limits=Backoff(), todo=replace(item.todo, uids=UidRanges(((first, first),))))
            item.todo = replace(item.todo, uids=UidRanges.of([(first + 1, last), *rest]))
            self.owed.insert(self.owed.index(item), one)
            return one

    async def _write(self, place: Place, owed: Iterable[Owed]) -> None:
        stored = replace(place, todo=merged(item.todo for item in owed)).to_json()
        await patiently(lambda: self._write_unless_superseded(stored))
        self.written_at = self._clock.monotonic()

    async def _write_unless_superseded(self, stored: dict[str, Any]) -> None:
        # Another triggerer that runs the same trigger for a while may have honoured a reset, or found the folder new.
        records = await self._store.read(self._key)
        if any(_supersedes(record, stored) for record in records if record):
            raise SupersededError
        await self._store.write(self._key, stored)


def _supersedes(record: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Whether what is stored goes back to a later beginning than what is to be stored.

    Epochs alone do not say so: who did not hear of a reset may have counted on because the folder was made anew.
    """
    if record["epoch"] > stored["epoch"]:
        return True
    other = record.get("reset", "") != stored["reset"]
    return other and bool(record.get("reset")) and (record["epoch"] == stored["epoch"] or not stored["reset"])


def merged(owed: Iterable[Todo]) -> tuple[Todo, ...]:
    """Put together what is owed alike: while a storage is down, the stored value must not grow by each mail.

    Mails that are saved or forwarded are owed to each by itself, so that one which fails holds up no other.
    """
    alike: dict[tuple[tuple[Action, ...], int], list[tuple[int, int]]] = {}
    for todo in owed:
        alike.setdefault((todo.actions, todo.tries), []).extend(todo.uids.spans)
    return tuple(Todo(UidRanges.of(sorted(spans)), *what) for what, spans in alike.items())


async def patiently(step: Callable[[], Awaitable[None]]) -> None:
    """Do something with Airflow's state store, again and again until it succeeds.

    :raises SupersededError: if the step does.
    """
    delay = STORE_RETRY[0]
    while True:
        try:
            await step()
        except SupersededError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, forgetting the place would be worse
            complain(f"Airflow's state store fails; trying again in {delay:.0f} s", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, STORE_RETRY[1])
        else:
            return
