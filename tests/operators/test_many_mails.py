"""Operators with several mails, on real servers: one bad mail stops no other, and a retry does only what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk import Context

from airflow_imap_provider.errors import ImapError, LostConnectionError, SettingsError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mailbox.actions import Delete, Flag, Forward, MarkRead, Move, Save
from airflow_imap_provider.mailbox.lookup import NotFoundError
from airflow_imap_provider.operators.email import EmailActionOperator, ForwardEmailOperator, SaveEmailOperator
from airflow_imap_provider.sensors.email import EmailSensor
from tests.hooks.test_saving import mail, tree
from tests.servers.dovecot import Dovecot, User
from tests.servers.smtp import Outbox
from tests.triggers.conftest import connection


class Store:
    """A task's state store, as Airflow hands it to tasks."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.kept.get(key)

    def set(self, key: str, value: Any, *, retention: object = None) -> None:
        self.kept[key] = value


class TaskInstance:
    try_number = 1


@pytest.fixture
def context() -> Context:
    return cast("Context", {"task_state_store": Store(), "ti": TaskInstance()})


@pytest.fixture
def outbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    with Outbox() as box:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", box.connection())
        yield box


@pytest.fixture
def hook(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imap4Hook]:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    with Imap4Hook("mailbox") as opened:
        yield opened


@pytest.fixture
def emails(dovecot: Dovecot, user: User, hook: Imap4Hook) -> list[dict[str, Any]]:
    """Three mails, of which the second is gone."""
    dovecot.deliver_all(user, [mail((f"{word}.csv", word.encode()), subject=word) for word in ("one", "two", "three")])
    found = hook.search()
    hook.act(found[1], Delete())
    return found


def subjects(outbox: Outbox) -> list[str]:
    return [str(message["Subject"]) for message in outbox.messages]


def test_saving_goes_on_after_a_mail_that_is_gone_and_names_it_at_the_end(
    emails: list[dict[str, Any]], context: Context, tmp_path: Path
) -> None:
    operator = SaveEmailOperator(task_id="save", emails=emails, path=str(tmp_path))
    with pytest.raises(ImapError, match=rf"1 of 3 mails are not saved: {emails[1]['key']}: mail 2 is not in INBOX"):
        operator.execute(context)
    assert sorted(tree(tmp_path).values()) == [b"one", b"three"]
    passing = SaveEmailOperator(task_id="ignore", emails=emails, path=str(tmp_path), missing="ignore")
    assert [(each["name"], each["existed"]) for each in passing.execute(context)] == [
        ("one.csv", True),
        ("three.csv", True),
    ]
    with pytest.raises(NotFoundError):
        SaveEmailOperator(task_id="alone", emails=emails[1], path=str(tmp_path)).execute(context)


def test_forwarding_goes_on_and_a_retry_sends_only_what_is_missing(
    emails: list[dict[str, Any]], context: Context, outbox: Outbox
) -> None:
    operator = ForwardEmailOperator(task_id="send", emails=emails, to="ann@example.com")
    for _ in range(2):
        with pytest.raises(ImapError, match=rf"1 of 3 mails are not forwarded: {emails[1]['key']}: "):
            operator.execute(context)
        assert subjects(outbox) == ["Fwd: one", "Fwd: three"]
    operator.missing = "ignore"
    assert [each["keys"] for each in operator.execute(context)] == [[emails[0]["key"]], [emails[2]["key"]]]
    assert subjects(outbox) == ["Fwd: one", "Fwd: three"]
    elsewhere = ForwardEmailOperator(task_id="send", emails=emails[0], to="bob@example.com")
    elsewhere.execute(context)
    assert subjects(outbox)[-1] == "Fwd: one", "whoever else is to have it gets it"


def test_of_a_group_those_that_can_go_go_and_a_retry_does_not_send_them_again(
    dovecot: Dovecot, user: User, hook: Imap4Hook, context: Context, outbox: Outbox
) -> None:
    dovecot.deliver_all(user, [mail((f"{n}.csv", bytes(n)), subject=str(n)) for n in (1, 9000, 2)])
    emails = hook.search()
    operator = ForwardEmailOperator(
        task_id="send", emails=emails, to="ann@example.com", separate=False, max_size="5 KB"
    )
    for _ in range(2):
        with pytest.raises(ImapError, match=rf"1 of 3 mails are not forwarded: {emails[1]['key']}: .*max_size='5 KB'"):
            operator.execute(context)
        assert subjects(outbox) == ["Fwd: 1 (and 1 more)"]
    operator.max_size = "25 MB"
    [sent] = operator.execute(context)
    assert sent["keys"] == [email["key"] for email in emails], "with other options it is another forward"


