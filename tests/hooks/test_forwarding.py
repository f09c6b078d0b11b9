"""Forwarding from a real IMAP server through a real SMTP server: as it is or inline, to whom, again, and in a loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_imap_provider.errors import ImapError, LostConnectionError, RefusedError, SettingsError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mailbox.actions import Forward
from tests.hooks.test_saving import mail
from tests.servers.dovecot import Dovecot, User
from tests.servers.smtp import Outbox
from tests.servers.waiting import free_port
from tests.triggers.conftest import connection


@pytest.fixture
def hook(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imap4Hook]:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    with Imap4Hook("mailbox") as opened:
        yield opened


@pytest.fixture(params=[True, False], ids=["8BITMIME", "7bit only"])
def eight_bit(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def outbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    with Outbox() as box:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", box.connection())
        yield box


def test_a_mail_goes_along_as_it_is(dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox) -> None:
    raw = mail(("a.csv", b"a,b"), subject="invoice")
    dovecot.deliver(user, raw)
    [email] = hook.search()
    [sent] = hook.forward(email, "Ann <ann@example.com>", cc=["bob@example.com"], bcc="eve@example.com")
    [message] = outbox.messages
    assert sent == {
        "keys": [email["key"]],
        "message_id": message["Message-ID"],
        "recipients": ["ann@example.com", "bob@example.com", "eve@example.com"],
        "refused": [],
    }
    assert (message["From"], message["To"], message["Cc"], message["Bcc"]) == (
        "airflow@example.com",
        "Ann <ann@example.com>",
        "bob@example.com",
        None,
    )
    assert message["Subject"] == "Fwd: invoice"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["References"] == "<invoice@example.com>"
    [part] = message.iter_parts()
    assert part.get_content_type() == "message/rfc822"
    assert raw in outbox.envelopes[0].original_content
    assert hook.fetch([1])[0]["flags"] == []


def test_the_same_forward_has_the_same_message_id_and_another_one_has_not(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox
) -> None:
    dovecot.deliver_all(user, [mail(subject="one"), mail(subject="two")])
    one, two = hook.search()
    for email, to in ((one, "a@example.com"), (one, "a@example.com"), (one, "b@example.com"), (two, "a@example.com")):
        hook.forward(email, to)
    ids = [message["Message-ID"] for message in outbox.messages]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_bytes_beyond_ascii_reach_servers_that_take_them_and_those_that_do_not(
    dovecot: Dovecot, user: User, hook: Imap4Hook, eight_bit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = "Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGröße\r\n.\r\n.x\r\n"
    dovecot.deliver(user, raw.encode())
    with Outbox(eight_bit=eight_bit) as outbox:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", outbox.connection())
        hook.forward(hook.search(), "ann@example.com")
        [message] = outbox.messages
        assert message["Subject"] == "Fwd: Größe"
        [part] = message.iter_parts()
        if eight_bit:
            assert part.get_content_type() == "message/rfc822"
            assert part.get_content().get_content().splitlines() == ["Größe", ".", ".x"]
        else:
            assert outbox.envelopes[0].original_content.isascii()
            assert part.get_filename() == "Größe.eml"
            assert part.get_content() == raw.encode()


def test_inline_shows_the_text_and_carries_the_attachments(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox
) -> None:
    dovecot.deliver(user, mail(("Größe.csv", b"a,b"), ("empty.csv", b""), subject="invoice"))
    hook.forward(hook.search(), "ann@example.com", style="inline", subject_prefix="[Team] ")
    [message] = outbox.messages
    text, table, empty = message.iter_parts()
    assert "From: a@example.com" in text.get_content()
    assert "Hello." in text.get_content()
    assert (table.get_filename(), table.get_content().encode()) == ("Größe.csv", b"a,b")
    assert (empty.get_filename(), empty.get_content()) == ("empty.csv", "")
    assert message["Subject"] == "[Team] invoice"


def test_recipients_come_from_the_mail_and_from_files(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox, tmp_path: Path
) -> None:
    (tmp_path / "team").write_text("# the team\nann@example.com\n\nBob <bob@example.com> # on duty\n")
    raw = b"Reply-To: x@example.com, not an address, X@example.com\r\nFrom: nobody\r\n" + mail(subject="s")
    dovecot.deliver(user, raw)
    [sent] = hook.forward(hook.search(), ["mail:reply_to", f"file://{tmp_path}/team"], bcc="ann@example.com")
    assert sent["recipients"] == ["X@example.com", "ann@example.com", "bob@example.com"]
    with pytest.raises(ImapError, match="nobody is left"):
        hook.forward(hook.search(), "mail:cc")
    with pytest.raises(ImapError, match="cannot be read"):
        hook.forward(hook.search(), f"file://{tmp_path}/missing")
    assert len(outbox.messages) == 1


def test_an_answer_goes_to_whom_it_is_meant_for(dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox) -> None:
    dovecot.deliver_all(user, [b"Reply-To: Bob <bob@example.com>, nobody\r\n" + mail(subject="1"), mail(subject="2")])
    one, two = hook.search()
    for email in (one, two):
        hook.forward(email, "ann@example.com", reply_to="mail:reply_to")
    hook.forward(two, "ann@example.com", reply_to=["Desk <desk@example.com>", "mail:from"])
    hook.forward([one, two], "ann@example.com", reply_to="mail:reply_to", separate=False)
    hook.forward(two, "ann@example.com")
    assert [message["Reply-To"] for message in outbox.messages] == [
        "bob@example.com",
        "a@example.com",
        "Desk <desk@example.com>, a@example.com",
        "bob@example.com, a@example.com",
        None,
    ]
    assert all(envelope.rcpt_tos == ["ann@example.com"] for envelope in outbox.envelopes)


def test_several_mails_go_separately_or_as_one(dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox) -> None:
    dovecot.deliver_all(user, [mail(subject=f"mail {number}") for number in range(3)])
    hook.forward(hook.search(), "ann@example.com")
    assert [message["Subject"] for message in outbox.messages] == ["Fwd: mail 0", "Fwd: mail 1", "Fwd: mail 2"]
    [sent] = hook.forward(hook.search(), "ann@example.com", separate=False)
    last = outbox.messages[-1]
    assert last["Subject"] == "Fwd: mail 0 (and 2 more)"
    assert len(list(last.iter_parts())) == len(sent["keys"]) == 3


def test_what_the_smtp_server_refuses_is_told(
    dovecot: Dovecot, user: User, hook: Imap4Hook, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    dovecot.deliver(user, mail())
    [sent] = hook.forward(hook.search(), ["ann@example.com", "x@refused.example.com"])
    assert sent["refused"] == ["x@refused.example.com"]
    with pytest.raises(RefusedError, match=r"nobody of this name"):
        hook.forward(hook.search(), "x@refused.example.com")
    dovecot.deliver(user, mail(("a", bytes(2000))))
    with pytest.raises(ImapError, match="max_size='1 KB'"):
        hook.forward(hook.search()[-1], "ann@example.com", max_size="1 KB")
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", outbox.connection().replace(str(outbox.port), str(free_port())))
    with pytest.raises(LostConnectionError, match="smtp_default"):
        hook.forward(hook.search(), "ann@example.com")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "at least one of to, cc and bcc"),
        ({"to": "ann"}, "one address is accepted"),
        ({"to": 5}, "to=5; a text or a list of texts is accepted"),
        ({"to": "ann@example.com", "cc": {"bob@example.com": 1}}, "cc=.*; a text or a list of texts is accepted"),
        ({"to": "a@example.com, b@example.com"}, "Give several as a list"),
        ({"to": "a@example.com\r\nBcc: b@example.com"}, "one address"),
        ({"to": "mail:subject"}, "mail:from"),
        ({"to": "a@example.com", "reply_to": "desk"}, "reply_to='desk'; one address"),
        ({"reply_to": "a@example.com"}, "at least one of to, cc and bcc"),
        ({"to": "a@example.com", "style": "zip"}, "'attachment', 'inline'"),
        ({"to": "a@example.com", "subject_prefix": "a\r\nb"}, "one line"),
        ({"to": "a@example.com", "attach": True}, "no option of forwarding"),
    ],
)
def test_a_wrong_option_is_named_when_it_is_written(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Forward(**options)
