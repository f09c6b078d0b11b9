"""The small state that a trigger and the consumers of its events keep in Airflow: names of the keys, reading, writing.

Airflow's asset state store belongs to the asset, so every key names the connection, the folder and the place as well.
A trigger that several assets watch writes to all of them and reads from the one that is behind.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.mailbox import executor

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor, AssetStateStoreAccessors

__all__ = ["CONSUMERS", "JOURNALS", "AssetStore", "Stream", "consumer_key", "furthest_behind", "journal_key"]

LONGEST_KEY = 512
"""What Airflow's asset state store takes."""

CONSUMERS = "imap4:consumers"
"""Under this key stand the consumers of an asset's mails, each with the time of its last visit."""


JOURNALS = "imap4:journals"
"""Under this key stand the journals of an asset."""


def journal_key(journal: str, number: int) -> str:
    """Return the key of one entry of a journal."""
    return f"imap4:journal:{journal}:{number}"


@dataclass(frozen=True)
class Stream:
    """What an event belongs to, besides its asset."""

    conn_id: str
    folder: str
    place: str

    @property
    def name(self) -> str:
        """The stream's name in events and records: readable, and unambiguous since folders may contain anything."""
        return "/".join(
            part.replace("%", "%25").replace("/", "%2F") for part in (self.conn_id, self.folder, self.place)
        )

    @classmethod
    def named(cls, name: str) -> Stream | None:
        """Return the stream of this name; ``None`` if it is no stream's name (a key that was cut)."""
        parts = [part.replace("%2F", "/").replace("%25", "%") for part in name.split("/")]
        stream = cls(*parts) if len(parts) == 3 else None
        return stream if stream is not None and stream.name == name else None

    def key(self, what: str) -> str:
        """Return the key under which ``what`` of this stream is stored."""
        return _fitting(f"imap4:{what}:{self.name}")


def consumer_key(dag_id: str, task_id: str, what: str = "taken") -> str:
    """Return the key under which a consuming task keeps its record."""
    return _fitting(f"imap4:{what}:{dag_id}/{task_id}")


def _fitting(key: str) -> str:
    if len(key) <= LONGEST_KEY:
        return key
    mark = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"{key[: LONGEST_KEY - 33]}#{mark}"


class AssetStore:
    """The state stores of the assets that a trigger serves.

    :param accessors: what Airflow gives the trigger.
    """

    def __init__(self, accessors: AssetStateStoreAccessors) -> None:
        # Airflow offers no public way to go through the assets of a trigger; without one, a trigger that several
        # assets share cannot reach its state (apache/airflow issue 71460).
        self._accessors: tuple[tuple[str, AssetStateStoreAccessor], ...] = tuple(accessors._by_name.items())

    @property
    def assets(self) -> tuple[str, ...]:
        """The names of the assets."""
        return tuple(sorted(name for name, _ in self._accessors))

    async def read(self, key: str) -> list[Any]:
        """Return each asset's value, ``None`` where there is none. An inactive asset looks empty."""
        return [await _get(accessor, key) for _, accessor in self._accessors]

    async def write(self, key: str, value: Any) -> None:
        """Store a JSON value for every asset.

        :raises AirflowRuntimeError: if an asset is not active, or Airflow's API cannot be reached.
        """
        for _, accessor in self._accessors:
            await _set(accessor, key, value)

    async def delete(self, key: str) -> None:
        """Delete a key for every asset."""
        for _, accessor in self._accessors:
            if hasattr(accessor, "adelete"):
                await accessor.adelete(key)
            else:
                await executor.working(functools.partial(accessor.delete, key))  # Airflow 3.3.0 and 3.3.1


async def _get(accessor: AssetStateStoreAccessor, key: str) -> Any:
    if hasattr(accessor, "aget"):
        return await accessor.aget(key)
    return await executor.working(lambda: accessor.get(key))  # Airflow 3.3.0 and 3.3.1


async def _set(accessor: AssetStateStoreAccessor, key: str, value: Any) -> None:
    if hasattr(accessor, "aset"):
        await accessor.aset(key, value)
    else:
        await executor.working(lambda: accessor.set(key, value))


def furthest_behind(records: Sequence[Any]) -> Any:
    """Return the place to go on from when several assets share a trigger: the one that has handled least.

    A place of an earlier epoch or with another UIDVALIDITY than the newest is out of date and does not count.
    """
    places = [record for record in records if record]
    if not places:
        return None
    newest = max(places, key=lambda record: (record["epoch"], record["last_uid"]))
    same = [record for record in places if _generation(record) == _generation(newest)]
    return min(same, key=lambda record: int(record["last_uid"]))


def _generation(record: dict[str, Any]) -> tuple[int, int]:
    return record["epoch"], record["uidvalidity"]
