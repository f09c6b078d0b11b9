"""The hook on a real server: looking marks nothing, attachments come whole, actions hit the right mails."""

from __future__ import annotations

import base64
import json
import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_imap_provider.errors import FolderNotFoundError, ImapError, SettingsError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mail.conditions import Body, Conditions, From, Received, Subject
from airflow_imap_provider.mailbox import looking
from airflow_imap_provider.mailbox.actions import Flag, MarkRead, Move
from airflow_imap_provider.transport.report import brief
from tests.servers.dovecot import Dovecot, User
from tests.triggers.conftest import connection, message

CONTENT = random.Random(1).randbytes(3_000_000)


def with_attachment(subject: str, name: str = "data.bin", content: bytes = CONTENT) -> bytes:
    head = message(subject).split(b"\r\n\r\n")[0] + b"\r\nMIME-Version: 1.0\r\n"
    return head + (
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n'
        b"--b\r\nContent-Type: application/octet-stream\r\n"
        + f'Content-Disposition: attachment; filename="{name}"\r\n'.encode()
        + b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(content).replace(b"\n", b"\r\n")
        + b"--b--\r\n"
    )


@pytest.fixture
def hook(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imap4Hook]:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    with Imap4Hook("mailbox") as opened:
        yield opened


def seen(dovecot: Dovecot, user: User, folder: str = "INBOX") -> bytes:
    with dovecot.connection(user) as client:
        client.select(folder, readonly=True)
        found: bytes = client.uid("SEARCH", "SEEN")[1][0]
        return found