def test_what_the_smtp_server_refuses_stops_no_other_mail(
    dovecot: Dovecot, user: User, hook: Imap4Hook, context: Context, outbox: Outbox
) -> None:
    senders = ("a@refused.example.com", "b@example.com")
    dovecot.deliver_all(user, [f"Reply-To: {sender}\r\n".encode() + mail(subject=sender) for sender in senders])
    operator = ForwardEmailOperator(task_id="send", emails=hook.search(), to="mail:reply_to")
    with pytest.raises(ImapError, match=r"1 of 2 mails are not forwarded: .*nobody of this name"):
        operator.execute(context)
    assert subjects(outbox) == ["Fwd: b@example.com"]


def test_an_smtp_server_that_goes_away_ends_it_and_what_was_not_tried_is_named(
    dovecot: Dovecot, user: User, hook: Imap4Hook, context: Context, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    dovecot.deliver_all(user, [mail(subject=str(number)) for number in range(3)])
    emails = hook.search()
    outbox.close_at = 1
    operator = ForwardEmailOperator(task_id="send", emails=emails, to="ann@example.com")
    with pytest.raises(ImapError, match=rf"2 of 3 mails are not forwarded: .*not tried.*: {emails[2]['key']}"):
        operator.execute(context)
    outbox.close_at = None
    assert len(operator.execute(context)) == 3
    assert subjects(outbox) == ["Fwd: 0", "Fwd: 1", "Fwd: 2"]
    outbox.close_at = 3
    with pytest.raises(LostConnectionError):
        ForwardEmailOperator(task_id="send", emails=emails[0], to="bob@example.com").execute(context)


def test_actions_go_on_after_a_mail_that_is_gone_and_do_not_forward_twice(
    emails: list[dict[str, Any]], hook: Imap4Hook, context: Context, outbox: Outbox
) -> None:
    operator = EmailActionOperator(task_id="act", emails=emails, actions=[Forward("ann@example.com"), Flag()])
    for _ in range(2):
        with pytest.raises(ImapError, match=rf"1 of 3 mails are not done with: {emails[1]['key']}: "):
            operator.execute(context)
    assert subjects(outbox) == ["Fwd: one", "Fwd: three"]
    assert [email["flags"] for email in hook.search()] == [["\\Flagged"], ["\\Flagged"]]


def test_one_message_for_all_mails_is_refused_where_mails_are_handled_one_by_one(hook: Imap4Hook) -> None:
    grouped = Forward("ann@example.com", separate=False)
    with pytest.raises(SettingsError, match=r"ForwardEmailOperator\(separate=False\)"):
        EmailActionOperator(task_id="act", emails=[], actions=[MarkRead(), grouped])
    with pytest.raises(SettingsError, match="each mail gets its actions by itself"):
        hook.follow([], grouped)


def test_the_files_of_save_come_with_the_mails(emails: list[dict[str, Any]], context: Context, tmp_path: Path) -> None:
    first, _, third = emails
    done = EmailActionOperator(
        task_id="act", emails=[first, third], actions=[Save(str(tmp_path)), Move("Done", create=True)]
    ).execute(context)
    assert [(each["folder"], [file["path"] for file in each["files"]]) for each in done] == [
        ("Done", [f"file://{tmp_path}/{first['key']}/one.csv"]),
        ("Done", [f"file://{tmp_path}/{third['key']}/three.csv"]),
    ]
    assert set(done[0]["files"][0]) == {"path", "name", "part", "content_type", "size", "sha256", "existed"}
    marked = EmailActionOperator(task_id="more", emails=done, actions=[MarkRead()]).execute(context)
    assert [each["files"] for each in marked] == [each["files"] for each in done], "they are handed on"


def test_a_sensor_returns_the_files_and_forwards_once_over_retries(
    dovecot: Dovecot, user: User, hook: Imap4Hook, context: Context, outbox: Outbox, tmp_path: Path
) -> None:
    dovecot.deliver(user, mail(("a.csv", b"a"), subject="a"))
    sensor = EmailSensor(
        task_id="wait",
        imap4_conn_id="mailbox",
        start="all",
        on_match=[Save(str(tmp_path)), Forward("ann@example.com"), MarkRead()],
        deferrable=False,
    )
    found = sensor.execute(context)
    again = sensor.execute(context)
    assert [[file["name"] for file in each["files"]] for each in found] == [["a.csv"]]
    assert again[0]["files"] == [found[0]["files"][0] | {"existed": True}]
    assert subjects(outbox) == ["Fwd: a"]
