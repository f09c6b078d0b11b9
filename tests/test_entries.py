"""The command line's way to the state stores of assets: it reads what it shows, and not a month of journals."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow.models.asset import AssetActive, AssetModel
from airflow.models.asset_state_store import AssetStateStoreModel
from airflow.models.base import Base
from sqlalchemy import Table, create_engine, event
from sqlalchemy.orm import Session

from airflow_imap_provider.commands import entries as module
from airflow_imap_provider.commands.entries import open_entries
from airflow_imap_provider.commands.state import _asset, _text, run
from airflow_imap_provider.mailbox.place import first_place
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK
from airflow_imap_provider.triggers.store import CONSUMERS, JOURNALS, Stream, journal_key

STREAM = Stream("mailbox", "INBOX", "default")
JOURNAL = 500


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A database with the tables of assets, in which two have entries; yields the keys whose values were asked for."""
    engine = create_engine(f"sqlite:///{tmp_path}/airflow.db")
    tables: list[Table] = [model.__table__ for model in (AssetModel, AssetActive, AssetStateStoreModel)]  # type: ignore[misc]
    Base.metadata.create_all(engine, tables=tables)

    @contextmanager
    def session() -> Iterator[Session]:
        with Session(engine) as opened, opened.begin():
            yield opened

    values = {
        STREAM.key("place"): first_place("all", SYSTEM_CLOCK.now()).to_json(),
        JOURNALS: [{"id": "j", "stream": STREAM.name, "since": SYSTEM_CLOCK.now().isoformat()}],
        CONSUMERS: {},
        **{journal_key("j", number): {"emails": ["x" * 1_000]} for number in range(JOURNAL)},
    }
    with session() as opened:
        for number, name in ((1, "invoices"), (2, "reports")):
            opened.execute(AssetModel.__table__.insert().values(id=number, name=name, uri=name, group="", extra={}))
            opened.execute(AssetActive.__table__.insert().values(name=name, uri=name))
            for key, value in values.items():
                opened.add(AssetStateStoreModel(asset_id=number, key=key, value=json.dumps(value)))
    monkeypatch.setattr(module, "create_session", session)
    keys: list[Any] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if "asset_state_store.value" in statement:
            keys.append(parameters)

    yield keys
    engine.dispose()


def test_the_state_is_shown_without_reading_what_journals_hold(asked: list[Any]) -> None:
    with open_entries() as assets:
        states = [_asset(each) for each in assets]
    assert [state["asset"] for state in states] == ["invoices", "reports"]
    assert [journal["entries"] for state in states for journal in state["journals"]] == [JOURNAL, JOURNAL]
    assert states[0]["streams"][0]["stream"] == STREAM.name
    assert 0 < len(asked) < 20
    assert not any("imap4:journal:" in str(parameters) for parameters in asked)


def test_waiting_for_a_reset_looks_at_nothing_else(asked: list[Any]) -> None:
    with open_entries("invoices", prefix=STREAM.key("reset")) as assets:
        assert assets == []
    with open_entries("invoices") as assets:
        assets[0].set(STREAM.key("reset"), {"id": "r"})
        assert assets[0].get(STREAM.key("reset")) == {"id": "r"}
    asked.clear()
    with open_entries("invoices", prefix=STREAM.key("reset")) as [entries]:
        assert entries.keys == {STREAM.key("reset")}
        assert entries.get(STREAM.key("reset")) == {"id": "r"}
        assert entries.get(JOURNALS, "not asked for") == "not asked for"
        entries.delete(STREAM.key("reset"))
        assert entries.get(STREAM.key("reset")) is None
    assert len(asked) == 1


def shown(**of_stream: Any) -> str:
    """What ``airflow imap4 state`` prints of the asset of the documentation."""
    stream = {
        "stream": STREAM.name,
        "place": {
            "start": "new",
            "activated": "2026-11-01T08:00:00+00:00",
            "uidvalidity": 1795,
            "last_uid": 4711,
            "epoch": 0,
            "told_uid": 4709,
            "last_received": "",
            "owed_actions": 0,
        },
        "health": {
            "connected": True,
            "since": "2026-11-23T09:12:44.123456+00:00",
            "last_catch_up": "2026-11-23T11:50:02.123456+00:00",
            "last_error": "",
            "lag": 1.2,
            "told": 312,
            "failed_actions": 0,
            "last_action_error": "",
            "noted": "2026-11-23T11:50:07.123456+00:00",
        },
        "reset_asked_for": {},
        **of_stream,
    }
    consumer = {"consumer": "load_invoices/emails", "untaken": 0, "runs": 80}
    journals = [{"entries": 80}, {"entries": 7}]
    return _text(
        {"asset": "invoices", "active": True, "streams": [stream], "journals": journals, "consumers": [consumer]}
    )


def test_the_documentation_shows_what_is_printed() -> None:
    text = (Path(__file__).parents[1] / "docs" / "operations.md").read_text()
    documented = re.search(r"\$ airflow imap4 state\n(.*?)\n```", text, re.DOTALL)
    assert documented is not None
    assert shown() == documented[1]


def test_a_trigger_that_has_not_begun_is_not_said_to_have_looked() -> None:
    place = {**first_place("new", SYSTEM_CLOCK.now()).to_json(), "owed_actions": 0}
    words = shown(place=place, health={})
    assert "connection  never made" in words
    assert "place       the folder was not opened yet; began" in words


def test_no_trigger_at_all_asks_for_the_dag(capsys: pytest.CaptureFixture[str], asked: list[Any]) -> None:
    with open_entries() as assets:
        for entries in assets:
            for key in tuple(entries.keys):
                entries.delete(key)
    run(Namespace(asset=None, output=False))
    assert "No email trigger has started yet. Is its DAG unpaused, and a triggerer running?" in capsys.readouterr().out
    assert asked is not None
