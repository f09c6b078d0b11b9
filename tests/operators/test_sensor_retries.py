"""EmailSensor with Save: what its retries return of mails that an attempt before, or somebody else, has taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk import Context

from airflow_imap_provider.errors import FolderNotFoundError, ImapError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mailbox.actions import Action, Copy, Delete, Flag, MarkRead, Move, Save
from airflow_imap_provider.mailbox.lookup import NotFoundError
from airflow_imap_provider.sensors.email import EmailSensor
from tests.hooks.test_saving import mail, tree
from tests.operators.test_many_mails import Store
from tests.servers.dovecot import Dovecot, User
from tests.triggers.conftest import connection


@pytest.fixture
def hook(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imap4Hook]:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    dovecot.create_folder(user, "Done")
    dovecot.deliver_all(user, [mail((f"{word}.csv", word.encode()), subject=word) for word in ("one", "two")])
    with Imap4Hook("mailbox") as opened:
        yield opened


def attempt(store: Store, *actions: Action, missing: str = "fail") -> list[dict[str, Any]]:
    """Run the sensor once.

    :param store: the task's, which its attempts have in common.
    """
    sensor = EmailSensor(
        task_id="wait",
        imap4_conn_id="mailbox",
        start="all",
        min_count=2,
        on_match=list(actions),
        missing=missing,
        deferrable=False,
    )
    return sensor.execute(cast("Context", {"task_state_store": store}))


def names(emails: list[dict[str, Any]]) -> list[list[str]]:
    return [[file["name"] for file in email["files"]] for email in emails]


def subjects(hook: Imap4Hook, folder: str) -> list[str]:
    return [email["subject"] for email in hook.search(folder=folder)]


@pytest.mark.parametrize(("last", "done"), [(Move("Done"), ["one", "two"]), (Delete(), [])], ids=["move", "delete"])
def test_a_retry_returns_the_files_of_mails_that_the_attempt_before_has_taken_away(
    hook: Imap4Hook, tmp_path: Path, last: Action, done: list[str]
) -> None:
    store = Store()
    actions = [Save(str(tmp_path / "all")), Save(str(tmp_path / "none"), names="*.pdf"), last]
    found = attempt(store, *actions)
    assert names(found) == [["one.csv"], ["two.csv"]]
    assert [attempt(store, *actions) for _ in range(2)] == [found, found]
    assert (subjects(hook, "INBOX"), subjects(hook, "Done")) == ([], done)
    with pytest.raises(ImapError, match=r"mail 1 .*was not saved before .*mail 2 .*was not saved before"):
        attempt(store, Save(str(tmp_path / "elsewhere")), last)


def test_a_retry_saves_anew_what_is_still_there(hook: Imap4Hook, tmp_path: Path) -> None:
    store = Store()
    [first, _] = attempt(store, Save(str(tmp_path)), MarkRead())
    (tmp_path / first["key"] / "one.csv").unlink()
    again = attempt(store, Save(str(tmp_path)), MarkRead())
    assert [[file["existed"] for file in email["files"]] for email in again] == [[False], [True]]
    assert sorted(tree(tmp_path).values()) == [b"one", b"two"]


def test_a_retry_copies_only_what_no_attempt_before_has_copied(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    store = Store()
    for _ in range(3):
        with pytest.raises(FolderNotFoundError):
            attempt(store, Copy("Done"), Move("Nope"))
    assert subjects(hook, "Done") == ["one", "two"]
    dovecot.create_folder(user, "Nope")
    attempt(store, Copy("Done"), Move("Nope"))
    assert subjects(hook, "Done") == subjects(hook, "Nope") == ["one", "two"]


@pytest.mark.parametrize("last", [[MarkRead(), Move("Done")], [Delete()], []], ids=["move", "delete", "nothing"])
def test_a_mail_that_is_gone_before_it_was_saved_fails_the_task_and_the_others_are_done(
    dovecot: Dovecot, user: User, hook: Imap4Hook, tmp_path: Path, last: list[Action]
) -> None:
    store = Store()
    (tmp_path / "storage").write_text("no folder: the storage is away")
    actions = [Save(str(tmp_path / "storage")), *last]
    with pytest.raises(ImapError, match="2 of 2 mails are not saved"):
        attempt(store, *actions)
    (tmp_path / "storage").unlink()
    dovecot.create_folder(user, "Elsewhere")
    hook.act(hook.search(most=1), Move("Elsewhere"))
    for _ in range(2):
        with pytest.raises(NotFoundError, match="mail 1 is not in INBOX any more, and was not saved before") as caught:
            attempt(store, *actions)
    assert "SaveEmailOperator" in caught.value.remedy
    assert list(tree(tmp_path).values()) == [b"two"]
    assert subjects(hook, "Elsewhere") == ["one"]
    assert subjects(hook, "INBOX") == ([] if last else ["two"])
    hook.get_conn().select_folder("Elsewhere")
    hook.get_conn().move([1], "INBOX")
    # With another UID it is still not the one that was seen in INBOX.
    with pytest.raises(NotFoundError):
        attempt(store, *actions)
    assert len(attempt(store, *actions, missing="ignore")) == 2


def test_mails_that_only_get_marks_and_are_gone_are_passed_over(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    store = Store()
    found = attempt(store, Flag())
    dovecot.expunge(user, [1])
    assert attempt(store, MarkRead(), Move("Done")) == found
    assert attempt(store, MarkRead(), Move("Done")) == found
    assert subjects(hook, "Done") == ["two"]
