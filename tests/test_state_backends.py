"""The command line with a state backend of one's own: it reads and writes what triggers do, or says why it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow.state
import pytest
from airflow.sdk.execution_time import context
from airflow.sdk.execution_time.context import AssetStateStoreAccessor
from airflow.state import AssetScope
from airflow.state.metastore import MetastoreBackend

from airflow_imap_provider.commands import backends
from airflow_imap_provider.commands.entries import open_entries
from airflow_imap_provider.commands.state import _asset
from airflow_imap_provider.triggers.store import JOURNALS
from tests.test_entries import STREAM, asked

__all__ = ["asked"]


class Files(MetastoreBackend):
    """Keeps the values of workers in files; the reference is the path."""

    folder = Path()

    def serialize_asset_state_store_to_ref(self, *, value: Any, key: str, scope: Any) -> str:
        assert scope.name
        assert scope.asset_id is None
        path = self.folder / f"{scope.name}-{key}".replace("/", "_")
        path.write_text(json.dumps(value))
        return str(path)

    def deserialize_asset_state_store_from_ref(self, stored: str) -> Any:
        return json.loads(Path(stored).read_text())

    def delete(self, scope: Any, key: str, **_: Any) -> None:
        (self.folder / f"{scope.name}-{key}".replace("/", "_")).unlink()


class Elsewhere(airflow.state.BaseStoreBackend):
    """Keeps keys and values where Airflow cannot list them."""

    def get(self, *_: Any, **__: Any) -> None: ...
    def set(self, *_: Any, **__: Any) -> None: ...
    def delete(self, *_: Any, **__: Any) -> None: ...
    def clear(self, *_: Any, **__: Any) -> None: ...
    async def aget(self, *_: Any, **__: Any) -> None: ...
    async def aset(self, *_: Any, **__: Any) -> None: ...
    async def adelete(self, *_: Any, **__: Any) -> None: ...
    async def aclear(self, *_: Any, **__: Any) -> None: ...


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the workers' backend keeps values; Airflow's own accessors and the commands use it."""
    monkeypatch.setattr(Files, "folder", tmp_path)
    monkeypatch.setenv("AIRFLOW__WORKERS__STATE_STORE_BACKEND", f"{__name__}.Files")
    for configured in (backends._workers_backend, context._get_worker_state_store_backend):
        configured.cache_clear()
    yield tmp_path
    for configured in (backends._workers_backend, context._get_worker_state_store_backend):
        configured.cache_clear()


def as_a_trigger_writes_it(key: str, value: Any) -> Any:
    """What reaches the API if a trigger of the asset stores a value."""
    message: Any = AssetStateStoreAccessor(name="invoices")._build_set_message(key, value)
    return message.value


def test_what_workers_keep_elsewhere_is_read_and_written_as_they_do(asked: list[Any], files: Path) -> None:
    with open_entries("invoices") as [entries]:
        place = entries.get(STREAM.key("place"))
        for key in (STREAM.key("place"), JOURNALS):
            stored = as_a_trigger_writes_it(key, entries.get(key))
            scope = AssetScope(asset_id=entries.asset_id)
            MetastoreBackend().set(scope, key, json.dumps(stored), session=entries._session)
        assert backends.REFERENCE in MetastoreBackend().get(scope, JOURNALS, session=entries._session)  # type: ignore[operator]
    with open_entries("invoices") as [entries]:
        assert entries.get(STREAM.key("place")) == place
        assert [stream["stream"] for stream in _asset(entries)["streams"]] == [STREAM.name]
        reset = {"id": "r"}
        entries.set(STREAM.key("reset"), reset)
        scope = AssetScope(asset_id=entries.asset_id)
        written = MetastoreBackend().get(scope, STREAM.key("reset"), session=entries._session)
        assert json.loads(written or "") == as_a_trigger_writes_it(STREAM.key("reset"), reset)
        assert entries.get(STREAM.key("reset")) == reset
        entries.delete(STREAM.key("reset"))
        assert not [path for path in files.iterdir() if "reset" in path.name]


def test_a_reference_without_the_backend_of_workers_says_where_to_run_the_command(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_entries("invoices") as [entries]:
        MetastoreBackend().set(
            AssetScope(asset_id=entries.asset_id),
            JOURNALS,
            json.dumps({backends.REFERENCE: "x"}),
            session=entries._session,
        )
        with pytest.raises(SystemExit, match=r"\[workers\] state_store_backend is empty here"):
            _asset(entries)


def test_a_backend_whose_keys_cannot_be_listed_is_refused_with_what_to_do_instead(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow.state, "_backend_instance", None)
    monkeypatch.setenv("AIRFLOW__STATE_STORE__BACKEND", f"{__name__}.Elsewhere")
    with pytest.raises(SystemExit, match="Elsewhere") as refused, open_entries():
        pytest.fail("nothing is shown")
    assert "begin anew" in str(refused.value)
