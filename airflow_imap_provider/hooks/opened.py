"""What the hook hands out of a mail: its attachments, and a mail without its signatures and encryption."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_imap_provider.errors import ImapError

if TYPE_CHECKING:
    from airflow_imap_provider.connection.settings import Settings
    from airflow_imap_provider.mail.message import Mail
    from airflow_imap_provider.mail.smime.outcome import SmimeOutcome

__all__ = ["Attachment", "OpenedEmail", "gone", "opened_email"]


@dataclass(frozen=True)
class Attachment:
    """An attachment of a mail, downloaded.

    :param name: the file name as the mail gives it; not safe as a path.
    :param content_type: such as ``text/csv``.
    :param part: its number in the mail (RFC 3501, section 6.4.5).
    :param content: the decoded bytes.
    """

    name: str
    content_type: str
    part: str
    content: bytes

    def __repr__(self) -> str:
        return f"<Attachment {self.name!r} {self.content_type} {len(self.content)} bytes>"


@dataclass(frozen=True)
class OpenedEmail:
    """A mail without its signatures and encryption.

    :param text: the text, plain or HTML made text.
    :param attachments: the attachments within, decoded. What could not be opened is one of them (``smime.p7m``).
    :param smime: what came of signatures and encryption; look at ``smime.signature`` and ``smime.signers`` before
        believing anything, and at ``smime.problem`` if something is missing.
    :param content: the whole mail as bytes, with the header that it came with: an ``.eml`` file.
    """

    text: str = field(repr=False)
    attachments: tuple[Attachment, ...] = field(repr=False)
    smime: SmimeOutcome
    content: bytes = field(repr=False)


def opened_email(mail: Mail, raw: bytes, settings: Settings) -> OpenedEmail:
    """Open a mail as far as the connection's keys do; one without S/MIME stays as it is.

    :param mail: as the server tells it.
    :param raw: the whole of it.
    :raises SettingsError: the extra ``smime`` is missing, or the S/MIME key or CA bundle cannot be read.
    """
    from airflow_imap_provider.mail.raw import RawMail, mail_from_raw
    from airflow_imap_provider.mail.smime.outcome import SmimeOutcome
    from airflow_imap_provider.mail.transfer import decode_transfer
    from airflow_imap_provider.mailbox.unwrapping import is_smime, unwrapped

    inner, outcome = mail_from_raw(raw, code_page=settings.code_page), SmimeOutcome()
    if is_smime(inner):
        found = unwrapped(mail, raw, settings.smime)
        raw, outcome = found.raw, found.outcome
        inner = mail_from_raw(raw, code_page=settings.code_page)
    parts = RawMail.of(raw)
    attachments = tuple(
        Attachment(each.name, each.content_type, each.part, decode_transfer(parts.part(each.part), each.encoding))
        for each in inner.attachments
    )
    return OpenedEmail(inner.text or "", attachments, outcome, raw)


def gone(mail: Mail) -> ImapError:
    """Return the error for a mail that vanishes between two of its attachments."""
    return ImapError(
        f"mail {mail.uid} is gone from {mail.folder}, with the attachments that are still to come",
        stage="fetch",
        remedy="Try again: another client has removed or moved the mail in this moment.",
    )
