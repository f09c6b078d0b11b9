"""What becomes of unusual attachments on a real server: saved, downloaded and forwarded as their reader expects."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from airflow_imap_provider.hooks.imap4 import Imap4Hook
from tests.mail.corpus.pieces import HEADER, attachment, encoded, mixed, part, single, text
from tests.servers.dovecot import Dovecot, User
from tests.servers.smtp import Outbox
from tests.triggers.conftest import connection

TABLE = b"a;b\n1;2\n"
UUENCODED = b"begin 644 table.csv\r\n" + binascii.b2a_uu(TABLE).rstrip(b"\n") + b"\r\n`\r\nend\r\n"
INNER = mixed(text(b"inner"), attachment(), boundary=b"inner")


@pytest.fixture
def hook(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imap4Hook]:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    with Imap4Hook("mailbox") as opened:
        yield opened


@pytest.fixture
def outbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    with Outbox() as box:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", box.connection())
        yield box


def saved(hook: Imap4Hook, raw: bytes, dovecot: Dovecot, user: User, folder: Path) -> dict[str, bytes]:
    """What is saved of a mail, by name."""
    dovecot.deliver(user, raw)
    email = hook.search()[-1]
    files = {Path(each["path"]).name: each for each in hook.save(email, folder)}
    contents = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files.keys() == contents.keys()
    assert sorted(contents.values()) == sorted(each.content for each in hook.attachments(email))
    return contents


@pytest.mark.parametrize(
    ("raw", "files"),
    [
        (
            mixed(text(), part(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64", encoded(INNER))),
            {"attachment-2.eml": INNER},
        ),
        (
            mixed(text(), part(b"Content-Type: message/rfc822", INNER)),
            {"attachment-2.eml": INNER, "invoice.csv": TABLE},
        ),
        (mixed(text(), attachment(b"")), {"attachment-2.bin": TABLE}),
        (mixed(text(), attachment(b"", kind=b"application/pdf")), {"attachment-2.pdf": TABLE}),
        (
            mixed(
                attachment(b"filename=a.csv"), attachment(b"filename=A.CSV", b"2"), attachment(b"filename=a.csv", b"3")
            ),
            {"a.csv": TABLE, "A (2).CSV": b"2", "a (3).csv": b"3"},
        ),
        (mixed(text(), attachment(content=b"")), {"invoice.csv": b""}),
        (
            mixed(
                text(),
                part(
                    b"Content-Disposition: attachment; filename=table.csv\r\nContent-Transfer-Encoding: x-uuencode",
                    UUENCODED,
                ),
            ),
            {"table.csv": TABLE},
        ),
        (
            single(b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: x-uue", UUENCODED),
            {"a.pdf": TABLE},
        ),
        (
            mixed(text(), attachment(b"filename=winmail.dat", b"\x78\x9f\x3e\x22", b"application/ms-tnef")),
            {"winmail.dat": b"\x78\x9f\x3e\x22"},
        ),
        (
            mixed(
                text(),
                part(
                    b"Content-Disposition: attachment; filename=log.txt\r\nContent-Type: text/plain; format=flowed",
                    b"a \r\nb",
                ),
            ),
            {"log.txt": b"a \r\nb"},
        ),
    ],
    ids=[
        "a mail in base64",
        "a mail",
        "no name",
        "no name, but a type",
        "names that differ in case",
        "empty",
        "uuencoded",
        "a mail that is uuencoded",
        "winmail.dat",
        "flowed text",
    ],
)
def test_files_are_saved_as_their_reader_expects(
    raw: bytes, files: dict[str, bytes], hook: Imap4Hook, dovecot: Dovecot, user: User, tmp_path: Path
) -> None:
    assert saved(hook, raw, dovecot, user, tmp_path) == files


def test_a_long_name_is_cut_between_characters_and_keeps_its_ending(
    hook: Imap4Hook, dovecot: Dovecot, user: User, tmp_path: Path
) -> None:
    name = ("ж" * 148 + ".csv").encode()
    assert len(name) == 300
    [[found, content]] = saved(
        hook, mixed(text(), attachment(b'filename="' + name + b'"')), dovecot, user, tmp_path
    ).items()
    assert (found, content) == ("ж" * 98 + ".csv", TABLE)


def test_a_file_within_the_text_stays_in_it_and_the_mail_says_so(hook: Imap4Hook, dovecot: Dovecot, user: User) -> None:
    yenc = b"=ybegin line=128 size=4 name=a.bin\r\n\x8b\x8c\x8d\x8e\r\n=yend size=4\r\n"
    for number, body in enumerate((b"Here:\r\n" + UUENCODED, yenc), 1):
        dovecot.deliver(user, single(b"Content-Type: text/plain; charset=iso-8859-1", body))
        [email] = hook.fetch([number])
        assert email["attachments"] == []
        assert "part 1: the text holds a uuencoded or yEnc file, which stays in the text" in email["defects"]
        assert body.decode("cp1252", "replace").splitlines()[0] in email["text"]


def test_unusual_attachments_are_forwarded_inline_as_they_are(
    hook: Imap4Hook, dovecot: Dovecot, user: User, outbox: Outbox
) -> None:
    raw = mixed(
        text(b"The invoice \r\n4711", b"utf-8; format=flowed"),
        part(b"Content-Type: message/rfc822", INNER),
        attachment(b""),
        part(
            b"Content-Disposition: attachment; filename=table.csv\r\nContent-Transfer-Encoding: x-uuencode", UUENCODED
        ),
        attachment(b"filename=empty.csv", b""),
        attachment(b"filename=winmail.dat", b"\x78\x9f\x3e\x22", b"application/ms-tnef"),
    )
    dovecot.deliver(user, raw)
    hook.forward(hook.search(), "ann@example.com", style="inline")
    shown, mail, *others = outbox.messages[0].iter_parts()
    assert "The invoice 4711" in shown.get_content()
    inner = mail.get_content()
    assert isinstance(inner, EmailMessage)
    assert [each.get_filename() for each in inner.iter_attachments()] == ["invoice.csv"]
    # What is in the attached mail is carried in it, and not a second time.
    assert [each.get_filename() for each in others] == [None, "table.csv", "empty.csv", "winmail.dat"]
    assert [each.get_payload(decode=True) for each in others] == [TABLE, TABLE, b"", b"\x78\x9f\x3e\x22"]


def test_a_forwarded_mail_keeps_its_unusual_parts_byte_by_byte(
    hook: Imap4Hook, dovecot: Dovecot, user: User, outbox: Outbox
) -> None:
    raw = mixed(text(), part(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64", encoded(INNER)))
    dovecot.deliver(user, raw + b"epilogue \xff\r\n")
    hook.forward(hook.search(), "ann@example.com")
    assert raw + b"epilogue \xff\r\n" in outbox.envelopes[0].original_content
    assert HEADER in outbox.envelopes[0].original_content
