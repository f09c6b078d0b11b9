"""Beginning anew: asked for from outside, honoured once, and written over by nobody. And places that got lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_imap_provider.mail.conditions import Subject
from airflow_imap_provider.mailbox.actions import AddKeyword, Move
from airflow_imap_provider.mailbox.taking import Record
from airflow_imap_provider.triggers import acting, resets, subscriber
from airflow_imap_provider.triggers.email import EmailTrigger
from airflow_imap_provider.triggers.resets import Request
from airflow_imap_provider.triggers.store import JOURNALS, Stream
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import until
from tests.triggers.conftest import CONN_ID, message
from tests.triggers.mailbox_state import HEALTH, PLACE, committed, flags
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]
RESET = Stream(CONN_ID, "INBOX", "default").key("reset")


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resets, "LOOK", 0.2)


def ask(state: State, to: str, *, id_: str = "first") -> None:
    state.set(RESET, Request(id_, to, datetime.now(timezone.utc)).to_json())


def honoured(state: State) -> bool:
    return state.get(RESET) is None


async def test_a_running_trigger_begins_anew_and_consumers_take_all_once_more(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    dovecot.deliver_all(user, [message("one"), message("two")])
    triggerer.add(trigger())
    await until(lambda: committed(state) == 2, "both are told and committed")
    record = Record()
    assert len(triggerer.take(record).emails) == 2
    ask(state, "all")
    await until(lambda: honoured(state) and committed(state) == 2, "it begins anew, and comes to the end again")
    assert state.get(PLACE)["epoch"] == 1
    assert triggerer.subjects == ["one", "two"] * 2
    assert [email["subject"] for email in triggerer.take(record).emails] == ["one", "two"], "as new ones, each once"
    dovecot.deliver(user, message("three"))
    await until(lambda: committed(state) == 3, "and it goes on")
    assert [email["subject"] for email in triggerer.take(record).emails] == ["three"]


async def test_a_trigger_that_is_not_running_begins_anew_when_it_starts(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    dovecot.deliver(user, message("one"))
    number = triggerer.add(trigger())
    await until(lambda: committed(state) == 1, "told")
    await triggerer.remove(number)
    ask(state, "all")
    triggerer.add(trigger())
    await until(lambda: triggerer.subjects == ["one", "one"] and honoured(state), "told again")


async def test_a_reset_to_now_and_to_a_date_leaves_out_what_is_older(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    now = datetime.now(timezone.utc)
    dovecot.deliver(user, message("week old"), received=now - timedelta(days=7))
    dovecot.deliver(user, message("day old"), received=now - timedelta(days=1))
    triggerer.add(trigger())
    await until(lambda: committed(state) == 2, "told")
    ask(state, (now - timedelta(days=2)).isoformat(), id_="to a date")
    await until(lambda: honoured(state) and committed(state) == 2, "it begins anew")
    assert triggerer.subjects == ["week old", "day old", "day old"]
    ask(state, "new", id_="to now")
    await until(lambda: honoured(state) and committed(state) == 2, "it begins anew")
    dovecot.deliver(user, message("fresh"))
    await until(lambda: committed(state) == 3, "it goes on")
    assert triggerer.subjects == ["week old", "day old", "day old", "fresh"]
    assert state.get(PLACE)["epoch"] == 2


async def test_a_crash_between_the_new_place_and_the_end_of_the_request_does_not_honour_it_twice(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    dovecot.deliver(user, message("one"))
    number = triggerer.add(trigger())
    await until(lambda: committed(state) == 1, "told")
    ask(state, "all")
    await until(lambda: honoured(state) and committed(state) == 1, "it begins anew")
    await triggerer.remove(number)
    ask(state, "all")  # as if the request had not been taken away yet
    triggerer.add(trigger())
    await until(lambda: honoured(state), "the request is taken away")
    dovecot.deliver(user, message("two"))
    await until(lambda: committed(state) == 2, "it goes on")
    assert triggerer.subjects == ["one", "one", "two"]
    assert state.get(PLACE)["epoch"] == 1


async def test_nothing_is_lost_of_what_is_on_its_way_when_a_reset_is_asked_for(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    triggerer.confirm = False
    triggerer.add(trigger(on_match=[AddKeyword("Told")]))
    await until(lambda: committed(state) == 0, "it watches")
    dovecot.deliver(user, message("one"))
    await until(lambda: triggerer.subjects == ["one"], "told, and not confirmed")
    ask(state, "new")
    await asyncio.sleep(1)
    assert not honoured(state), "an event that is not committed comes first"
    triggerer.confirm = True
    await until(lambda: honoured(state), "then it begins anew", 20)
    assert "Told" in flags(dovecot, user)["one"], "after the actions that were owed"
    assert state.get(PLACE)["epoch"] == 1


async def test_a_triggerer_that_was_frozen_does_not_write_over_a_reset(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both run for a while after a fail-over; only one of them has honoured the request."""
    dovecot.deliver(user, message("one"))
    triggerer.add(trigger())
    await until(lambda: committed(state) == 1, "told")
    stored = state.get(PLACE)
    anew = {**stored, "epoch": 1, "last_uid": 0, "told_uid": 0, "uidvalidity": None, "reset": "by another"}
    state.set(PLACE, anew)
    dovecot.deliver(user, message("two"))
    await until(lambda: committed(state) == 2, "it goes on from the other's place", 20)
    assert state.get(PLACE)["epoch"] == 1
    assert state.get(PLACE)["reset"] == "by another"
    record = Record()
    taken = [email["subject"] for email in triggerer.take(record).emails]
    assert sorted(set(taken)) == ["one", "two"]


