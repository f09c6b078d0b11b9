"""Actions after the commit: once, in order, recorded one by one, and never on others' mails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_imap_provider.mail.conditions import From, Subject
from airflow_imap_provider.mailbox.actions import AddKeyword, Copy, Delete, Flag, MarkRead, Move
from airflow_imap_provider.transport.session import Session
from airflow_imap_provider.triggers import acting, committer
from airflow_imap_provider.triggers.email import EmailTrigger
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import until
from tests.triggers.conftest import CONN_ID, connection, message
from tests.triggers.mailbox_state import PLACE, committed, flags
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]


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
    monkeypatch.setattr(acting.Acting, "_perform", _never_ends)
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
    monkeypatch.setattr(acting, "ACTION_RETRY", (0.05, 0.05))
    triggerer.add(trigger(on_match=[Move("Not there")]))
    dovecot.deliver(user, message("one"))
    await until(lambda: "is given up" in caplog.text, "it is given up in the end")
    assert caplog.text.count("is tried again") == acting.ACTION_TRIES - 1
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
    monkeypatch.setattr(acting, "ACTION_RETRY", (0.05, 0.05))
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
    monkeypatch.setattr(acting, "ACTION_RETRY", (0.05, 0.05))
    plain = acting.perform

    def breaks(session: Any, uids: list[int], actions: Any, **options: bool) -> None:
        if 1 in uids:
            raise ValueError("nobody thought of this")
        plain(session, uids, actions, **options)

    monkeypatch.setattr(acting, "perform", breaks)
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


async def test_a_dag_that_is_edited_during_an_action_does_not_have_it_done_twice(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dovecot.create_folder(user, "Archive")
    plain, begun = Session.copy, threading.Event()

    def slow(self: Session, uids: Sequence[int], folder: str) -> None:
        plain(self, uids, folder)
        begun.set()
        time.sleep(1)  # the server takes its time to answer

    monkeypatch.setattr(Session, "copy", slow)
    number = triggerer.add(trigger(on_match=[Copy("Archive"), MarkRead()]))
    dovecot.deliver(user, message("one"))
    await until(begun.is_set, "it is being copied")
    await triggerer.remove(number)
    [owed] = state.get(PLACE)["todo"]
    assert [action["do"] for action in owed["actions"]] == ["mark_read"], "what is done is noted, what is not is owed"
    triggerer.add(trigger(on_match=[Copy("Archive"), MarkRead()]))
    await until(lambda: not state.get(PLACE)["todo"], "the rest is done")
    assert len(dovecot_uids(dovecot, user, "Archive")) == 1
    assert "Seen" in flags(dovecot, user)["one"]


async def test_a_server_that_is_renamed_does_not_have_actions_done_again(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("Done", "Other"):
        dovecot.create_folder(user, folder)
    conditions = [Subject.contains("yes")]
    triggerer.add(trigger(conditions=conditions, on_match=[Move("Done")], on_no_match=[Copy("Other")]))
    dovecot.deliver_all(user, [message("no one"), message("yes"), message("no two")])
    await until(lambda: committed(state) == 3 and not state.get(PLACE)["todo"], "all is done")
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, host="localhost"))
    account = state.get(PLACE)["account"]
    dovecot.kick(user)
    dovecot.deliver(user, message("no three"))
    await until(lambda: state.get(PLACE)["account"] != account and not state.get(PLACE)["todo"], "it goes on", 40)
    await until(lambda: len(dovecot_uids(dovecot, user, "Other")) == 3, "each is copied once")
    assert state.get(PLACE)["epoch"] == 0


def dovecot_uids(dovecot: Dovecot, user: User, folder: str) -> list[bytes]:
    with dovecot.connection(user) as client:
        client.select(f'"{folder}"', readonly=True)
        uids: list[bytes] = client.uid("SEARCH", "ALL")[1][0].split()
        return uids
