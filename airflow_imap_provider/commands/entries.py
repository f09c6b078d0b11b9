"""The entries of watched assets in Airflow's database, for commands that run where the database can be reached.

Triggers and tasks reach their asset's state store through Airflow's API; a person at the command line has neither, and
goes to the table behind it, as Airflow's own commands go to theirs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow.models.asset import AssetActive, AssetModel
from airflow.models.asset_state_store import AssetStateStoreModel
from airflow.state import AssetScope
from airflow.state.metastore import MetastoreBackend
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_imap_provider.triggers.store import JOURNALS, Stream

__all__ = ["Entries", "open_entries"]

PREFIX = "imap4:"


@dataclass(frozen=True)
class Entries:
    """What one asset's state store holds of this package; reads like a task's own store.

    :param active: whether a DAG refers to the asset; else a trigger cannot run, and Airflow may drop the entries.
    """

    asset: str
    asset_id: int
    active: bool
    values: dict[str, Any]
    _session: Session

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value."""
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Store a value."""
        MetastoreBackend().set(AssetScope(asset_id=self.asset_id), key, json.dumps(value), session=self._session)
        self.values[key] = value

    def delete(self, key: str) -> None:
        """Drop a value."""
        MetastoreBackend().delete(AssetScope(asset_id=self.asset_id), key, session=self._session)
        self.values.pop(key, None)

    @property
    def streams(self) -> list[Stream]:
        """The streams that have a place here, in the order of their names."""
        prefix = f"{PREFIX}place:"
        names = {key.removeprefix(prefix) for key in self.values if key.startswith(prefix)}
        # Keys that would have been too long are cut; who told anything stands in the index of journals in full.
        names |= {journal["stream"] for journal in self.get(JOURNALS) or ()}
        streams = [stream for stream in map(Stream.named, sorted(names)) if stream is not None]
        return [stream for stream in streams if stream.key("place") in self.values]


@contextmanager
def open_entries(asset: str | None = None) -> Iterator[list[Entries]]:
    """The entries of all watched assets, or of one; what is changed is committed at the end.

    :param asset: the asset's name.
    """
    with create_session() as session:
        query = (
            select(
                AssetModel.id,
                AssetModel.name,
                AssetActive.name.is_not(None),
                AssetStateStoreModel.key,
                AssetStateStoreModel.value,
            )
            .join(AssetStateStoreModel, AssetStateStoreModel.asset_id == AssetModel.id)
            .outerjoin(AssetActive, (AssetActive.name == AssetModel.name) & (AssetActive.uri == AssetModel.uri))
            .where(AssetStateStoreModel.key.startswith(PREFIX))
            .order_by(AssetModel.name, AssetModel.id)
        )
        if asset is not None:
            query = query.where(AssetModel.name == asset)
        found: dict[int, Entries] = {}
        for number, name, active, key, value in session.execute(query):
            entries = found.setdefault(number, Entries(name, number, bool(active), {}, session))
            entries.values[key] = json.loads(value)
        yield list(found.values())
