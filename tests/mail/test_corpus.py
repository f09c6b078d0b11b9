"""Hard mails, and random changes of them, through both ways: as a server tells them, and as whole mails.

Nothing raises, no attachment is lost, every name can be stored. ``make test`` takes a part of the mutations, always the
same; ``MUTATIONS=10000`` in the environment takes so many.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_imap_provider.mail.charsets import clean
from airflow_imap_provider.mail.condition_fields import (
    AllowedSenders,
    Attachment,
    AuthenticationResults,
    Body,
    Encrypted,
    Flags,
    From,
    Sent,
    Signed,
    Size,
    Subject,
)
from airflow_imap_provider.mail.conditions import Conditions
from airflow_imap_provider.mail.explain import explain_mail
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mail.payload import payload
from airflow_imap_provider.mail.raw import RawMail, mail_from_raw
from airflow_imap_provider.mail.structure import DEPTH_LIMIT
from airflow_imap_provider.mail.transfer import decode_transfer
from airflow_imap_provider.mailbox.reader import Reader, Wish
from airflow_imap_provider.transport.session import Session, open_session
from tests.mail.builders import RECEIVED
from tests.mail.corpus.kinds import KINDS, Kind
from tests.mail.corpus.mutations import mutations
from tests.mail.test_payload import assert_is_a_payload
from tests.servers.dovecot import Dovecot

MUTATIONS = int(os.environ.get("MUTATIONS", "300"))
"""Mutations that are read in each way."""

TRUST = ("authentication-results", "received")

EVERYTHING = Conditions(
    [
        Subject.regex("inv.*4711") | From.contains("@example.com"),
        Body.contains("invoice") | ~AllowedSenders(["@example.com"]),
        Attachment.name.glob("*.csv") & ~Attachment.every.size.larger_than("1 MB") & Attachment.type.contains("text"),
        Signed() | Encrypted("pgp") | AuthenticationResults("mx.example.org").dmarc.passes(),
        Sent.older_than("2 days") | Size.larger_than(1_000) | Flags.has("\\Seen"),
    ],
    trigger_on="any",
)
"""Conditions that look at all that a mail has."""


def check(mail: Mail) -> None:
    """What must be so for any mail."""
    told = payload(mail, headers=TRUST, servers=["mx.example.org"])
    assert_is_a_payload(told)
    explained = explain_mail(EVERYTHING, mail, RECEIVED)
    json.dumps(explained.to_json(), allow_nan=False).encode()
    "\n".join(explained.lines()).encode()
    for attachment in mail.attachments:
        assert attachment.name == clean(attachment.name)
        assert "\n" not in attachment.name
    parts = [attachment.part for attachment in mail.attachments]
    assert len(set(parts)) == len(parts)


def check_raw(raw: bytes) -> Mail:
    mail = mail_from_raw(raw, code_page="windows-1252", headers=TRUST)
    check(mail)
    found = RawMail.of(raw)
    listed = {attachment.part: attachment for attachment in mail.attachments}
    for part in files(found.structure):
        assert part in listed, part
    for part, attachment in listed.items():
        assert part in found.sections
        decode_transfer(found.part(part), attachment.encoding)
    return mail


def files(body: Sequence[Any], part: str = "", depth: int = 0) -> Iterator[str]:
    """The numbers of all parts of a structure that are neither text nor a picture that may be shown within one."""
    if isinstance(body[0], list):
        assert depth <= DEPTH_LIMIT
        for number, child in enumerate(body[0], 1):
            yield from files(child, f"{part}.{number}" if part else str(number), depth + 1)
        return
    # Bytes that belong into no token are passed over: what then is text is shown as text.
    kind = re.sub(rb"[^!-~]", b"", body[0])
    if kind != b"text" and not (kind == b"image" and body[3]):
        yield part or "1"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_hard_mail_is_read_from_its_bytes_and_no_attachment_is_lost(kind: Kind) -> None:
    mail = check_raw(kind.raw)
    assert len(mail.attachments) >= kind.attachments
    assert mail_from_raw(kind.raw, code_page="windows-1252", headers=TRUST) == mail


def test_the_corpus_has_every_kind_once() -> None:
    assert len(KINDS) >= 60
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_mutations_of_hard_mails_are_read_from_their_bytes() -> None:
    for seed, raw in mutations(MUTATIONS):
        try:
            check_raw(raw)
        except Exception as error:
            raise AssertionError(f"the mutation with the seed {seed}") from error


def storable(raw: bytes) -> bytes:
    """The mail as Dovecot stores it: it takes no NUL and no mail without a byte."""
    return raw.replace(b"\0", b"\x80") or b"\r\n"


@contextmanager
def stored(dovecot: Dovecot, raws: Sequence[bytes]) -> Iterator[tuple[Session, list[Mail]]]:
    """The mails as they are read from a server, and the session."""
    user = dovecot.new_user()
    dovecot.deliver_all(user, [storable(raw) for raw in raws])
    session = open_session(dovecot.settings(user, timeout=60))
    try:
        status = session.select("INBOX", readonly=True)
        wish = Wish("corpus", "INBOX", EVERYTHING, text=True, headers=TRUST, code_page="windows-1252")
        mails = Reader(wish).mails(session, status, sorted(session.search(["ALL"])))
        assert len(mails) == len(raws)
        yield session, mails
    finally:
        session.logout()


def test_hard_mails_are_read_from_a_server_and_no_attachment_is_lost(dovecot: Dovecot) -> None:
    with stored(dovecot, [kind.raw for kind in KINDS]) as (session, mails):
        for kind, mail in zip(KINDS, mails, strict=True):
            check(mail)
            assert len(mail.attachments) >= kind.attachments, (kind.name, mail.defects)
            for attachment in mail.attachments[:20]:
                if not attachment.counted:
                    item = f"BODY.PEEK[{attachment.part}]<0.100>"
                    answer = session.fetch([mail.uid], [item])[mail.uid]
                    assert any(key.startswith(b"BODY[") and value is not None for key, value in answer.items()), kind


def test_mutations_of_hard_mails_are_read_from_a_server(dovecot: Dovecot) -> None:
    made = list(mutations(MUTATIONS))
    for begin in range(0, len(made), 500):
        chunk = made[begin : begin + 500]
        with stored(dovecot, [raw for _, raw in chunk]) as (_, mails):
            for (seed, _), mail in zip(chunk, mails, strict=True):
                try:
                    check(mail)
                except Exception as error:
                    raise AssertionError(f"the mutation with the seed {seed}") from error
