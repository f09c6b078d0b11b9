"""Saving and forwarding as actions of a trigger: after the commit, beside everything else, recorded mail by mail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.conditions import Subject
from airflow_imap_provider.mailbox import pacing
from airflow_imap_provider.mailbox.actions import Delete, Flag, Forward, MarkRead, Move, Save
from airflow_imap_provider.mailbox.backoff import Backoff
from airflow_imap_provider.triggers import acting, courier
from airflow_imap_provider.triggers.email import EmailTrigger
from airflow_imap_provider.triggers.stored_place import StoredPlace
from tests.hooks.test_forwarding_loops import last, report
from tests.hooks.test_saving import mail, tree
from tests.servers.dovecot import Dovecot, User
from tests.servers.smtp import Outbox
from tests.servers.waiting import until
from tests.triggers.conftest import CONN_ID, connection
from tests.triggers.mailbox_state import PLACE, committed, flags
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]


async def test_attachments_are_saved_between_the_actions_before_and_behind(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, tmp_path: Path
) -> None:
    triggerer.add(trigger(on_match=[MarkRead(), Save(str(tmp_path)), Flag(), Move("Done", create=True)]))
    dovecot.deliver_all(user, [mail((f"{n}.csv", b"x"), subject=f"mail {n}") for n in range(5)])
    await until(lambda: committed(state) == 5 and not state.get(PLACE)["todo"], "all is done", 30)
    assert sorted(Path(name).name for name in tree(tmp_path)) == [f"{n}.csv" for n in range(5)]
    moved = flags(dovecot, user, "Done")
    assert len(moved) == 5
    assert all("Seen" in each and "Flagged" in each for each in moved.values())
    assert flags(dovecot, user) == {}


async def test_a_storage_that_fails_repeats_only_what_is_missing_and_never_lets_a_mail_be_deleted(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(acting, "ACTION_RETRY", (0.05, 0.05))
    (tmp_path / "file").write_text("in the way")
    triggerer.add(trigger(on_match=[Save(str(tmp_path / "file")), Flag(), Delete()]))
    dovecot.deliver_all(user, [mail(("a.csv", b"x"), subject=f"mail {n}") for n in range(2)])
    await until(lambda: committed(state) == 2 and not state.get(PLACE)["todo"], "it is given up", 30)
    assert caplog.text.count("is given up") == 2
    assert "are not deleted" in caplog.text
    assert all("Flagged" in each for each in flags(dovecot, user).values())
    assert len(flags(dovecot, user)) == 2


async def test_a_mail_that_fails_holds_up_no_other(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "mails"
    folder.mkdir()
    (folder / "1.csv").write_text("another")
    triggerer.add(trigger(on_match=[Save(str(folder), folder_per_mail=False, on_exists="fail"), Flag()]))
    dovecot.deliver_all(user, [mail((f"{n}.csv", b"x"), subject=f"mail {n}") for n in range(4)])
    await until(
        lambda: sum("Flagged" in each for each in flags(dovecot, user).values()) == 3, "the others are done", 30
    )
    await until(lambda: [owed["uids"] for owed in state.get(PLACE)["todo"]] == [[[2, 2]]], "one is owed still")
    dovecot.deliver(user, mail(("new.csv", b"x"), subject="new"))
    await until((folder / "new.csv").exists, "and new mail is not held up", 30)
    (folder / "1.csv").unlink()
    await until(lambda: not state.get(PLACE)["todo"], "it is made good", 60)


async def test_a_login_that_is_refused_is_not_tried_for_each_mail_that_is_to_be_saved(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    triggerer.add(trigger(on_match=[Save(str(tmp_path)), Flag()]))
    await until(lambda: committed(state) == 0, "it is connected", 30)
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", connection(dovecot, user, password="not-this-one"))
    monkeypatch.setattr(Backoff, "REFUSED", (1.0, 1.0))
    dovecot.deliver_all(user, [mail((f"{n}.csv", b"x"), subject=f"mail {n}") for n in range(40)])
    refused = f"user=<{user.login}>, method=PLAIN"
    before = dovecot.log().count(refused)
    await until(lambda: dovecot.log().count(refused) - before >= 2, "it is tried again", 60)
    assert dovecot.log().count(refused) - before < 10
    assert committed(state) == 40
    assert [owed["uids"] for owed in state.get(PLACE)["todo"]] == [[[1, 40]]]
    assert caplog.text.count("cannot be saved or forwarded now") == 1
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", connection(dovecot, user))
    await until(lambda: not state.get(PLACE)["todo"], "all are saved with the right one", 60)
    assert len(tree(tmp_path)) == 40
    assert caplog.text.count("can be saved and forwarded again") == 1


async def test_new_mail_is_told_while_a_save_takes_its_time(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import threading

    go_on = threading.Event()
    plain = courier.Courier._carry

    def slow(self: courier.Courier, *arguments: object) -> bool:
        assert go_on.wait(60)
        return plain(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(courier.Courier, "_carry", slow)
    triggerer.add(trigger(on_match=[Save(str(tmp_path)), Flag()]))
    dovecot.deliver(user, mail(("1.csv", b"x"), subject="one"))
    await until(lambda: committed(state) == 1, "the save is under way", 30)
    dovecot.deliver(user, mail(("2.csv", b"x"), subject="two"))
    await until(lambda: triggerer.subjects == ["one", "two"] and committed(state) == 2, "told and committed", 30)
    go_on.set()
    await until(lambda: not state.get(PLACE)["todo"], "both are saved", 30)
    assert len(tree(tmp_path)) == 2
    assert all("Flagged" in each for each in flags(dovecot, user).values())


async def test_no_other_mail_is_saved_when_the_folder_is_made_anew_between_two_saves(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import threading

    go_on, carried = threading.Event(), []
    plain = courier.Courier._carry

    def slow(self: courier.Courier, *arguments: object) -> bool:
        carried.append(plain(self, *arguments))  # type: ignore[arg-type]
        assert self._session is not None
        self._session.close()  # Dovecot would refuse to go on with it; a new one is opened
        assert go_on.wait(60)
        return carried[-1]

    monkeypatch.setattr(courier.Courier, "_carry", slow)
    monkeypatch.setattr(pacing, "REOPENING", 2.0)  # Dovecot may not tell the watching session
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    dovecot.create_folder(user, "Work")
    conditions = [Subject.contains("wanted")]
    saves = [Save(str(first)), Save(str(second))]
    triggerer.add(trigger(folder="Work", poll_interval=1.0, conditions=conditions, on_match=saves))
    dovecot.deliver(user, mail(("wanted.csv", b"x"), subject="wanted"), "Work")
    await until(lambda: carried == [True], "the first save is done, and not recorded", 30)
    dovecot.delete_folder(user, "Work")
    dovecot.create_folder(user, "Work")
    dovecot.deliver(user, mail(("private.csv", b"x"), subject="somebody else's"), "Work")
    key = f"imap4:place:{CONN_ID}/Work/default"
    await until(lambda: state.get(key)["epoch"] > 0, "the new folder is noticed", 60)
    go_on.set()
    await until(lambda: len(carried) > 1, "the second save is looked at", 60)
    assert carried == [True, False]
    assert tree(second) == {}


async def test_a_crash_in_a_save_repeats_it_and_doubles_no_file(
    dovecot: Dovecot, user: User, state: State, trigger: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Triggerer(state, [])
    plain = StoredPlace.note

    async def never(self: StoredPlace) -> None:
        import asyncio

        await asyncio.Event().wait()

    monkeypatch.setattr(StoredPlace, "note", never)
    first.add(trigger(on_match=[Save(str(tmp_path)), Flag()]))
    dovecot.deliver(user, mail(("a.csv", b"x")))
    await until(lambda: bool(tree(tmp_path)), "saved, and not recorded", 30)
    await first.kill()
    monkeypatch.setattr(StoredPlace, "note", plain)
    second = Triggerer(state, [])
    second.add(trigger(on_match=[Save(str(tmp_path)), Flag()]))
    await until(lambda: not state.get(PLACE)["todo"], "it is made good", 30)
    assert len(tree(tmp_path)) == 1
    assert list(flags(dovecot, user).values()) == [flags(dovecot, user)["s"]]
    assert "Flagged" in flags(dovecot, user)["s"]
    await second.kill()


async def test_of_mails_in_one_message_those_that_can_go_go_once_however_often_it_is_tried(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(acting, "ACTION_RETRY", (0.05, 0.05))
    dovecot.deliver_all(user, [mail((f"{n}.csv", bytes(n)), subject=str(n)) for n in (1, 9000, 2)])
    with Outbox() as outbox:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", outbox.connection())
        forward = Forward("ann@example.com", separate=False, max_size="5 KB")
        triggerer.add(trigger(start="all", on_match=[forward, Delete()]))
        await until(lambda: committed(state) == 3 and not state.get(PLACE)["todo"], "it is given up", 30)
        assert [message["Subject"] for message in outbox.messages] == ["Fwd: 1 (and 1 more)"]
    assert "1 of 3 mails are not forwarded" in caplog.text
    assert set(flags(dovecot, user)) == {"1", "9000", "2"}, "nothing is deleted, since forwarding failed"


async def test_a_bounce_of_a_forward_is_not_deleted(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Outbox() as outbox:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", outbox.connection())
        triggerer.add(trigger(on_match=[Forward("dead@example.com"), Flag(), Delete()]))
        dovecot.deliver(user, mail(subject="first"))
        await until(lambda: committed(state) == 1 and not state.get(PLACE)["todo"], "it is forwarded", 30)
        dovecot.deliver_all(user, [report(last(outbox)), mail(subject="second")])
        await until(lambda: committed(state) == 3 and not state.get(PLACE)["todo"], "so is the second", 30)
        assert [message["Subject"] for message in outbox.messages] == ["Fwd: first", "Fwd: second"]
    assert "are not deleted" in caplog.text
    [[subject, told]] = flags(dovecot, user).items()
    assert subject == "Undelivered Mail Returned to Sender"
    assert "Flagged" in told


def test_a_path_that_is_none_is_named_when_the_dag_file_is_parsed() -> None:
    with pytest.raises(SettingsError, match="absolute path"):
        EmailTrigger(on_match=[Save("mails")])


async def test_a_mail_server_that_cannot_be_reached_is_not_tried_for_each_mail(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(acting, "ACTION_RETRY", (0.05, 0.05))
    with Outbox() as outbox:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", outbox.connection())
    triggerer.add(trigger(on_match=[Forward("ann@example.com"), Flag()]))
    dovecot.deliver_all(user, [mail(subject=f"mail {n}") for n in range(20)])
    await until(lambda: committed(state) == 20, "all are told", 30)
    await until(lambda: caplog.text.count("failed and is tried again") >= 2, "it is tried again", 30)
    assert caplog.text.count("failed and is tried again") < 6
    with Outbox() as outbox:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", outbox.connection())
        await until(lambda: not state.get(PLACE)["todo"], "all go when it is there", 60)
        assert len(outbox.messages) == 20