def test_searching_and_fetching_mark_nothing(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    dovecot.deliver_all(user, [message("report 1"), message("other"), message("report 2")])
    assert [mail["uid"] for mail in hook.search([Subject.contains("report")])] == [1, 3]
    assert [mail["uid"] for mail in hook.search(Body.contains("hello") & Subject.equals("other"))] == [2]
    assert [mail["uid"] for mail in hook.search(most=2)] == [1, 2]
    [mail] = hook.fetch([3, 99], headers=["To"])
    assert (mail["subject"], mail["text"].strip()) == ("report 2", "Hello.")
    assert mail["headers"] == {"to": ["me@example.com"]}
    assert seen(dovecot, user) == b""


def test_the_newest_mails_are_found_from_the_end_of_the_folder(
    dovecot: Dovecot, user: User, hook: Imap4Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    dovecot.deliver_all(user, [message(f"{'report' if number % 2 else 'other'} {number}") for number in range(12)])
    dovecot.expunge(user, [12, 3])
    report = Subject.contains("report")

    def found(conditions: Any = report, **arguments: Any) -> list[int]:
        return [mail["uid"] for mail in hook.search(conditions, newest_first=True, **arguments)]

    assert found(most=1) == [10]
    assert found() == [10, 8, 6, 4, 2]
    assert found([], most=3) == [11, 10, 9]
    assert found(Subject.contains("nothing")) == []
    assert found(folder="INBOX", conditions=From.equals("billing@example.com"), most=2) == [11, 10]
    for window in (1, 2, 5):
        monkeypatch.setattr(looking, "SEARCH_WINDOW", window)
        monkeypatch.setattr(looking, "FETCH_CHUNK", 2)
        assert found() == [10, 8, 6, 4, 2]
    [latest] = hook.search(report, newest_first=True, most=1, text=True)
    assert latest["text"].strip() == "Hello."
    assert "text" not in hook.search(Body.contains("hello"), newest_first=True, most=1)[0]
    hook.get_conn().select_folder("INBOX")
    dovecot.create_folder(user, "Empty")
    assert found([], folder="Empty") == []
    assert seen(dovecot, user) == b""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"conditions": None}, "None is not a condition"),
        ({"conditions": Subject}, "is not a condition"),
        ({"conditions": Received.after("{{ ds }}")}, "has a template, which is not rendered here. Give the value"),
        ({"conditions": ~(Subject.regex("({{") & Subject.contains("x"))}, "is no regular expression"),
        ({"headers": "X-A"}, "a list of header names is accepted"),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused_before_it_connects(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Imap4Hook("nowhere").search(**arguments)
    with pytest.raises(SettingsError, match="Add a connection"):
        Imap4Hook("nowhere").search(Conditions([Subject.contains("x")], "any"))


def test_folders_of_any_name_are_listed_and_opened(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    dovecot.create_folder(user, "Work/Gr&APYA3w-en")
    assert {folder.name for folder in hook.folders()} >= {"INBOX", "Work/Größen"}
    assert [folder.name for folder in hook.folders("Work/%")] == ["Work/Größen"]
    assert hook.search(folder="Work/Größen") == []
    with pytest.raises(FolderNotFoundError, match="Nowhere"):
        hook.search(folder="Nowhere")


def test_attachments_come_whole_and_by_name(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    dovecot.deliver(user, with_attachment("data", "Größe.BIN"))
    [mail] = hook.search()
    assert list(hook.attachments(mail, "*.csv")) == []
    [attachment] = hook.attachments(mail, "*.bin")
    assert attachment.content == CONTENT
    assert repr(attachment) == "<Attachment 'Größe.BIN' application/octet-stream 3000000 bytes>"
    assert seen(dovecot, user) == b""


def test_attachments_are_of_their_mail_although_the_caller_looks_elsewhere_in_between(
    dovecot: Dovecot, user: User, hook: Imap4Hook
) -> None:
    dovecot.create_folder(user, "Other")
    two = with_attachment("two", "a.bin", b"first").replace(
        b"--b--", b'--b\r\nContent-Disposition: attachment; filename="b.bin"\r\n\r\nsecond\r\n--b--'
    )
    dovecot.deliver(user, two)
    dovecot.deliver(user, with_attachment("elsewhere", content=b"elsewhere"), "Other")
    contents = []
    for attachment in hook.attachments(hook.search()[0]):
        contents.append(attachment.content.strip())
        hook.search(folder="Other")
    assert contents == [b"first", b"second"]


def test_an_action_that_depends_on_conditions_is_refused_and_nothing_is_done(
    dovecot: Dovecot, user: User, hook: Imap4Hook
) -> None:
    dovecot.deliver(user, message("one"))
    with pytest.raises(SettingsError, match="when='never'"):
        hook.act(hook.search(), [MarkRead(), Flag(when="never")])
    assert seen(dovecot, user) == b""


def test_a_moved_mail_is_found_and_a_deleted_one_is_reported(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    dovecot.create_folder(user, "Done")
    dovecot.deliver(user, with_attachment("data", content=b"x"))
    [mail] = hook.search()
    hook.act(mail, [MarkRead(), Move("Done")])
    assert seen(dovecot, user, "Done") == b"1"
    assert [attachment.content for attachment in hook.attachments(mail)] == [b"x"]
    hook.act(mail, Flag())  # gone from its folder: passed over
    dovecot.expunge(user, [1], "Done")
    with pytest.raises(ImapError, match="not in INBOX any more"):
        list(hook.attachments(mail))


def test_mails_of_a_folder_that_was_created_anew_are_not_touched(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    dovecot.create_folder(user, "Work")
    dovecot.deliver(user, message("old"), "Work")
    [mail] = hook.search(folder="Work")
    hook.close()
    dovecot.delete_folder(user, "Work")
    dovecot.create_folder(user, "Work")
    dovecot.deliver(user, message("another"), "Work")
    with pytest.raises(SettingsError, match="re-created"):
        hook.act(mail, MarkRead())
    assert seen(dovecot, user, "Work") == b""


def test_get_conn_is_the_authenticated_client(hook: Imap4Hook) -> None:
    assert b"INBOX" in {name.encode() for *_, name in hook.get_conn().list_folders()}


def test_the_test_says_in_one_short_line_what_is_right_or_wrong(
    dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    good, words = Imap4Hook("mailbox").test_connection()
    assert good, words
    assert "INBOX has 0 mails" in words
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, password="wrong-and-secret"))
    good, words = Imap4Hook("mailbox").test_connection()
    assert not good
    assert words.startswith("authentication:")
    assert len(words) < 250
    assert "\n" not in words
    assert "wrong-and-secret" not in words + caplog.text


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("no JSON", "this connection, extra: it is no JSON"),
        ({"timeout": "soon"}, "this connection, tab Main settings: Timeout (timeout) is 'soon'"),
        ({"encryptoin": "ssl"}, "Did you mean Cryptographic protocol (encryption)"),
        ({"a_long_name_of_no_field": 1}, "Remove it, or name a field by its key"),
        ({"smime_private_key": "/nowhere/key.pem"}, "Encryption, S/MIME key (smime_private_key): the path (not s"),
        ({"ca_bundle": "/nowhere/ca.pem"}, "Give the path of a PEM file"),
        ({"tls_versions": "SSLv3"}, "Leave this empty"),
    ],
)
def test_bad_settings_are_a_report_too_and_its_line_does_not_have_the_id_that_the_button_made_up(
    extra: object, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = {"conn_type": "imap4", "host": "mail.example.com", "login": "me", "password": "s3cret-w0rd"}
    text = extra if isinstance(extra, str) else json.dumps(extra)
    monkeypatch.setenv("AIRFLOW_CONN_XYZZY", json.dumps({**stored, "extra": text}))
    good, line = Imap4Hook("xyzzy").test_connection()
    assert not good
    assert line.startswith("settings: ")
    assert words in line
    assert len(line) < 200
    assert "xyzzy" not in line.lower()
    [*_, step] = Imap4Hook("xyzzy").diagnose().steps
    assert (step.stage, step.ok) == ("settings", False)
    assert line.endswith(brief(step.remedy))


def test_a_connection_that_is_missing_or_has_an_unreadable_key_says_what_to_do(
    dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match=r"there is no connection .*Add a connection of type IMAP4"):
        Imap4Hook("nowhere").session()
    monkeypatch.setenv(
        "AIRFLOW_CONN_MAILBOX", connection(dovecot, user, extra={"smime_private_key": "/nowhere/key.pem"})
    )
    with pytest.raises(SettingsError, match=r"S/MIME key \(smime_private_key\)"):
        Imap4Hook("mailbox").session()
