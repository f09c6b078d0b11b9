"""Waking consumers that lack mails, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_imap_provider.mail.conditions import Subject
from airflow_imap_provider.mailbox.actions import Flag
from airflow_imap_provider.mailbox.place import Place
from airflow_imap_provider.mailbox.ranges import UidRanges
from airflow_imap_provider.mailbox.taking import Record
from airflow_imap_provider.triggers.email import EmailTrigger
from airflow_imap_provider.triggers.store import CONSUMERS, Stream, consumer_key
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import until
from tests.triggers.conftest import CONN_ID, message
from tests.triggers.mailbox_state import PLACE, committed, flags
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]


async def test_a_consumer_that_lacks_mails_is_nudged_until_it_has_them(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    now = datetime.now(timezone.utc).isoformat()
    state.set(CONSUMERS, {"d/t": {"dag_id": "d", "task_id": "t", "seen": now}})
    triggerer.add(trigger())
    dovecot.deliver(user, message("one"))
    await until(lambda: len(triggerer.log) >= 2, "a nudge follows")
    nudge = triggerer.log[-1]
    assert nudge["emails"] == []
    assert nudge["nudge"] == 1
    state.set(consumer_key("d", "t"), triggerer.take(Record()).record.to_json())
    length = len(triggerer.log)
    dovecot.deliver(user, message("two"))
    await until(lambda: triggerer.subjects == ["one", "two"], "the next mail is told")
    assert all(event["emails"] for event in triggerer.log[length:])


async def test_actions_on_unwanted_mail_are_done_although_a_nudge_is_due_in_the_same_moment(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_imap_provider.triggers.nudge import Nudge

    state.set(CONSUMERS, {"d/t": {"dag_id": "d", "task_id": "t", "seen": datetime.now(timezone.utc).isoformat()}})
    triggerer.add(trigger(conditions=[Subject.equals("wanted")], on_no_match=[Flag()]))
    dovecot.deliver(user, message("wanted"))
    await until(lambda: committed(state) == 1, "told and stored")

    async def always(self: Nudge, place: Place) -> bool:
        return True

    monkeypatch.setattr(Nudge, "due", always)
    monkeypatch.setattr(Nudge, "next_in", lambda self: 1000.0)
    dovecot.deliver(user, message("unwanted"))
    await until(lambda: committed(state) == 2 and not state.get(PLACE)["todo"], "the action is done")
    assert "Flagged" in flags(dovecot, user)["unwanted"]
    assert triggerer.log[-1]["nudge"] == 1


async def test_a_consumer_that_caught_up_is_nudged_early_when_it_lacks_something_again(state: State) -> None:
    from airflow_imap_provider.mailbox.place import first_place
    from airflow_imap_provider.triggers.nudge import FIRST, Nudge
    from airflow_imap_provider.triggers.store import AssetStore
    from tests.triggers.test_journal import Calendar

    clock: Any = Calendar()
    accessors: Any = state.accessors()
    stream = Stream(CONN_ID, "INBOX", "default")
    nudge = Nudge(AssetStore(accessors), stream, clock)
    state.set(CONSUMERS, {"d/t": {"dag_id": "d", "task_id": "t", "seen": clock.now().isoformat()}})
    place = replace(first_place("all", clock.now()), uidvalidity=7, told_uid=1, told_in="0.7", last_uid=1)
    nudge.expect(place)
    nudged = 0
    for _ in range(20):
        clock.time += timedelta(seconds=nudge.next_in() or 0)
        nudged += await nudge.due(place)
    assert nudged > 12
    record = Record()
    record.nudged[stream.name], record.ranges[stream.name] = "0.7:1", {"0.7": UidRanges()}
    state.set(consumer_key("d", "t"), record.to_json())
    clock.time += timedelta(days=2)
    assert not await nudge.due(place)
    assert nudge.next_in() is None
    later = replace(place, told_uid=2, last_uid=2)
    nudge.expect(later)
    assert nudge.next_in() == FIRST
    clock.time += timedelta(seconds=FIRST)
    assert await nudge.due(later)
    assert (nudge.next_in() or 0) < 2 * FIRST + 1


async def test_nobody_is_nudged_who_has_taken_all(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow_imap_provider.triggers.nudge import Nudge

    answers: list[bool] = []
    due = Nudge.due

    async def noted(self: Nudge, place: Place) -> bool:
        answer = await due(self, place)
        answers.append(answer)
        return answer

    monkeypatch.setattr(Nudge, "due", noted)
    triggerer.add(trigger())
    dovecot.deliver(user, message("one"))
    await until(lambda: committed(state) == 1, "told and stored")
    record = triggerer.take(Record()).record
    state.set(consumer_key("d", "t"), record.to_json())
    state.set(CONSUMERS, {"d/t": {"dag_id": "d", "task_id": "t", "seen": datetime.now(timezone.utc).isoformat()}})
    dovecot.deliver(user, message("two"))
    await until(lambda: len(triggerer.log) == 2, "told")
    assert len(triggerer.take(record).emails) == 1
    state.set(consumer_key("d", "t"), record.to_json())
    await until(lambda: committed(state) == 2, "stored")
    number = len(answers)
    await until(lambda: len(answers) > number, "the records were looked at")
    assert not any(answers)
    assert [len(event["emails"]) for event in triggerer.log] == [1, 1]
