"""EmailActionOperator and what its retries do to a mail that is gone; in runs it is tested in ``tests/airflow``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_imap_provider.errors import FolderNotFoundError, ImapError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mailbox.actions import Copy, Delete, Flag, Forward, Move, Save
from airflow_imap_provider.mailbox.lookup import NotFoundError
from airflow_imap_provider.operators.email import EmailActionOperator
from tests.operators.test_many_mails import Store
from tests.servers.dovecot import Dovecot, User
from tests.servers.smtp import Outbox
from tests.triggers.conftest import connection, message


@pytest.fixture
def email(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A mail in INBOX, with a copy in Archive."""
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    dovecot.create_folder(user, "Archive")
    dovecot.deliver(user, message("one"))
    with Imap4Hook("mailbox") as hook:
        [found] = hook.search()
        hook.act(found, Copy("Archive"))
    return found


def attempt(
    email: dict[str, Any], number: int = 1, store: Store | None = None, **arguments: Any
) -> list[dict[str, Any]]:
    """Run the operator once.

    :param store: the task's, which its attempts have in common.
    """
    operator = EmailActionOperator(**{"task_id": "act", "emails": email, "actions": Delete(), **arguments})
    context: Any = {"ti": SimpleNamespace(try_number=number), "task_state_store": store or Store()}
    return operator.execute(context)


def subjects(folder: str) -> list[str]:
    with Imap4Hook("mailbox") as hook:
        return [each["subject"] for each in hook.search(folder=folder)]


def test_retries_of_a_delete_succeed_and_leave_the_copy_in_the_archive(email: dict[str, Any]) -> None:
    store = Store()
    assert [attempt(email, number, store) for number in (1, 2, 3)] == [[email]] * 3
    assert (subjects("INBOX"), subjects("Archive")) == ([], ["one"])


def test_a_mail_to_delete_that_is_missing_is_an_error_until_an_attempt_has_come_to_deleting_it(
    dovecot: Dovecot, user: User, email: dict[str, Any]
) -> None:
    dovecot.expunge(user, [1])
    store = Store()
    for number in (1, 2):
        with pytest.raises(NotFoundError, match="not in INBOX any more"):
            attempt(email, number, store)
    assert attempt(email, 3, store, missing="ignore") == [email]
    assert subjects("Archive") == ["one"]


def test_a_mail_that_somebody_moves_before_it_was_saved_is_not_taken_for_a_deleted_one(
    email: dict[str, Any], tmp_path: Path
) -> None:
    store, storage = Store(), tmp_path / "storage"
    storage.write_text("no folder: the storage is away")
    actions = [Save(str(storage), what="message"), Delete()]
    with pytest.raises(ImapError, match="storage"):
        attempt(email, 1, store, actions=actions)
    assert subjects("INBOX") == ["one"], "what is not saved is not deleted"
    with Imap4Hook("mailbox") as hook:
        hook.act(email, Move("Elsewhere", create=True))
    storage.unlink()
    with pytest.raises(NotFoundError):
        attempt(email, 2, store, actions=actions)
    done = attempt(email, 3, store, actions=actions, look_in=["Elsewhere"])
    assert [(each["folder"], len(each["files"])) for each in done] == [("Elsewhere", 1)]
    assert (subjects("Elsewhere"), subjects("Archive")) == ([], ["one"])
    assert attempt(email, 4, store, actions=actions) == done, "a retry knows what was saved, too"


def test_a_retry_does_not_copy_again(email: dict[str, Any]) -> None:
    store, actions = Store(), [Copy("Kept", create=True), Flag(), Move("Nope")]
    for number in (1, 2, 3):
        with pytest.raises(FolderNotFoundError):
            attempt(email, number, store, actions=actions)
    assert subjects("Kept") == ["one"]
    with Imap4Hook("mailbox") as hook:
        hook.get_conn().create_folder("Nope")
    assert attempt(email, 4, store, actions=actions)[0]["folder"] == "Nope"
    assert (subjects("Kept"), subjects("Nope")) == (["one"], ["one"])


def test_a_mail_whose_forward_is_held_back_is_not_deleted(
    dovecot: Dovecot, user: User, email: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An automatic answer to a forward is not forwarded; deleted, nobody would ever see it."""
    with Outbox() as outbox, Imap4Hook("mailbox") as hook:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", outbox.connection())
        [sent] = hook.forward(email, "ann@example.com")
        answer = b"Auto-Submitted: auto-replied\r\nIn-Reply-To: " + sent["message_id"].encode() + b"\r\n"
        dovecot.deliver(user, answer + message("away"))
        bounce = hook.search()[-1]
        actions = [Forward("ann@example.com"), Delete()]
        attempt(bounce, actions=actions)
        attempt(email, actions=actions)
        assert (subjects("INBOX"), len(outbox.messages)) == (["away"], 2)


def test_another_action_on_a_mail_that_is_nowhere_fails_and_may_be_tried_again(
    dovecot: Dovecot, user: User, email: dict[str, Any]
) -> None:
    dovecot.expunge(user, [1])
    dovecot.expunge(user, [1], "Archive")
    with pytest.raises(NotFoundError):
        attempt(email, actions=Flag())
    assert attempt(email, actions=Flag(), missing="ignore") == [email]
