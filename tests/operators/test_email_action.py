"""EmailActionOperator and what its retries do to a mail that is gone; in runs it is tested in ``tests/airflow``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mailbox.actions import Copy, Delete, Flag
from airflow_imap_provider.mailbox.lookup import NotFoundError
from airflow_imap_provider.operators.email import EmailActionOperator
from tests.operators.test_many_mails import Store
from tests.servers.dovecot import Dovecot, User
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


def attempt(email: dict[str, Any], number: int = 1, **arguments: Any) -> list[dict[str, Any]]:
    operator = EmailActionOperator(**{"task_id": "act", "emails": email, "actions": Delete(), **arguments})
    context: Any = {"ti": SimpleNamespace(try_number=number), "task_state_store": Store()}
    return operator.execute(context)


def subjects(folder: str) -> list[str]:
    with Imap4Hook("mailbox") as hook:
        return [each["subject"] for each in hook.search(folder=folder)]


def test_retries_of_a_delete_succeed_and_leave_the_copy_in_the_archive(email: dict[str, Any]) -> None:
    assert [attempt(email, number) for number in (1, 2, 3)] == [[email]] * 3
    assert (subjects("INBOX"), subjects("Archive")) == ([], ["one"])


def test_a_mail_to_delete_that_is_missing_at_once_is_no_matter_for_a_retry(
    dovecot: Dovecot, user: User, email: dict[str, Any]
) -> None:
    dovecot.expunge(user, [1])
    with pytest.raises(AirflowFailException, match="not in INBOX any more"):
        attempt(email)
    assert attempt(email, missing="ignore") == [email]
    assert subjects("Archive") == ["one"]


def test_another_action_on_a_mail_that_is_nowhere_fails_and_may_be_tried_again(
    dovecot: Dovecot, user: User, email: dict[str, Any]
) -> None:
    dovecot.expunge(user, [1])
    dovecot.expunge(user, [1], "Archive")
    with pytest.raises(NotFoundError):
        attempt(email, actions=Flag())
    assert attempt(email, actions=Flag(), missing="ignore") == [email]
