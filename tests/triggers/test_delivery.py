"""The way of a mail from a real server through Airflow's own shared streams: told, confirmed, committed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_imap_provider.mail.conditions import From, Subject
from airflow_imap_provider.mailbox.actions import MarkRead
from airflow_imap_provider.triggers import committer
from airflow_imap_provider.triggers.email import EmailTrigger
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import until
from tests.triggers.conftest import CONN_ID, connection, message
from tests.triggers.mailbox_state import PLACE, committed, flags
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]


async def test_a_mail_is_told_as_soon_as_it_arrives(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    triggerer.add(trigger(conditions=[From.equals("billing@example.com")]))
    await until(lambda: committed(state) == 0, "the empty folder is known")
    dovecot.deliver_all(user, [message("one"), message("two", "else@example.com"), message("three")])
    await until(lambda: triggerer.taken() == ["one", "three"], "both are told")
    await until(lambda: committed(state) == 3, "the place is stored")
    event = triggerer.log[-1]
    assert event["stream"] == f"{CONN_ID}/INBOX/default"
    assert (event["folder"], event["conn_id"], event["epoch"]) == ("INBOX", CONN_ID, 0)
    assert event["emails"][-1]["from"] == {"name": "", "address": "billing@example.com"}


async def test_looking_marks_nothing(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    dovecot.deliver(user, message("one"))
    triggerer.add(trigger(text=True, headers=["Subject"]))
    await until(lambda: committed(state) == 1, "told")
    assert "Seen" not in flags(dovecot, user)["one"]
    assert triggerer.log[0]["emails"][0]["text"].strip() == "Hello."


async def test_a_restarted_trigger_goes_on_where_it_was(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    number = triggerer.add(trigger())
    dovecot.deliver(user, message("before"))
    await until(lambda: committed(state) == 1, "told and stored")
    await triggerer.remove(number)
    dovecot.deliver(user, message("meanwhile"))
    triggerer.add(trigger(conditions=[Subject.contains("e")]))
    await until(lambda: triggerer.subjects == ["before", "meanwhile"], "only what came meanwhile is told")


async def test_start_new_takes_what_came_since_the_activation_although_the_server_was_down(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    other = Dovecot()
    other.start()
    try:
        someone = other.new_user()
        yesterday = datetime.now(timezone.utc) - timedelta(days=1)
        other.deliver(someone, message("old"), received=yesterday)
        other.stop()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRFLOW_CONN_DOWN", connection(other, someone))
            triggerer.add(trigger(imap4_conn_id="down", start="new"))
            await until(lambda: state.get("imap4:place:down/INBOX/default") is not None, "the activation is stored")
            other.start()
            other.deliver(someone, message("arrived while nobody could connect"))
            await until(lambda: triggerer.subjects == ["arrived while nobody could connect"], "it is taken", 20)
            await triggerer.kill()
    finally:
        other.remove()


async def test_a_late_watcher_of_a_folder_that_is_watched_already_starts_at_its_own_activation(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    triggerer.add(trigger(place="first"))
    dovecot.deliver(user, message("old"), received=datetime.now(timezone.utc) - timedelta(days=1))
    await until(lambda: triggerer.subjects == ["old"], "the first watcher has it")
    triggerer.add(trigger(place="late", start="new"))
    await until(
        lambda: (state.get(f"imap4:place:{CONN_ID}/INBOX/late") or {}).get("last_uid") == 1,
        "the late one stands behind it",
    )
    dovecot.deliver(user, message("new"))
    await until(lambda: sorted(triggerer.subjects) == ["new", "new", "old"], "both have the new one")
    logins = dovecot.log().count(f"Login: user=<{user.login}>")
    assert logins == 3, "one connection for both, and two deliveries by this test"


async def test_an_event_that_was_dropped_although_it_was_confirmed_is_told_again(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    triggerer.drop_events = True
    number = triggerer.add(trigger())
    await until(lambda: state.get(PLACE) is not None, "it has started")
    dovecot.deliver(user, message("one"))
    await until(lambda: bool(triggerer.unconfirmed), "the event is on its way, and nowhere stored")
    await triggerer.remove(number)  # the cancellation follows the confirmation of a dropped event
    assert committed(state) < 1
    triggerer.drop_events = False
    triggerer.add(trigger())
    await until(lambda: triggerer.taken() == ["one"], "it is told again")


async def test_nothing_is_committed_before_the_confirmation(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "GRACE", 0.0)
    triggerer.confirm = False
    triggerer.add(trigger(on_match=[MarkRead()]))
    dovecot.deliver(user, message("one"))
    await until(lambda: triggerer.subjects == ["one"], "told")
    state_then, flags_then = committed(state), flags(dovecot, user)["one"]
    triggerer.confirm = True
    await until(lambda: committed(state) == 1, "stored after the confirmation")
    assert state_then < 1
    assert "Seen" not in flags_then


async def test_a_kill_at_any_moment_loses_nothing_and_the_consumer_takes_each_mail_once(
    dovecot: Dovecot, user: User, state: State, trigger: Make
) -> None:
    log: list[dict[str, Any]] = []
    subjects = [f"mail {number}" for number in range(60)]
    for round_ in range(6):
        running = Triggerer(state, log)
        running.add(trigger(batch_size=4))
        dovecot.deliver_all(user, [message(subject) for subject in subjects[round_ * 10 : round_ * 10 + 10]])
        enough = 3 + round_ * 9
        await until(lambda: len(set(running.told)) > enough, "the burst is being told")  # noqa: B023
        await running.kill()
    last = Triggerer(state, log)
    last.add(trigger())
    await until(lambda: sorted(last.taken()) == sorted(subjects), "all are told in the end")
    await last.kill()
    assert len(last.taken()) == len(subjects)


async def test_an_acknowledgement_timeout_has_the_mails_told_again(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    triggerer.runner._shared_streams._ack_timeout = 0.6
    triggerer.confirm = False
    number = triggerer.add(trigger())
    dovecot.deliver(user, message("one"))
    task = triggerer.runner.triggers[number]["task"]
    await until(task.done, "Airflow has failed the subscriber")
    assert "AckTimeout" in type(task.exception()).__name__
    assert committed(state) < 1
    triggerer.confirm = True
    triggerer.unconfirmed.clear()
    triggerer.add(trigger())
    await until(lambda: committed(state) == 1, "it is told again and stored")
    assert triggerer.taken() == ["one"]


async def test_what_airflow_logs_of_an_event_holds_no_mail(
    dovecot: Dovecot, user: User, triggerer: Triggerer, trigger: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    triggerer.add(trigger(text=True))
    dovecot.deliver(user, message("confidential subject"))
    await until(lambda: triggerer.subjects == ["confidential subject"], "told")
    assert "confidential subject" not in caplog.text
    assert "Hello." not in caplog.text


async def test_a_burst_is_told_in_batches_that_airflow_can_carry(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    dovecot.deliver_all(user, [message(f"{number} " + "x" * 300) for number in range(120)])
    triggerer.add(trigger())
    await until(lambda: len(triggerer.taken()) == 120, "all are told", 20)
    for event in triggerer.log:
        assert len(event["emails"]) <= 50
        assert len(json.dumps(event)) <= 32 * 1024
