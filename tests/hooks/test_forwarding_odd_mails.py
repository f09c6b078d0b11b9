"""Forwards of mails as they should not be: odd senders, long lines, NUL, long Message-IDs. All of them arrive."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mailbox.actions import Forward, Move
from tests.hooks.test_saving import mail
from tests.servers.dovecot import Dovecot, User
from tests.servers.smtp import Outbox
from tests.triggers.conftest import connection


@pytest.fixture
def hook(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imap4Hook]:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    with Imap4Hook("mailbox") as opened:
        yield opened


@pytest.fixture
def outbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    with Outbox(eight_bit=getattr(request, "param", True)) as box:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", box.connection())
        yield box


def sent(outbox: Outbox, number: int = -1) -> bytes:
    return bytes(outbox.envelopes[number].original_content)


def head(content: bytes, name: str) -> str:
    """Return a line of the header as it went out, unfolded."""
    found = re.findall(rb"(?m)^%s: ((?:.|\r\n )*)\r$" % name.encode(), content.partition(b"\r\n\r\n")[0])
    assert len(found) <= 1
    return found[0].decode("ascii").replace("\r\n", "") if found else ""


# --- addresses


SENDERS = {
    "a..b@example.com": '"a..b"@example.com',
    ".a@x": '".a"@x',
    "a.@docomo.ne.jp": '"a."@docomo.ne.jp',
    "a@x.": "",
    "a@-x..y": "",
    "a@]": "",
    "a@x]y": "",
    "=?utf-8?q?J=C3=B6rg?= <a..b@example.com>": '"a..b"@example.com',
    "grüße@bücher.example": "",
    '"a@b"@example.com': "",
    "a\x01b@example.com": "",
    "not an address": "",
}


def test_an_odd_sender_stops_no_forward(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    for number, odd in enumerate(SENDERS):
        raw = mail(subject=f"mail {number}").replace(b"From: a@example.com", f"From: {odd}".encode())
        dovecot.deliver(user, raw)
    emails = hook.search()
    told = hook.forward(emails, "ann@example.com", reply_to="mail:reply_to")
    assert [each["keys"] for each in told] == [[email["key"]] for email in emails]
    assert [head(sent(outbox, number), "Reply-To") for number in range(len(SENDERS))] == list(SENDERS.values())
    for email, written in zip(emails, SENDERS.values(), strict=True):
        lines = [line for line in caplog.text.splitlines() if f"Mail {email['key']}: 1 of 1 in mail:reply_to" in line]
        assert len(lines) == (0 if written else 1)
    assert "Traceback" not in caplog.text
    hook.forward(emails, "ann@example.com", reply_to="mail:reply_to", separate=False)
    assert head(sent(outbox), "Reply-To") == ", ".join(dict.fromkeys(filter(None, SENDERS.values())))


def test_actions_behind_the_forward_of_an_odd_mail_are_done(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox
) -> None:
    for sender in (b"a@]", b"a..b@example.com"):
        dovecot.deliver(user, mail().replace(b"From: a@example.com", b"From: " + sender))
    hook.act(hook.search(), [Forward("ann@example.com", reply_to="mail:reply_to"), Move("Done", create=True)])
    assert [head(sent(outbox, number), "Reply-To") for number in (0, 1)] == ["", '"a..b"@example.com']
    assert hook.search() == []


def test_who_has_an_odd_address_gets_mail(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    raw = mail(subject="s").replace(b"From: a@example.com", b"From: Ann <a.@docomo.ne.jp>, bad@x., c@example.com")
    dovecot.deliver(user, raw)
    [told] = hook.forward(
        hook.search(),
        ["mail:from", "Jörg Größe <a..b@docomo.ne.jp>"],
        cc='"Doe, \\"J\\" (x)" <doe@example.com>',
        bcc=".eve@example.com",
        reply_to="=?utf-8?q?x?= <desk..@example.com>",
        sender="Team Größe <team..1@example.com>",
    )
    [envelope] = outbox.envelopes
    recipients = [
        '"a."@docomo.ne.jp',
        "c@example.com",
        '"a..b"@docomo.ne.jp',
        "doe@example.com",
        '".eve"@example.com',
    ]
    assert told["recipients"] == recipients
    assert told["refused"] == []
    # What the server was told; its own record of it is without the quotes.
    assert re.findall(r"(?i)rcpt to:<(.*)>", caplog.text) == recipients
    assert 'mail from:<"team..1"@example.com> size=' in caplog.text.lower()
    assert envelope.rcpt_tos == [each.replace('"', "") for each in recipients]
    assert not envelope.smtp_utf8
    content = sent(outbox)
    assert head(content, "To") == (
        '"a."@docomo.ne.jp, c@example.com, =?utf-8?b?SsO2cmcgR3LDtsOfZQ==?= <"a..b"@docomo.ne.jp>'
    )
    assert head(content, "Cc") == '"Doe, \\"J\\" (x)" <doe@example.com>'
    assert head(content, "From") == '=?utf-8?b?VGVhbSBHcsO2w59l?= <"team..1"@example.com>'
    assert head(content, "Reply-To").startswith("=?utf-8?")
    assert content.partition(b"\r\n\r\n")[0].isascii()
    assert b"eve" not in content
    [message] = outbox.messages
    assert [each.display_name for name in ("To", "From", "Reply-To") for each in message[name].addresses] == [
        "",
        "",
        "Jörg Größe",
        "Team Größe",
        "=?utf-8?q?x?=",
    ]


def test_an_address_that_the_smtp_server_refuses_fails_that_mail_alone(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox
) -> None:
    for sender in (b"a@example.com", b"a..b@refused.example.com", b"c@example.com", b"only@x."):
        dovecot.deliver(user, mail().replace(b"From: a@example.com", b"From: " + sender))
    emails = hook.search()
    with pytest.raises(ImapError, match="2 of 4 mails are not forwarded") as caught:
        hook.forward(emails, "mail:from")
    assert f"{emails[1]['key']}: the SMTP server refuses all recipients" in str(caught.value)
    assert f"{emails[3]['key']}: nobody is left" in str(caught.value)
    assert [envelope.rcpt_tos for envelope in outbox.envelopes] == [["a@example.com"], ["c@example.com"]]


# --- References


@pytest.mark.parametrize(
    ("written", "referred"),
    [
        (identity := f"<{'A' * 40}@{'b' * 40}.prod.outlook.com>", identity),
        (longest := f"<{'A' * 800}@example.com>", longest),
        ("<grüße@example.com>", ""),
        ("<a b@example.com>", ""),
        (f"<{'A' * 1000}@example.com>", ""),
    ],
    ids=["98 characters", "813 characters", "beyond ASCII", "with a blank", "more than a line"],
)
def test_a_long_message_id_stays_as_it_is(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox, written: str, referred: str
) -> None:
    dovecot.deliver(user, mail(subject="s").replace(b"<s@example.com>", written.encode()))
    hook.forward(hook.search(), "ann@example.com", sender=f"team@{'long-name.' * 10}example.com")
    content = sent(outbox)
    assert head(content, "References") == referred
    assert re.fullmatch(r"<[0-9a-f-]+\.forward@(long-name\.){10}example\.com>", head(content, "Message-ID"))
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))


# --- inline


def with_part(fields: bytes, body: bytes) -> bytes:
    return (
        b"From: a@example.com\r\nSubject: s\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello.\r\n'
        b"--b\r\n" + fields + b"\r\n" + body + b"\r\n--b--\r\n"
    )


def deliver_exactly(dovecot: Dovecot, user: User, raw: bytes) -> None:
    """Deliver a mail without making CR LF of other line ends, as imaplib's ``append`` does."""
    with dovecot.connection(user) as client:
        cast("Any", client).literal = raw
        kind, _ = client._simple_command("APPEND", "INBOX")
        assert kind == "OK"


