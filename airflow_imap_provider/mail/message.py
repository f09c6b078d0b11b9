"""What a mail is, as far as this package looks at it: addresses, subject, dates, flags, the list of attachments.

Plain frozen data without behaviour that could fail. How it is read from a server's answer is in ``fetching``, how it
is told to Airflow in ``payload``; nothing here holds a body unless a condition or a user asked for its text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from airflow_imap_provider.mail.authentication import MethodResult
from airflow_imap_provider.mail.smime.outcome import SmimeOutcome

__all__ = ["Address", "Attachment", "Mail", "TextPart"]

_NAME_IN_KEY = 24
"""Characters of connection id and folder that a key shows. They are for the reader; the digest tells places apart."""

_DIGEST_IN_KEY = 16
"""Hexadecimal digits of the digest in a key: with 64 bits, a million folders collide with a chance of 1 in 10**7."""

_NOT_IN_A_RUN_ID = re.compile(r"[^A-Za-z0-9_-]+")
"""Airflow's ``[scheduler] allowed_run_id_pattern`` is ``^[A-Za-z0-9_.~:+-]+$``, and ``..`` is refused besides."""


@dataclass(frozen=True)
class Address:
    """One mailbox of an address header (RFC 5322, section 3.4).

    :param name: the display name, decoded; empty if there is none.
    :param address: ``local@domain`` as written, without brackets and comments; empty if there is none. It need not be
        valid: ``root`` and ``somebody@`` occur.
    """

    name: str
    address: str

    def __str__(self) -> str:
        """Return ``Name <address>``, or the one of both that there is."""
        if self.name and self.address:
            return f"{self.name} <{self.address}>"
        return self.name or self.address


@dataclass(frozen=True)
class Attachment:
    """A body part that is a file to its reader.

    :param name: the file name that the sender gave, decoded and on one line, but otherwise as given: it may hold
        slashes or be empty. Never use it as a path.
    :param content_type: ``type/subtype`` in lower case.
    :param size: bytes after decoding, reckoned from ``octets``: exact for 7bit, 8bit and binary, exact within two
        bytes for base64 in lines of 76 characters, an upper bound for quoted-printable.
    :param part: the part number for FETCH (RFC 9051, section 6.4.5), such as ``2`` or ``1.3``.
    :param encoding: the content transfer encoding in lower case.
    :param octets: the size that the server tells, in octets as transferred.
    :param counted: the server does not tell the structure of this mail, so the part was counted in the whole mail by
        :mod:`~airflow_imap_provider.mail.raw`; ``RawMail.part`` knows it under this number, the server need not.
    """

    name: str
    content_type: str
    size: int
    part: str
    encoding: str
    octets: int = 0
    counted: bool = False


@dataclass(frozen=True)
class TextPart:
    """A body part that holds (some of) the text of a mail.

    :param part: the part number for FETCH.
    :param content_type: ``text/plain`` or ``text/html``.
    :param charset: as declared, in lower case; empty if none is.
    :param encoding: the content transfer encoding in lower case.
    :param size: bytes after decoding, reckoned as for an attachment.
    :param octets: the size that the server tells, in octets as transferred.
    :param flowed: whether it was wrapped for its way (``format=flowed``, RFC 3676).
    :param delete_space: whether the blank before a break was added with it (``DelSp=yes``).
    :param instead_of: the numbers of the parts of which this is another form, to be read only if there is nothing to
        read in them.
    """

    part: str
    content_type: str
    charset: str
    encoding: str
    size: int
    octets: int = 0
    flowed: bool = False
    delete_space: bool = False
    instead_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mail:
    """A mail in a folder.

    All texts are free of NUL, control characters and lone surrogates, and header texts are on one line.

    :param conn_id: the connection that reaches it.
    :param folder: the folder's name.
    :param uid: its UID, which identifies it as long as ``uidvalidity`` stays.
    :param uidvalidity: the folder's UIDVALIDITY.
    :param message_id: with its angle brackets; empty if there is none.
    :param subject: decoded; empty if there is none.
    :param from_: authors, of all From headers.
    :param date: what the Date header says, with its offset; ``None`` if there is none that can be read.
    :param received: when the server received it (INTERNALDATE), in UTC; always aware.
    :param size: RFC822.SIZE in bytes, 0 if the server does not tell.
    :param flags: as the server writes them.
    :param headers: decoded values by lower-case name, of the headers that were asked for.
    :param attachments: in the order of their parts.
    :param text_parts: the parts whose text the mail's text consists of.
    :param text: their text, or ``None`` if it was not fetched.
    :param defects: what was wrong with the mail or with the server's answer, one sentence each.
    :param protection: how the mail says to be protected: any of ``smime-signed``, ``smime-encrypted``, ``pgp-signed``,
        ``pgp-encrypted``.
    :param authentication: by a server's name in lower case, what its Authentication-Results say; of all servers that
        the mail names, so it is for the reader to know which one to believe. Empty if it was not asked for.
    :param smime: what came of its S/MIME signatures and encryption; ``None`` if it has none or nobody asked.
    :param structured: whether the server told a body structure that can be one of this mail.
    """

    conn_id: str
    folder: str
    uid: int
    uidvalidity: int
    message_id: str
    subject: str
    from_: tuple[Address, ...]
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    date: datetime | None
    received: datetime
    size: int
    flags: tuple[str, ...]
    headers: Mapping[str, tuple[str, ...]] = field(hash=False)
    attachments: tuple[Attachment, ...]
    text_parts: tuple[TextPart, ...]
    text: str | None
    defects: tuple[str, ...]
    protection: tuple[str, ...] = ()
    authentication: Mapping[str, tuple[MethodResult, ...]] = field(default_factory=dict, hash=False)
    structured: bool = True
    smime: SmimeOutcome | None = None

    @property
    def key(self) -> str:
        """The stable identity of the mail: equal for the same mail, different for any other.

        Made from connection id, folder, UIDVALIDITY and UID, and usable as an Airflow run id: it keeps to Airflow's
        default pattern, has no run type's prefix, and is at most 93 characters long.
        """
        # INBOX is the one folder whose name has no case (RFC 9051, section 5.1).
        folder = "INBOX" if self.folder.upper() == "INBOX" else self.folder
        place = f"{self.conn_id}\0{folder}".encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(place).hexdigest()[:_DIGEST_IN_KEY]
        names = (_NOT_IN_A_RUN_ID.sub("-", name)[:_NAME_IN_KEY] or "-" for name in (self.conn_id, folder))
        return ".".join(("mail", *names, digest, str(self.uidvalidity), str(self.uid)))
