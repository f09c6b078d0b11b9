"""The state store's values where Airflow keeps them: in its database, and in a backend of workers if there is one.

``[state_store] backend`` is where Airflow's API keeps keys and values; only of the database the keys can be listed.
``[workers] state_store_backend`` is where triggers and tasks put values; what goes to the API is a reference then.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from airflow.configuration import conf
from airflow.state import AssetScope, get_state_backend
from airflow.state.metastore import MetastoreBackend
from sqlalchemy.orm import Session

__all__ = ["REFERENCE", "check_that_keys_can_be_listed", "drop", "load", "store"]

REFERENCE = "__airflow_state_ref__"
"""Under this key stands a reference in place of a value (``airflow.sdk.execution_time.context``, 3.3.2)."""


def check_that_keys_can_be_listed() -> None:
    """Refuse a backend that has its keys elsewhere.

    :raises SystemExit: with what is set, and what to do without these commands.
    """
    backend = get_state_backend()
    if not isinstance(backend, MetastoreBackend):
        raise SystemExit(
            f"[state_store] backend is {type(backend).__module__}.{type(backend).__qualname__}, and Airflow has no way "
            "to list what a backend of one's own holds: this command works where it is Airflow's database (the "
            "default; [workers] state_store_backend may be set beside it). Triggers and tasks work with any backend. "
            "Without the command: metrics show what it would, and another place=... with a start=... in the "
            "EmailTrigger has it begin anew."
        )


def load(asset: str, asset_id: int, key: str, session: Session) -> Any:
    """Return a value; ``None`` if there is none.

    :raises SystemExit: if it stands in a backend of workers that is not configured here.
    """
    text = get_state_backend().get(AssetScope(asset_id=asset_id), key, session=session)
    stored = None if text is None else json.loads(text)
    if not isinstance(stored, dict) or REFERENCE not in stored:
        return stored
    backend = _workers_backend()
    if backend is None:
        raise SystemExit(
            f"The entry {key} of the asset {asset!r} is a reference to where workers keep it, and [workers] "
            "state_store_backend is empty here. Run the command where it is set as it is for triggerers and workers."
        )
    return backend.deserialize_asset_state_store_from_ref(stored[REFERENCE])


def store(asset: str, asset_id: int, key: str, value: Any, session: Session) -> None:
    """Store a value as triggers and tasks do."""
    backend = _workers_backend()
    if backend is not None:
        # They know the asset by its name, and a reference must be the same whoever writes.
        reference = backend.serialize_asset_state_store_to_ref(value=value, key=key, scope=AssetScope(name=asset))
        value = {REFERENCE: reference}
    get_state_backend().set(AssetScope(asset_id=asset_id), key, json.dumps(value), session=session)


def drop(asset: str, asset_id: int, key: str, session: Session) -> None:
    """Drop a value."""
    get_state_backend().delete(AssetScope(asset_id=asset_id), key, session=session)
    backend = _workers_backend()
    if backend is not None:
        backend.delete(AssetScope(name=asset), key)


@cache
def _workers_backend() -> Any:
    name = conf.get("workers", "state_store_backend", fallback="")
    return conf.getimport("workers", "state_store_backend")() if name else None
