"""The entries of watched assets in Airflow's database, for commands that run where the database can be reached.

Triggers and tasks reach their asset's state store through Airflow's API; a person at the command line has neither, and
goes to the table behind it, as Airflow's own commands go to theirs; ``backends.py`` knows where the values are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow.models.asset import AssetActive, AssetModel
from airflow.models.asset_state_store import AssetStateStoreModel
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_imap_provider.commands import backends
from airflow_imap_provider.triggers.journal_index import listed
from airflow_imap_provider.triggers.store import JOURNALS, Stream

__all__ = ["Entries", "open_entries"]

PREFIX = "imap4:"


@dataclass(frozen=True)
class Entries:
    """What one asset's state store holds of this package; reads like a task's own store.

    The keys are known; values, of which a month of journals has many, are read one by one when they are asked for.

    :param active: whether a DAG refers to the asset; else a trigger cannot run, and Airflow may drop the entries.
    """

    asset: str
    asset_id: int
    active: bool
    _session: Session
    keys: set[str] = field(default_factory=set)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value."""
        if key not in self.keys:
            return default
        value = backends.load(self.asset, self.asset_id, key, self._session)
        return default if value is None else value

    def set(self, key: str, value: Any) -> None:
        """Store a value."""
        backends.store(self.asset, self.asset_id, key, value, self._session)
        self.keys.add(key)

    def delete(self, key: str) -> None:
        """Drop a value."""
        backends.drop(self.asset, self.asset_id, key, self._session)
        self.keys.discard(key)

    @property
    def streams(self) -> list[Stream]:
        """The streams that have a place here, in the order of their names."""
        prefix = f"{PREFIX}place:"
        names = {key.removeprefix(prefix) for key in self.keys if key.startswith(prefix)}
        # Keys that would have been too long are cut; who told anything stands in the index of journals in full.
        names |= {journal["stream"] for journal in listed(self.get(JOURNALS))}
        streams = [stream for stream in map(Stream.named, sorted(names)) if stream is not None]
        return [stream for stream in streams if stream.key("place") in self.keys]


@contextmanager
def open_entries(asset: str | None = None, *, prefix: str = PREFIX) -> Iterator[list[Entries]]:
    """The entries of all watched assets, or of one; what is changed is committed at the end.

    :param asset: the asset's name.
    :param prefix: only entries whose keys begin so; assets without any are left out.
    :raises SystemExit: if Airflow keeps them where keys cannot be listed.
    """
    backends.check_that_keys_can_be_listed()
    with create_session() as session:
        query = (
            select(
                AssetModel.id,
                AssetModel.name,
                AssetActive.name.is_not(None),
                AssetStateStoreModel.key,
            )
            .join(AssetStateStoreModel, AssetStateStoreModel.asset_id == AssetModel.id)
            .outerjoin(AssetActive, (AssetActive.name == AssetModel.name) & (AssetActive.uri == AssetModel.uri))
            .where(AssetStateStoreModel.key.startswith(prefix, autoescape=True))
            .order_by(AssetModel.name, AssetModel.id)
        )
        if asset is not None:
            query = query.where(AssetModel.name == asset)
        found: dict[int, Entries] = {}
        for number, name, active, key in session.execute(query):
            entries = found.setdefault(number, Entries(name, number, bool(active), session))
            entries.keys.add(key)
        yield list(found.values())
