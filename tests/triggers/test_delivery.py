"""The way of a mail from a real server through Airflow's own shared streams: told, confirmed, committed, acted on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_imap_provider.mail.conditions import From, Subject
from airflow_imap_provider.mailbox.actions import AddKeyword, Copy, Delete, Flag, MarkRead, Move
from airflow_imap_provider.mailbox.place import Place
from airflow_imap_provider.mailbox.ranges import UidRanges
from airflow_imap_provider.mailbox.taking import Record
from airflow_imap_provider.triggers import committer
from airflow_imap_provider.triggers.email import EmailTrigger
from airflow_imap_provider.triggers.store import CONSUMERS, Stream, consumer_key
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import until
from tests.triggers.conftest import CONN_ID, connection, message
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]
PLACE = Stream(CONN_ID, "INBOX", "default").key("place")
HEALTH = Stream(CONN_ID, "INBOX", "default").key("health")


def committed(state: State) -> int:
    """The last UID of the stored place; -1 until the folder was opened."""
    place = state.get(PLACE) or {}
    return int(place["last_uid"]) if place.get("uidvalidity") else -1


def flags(dovecot: Dovecot, user: User, folder: str = "INBOX") -> dict[str, str]:
    """The flags of a folder's mails by subject, as another client sees them."""
    with dovecot.connection(user) as client:
        client.select(f'"{folder}"', readonly=True)
        _, found = client.uid("SEARCH", "ALL")
        result = {}
        for uid in found[0].split():
            _, answer = client.uid("FETCH", uid, "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            head, subject = answer[0]
            tail = answer[1]
            result[subject.decode().partition(":")[2].strip()] = (head + tail).decode()
        return result


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


# --- places ------------------------------------------------------------------------------------------------------


async def test_an_inactive_asset_is_waited_for_and_its_place_is_not_overwritten(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_imap_provider.triggers import subscriber

    monkeypatch.setattr(subscriber, "STORE_RETRY", 0.05)
    dovecot.deliver_all(user, [message("handled"), message("not yet")])
    number = triggerer.add(trigger(conditions=[Subject.equals("handled")]))
    await until(lambda: committed(state) == 2, "handled")
    await triggerer.remove(number)
    stored = state.get(PLACE)
    state.active = False
    triggerer.add(trigger())
    dovecot.deliver(user, message("later"))
    await until(lambda: state.refused > 2, "the inactive asset was asked, and asked again")
    state.active = True
    await until(lambda: triggerer.subjects == ["handled", "later"], "it goes on from the stored place")
    assert state.get(PLACE)["activated"] == stored["activated"]


async def test_two_watchers_with_the_same_place_are_an_error_and_the_first_one_works(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from airflow_imap_provider.triggers import subscriber

    monkeypatch.setattr(subscriber, "CONFLICT_WARNING", 0.0)
    first = triggerer.add(trigger(conditions=[Subject.contains("one")]))
    await until(lambda: committed(state) == 0, "the first has its place")
    triggerer.add(trigger(conditions=[Subject.contains("two")]))
    await until(lambda: "same place 'default'" in caplog.text, "the second one is reported")
    dovecot.deliver_all(user, [message("one"), message("two")])
    await until(lambda: committed(state) == 2, "the first one works")
    assert triggerer.subjects == ["one"]
    await triggerer.remove(first)


async def test_a_trigger_that_two_assets_share_moves_both_places(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    dovecot.deliver(user, message("one"))
    number = triggerer.add(trigger(), "a", "b")
    await until(lambda: (state.get(PLACE, "b") or {}).get("last_uid") == 1, "both are stored")
    assert state.get(PLACE, "a") == state.get(PLACE, "b")
    await triggerer.remove(number)
    behind = {**state.get(PLACE, "a"), "last_uid": 0}
    state.set(PLACE, behind, "b")
    triggerer.add(trigger(), "a", "b")
    await until(lambda: triggerer.subjects == ["one", "one"], "the one that is behind gets its mail")


async def test_a_folder_created_anew_repeats_nothing_and_skips_nothing(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, caplog: pytest.LogCaptureFixture
) -> None:
    dovecot.create_folder(user, "Work")
    old = [message(f"old {number}") for number in range(5)]
    received = datetime.now(timezone.utc)
    number = triggerer.add(trigger(folder="Work"))
    key = f"imap4:place:{CONN_ID}/Work/default"
    dovecot.deliver_all(user, old, "Work", received=received)
    await until(lambda: (state.get(key) or {}).get("last_uid") == 5, "told and stored")
    await triggerer.remove(number)
    before = state.get(key)["uidvalidity"]
    dovecot.delete_folder(user, "Work")
    dovecot.create_folder(user, "Work")
    dovecot.deliver_all(user, [message("came meanwhile"), *old], "Work", received=received)
    triggerer.add(trigger(folder="Work"))
    await until(lambda: (state.get(key) or {}).get("last_uid") == 6 and state.get(key)["epoch"] == 1, "all is handled")
    assert state.get(key)["uidvalidity"] != before
    assert sorted(triggerer.taken()) == ["came meanwhile", *[f"old {number}" for number in range(5)]]
    assert caplog.text.count("UIDVALIDITY of Work has changed") == 1


# --- the connection ----------------------------------------------------------------------------------------------


async def test_a_lost_connection_is_made_again_and_nothing_is_missed(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    triggerer.add(trigger())
    for number in range(1, 4):
        await until(lambda: committed(state) == number - 1, "stored")  # noqa: B023
        dovecot.kick(user)
        dovecot.deliver(user, message(f"mail {number}"))
        await until(lambda: triggerer.subjects[-1:] == [f"mail {number}"], "told after the reconnect", 20)  # noqa: B023


async def test_a_wrong_password_is_one_clear_error_and_the_mail_comes_once_it_is_right(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from airflow_imap_provider.mailbox.backoff import Backoff

    monkeypatch.setattr(Backoff, "REFUSED", (0.1, 0.1))
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, password="not-this-one"))
    dovecot.deliver(user, message("waits"))
    triggerer.add(trigger())
    await until(lambda: (state.get(HEALTH) or {}).get("last_error", "").startswith("authentication"), "it is reported")
    await until(lambda: dovecot.log().count(f"user=<{user.login}>, method=PLAIN") > 3, "it keeps trying", 20)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "not watching INBOX of mailbox: authentication" in errors[0].getMessage()
    assert "not-this-one" not in caplog.text + json.dumps(state.values)
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    await until(lambda: triggerer.subjects == ["waits"], "the edited connection is used")


async def test_an_edited_connection_is_used_without_waiting_for_the_back_off_of_the_wrong_one(
    dovecot: Dovecot, user: User, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    from airflow_imap_provider.mailbox import watcher

    monkeypatch.setattr(watcher, "SETTINGS_GLANCE", 0.1)
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, password="not-this-one"))
    dovecot.deliver(user, message("waits"))
    triggerer.add(trigger())
    await until(lambda: (state.get(HEALTH) or {}).get("last_error", "").startswith("authentication"), "it is reported")
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    await until(lambda: triggerer.subjects == ["waits"], "seconds later, and not half a minute")


async def test_an_edited_connection_is_used_although_the_old_one_works(
    dovecot: Dovecot, user: User, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    from airflow_imap_provider.mailbox import watcher

    monkeypatch.setattr(watcher, "SETTINGS_RENEWAL", 0.1)
    triggerer.add(trigger(poll_interval=1.0))
    await until(lambda: committed(state) == 0, "it watches")
    other = dovecot.new_user()
    dovecot.deliver(other, message("in another mailbox"))
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, other))
    await until(lambda: triggerer.subjects == ["in another mailbox"], "the other mailbox is opened", 20)


@pytest.mark.parametrize(
    ("arguments", "fields", "words"),
    [
        ({"folder": "Nowhere"}, {}, "Nowhere"),
        ({}, {"host": "does-not-exist.invalid"}, "does-not-exist.invalid"),
        ({}, {"port": 1}, "127.0.0.1"),
        ({}, {"extra": {"timeout": "soon"}}, "Timeout (timeout)"),
        ({"imap4_conn_id": "missing"}, {}, "'missing'"),
    ],
    ids=["folder", "host", "port", "field", "connection"],
)
async def test_bad_settings_are_one_clear_error_and_the_trigger_lives_on(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    arguments: dict[str, object],
    fields: dict[str, object],
    words: str,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, **fields))
    number = triggerer.add(trigger(**arguments))
    await until(lambda: "not watching" in caplog.text, "it is reported", 20)
    (error,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert words in error
    assert not triggerer.runner.triggers[number]["task"].done()
    assert user.password not in caplog.text


# --- actions -----------------------------------------------------------------------------------------------------


async def test_actions_follow_the_commit_and_depend_on_the_outcome(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    dovecot.create_folder(user, "Done")
    triggerer.add(
        trigger(
            conditions=[From.equals("billing@example.com")],
            on_match=[MarkRead(), AddKeyword("Processed"), Move("Done")],
            on_no_match=[Flag()],
        )
    )
    dovecot.deliver_all(user, [message("yes"), message("no", "else@example.com")])
    await until(lambda: committed(state) == 2 and not state.get(PLACE)["todo"], "all is done")
    assert list(flags(dovecot, user)) == ["no"]
    assert "Flagged" in flags(dovecot, user)["no"]
    moved = flags(dovecot, user, "Done")["yes"]
    assert "Seen" in moved
    assert "Processed" in moved


async def test_a_crash_between_commit_and_action_repeats_the_action_and_not_the_mail(
    dovecot: Dovecot, user: User, state: State, trigger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[dict[str, Any]] = []
    first = Triggerer(state, log)
    monkeypatch.setattr(committer.Committer, "_perform", _never_ends)
    first.add(trigger(on_match=[Delete()]))
    dovecot.deliver(user, message("one"))
    await until(lambda: committed(state) == 1, "stored, the action is owed")
    assert state.get(PLACE)["todo"]
    await first.kill()
    assert list(flags(dovecot, user)) == ["one"]
    monkeypatch.undo()
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    second = Triggerer(state, log)
    second.add(trigger(on_match=[Delete()]))
    await until(lambda: not state.get(PLACE)["todo"], "the action is made good")
    assert flags(dovecot, user) == {}
    assert second.subjects == ["one"]
    await second.kill()


async def _never_ends(self: object, item: object) -> None:
    import asyncio

    await asyncio.Event().wait()


async def test_an_action_that_fails_is_tried_again_reported_and_blocks_no_mail(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(committer, "ACTION_RETRY", (0.05, 0.05))
    triggerer.add(trigger(on_match=[Move("Not there")]))
    dovecot.deliver(user, message("one"))
    await until(lambda: "is given up" in caplog.text, "it is given up in the end")
    assert caplog.text.count("is tried again") == committer.ACTION_TRIES - 1
    assert f"move Not there, due to mails of {CONN_ID}/INBOX/default (UIDs 1), failed" in caplog.text
    dovecot.deliver(user, message("two"))
    await until(lambda: triggerer.subjects == ["one", "two"], "mail goes on, and none is repeated")
    await until(lambda: committed(state) == 2, "and the place too")


async def test_what_was_done_before_a_refused_action_is_not_done_again(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committer, "ACTION_RETRY", (0.05, 0.05))
    dovecot.create_folder(user, "Archive")
    triggerer.add(trigger(on_match=[Copy("Archive"), Move("Missing")]))
    dovecot.deliver(user, message("one"))
    await until(lambda: committed(state) == 1 and not state.get(PLACE)["todo"], "the move is given up")
    with dovecot.connection(user) as client:
        assert client.select("Archive", readonly=True)[1] == [b"1"]


async def test_an_unexpected_error_in_an_action_ends_neither_the_commits_nor_other_actions(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(committer, "ACTION_RETRY", (0.05, 0.05))
    plain = committer.perform

    def breaks(session: Any, uids: list[int], actions: Any, **options: bool) -> None:
        if 1 in uids:
            raise ValueError("nobody thought of this")
        plain(session, uids, actions, **options)

    monkeypatch.setattr(committer, "perform", breaks)
    triggerer.add(trigger(on_match=[MarkRead()]))
    dovecot.deliver(user, message("one"))
    await until(lambda: committed(state) == 1, "stored")
    dovecot.deliver(user, message("two"))
    await until(
        lambda: committed(state) == 2 and not state.get(PLACE)["todo"], "the first is given up, the second done"
    )
    assert "Seen" in flags(dovecot, user)["two"]
    assert "nobody thought of this" in caplog.text


async def test_a_stream_of_unwanted_mail_does_not_hold_up_a_wanted_one(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow_imap_provider.triggers import subscriber

    monkeypatch.setattr(committer, "LAZY", 1000.0)
    monkeypatch.setattr(subscriber, "UNCOMMITTED", 3)
    triggerer.add(trigger(conditions=[Subject.equals("wanted")]))
    await until(lambda: committed(state) == 0, "it watches")
    before = state.writes
    for number in range(8):
        dovecot.deliver(user, message(f"unwanted {number}"))
    dovecot.deliver(user, message("wanted"))
    await until(lambda: triggerer.subjects == ["wanted"], "it is told")
    assert state.writes < before + 8, "the place is not stored for every mail that nobody wants"


async def test_a_store_that_fails_for_long_costs_one_timer(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_imap_provider.triggers import subscriber

    monkeypatch.setattr(subscriber, "STORE_RETRY", 0.2)
    state.active = False
    triggerer.add(trigger())
    for number in range(5):
        dovecot.deliver(user, message(f"hint {number}"))
        await until(lambda: state.refused > number, "the store is asked")  # noqa: B023
    began, refused = datetime.now(timezone.utc), state.refused
    await until(lambda: state.refused >= refused + 5, "it is asked again and again")
    assert datetime.now(timezone.utc) - began > timedelta(seconds=0.6), "at its interval, whatever the hints before"
    state.active = True
    await until(lambda: len(triggerer.subjects) == 5, "and in the end it goes on")


async def test_others_mails_are_never_expunged(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    dovecot.deliver(user, message("marked by somebody else"), flags=[r"\Deleted"])
    triggerer.add(trigger(conditions=[Subject.equals("mine")], on_match=[Delete()]))
    dovecot.deliver(user, message("mine"))
    await until(lambda: committed(state) == 2 and not state.get(PLACE)["todo"], "done")
    assert list(flags(dovecot, user)) == ["marked by somebody else"]


# --- waking consumers --------------------------------------------------------------------------------------------


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
    place = replace(first_place("all", clock.now()), uidvalidity=7, told_uid=1, last_uid=1)
    nudge.expect(place)
    nudged = 0
    for _ in range(20):
        clock.time += timedelta(seconds=nudge.next_in() or 0)
        nudged += await nudge.due(place)
    assert nudged > 12
    record = Record()
    record.nudged[stream.name], record.ranges[stream.name] = 1, {"0.7": UidRanges()}
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


# --- payloads ----------------------------------------------------------------------------------------------------


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