async def test_a_reset_does_not_wake_consumers_for_nothing(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    dovecot.deliver(user, message("one"), received=datetime.now(timezone.utc) - timedelta(days=1))
    triggerer.add(trigger())
    await until(lambda: committed(state) == 1, "told")
    consumer = {"dag_id": "d", "task_id": "t", "seen": datetime.now(timezone.utc).isoformat()}
    state.set("imap4:consumers", {"d/t": consumer})
    ask(state, "new")
    await until(lambda: honoured(state) and committed(state) == 1, "it begins anew")
    await asyncio.sleep(1.5)  # three times what the first nudge takes here
    assert [event for event in triggerer.log if event["epoch"] == 1] == []


async def test_a_first_start_is_said_once_with_what_to_do_if_it_is_none(
    triggerer: Triggerer, trigger: Make, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    triggerer.add(trigger())
    await until(lambda: committed(state) == 0, "it watches")
    (said,) = [record for record in caplog.records if "stored place" in record.getMessage()]
    assert "this is its first start" in said.getMessage()
    assert "reset" in said.getMessage()
    ours = [record for record in caplog.records if record.name.startswith("airflow_imap_provider")]
    assert [record for record in ours if record.levelno > logging.INFO] == [said]


@pytest.mark.parametrize("trace", [HEALTH, JOURNALS])
async def test_a_lost_place_begins_by_the_start_policy_and_warns(
    trace: str,
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    number = triggerer.add(trigger(start="new"))
    await until(lambda: committed(state) == 0, "it watches")
    dovecot.deliver(user, message("old"), received=datetime.now(timezone.utc))
    await until(lambda: committed(state) == 1 and bool(state.get(HEALTH)), "told, and the health entry is written")
    await triggerer.remove(number)
    kept = state.get(trace)
    state.values.clear()
    state.set(trace, kept)
    caplog.clear()
    # Mail counts from the activation on, by the second of its arrival.
    clock = datetime.now(timezone.utc)
    await until(lambda: datetime.now(timezone.utc) > clock + timedelta(seconds=2), "the old mail is of before")
    triggerer.add(trigger(start="new"))
    await until(lambda: committed(state) == 1, "it begins again, from now on")
    dovecot.deliver(user, message("fresh"))
    await until(lambda: committed(state) == 2, "it goes on")
    assert triggerer.subjects == ["old", "fresh"]
    (warning,) = [record for record in caplog.records if "stored place" in record.getMessage()]
    assert warning.levelno == logging.WARNING
    assert "start='new'" in warning.getMessage()
    assert "airflow imap4 reset --asset inbox --to DATE" in warning.getMessage()


async def test_a_store_that_was_emptied_is_a_first_start_that_says_how_to_go_back(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the asset was renamed: nothing is left that could tell."""
    dovecot.deliver(user, message("old"), received=datetime.now(timezone.utc) - timedelta(days=1))
    number = triggerer.add(trigger(start="new", conditions=[Subject.contains("o")]))
    await until(lambda: committed(state) == 1, "it stands behind the old mail")
    await triggerer.remove(number)
    state.values.clear()
    caplog.clear()
    caplog.set_level(logging.INFO)
    triggerer.add(trigger(start="new"))
    await until(lambda: committed(state) == 1, "it begins again, from now on")
    dovecot.deliver(user, message("fresh"))
    await until(lambda: committed(state) == 2, "it goes on")
    assert triggerer.subjects == ["fresh"]
    (said,) = [record for record in caplog.records if "stored place" in record.getMessage()]
    assert said.levelno == logging.WARNING
    assert "airflow imap4 reset --asset inbox --to DATE" in said.getMessage()


async def test_a_folder_that_is_gone_is_said_and_watched_again_when_it_is_back(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Deleted and created again under the trigger's feet, with other UIDs for the mails that are put back."""
    received = datetime.now(timezone.utc)
    old: list[Any] = [message(f"old {number}") for number in range(3)]
    dovecot.create_folder(user, "Work")
    key = f"imap4:place:{CONN_ID}/Work/default"
    triggerer.add(trigger(folder="Work", poll_interval=1.0))
    dovecot.deliver_all(user, old, "Work", received=received)
    await until(lambda: (state.get(key) or {}).get("last_uid") == 3, "told and stored")
    dovecot.delete_folder(user, "Work")
    await until(lambda: "not watching Work" in caplog.text, "the loss is said", 20)
    dovecot.create_folder(user, "Work")
    dovecot.deliver_all(user, [message("new"), *old], "Work", received=received)
    await until(lambda: state.get(key)["last_uid"] == 4 and state.get(key)["epoch"] == 1, "all is handled", 60)
    assert sorted(triggerer.taken()) == ["new", "old 0", "old 1", "old 2"]


async def test_a_reset_waits_for_actions_that_are_owed_although_the_connection_was_lost(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Actions wait for somebody to have read since the folder was opened, and a reset lets nobody read on."""
    monkeypatch.setattr(acting, "ACTION_RETRY", (1.0, 1.0))
    monkeypatch.setattr(subscriber, "RESET_RETRY", 0.3)
    triggerer.add(trigger(on_match=[Move("Later")]))
    dovecot.deliver(user, message("one"))
    await until(lambda: committed(state) == 1 and bool((state.get(HEALTH) or {}).get("connected")), "it is told")
    dovecot.kick(user)
    ask(state, "new")
    dovecot.create_folder(user, "Later")
    await until(lambda: honoured(state), "the mail is moved, and then it begins anew", 30)
    assert list(flags(dovecot, user, "Later")) == ["one"]
    dovecot.deliver(user, message("two"))
    await until(lambda: triggerer.subjects == ["one", "two"], "and it goes on")


async def test_a_reset_does_not_wait_for_ever_for_an_action_and_reports_it(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(subscriber, "RESET_RETRY", 0.3)
    monkeypatch.setattr(subscriber, "RESET_PATIENCE", 2.0)
    triggerer.add(trigger(on_match=[Move("Nowhere")]))
    dovecot.deliver(user, message("one"))
    await until(lambda: committed(state) == 1, "it is told")
    ask(state, "new")
    dovecot.deliver(user, message("two"))
    await until(lambda: honoured(state), "it begins anew", 30)
    assert "is asked to begin anew, and move, due to mails with the UIDs" in caplog.text
    dovecot.deliver(user, message("three"))
    await until(lambda: "three" in triggerer.subjects, "and it goes on")


async def test_a_request_that_comes_while_another_is_honoured_is_honoured_too(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = resets.begin_again

    def slow(*arguments: Any) -> Any:
        if state.get(RESET)["id"] == "first":
            ask(state, "all", id_="second")
        return plain(*arguments)

    monkeypatch.setattr(resets, "begin_again", slow)
    triggerer.add(trigger())
    dovecot.deliver(user, message("one"))
    await until(lambda: committed(state) == 1, "it is told")
    ask(state, "new", id_="first")
    await until(lambda: honoured(state) and (state.get(PLACE) or {}).get("reset") == "second", "both", 20)
    assert state.get(PLACE)["epoch"] == 2
