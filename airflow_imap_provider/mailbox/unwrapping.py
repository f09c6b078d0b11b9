"""Lets S/MIME be looked at with the keys and trusted issuers of a connection.

The cryptography is in ``mail.smime`` and comes with the extra ``smime``; here is when it is needed, and what a mail is
told to be afterwards. What was decrypted is handed on only as the text that somebody asked for.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.mail.fetching import listed_defects
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mail.raw import RAW_LIMIT, mail_from_raw
from airflow_imap_provider.mail.smime.outcome import SignatureOutcome, SmimeOutcome, capped
from airflow_imap_provider.mailbox.download import download
from airflow_imap_provider.transport.authorities import trusted_issuers

if TYPE_CHECKING:
    from airflow_imap_provider.connection.settings import SmimeSettings
    from airflow_imap_provider.mail.smime.opening import Opened
    from airflow_imap_provider.transport.session import Session

__all__ = ["decrypted", "is_smime", "not_looked_at", "opened", "require_smime", "unwrapped", "whole"]

WHOLE_LIMIT = 128 * 1024 * 1024
"""Bytes of a mail that is opened for a task: it is in memory several times then. Mail servers take 25 to 150 MB."""


def is_smime(mail: Mail) -> bool:
    """Tell whether a mail says to be signed or encrypted by S/MIME."""
    return any(each.startswith("smime-") for each in mail.protection)


def require_smime() -> None:
    """Refuse to go on without the extra.

    :raises SettingsError: it is not installed.
    """
    if not _installed():
        raise SettingsError(
            "S/MIME needs a package that is not installed (asn1crypto)",
            stage="settings",
            remedy="Install the extra smime where this runs: pip install 'airflow-imap-provider[smime]'.",
        )


def whole(session: Session, mail: Mail) -> bytes:
    """Return a mail of the open folder as the server has it.

    :raises ImapError: the mail is gone, or has more than :data:`WHOLE_LIMIT` bytes.
    """
    raw = bytearray()
    with closing(download(session, mail.uid, "", "", octets=mail.size)) as chunks:
        for chunk in chunks:
            raw += chunk
            if len(raw) > WHOLE_LIMIT:
                raise ImapError(
                    f"mail {mail.uid} in {mail.folder} has more than {WHOLE_LIMIT} bytes",
                    stage="fetch",
                    remedy="S/MIME is opened in memory: fetch the parts of so large a mail with attachments().",
                )
    return bytes(raw)


def decrypted(session: Session, mail: Mail) -> bytes:
    """Return a mail of the open folder without its signatures and encryption.

    Whether a signature is valid does not matter here: conditions decide that.

    :raises SettingsError: the extra is missing, or keys or issuers cannot be read.
    :raises ImapError: the mail is gone, too large, or cannot be opened.
    """
    found = unwrapped(mail, whole(session, mail), session.settings.smime)
    if not found.readable:
        raise ImapError(
            f"mail {mail.uid} in {mail.folder} cannot be opened: {found.outcome.problem}",
            stage="fetch",
            remedy="Check the S/MIME key (smime_private_key) of the connection, or take the mail as it is "
            "(decrypt=False).",
        )
    return found.raw


def unwrapped(mail: Mail, raw: bytes, settings: SmimeSettings) -> Opened:
    """Decrypt a mail and check its signatures.

    :param mail: it, for its authors and the moment at which the server received it.
    :param raw: the whole of it.
    :param settings: the keys and the trusted issuers.
    :raises SettingsError: the extra is missing, or keys or issuers cannot be read.
    """
    require_smime()
    from airflow_imap_provider.connection.keys import smime_identities
    from airflow_imap_provider.mail.smime.opening import open_mail
    from airflow_imap_provider.mail.smime.verifying import Trust

    senders = frozenset(each.address for each in mail.from_)
    trust = Trust(trusted_issuers(settings.issuers), senders, mail.received)
    return open_mail(raw, identities=smime_identities(settings), trust=trust)


def opened(mail: Mail, raw: bytes | None, settings: SmimeSettings, *, text: bool, code_page: str) -> Mail:
    """Return a mail with what came of its signatures and encryption.

    :param mail: as the server tells it.
    :param raw: the mail from its beginning, at most :data:`RAW_LIMIT` bytes; ``None`` if it cannot be had.
    :param settings: the keys and the trusted issuers.
    :param text: whether the mail's text is wanted. It is what was signed or decrypted, and nothing that stands around
        it; if it cannot be opened there is none.
    :param code_page: charset for text that declares none or a wrong one; may be empty.
    :raises SettingsError: keys or issuers cannot be read.
    """
    if not _installed():
        return not_looked_at(mail, "the extra smime is not installed")
    if raw is None:
        return not_looked_at(mail, "the mail cannot be fetched whole")
    if len(raw) >= RAW_LIMIT:
        return not_looked_at(mail, f"the mail has {RAW_LIMIT} bytes or more")
    found = unwrapped(mail, raw, settings)
    outcome = found.outcome
    if not _told_parts(mail) <= _told_parts(mail_from_raw(raw, code_page=code_page)):
        # Attachments are fetched as the server numbers them, and what was checked is what this side has found.
        reason = "the server finds other parts in the mail than those that are signed"
        outcome = replace(outcome, signatures=capped(outcome.signatures, "partial", reason))
    defects = mail.defects
    if outcome.problem:
        defects = listed_defects([*defects, f"S/MIME: {outcome.problem}"])
    out = replace(mail, smime=outcome, defects=defects)
    if not text or not found.readable:
        return out
    inner = mail_from_raw(found.raw, code_page=code_page)
    return replace(out, text=inner.text or "")


def _told_parts(mail: Mail) -> set[tuple[str, str, str]]:
    """Return what a mail's parts are called, attachments and text."""
    texts = {(each.part, each.content_type, "") for each in mail.text_parts if not each.instead_of}
    return texts | {(each.part, each.content_type, each.name) for each in mail.attachments}


def not_looked_at(mail: Mail, why: str) -> Mail:
    """Return a mail whose S/MIME cannot be looked at."""
    signed = (SignatureOutcome("unsupported", reason=why),) if "smime-signed" in mail.protection else ()
    encryption = "unsupported" if "smime-encrypted" in mail.protection else ""
    defects = listed_defects([*mail.defects, f"S/MIME is not looked at: {why}"])
    return replace(mail, smime=SmimeOutcome(encryption, signed, why), defects=defects)


def _installed() -> bool:
    return find_spec("asn1crypto") is not None
