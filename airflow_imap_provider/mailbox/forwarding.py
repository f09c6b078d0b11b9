"""Forwarding: to whom, and the message that is sent. How it is sent is not known here.

A forwarded mail goes along as it is, byte by byte (``attachment``), or as its text and its attachments (``inline``).
What is sent says that it was sent by a machine, and has a mark (``marks``) made from the mail's key, in its Message-ID
too: so the same forward, repeated after a crash, can be recognised, and loops come to an end, those of bounces too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Any

from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mail.templates import templated
from airflow_imap_provider.mailbox.choice import parse_size
from airflow_imap_provider.mailbox.download import part_content
from airflow_imap_provider.mailbox.enclosing import attached, inline, multipart
from airflow_imap_provider.mailbox.marks import FOREIGN, HOPS_HEADER, Head, Marks
from airflow_imap_provider.mailbox.recipients import check_recipient, header_line, one_person, people_line, people_of
from airflow_imap_provider.transport.session import Session

__all__ = ["Envelope", "Forwarding", "Parcel", "compose", "fetch_parcel", "fingerprint"]

log = logging.getLogger(__name__)

STYLES = ("attachment", "inline")
PEOPLE = ("to", "cc", "bcc", "reply_to")

MOST_HOPS = 3
"""Forwards of one mail, one after the other, that are no loop: from a team's mailbox to another's to a person."""

LARGEST = "25 MB"
"""The default limit of what is forwarded: what Gmail and Exchange accept. It is held in memory, and is a third larger
on its way if it must be encoded."""

RECIPIENTS = 100
"""Recipients of one message at most: what every SMTP server must take (RFC 5321, section 4.5.3.1.8)."""

_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>")
"""What can be referred to: ASCII without blanks, and no longer than a line of a header."""


@dataclass(frozen=True)
class Forwarding:
    """To whom a mail is forwarded, and how.

    ``to``, ``cc`` and ``bcc`` take a text or several: an address (``Ann <ann@example.com>``), a file with one address
    a line (``file:///etc/recipients``, or any other URL of Airflow's object storage), or ``mail:from``,
    ``mail:reply_to``, ``mail:to`` or ``mail:cc`` for those of the mail.

    :param reply_to: whom an answer goes to, likewise; none: the sender. Here ``mail:reply_to`` is, as for any answer to
        the mail, its From if it has no Reply-To.
    :param smtp_conn_id: the SMTP connection.
    :param sender: the From address; empty for the one of the connection.
    :param subject_prefix: put before the subject.
    :param style: ``attachment`` (the mail as it is, as message/rfc822) or ``inline`` (its text and attachments).
    :param separate: a message for each mail; else one for all that are forwarded at once.
    :param max_size: larger mails are not forwarded; a size as in ``"25 MB"``.
    """

    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    smtp_conn_id: str = "smtp_default"
    sender: str = ""
    subject_prefix: str = "Fwd: "
    style: str = "attachment"
    separate: bool = True
    max_size: str | int = LARGEST

    def __post_init__(self) -> None:
        for name in PEOPLE:
            for item in getattr(self, name):
                check_recipient(name, item)
        if not (self.to or self.cc or self.bcc):
            raise SettingsError("a forward needs at least one of to, cc and bcc.", stage="settings")
        for name in ("smtp_conn_id", "sender", "subject_prefix"):
            value = getattr(self, name)
            if not isinstance(value, str) or any(ord(character) < 32 for character in value):
                raise SettingsError(f"{name}={value!r}; a text on one line is accepted.", stage="settings")
        if self.sender and not templated(self.sender):
            one_person(self.sender, "sender")
        if self.style not in STYLES:
            raise SettingsError(f"style={self.style!r}; accepted are {', '.join(map(repr, STYLES))}.", stage="settings")
        if not isinstance(self.separate, bool):
            raise SettingsError(f"separate={self.separate!r}; True or False is accepted.", stage="settings")
        parse_size(self.max_size, "max_size")

    def to_json(self) -> dict[str, Any]:
        """Return what differs from the default."""
        changed = {name: value for name, value in vars(self).items() if value != getattr(type(self), name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Forwarding:
        """Rebuild it from :meth:`to_json`'s form; one text stands for a list of one.

        :raises SettingsError: for a name that it does not have, or a value that cannot be used.
        """
        known = [each.name for each in fields(cls)]
        values: dict[str, Any] = {}
        for name, value in data.items():
            if name not in known:
                raise SettingsError(
                    f"{name!r} is no option of forwarding; there are {', '.join(known)}.", stage="settings"
                )
            values[name] = _listed(name, value) if name in PEOPLE else value
        return cls(**values)


def _listed(name: str, value: object) -> tuple[Any, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise SettingsError(f"{name}={value!r:.80}; a text or a list of texts is accepted.", stage="settings")
    return tuple(value)


@dataclass(frozen=True)
class Envelope:
    """A message ready to be sent.

    :param sender: the bare address to which bounces go; empty if there is none.
    :param recipients: bare addresses, those of Bcc too.
    :param content: the message.
    :param eight_bit: whether it has bytes beyond ASCII.
    """

    sender: str
    recipients: tuple[str, ...]
    message_id: str
    content: bytes
    eight_bit: bool


@dataclass(frozen=True)
class Parcel:
    """A mail that is to be forwarded.

    :param key: its identity.
    :param parts: of the message that forwards it.
    :param depth: how often it was forwarded by this installation.
    :param foreign: marks of other installations.
    :param bounce: whether it is a report about another mail.
    """

    key: str
    mail: Mail
    parts: tuple[bytes, ...] = field(repr=False)
    depth: int
    foreign: tuple[str, ...]
    bounce: bool


def fetch_parcel(
    session: Session, key: str, mail: Mail, forwarding: Forwarding, marks: Marks, *, eight_bit: bool
) -> Parcel | None:
    """Return a mail as it is to be forwarded; ``None`` for an automatic answer to a forward of our own.

    Such answers, bounces above all, would go on for ever: each is a new mail. Its folder must be open in the session.

    :param eight_bit: whether the SMTP server takes bytes beyond ASCII (8BITMIME).
    :raises ImapError: it is too large, was forwarded too often, or is gone.
    """
    limit = parse_size(forwarding.max_size, "max_size")
    if limit is not None and mail.size > limit:
        raise ImapError(
            f"mail {mail.uid} of {mail.folder} has {mail.size} bytes, and max_size={forwarding.max_size!r}.",
            stage="forward",
            remedy="Raise max_size if the SMTP server takes more, or save the mail instead.",
        )
    # Marks are looked for in all that goes along: a bounce has them in the mail that it brings back.
    if forwarding.style == "inline":
        raw = part_content(session, mail.uid, "HEADER", "7bit")
        parts, depth = inline(session, mail, marks, eight_bit=eight_bit)
        depth = max(depth, marks.depth(raw))
    else:
        raw = part_content(session, mail.uid, "", "7bit", octets=mail.size)
        parts = attached(raw, mail, eight_bit=eight_bit)
        depth = marks.depth(raw)
    head = Head(raw)
    if depth and head.is_answer:
        log.warning("Mail %s is an automatic answer to what was forwarded from here, and not forwarded", key)
        return None
    if depth >= MOST_HOPS:
        raise ImapError(
            f"mail {mail.uid} of {mail.folder} was forwarded {depth} times already: this is a loop.",
            stage="forward",
            remedy="Do not forward to an address whose mail arrives in this folder, or leave out what has "
            f"the header {HOPS_HEADER} by a condition.",
        )
    return Parcel(key, mail, tuple(parts), depth, tuple(marks.foreign(head)), head.is_bounce)


def compose(
    parcels: Sequence[Parcel],
    forwarding: Forwarding,
    *,
    sender: str,
    files: Mapping[str, Sequence[str]],
    marks: Marks,
) -> Envelope:
    """Build the message that forwards mails.

    :param sender: the From address.
    :param files: for each recipient that is a URL, the lines of the file.
    :raises SettingsError: an address that was given is none.
    :raises ImapError: nobody is left to send it to, or it is too large.
    """
    first = parcels[0].mail
    listed = [(parcel.key, parcel.mail) for parcel in parcels]
    people = {name: people_of(getattr(forwarding, name), name, listed, files) for name in PEOPLE}
    recipients = tuple(dict.fromkeys(each.address for name in ("to", "cc", "bcc") for each in people[name]))
    if not recipients:
        raise ImapError(f"nobody is left to forward mail {first.uid} to.", stage="forward")
    if len(recipients) > RECIPIENTS:
        raise ImapError(f"{len(recipients)} recipients; at most {RECIPIENTS} are possible.", stage="forward")
    limit = parse_size(forwarding.max_size, "max_size")
    if len(parcels) > 1 and limit is not None and sum(mail.size for _, mail in listed) > limit:
        raise ImapError(
            f"together the {len(parcels)} mails are larger than max_size={forwarding.max_size!r}.",
            stage="forward",
            remedy="Forward them separately (separate=True).",
        )
    author = one_person(sender, "sender")
    identity = json.dumps([sorted(parcel.key for parcel in parcels), forwarding.to_json()], sort_keys=True)
    mark = marks.make(identity, max(parcel.depth for parcel in parcels) + 1)
    message_id = f"<{mark}.forward@{author.domain}>"
    lines = [people_line("From", [author])]
    lines += [people_line(name.title(), people[name]) for name in ("to", "cc") if people[name]]
    if not (people["to"] or people["cc"]):
        lines.append(header_line("To", "undisclosed-recipients:;"))
    if people["reply_to"]:
        lines.append(people_line("Reply-To", people["reply_to"]))
    lines.append(header_line("Message-ID", message_id))
    if len(parcels) == 1 and _MESSAGE_ID.fullmatch(first.message_id):
        # The email package would write one that is longer than its lines as an encoded word, which RFC 2047,
        # section 5, forbids, and no mail program takes for a Message-ID.
        lines.append(header_line("References", first.message_id))
    head = EmailMessage(policy=SMTP)
    more = f" (and {len(parcels) - 1} more)" if len(parcels) > 1 else ""
    head["Subject"] = f"{forwarding.subject_prefix}{first.subject}{more}"
    head["Date"] = formatdate(localtime=False)
    head["Auto-Submitted"] = "auto-generated"  # RFC 3834: no autoresponder answers it
    foreign = dict.fromkeys(each for parcel in parcels for each in parcel.foreign)
    head[HOPS_HEADER] = " ".join([mark, *list(foreign)[:FOREIGN]])
    head["MIME-Version"] = "1.0"
    parts = [part for parcel in parcels for part in parcel.parts]
    content = b"".join(lines) + head.as_bytes().rstrip(b"\r\n") + b"\r\n" + multipart(parts)
    # A report has no sender whom a report about it could reach, wherever it is forwarded to (RFC 5321, section 4.5.5).
    reachable = not any(parcel.bounce for parcel in parcels)
    return Envelope(author.address if reachable else "", recipients, message_id, content, not content.isascii())


def fingerprint(key: str, forwarding: Forwarding) -> str:
    """Return what tells this forward of a mail from any other, in 64 hexadecimal digits.

    :param key: of the mail.
    """
    text = json.dumps([key, forwarding.to_json()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
