"""Forwards that come back, as they are or as bounces and automatic answers, end; and no stranger can stop one."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mailbox.actions import Delete, Forward, MarkRead
from airflow_imap_provider.mailbox.marks import HOPS_HEADER, Head, Marks
from tests.hooks.test_saving import mail
from tests.servers.dovecot import Dovecot, User
from tests.servers.smtp import Outbox
from tests.triggers.conftest import connection

KEY, OTHER = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2))
TEAM = "team@example.com"
SENDER = "airflow@example.com"


@pytest.fixture
def hook(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imap4Hook]:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", KEY)
    with Imap4Hook("mailbox") as opened:
        yield opened


@pytest.fixture
def outbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    with Outbox(eight_bit=getattr(request, "param", True)) as box:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", box.connection())
        yield box


def depths(outbox: Outbox) -> list[str]:
    return [message[HOPS_HEADER].split("-")[0] for message in outbox.messages]


def last(outbox: Outbox) -> bytes:
    return bytes(outbox.envelopes[-1].original_content)


@pytest.mark.parametrize("outbox", [True, False], ids=["8BITMIME", "7bit only"], indirect=True)
@pytest.mark.parametrize("style", ["attachment", "inline"])
def test_a_loop_ends(dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox, style: str) -> None:
    dovecot.deliver(user, mail(("a.csv", b"\xff" * 999), subject="Größe"))
    for _ in range(3):
        hook.forward(hook.search()[-1], TEAM, style=style)
        dovecot.deliver(user, last(outbox))
    with pytest.raises(ImapError, match="forwarded 3 times already: this is a loop"):
        hook.forward(hook.search()[-1], TEAM, style=style)
    assert depths(outbox) == ["1", "2", "3"]
    assert all(message["Message-ID"].split(".")[0][1:] in message[HOPS_HEADER] for message in outbox.messages)


def test_a_loop_over_two_installations_ends(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    dovecot.deliver(user, mail(subject="round"))
    for number in range(6):
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", (KEY, OTHER)[number % 2])
        hook.forward(hook.search()[-1], TEAM, style="inline")
        dovecot.deliver(user, last(outbox))
    assert depths(outbox) == ["1", "1", "2", "2", "3", "3"]
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", KEY)
    with pytest.raises(ImapError, match="this is a loop"):
        hook.forward(hook.search()[-1], TEAM, style="inline")


def test_a_key_that_is_being_replaced_is_still_known(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    dovecot.deliver(user, mail())
    hook.forward(hook.search(), TEAM)
    dovecot.deliver(user, last(outbox))
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", f"{OTHER}, {KEY}")
    hook.forward(hook.search()[-1], TEAM)
    assert depths(outbox) == ["1", "2"]


def report(returned: bytes, content_type: str = "message/rfc822") -> bytes:
    """A bounce in the form of RFC 3464, as it lies in the mailbox of the sender."""
    return (
        b"Return-Path: <>\r\nFrom: MAILER-DAEMON@mail.example.com\r\nTo: " + SENDER.encode() + b"\r\n"
        b"Subject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/report; report-type=delivery-status; boundary="r"\r\n\r\n'
        b"--r\r\n\r\nnobody of this name\r\n--r\r\nContent-Type: message/delivery-status\r\n\r\n"
        b"Reporting-MTA: dns; mail.example.com\r\n\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
        b"--r\r\nContent-Type: " + content_type.encode() + b"\r\n\r\n" + returned + b"\r\n--r--\r\n"
    )


def header_of(content: bytes) -> bytes:
    return content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def quoted(content: bytes) -> bytes:
    return (
        b"Return-Path: <>\r\nFrom: MAILER-DAEMON@example.com\r\nSubject: failure notice\r\n\r\n"
        b"Hi. This is the qmail-send program.\r\n\r\n--- Below this line is a copy of the message.\r\n\r\n" + content
    )


def referring(content: bytes) -> bytes:
    identity = re.search(rb"Message-ID:\s*(<[^>]+>)", content, re.IGNORECASE)
    assert identity
    return (
        b"From: postmaster@example.com\r\nAuto-Submitted: auto-replied (rejected)\r\nIn-Reply-To: "
        + identity[1]
        + b"\r\nSubject: Undeliverable: Fwd\r\n\r\nNobody reads this.\r\n"
    )


@pytest.mark.parametrize("style", ["attachment", "inline"])
@pytest.mark.parametrize(
    "bounced",
    [report, lambda content: report(header_of(content), "text/rfc822-headers"), quoted, referring],
    ids=["whole", "header", "quoted", "reference"],
)
def test_a_bounce_of_a_forward_is_not_forwarded(
    dovecot: Dovecot,
    user: User,
    hook: Imap4Hook,
    outbox: Outbox,
    bounced: Callable[[bytes], bytes],
    style: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dovecot.deliver(user, mail(("a.csv", b"a"), subject="s"))
    hook.forward(hook.search(), "dead@example.com", style=style)
    dovecot.deliver(user, bounced(last(outbox)))
    assert hook.forward(hook.search()[-1], "dead@example.com", style=style) == []
    assert len(outbox.messages) == 1
    assert "an automatic answer to what was forwarded from here" in caplog.text


@pytest.mark.parametrize("separate", [True, False])
def test_a_bounce_that_is_not_forwarded_is_not_deleted_either(
    dovecot: Dovecot,
    user: User,
    hook: Imap4Hook,
    outbox: Outbox,
    caplog: pytest.LogCaptureFixture,
    *,
    separate: bool,
) -> None:
    dovecot.deliver(user, mail(subject="first"))
    hook.forward(hook.search(), "dead@example.com")
    dovecot.deliver_all(user, [report(last(outbox)), mail(subject="second")])
    actions = [MarkRead(), Forward("dead@example.com", separate=separate), Delete()]
    sent = hook.act(hook.search(), actions)
    assert len([key for each in sent for key in each["keys"]]) == 2
    [left] = hook.search()
    assert (left["subject"], left["flags"]) == ("Undelivered Mail Returned to Sender", ["\\Seen"])
    assert f"Not deleted, for they were not forwarded: {[left['key']]}" in caplog.text
    assert hook.act(left, actions) == []
    if separate:
        hook.follow(left, actions)
    assert [each["key"] for each in hook.search()] == [left["key"]], "nor when it is alone"


def test_another_bounce_is_forwarded_without_a_sender_whom_a_bounce_could_reach(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox
) -> None:
    foreign = report(mail(subject="not of ours"))
    dovecot.deliver_all(user, [foreign, foreign.replace(b"Return-Path: <>\r\n", b""), mail(subject="plain")])
    hook.forward(hook.search(), TEAM)
    assert [envelope.mail_from.strip("<>") for envelope in outbox.envelopes] == ["", "", SENDER]
    assert {message["From"] for message in outbox.messages} == {SENDER}


FORGED = "3-0123456789abcdef0123-0123456789abcdef0123"


@pytest.mark.parametrize(
    "header",
    [
        f"{HOPS_HEADER}: 3",
        f"{HOPS_HEADER}: {FORGED}",
        f"{HOPS_HEADER}: " + " ".join(f"9-{number:020x}-{number:020x}" for number in range(50)),
        f"{HOPS_HEADER}: =?utf-8?q?=ff?=\r\nAuto-Submitted: auto-replied\r\nReturn-Path: <>",
        f"References: <{FORGED}.forward@example.com>\r\nContent-Type: multipart/report",
    ],
)
def test_a_stranger_cannot_prevent_a_forward(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox, header: str
) -> None:
    dovecot.deliver(user, f"{header}\r\nFrom: x@example.com\r\nSubject: s\r\n\r\nHello.\r\n".encode())
    hook.forward(hook.search(), TEAM)
    assert depths(outbox) == ["1"]
    assert len(outbox.messages[0][HOPS_HEADER]) < 600


def test_persons_may_send_on_and_answer_what_was_forwarded(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox
) -> None:
    dovecot.deliver_all(user, [mail(subject=f"mail {number}") for number in range(3)])
    hook.forward(hook.search(), TEAM)
    collected = b"".join(
        b"--p\r\nContent-Type: message/rfc822\r\n\r\n" + envelope.original_content + b"\r\n"
        for envelope in outbox.envelopes
    )
    head = b"From: ann@example.com\r\nSubject: see these\r\nContent-Type: multipart/mixed; boundary=p\r\n\r\n"
    dovecot.deliver(user, head + collected + b"--p--\r\n")
    hook.forward(hook.search()[-1], TEAM)
    assert depths(outbox) == ["1", "1", "1", "2"], "three in one mail are no loop"


def test_marks_are_known_by_their_key_only() -> None:
    ours, theirs = Marks((KEY.encode(),)), Marks((OTHER.encode(),))
    mark = ours.make("a", 2)
    assert ours.depth(f"<{mark}.forward@x>".encode()) == 2
    assert theirs.depth(mark.encode()) == Marks(()).depth(mark.encode()) == 0
    assert ours.depth(mark.replace("2-", "1-", 1).encode()) == 0, "its depth cannot be changed"
    assert ours.depth(f"{mark}0".encode()) == ours.depth(f"x{mark}".encode()) == 0
    assert Marks(()).depth(Marks(()).make("a", 1).encode()) == 1
    assert theirs.foreign(Head(f"{HOPS_HEADER}: {mark} {mark} {theirs.make('b', 1)}\r\n\r\n".encode())) == [mark]
    assert KEY not in repr(ours)


@pytest.mark.parametrize("raw", [b"", b"\xff\x00: \xff", b"Content-Type: \xff/\xff\r\nReturn-Path: \xff\r\n\r\n"])
def test_a_broken_header_says_nothing(raw: bytes) -> None:
    head: Any = Head(raw)
    assert (head.is_bounce, head.is_answer, list(head.values("Subject"))) == (False, False, [])
