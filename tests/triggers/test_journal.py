"""Journals: what was told stays findable, whoever writes beside, and goes when its time is over."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_imap_provider.mailbox.taking import Entry, Record
from airflow_imap_provider.triggers import journal as journals
from airflow_imap_provider.triggers.journal import LAST_WORDS, RETENTION, ROLL, Journal, begin, entries, passed_over
from airflow_imap_provider.triggers.journal_index import dumped, listed
from airflow_imap_provider.triggers.store import JOURNALS, AssetStore, Stream
from tests.triggers.triggerer import State


class Calendar:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, tzinfo=timezone.utc)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


@pytest.fixture
def clock() -> Calendar:
    return Calendar()


def new(state: State, clock: Calendar, folder: str = "INBOX") -> Journal:
    store: Any = state.accessors()
    watch: Any = clock
    return Journal(AssetStore(store), Stream("c", folder, "default"), watch)


def read(state: State, positions: dict[str, int], clock: Calendar, record: Record | None = None) -> list[int]:
    store: Any = state
    found = []
    record = record or Record(positions=positions)
    for entry in entries(store, record, clock.now()):
        found.append(entry.payload["n"])
        record.positions[entry.journal] = entry.number + 1
    return found


async def test_consumers_read_every_entry_once_in_order(state: State, clock: Calendar) -> None:
    first, positions = new(state, clock), {}
    for number in range(3):
        await first.append({"n": number})
    assert read(state, positions, clock) == [0, 1, 2]
    await first.append({"n": 3})
    assert read(state, positions, clock) == [3]
    assert read(state, positions, clock) == []


async def test_a_restarted_trigger_closes_the_journal_before_and_its_last_words_are_heard(
    state: State, clock: Calendar
) -> None:
    old, positions = new(state, clock), {}
    await old.append({"n": 1})
    successor = new(state, clock)
    await successor.append({"n": 2})
    await old.append({"n": 3})  # its triggerer was only frozen
    assert sorted(read(state, positions, clock)) == [1, 2, 3]
    clock.time += LAST_WORDS * 2
    assert read(state, positions, clock) == []
    assert sorted(positions.values()) == [-1, 1]


async def test_an_entry_in_the_index_that_another_writer_has_lost_comes_back(state: State, clock: Calendar) -> None:
    inbox, other = new(state, clock), new(state, clock, "Other")
    await inbox.append({"n": 1})
    before = state.get(JOURNALS)
    await other.append({"n": 2})
    state.set(JOURNALS, before)  # written by somebody who had read it earlier
    assert read(state, {}, clock) == [1]
    await other.enlist()  # as before every commit
    assert read(state, {}, clock) == [1, 2]


async def test_a_journal_is_looked_after_until_its_entries_are_committed_although_a_newer_one_follows(
    state: State, clock: Calendar
) -> None:
    inbox = new(state, clock)
    await inbox.append({"n": 1})
    clock.time += ROLL * 1.5
    await inbox.append({"n": 2})
    state.set(JOURNALS, [])
    await inbox.enlist()
    assert read(state, {}, clock) == [1, 2]
    assert [bool(journal["ended"]) for journal in listed(state.get(JOURNALS))] == [True, False]


async def test_attempts_that_fail_leave_nothing_behind(state: State, clock: Calendar) -> None:
    """Of two assets one takes the entry and the other is not active: again and again, perhaps for hours."""
    store: Any = state.accessors("active", "inactive")
    watch: Any = clock
    both = Journal(AssetStore(store), Stream("c", "INBOX", "default"), watch)
    state.inactive.add("inactive")
    for _ in range(20):
        with pytest.raises(RuntimeError):
            await both.append({"n": 1})
    assert sum(key.startswith("imap4:journal:") for key in state.values["active"]) == 1
    state.inactive.clear()
    await both.append({"n": 2})
    assert state.get(JOURNALS, "inactive") == state.get(JOURNALS, "active")


async def test_an_inactive_asset_takes_no_entry_and_loses_no_index(state: State, clock: Calendar) -> None:
    first = new(state, clock)
    await first.append({"n": 1})
    state.active = False
    second = new(state, clock)
    with pytest.raises(RuntimeError, match="not active"):
        await second.append({"n": 2})
    state.active = True
    await second.append({"n": 2})
    assert read(state, {}, clock) == [1, 2]


async def test_a_write_that_may_or_may_not_have_happened_is_never_overwritten(
    state: State, clock: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, positions = new(state, clock), {}
    await inbox.append({"n": 1})
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "_enlist", _broken)
        with pytest.raises(ConnectionError):
            await inbox.append({"n": 2})
    assert read(state, positions, clock) == [1, 2]
    await inbox.append({"n": 3})
    assert read(state, positions, clock) == [3]


async def _broken() -> None:
    raise ConnectionError("the answer got lost")


async def test_what_has_been_kept_long_enough_is_dropped_step_by_step(
    state: State, clock: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "SWEEP", 4)
    inbox = new(state, clock)
    for number in range(11):
        await inbox.append({"n": number})
    clock.time += ROLL * 1.5
    await inbox.append({"n": 11})
    assert len(listed(state.get(JOURNALS))) == 2, "a new journal for a new day"
    await inbox.sweep()
    assert read(state, {}, clock) == list(range(12))
    clock.time += RETENTION + timedelta(days=1)
    await inbox.append({"n": 12})
    left = []
    for _ in range(3):
        await inbox.sweep()
        left.append(sum(key.startswith("imap4:journal:") for key in state.values["inbox"]))
    assert left == [9, 5, 2]
    assert [journal["ended"] == "" for journal in listed(state.get(JOURNALS))] == [False, True]
    positions = {"gone": 3}
    assert read(state, positions, clock) == [11, 12]
    assert "gone" not in positions


async def test_journals_of_long_before_a_new_consumer_are_not_read(state: State, clock: Calendar) -> None:
    await new(state, clock).append({"n": 1})
    await new(state, clock).append({"n": 2})
    clock.time += LAST_WORDS * 3
    record = Record()
    begin_at(state, record, clock.now(), lambda entry: False)
    assert read(state, {}, clock, record) == [2]


async def test_a_consumer_begins_in_each_journal_and_takes_all_that_is_written_later(
    state: State, clock: Calendar
) -> None:
    inbox, other, record = new(state, clock), new(state, clock, "Other"), Record()
    for number in range(3):
        await inbox.append({"n": number})
        await other.append({"n": 10 + number})
    begin_at(state, record, clock.now(), lambda entry: entry.payload["n"] in (0, 1, 10, 11, 12))
    clock.time -= timedelta(hours=5)  # as of a host whose clock is wrong
    await other.append({"n": 13})
    await new(state, clock, "Third").append({"n": 20})
    assert read(state, {}, clock, Record.from_json(record.to_json())) == [2, 13, 20]


async def test_the_beginning_moves_back_and_never_forward(state: State, clock: Calendar) -> None:
    inbox, record = new(state, clock), Record()
    for number in range(4):
        await inbox.append({"n": number})
    begin_at(state, record, clock.now(), lambda entry: entry.payload["n"] < 2)
    assert read(state, {}, clock, record) == [2, 3]
    later = new(state, clock, "Later")
    await later.append({"n": 10})
    assert [entry.payload["n"] for entry in every(state) if passed_over(record, entry)] == [0, 1]
    begin_at(state, record, clock.now(), lambda entry: entry.payload["n"] != 1)
    assert read(state, {}, clock, record) == [1, 2, 3, 10]
    begin_at(state, record, clock.now(), lambda entry: True)
    assert read(state, {}, clock, record) == [1, 2, 3, 10]


async def test_a_journal_that_had_ended_long_before_is_begun_when_the_beginning_moves_back(
    state: State, clock: Calendar
) -> None:
    old, record = new(state, clock), Record()
    for number in range(3):
        await old.append({"n": number})
    early = every(state)[1]
    await new(state, clock).append({"n": 5})
    clock.time += LAST_WORDS * 3
    begin_at(state, record, clock.now(), lambda entry: True)
    assert read(state, {}, clock, record) == []
    assert passed_over(record, early)
    begin_at(state, record, early.at, lambda entry: entry.payload["n"] < 1)
    assert read(state, {}, clock, record) == [1, 2, 5]


def every(state: State) -> list[Entry]:
    values = [state.get(key) for key in state.values["inbox"] if key.startswith("imap4:journal:")]
    return [Entry(value["journal"][0], value["journal"][1], value) for value in values]


def begin_at(state: State, record: Record, moment: datetime, before: Callable[[Entry], bool]) -> None:
    store: Any = state
    begin(store, record, moment, before)


async def test_the_journal_of_a_stream_that_is_gone_is_closed_in_the_end(state: State, clock: Calendar) -> None:
    await new(state, clock, "Gone").append({"n": 1})
    clock.time += ROLL * 4
    await new(state, clock).append({"n": 2})
    assert [bool(journal["ended"]) for journal in listed(state.get(JOURNALS))] == [True, False]


async def test_the_index_of_an_earlier_version_is_read_and_written_on(state: State, clock: Calendar) -> None:
    inbox = new(state, clock)
    await inbox.append({"n": 1})
    state.set(JOURNALS, listed(state.get(JOURNALS)))  # the form of before: a list of dicts
    assert read(state, {}, clock) == [1]
    await new(state, clock).append({"n": 2})
    assert read(state, {}, clock) == [1, 2]
    assert [bool(journal["ended"]) for journal in listed(state.get(JOURNALS))] == [True, False]


async def test_a_trigger_that_is_restarted_forty_times_a_day_keeps_its_index_below_what_airflow_warns_of(
    state: State, clock: Calendar
) -> None:
    for _ in range(30 * 40):
        clock.time += timedelta(minutes=36)
        journal = {"id": f"{int(clock.time.timestamp()):012x}", "stream": "mail_of_accounting/INBOX.Invoices/default"}
        moment = clock.time.isoformat()
        state.set(JOURNALS, dumped([*listed(state.get(JOURNALS)), {**journal, "since": moment, "ended": moment}]))
    assert len(listed(state.get(JOURNALS))) == 1200
    assert len(json.dumps(state.get(JOURNALS))) < 60_000
    await new(state, clock).append({"n": 1})
    assert len(listed(state.get(JOURNALS))) == 1201
    assert listed(state.get(JOURNALS))[0]["since"] == "2026-11-23T00:36:00+00:00"