CSV = b'Content-Type: text/csv; charset=utf-8\r\nContent-Disposition: attachment; filename="a.csv"\r\n'
LONG = b",".join(b"%d" % number for number in range(2000))


@pytest.mark.parametrize("outbox", [True, False], ids=["8BITMIME", "7bit only"], indirect=True)
@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("7bit", LONG),
        ("7bit", b"a" * 999),
        ("7bit", b"a" * 998 + b"\r\n" + b"b" * 999 + b"\r\n"),
        ("8bit", "Größe;".encode() * 500),
        ("7bit", b"a\rb"),
        ("binary", b"a,b\r\n"),
        ("8bit", "Größe".encode() * 10),
        ("7bit", b"a" * 998 + b"\r\n" + b"b" * 998),
    ],
    ids=["long", "999", "second line", "long 8bit", "bare CR", "binary", "8bit", "998"],
)
def test_an_attachment_arrives_inline_whatever_its_lines(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox, encoding: str, content: bytes
) -> None:
    fields = CSV + f"Content-Transfer-Encoding: {encoding}\r\nX-Private: no\r\n".encode()
    deliver_exactly(dovecot, user, with_part(fields, content))
    hook.forward(hook.search(), "ann@example.com", style="inline")
    went = sent(outbox)
    assert all(len(line) <= 998 for line in went.split(b"\r\n"))
    assert went.count(b"\r") == went.count(b"\n") == went.count(b"\r\n")
    [_, part] = outbox.messages[0].iter_parts()
    assert (part.get_content_type(), part.get_filename()) == ("text/csv", "a.csv")
    assert part.get_content_charset() == "utf-8"
    assert part.get_payload(decode=True) == content
    assert part["X-Private"] is None


