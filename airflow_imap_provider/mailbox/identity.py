"""Whether a mail is the one that was told: by its Message-ID, size and date of arrival, which it has in every folder.

A UID alone does not say so. It counts within a folder of one UIDVALIDITY, and a connection that was edited may lead to
another mailbox with the same two numbers: servers begin with UID 1, and many take the time or 1 as UIDVALIDITY.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.fetching import EPOCH, fetch_items, mail_from_fetch
from airflow_imap_provider.mailbox.poison import Suspects
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail
    from airflow_imap_provider.transport.session import FolderStatus, Session

__all__ = ["Identity", "refuse_others"]

UIDS_NAMED = 5
"""UIDs that an error names."""


@dataclass(frozen=True)
class Identity:
    """What is known of a mail that it has in every folder.

    :param message_id: as far as it is known: payloads shorten very long ones. Empty if it is not.
    :param whole: whether that is all of it.
    :param size: in bytes, ``None`` if it is not known.
    :param received: ``None`` if it is not known.
    """

    message_id: str
    whole: bool
    size: int | None
    received: datetime | None

    @classmethod
    def of(cls, email: Mapping[str, Any]) -> Identity:
        """Return that of a mail as it was told; what is missing in it is not known."""
        message_id, size = email.get("message_id"), email.get("size")
        told = message_id if isinstance(message_id, str) else ""
        known = told.removesuffix("…")
        return cls(known, known == told, size if isinstance(size, int) else None, _moment(email.get("received")))

    @property
    def complete(self) -> bool:
        """Whether that is enough to know the mail again in another folder."""
        return bool(self.message_id) and self.size is not None and self.received is not None

    def fits(self, mail: Mail) -> bool:
        """Tell whether a mail of another folder is this one: everything must be the same."""
        return self._same_id(mail.message_id) and mail.size == self.size and mail.received == self.received

    def difference(self, mail: Mail) -> str:
        """Tell in what the mail that has the UID differs from the one that was told; empty if in nothing.

        Only what is known of both counts. The size does not if the Message-ID is the same: Exchange reckons it, and not
        always alike.
        """
        # Another code page may have been given when the mail was told, so only ASCII is read alike. A server that gives
        # no header at all, as of a broken mail, does not say that there is no Message-ID.
        identified = self.message_id.isascii() and bool(self.message_id) and bool(mail.headers)
        if identified and not self._same_id(mail.message_id):
            return "Message-ID"
        # Without INTERNALDATE the Date header stands for it, when the mail is told and now.
        if self.received not in (None, EPOCH, mail.received, mail.date) and mail.received not in (EPOCH, mail.date):
            return "date of arrival"
        if not identified and self.size and mail.size and mail.size != self.size:
            return "size"
        return ""

    def _same_id(self, message_id: str) -> bool:
        return message_id == self.message_id if self.whole else message_id.startswith(self.message_id)


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.utcoffset() is not None else None


def refuse_others(session: Session, status: FolderStatus, emails: Iterable[Mapping[str, Any]], conn_id: str) -> None:
    """Make sure that no UID of the open folder is another mail by now than the one that was told.

    Mails that are gone are nobody else's, and pass.

    :param status: of the open folder.
    :param emails: the mails, as they were told, with UIDs of this folder.
    :raises SettingsError: for the first that are.
    :raises ImapError: what the session raises.
    """
    told = {int(email["uid"]): email for email in emails}
    # What a server has not given of a mail, it is not asked for again: some end the connection.
    items = [item for item in fetch_items(()) if item != "BODYSTRUCTURE"]
    broken = {uid for uid, email in told.items() if email.get("incomplete")}
    others: dict[int, str] = {}
    for uids, wanted in ((told.keys() - broken, items), (broken, ["FLAGS", "INTERNALDATE"])):
        for uid, answer in Suspects(SYSTEM_CLOCK, patient=False).answers(session, sorted(uids), wanted):
            mail = mail_from_fetch(
                answer,
                conn_id=conn_id,
                folder=status.name,
                uid=uid,
                uidvalidity=status.uidvalidity,
                code_page=session.settings.code_page,
            )
            if what := Identity.of(told[uid]).difference(mail):
                others[uid] = what
    if others:
        named = [f"UID {uid} (another {what})" for uid, what in others.items()]
        shown = ", ".join(named[:UIDS_NAMED] + ["…"] * (len(named) > UIDS_NAMED))
        raise SettingsError(
            f"the folder {status.name!r} of {conn_id!r} has other mails now than those that were told: {shown}; "
            "nothing was done to them.",
            stage="actions",
            remedy="Check whether the connection was edited: it must lead to the mailbox in which the mails were seen.",
        )