def test_an_attached_mail_that_cannot_go_as_it_is_goes_as_a_file_with_its_marks_seen(
    hook: Imap4Hook, dovecot: Dovecot, user: User, outbox: Outbox
) -> None:
    within = mail(subject="within").replace(b"Hello.", LONG)
    fields = b'Content-Type: message/rfc822\r\nContent-Disposition: attachment; filename="within.eml"\r\n'
    dovecot.deliver(user, with_part(fields, within))
    hook.forward(hook.search(), "ann@example.com", style="inline")
    [_, part] = outbox.messages[0].iter_parts()
    assert (part.get_content_type(), part.get_filename()) == ("application/octet-stream", "within.eml")
    assert part.get_payload(decode=True) == within
    # What it was forwarded as lies in the long mail within.
    marked = sent(outbox).partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + LONG + b"\r\n"
    for depth in ("2", "3"):
        dovecot.deliver(user, with_part(fields, marked))
        hook.forward(hook.search()[-1], "ann@example.com", style="inline")
        assert outbox.messages[-1]["X-Airflow-Forwarded"].startswith(f"{depth}-")
        marked = sent(outbox).partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + LONG + b"\r\n"
    dovecot.deliver(user, with_part(fields, marked))
    with pytest.raises(ImapError, match="this is a loop"):
        hook.forward(hook.search()[-1], "ann@example.com", style="inline")


def test_of_a_mail_that_is_one_file_no_other_header_goes_along(
    hook: Imap4Hook, dovecot: Dovecot, user: User, outbox: Outbox
) -> None:
    content = bytes(range(256)) * 4
    dovecot.deliver(
        user,
        b"Return-Path: <bounce@example.com>\r\nReceived: from inside.example.com\r\nFrom: a@example.com\r\n"
        b"Message-ID: <one@example.com>\r\nX-Private: secret\r\nContent-Length: 1\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: application/pdf;\r\n name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
        b'Content-Disposition: attachment; filename="a.pdf"\r\n\r\n'
        + base64.encodebytes(content).replace(b"\n", b"\r\n"),
    )
    hook.forward(hook.search(), "ann@example.com", style="inline")
    [_, part] = outbox.messages[0].iter_parts()
    assert {name.lower() for name in part.keys()} == {  # noqa: SIM118 - a message is no mapping
        "content-type",
        "content-transfer-encoding",
        "content-disposition",
    }
    assert (part.get_filename(), part.get_content()) == ("a.pdf", content)
    assert b"X-Private" not in sent(outbox)
