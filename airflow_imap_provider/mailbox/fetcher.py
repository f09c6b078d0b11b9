"""Fetches mails whatever they are like: the fields that describe them, and bodies only where something needs them.

Servers and connections break on single mails. Such a mail is fetched alone, and with less and less detail, so that the
others are read. What the mails are for is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_imap_provider.mail.fetching import fetch_items, lacks_text, mail_from_fetch, text_items, with_text
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mail.raw import RAW_LIMIT, RawMail, structured_by
from airflow_imap_provider.mailbox.poison import GoneError, Suspects
from airflow_imap_provider.mailbox.unwrapping import is_smime, not_looked_at, opened
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from airflow_imap_provider.transport.session import FolderStatus, Session

__all__ = ["Fetcher"]


class Fetcher:
    """Fetches mails. Keeps nothing but those that could not be read yet.

    :param conn_id: the mails say it.
    :param headers: names of headers that the mails shall have.
    :param code_page: charset for text that declares none or a wrong one; overrides the connection's.
    :param text: whether the mails shall have their text.
    :param smime: whether S/MIME signatures are checked although the text is there without.
    :param clock: what patience is measured with.
    :param patient: for whoever never comes back to a mail; see :class:`~.poison.Suspects`.
    """

    def __init__(
        self,
        conn_id: str,
        *,
        headers: Iterable[str] = (),
        code_page: str = "",
        text: bool = False,
        smime: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        patient: bool = False,
    ) -> None:
        self._conn_id = conn_id
        self._headers = sorted({name.lower() for name in headers})
        self._items = fetch_items(self._headers)
        self._code_page = code_page
        self._text = text
        self._smime = smime
        self.suspects = Suspects(clock, patient=patient)

    def _page(self, session: Session) -> str:
        return self._code_page or session.settings.code_page

    def fetch(self, session: Session, status: FolderStatus, uids: Sequence[int]) -> Iterator[tuple[int, Mail]]:
        """Yield mails with their UIDs; one that was expunged meanwhile is missing, one that cannot be read has defects.

        :param session: its folder must be open.
        :param status: what opening the folder said.
        :raises ImapError: if the connection breaks; the next call takes the mails that may be why with more care.
        :raises HeldUpError: the next one is to be tried again later; only if this is patient.
        """
        for told, readable in self._told(session, status, uids):
            try:
                mail = self._structured(session, told) if readable and not told.structured else told
                if is_smime(mail) and (self._smime or (self._text and not mail.text_parts)):
                    mail = self._opened(session, mail)
                if self._text and mail.text is None:
                    if mail.text_parts:
                        mail = self._with_text(session, mail)
                    elif mail.structured and readable and not _is_closed(mail):
                        mail = replace(mail, text="")  # known to have none
            except GoneError:
                continue
            yield mail.uid, mail
            self.suspects.done(mail.uid)

    def told(self, session: Session, status: FolderStatus, uids: Sequence[int]) -> list[Mail]:
        """Return mails as the server tells them: no body is looked at, whatever the structure is like."""
        return [mail for mail, _ in self._told(session, status, uids)]

    def _told(self, session: Session, status: FolderStatus, uids: Sequence[int]) -> Iterator[tuple[Mail, bool]]:
        """Yield mails, and whether there is anything in them to be read."""
        for uid, answer in self.suspects.answers(session, uids, self._items):
            mail = mail_from_fetch(
                answer,
                conn_id=self._conn_id,
                folder=status.name,
                uid=uid,
                uidvalidity=status.uidvalidity,
                code_page=self._page(session),
                headers=self._headers,
            )
            yield mail, uid not in self.suspects.incomplete

    def _structured(self, session: Session, mail: Mail) -> Mail:
        """Return a mail whose structure the server does not tell, or tells wrongly, as the whole of it shows it.

        Exchange answers NIL for what it cannot parse, Courier does for very deep trees.
        """
        raw = self._whole(session, mail)
        if raw is None:
            return mail
        cut = len(raw) >= RAW_LIMIT
        return structured_by(mail, RawMail.of(raw), self._page(session), text=self._text, cut=cut)

    def _opened(self, session: Session, mail: Mail) -> Mail:
        """Return a mail with what came of its signatures and encryption, and its text from within them."""
        if mail.size >= RAW_LIMIT:
            return not_looked_at(mail, f"the mail has {RAW_LIMIT} bytes or more")
        raw = self._whole(session, mail)
        text = self._text
        return opened(mail, raw, session.settings.smime, text=text, code_page=self._page(session))

    def _whole(self, session: Session, mail: Mail) -> bytes | None:
        """Return a mail from its beginning, up to :data:`RAW_LIMIT`; ``None`` if it cannot be had."""
        answer = self.suspects.part(session, mail.uid, [f"BODY.PEEK[]<0.{RAW_LIMIT}>"], "content", self._items)
        raw = next((value for key, value in answer.items() if key.startswith(b"BODY[]")), None)
        if isinstance(raw, bytes) and raw:
            return raw
        # Not refused, and not there either: NIL, or nothing.
        self.suspects.incomplete.setdefault(
            mail.uid, f"UID {mail.uid}, without its content: the server answers OK and gives nothing"
        )
        return None

    def _with_text(self, session: Session, mail: Mail) -> Mail:
        answer = self.suspects.part(session, mail.uid, text_items(mail), "text", self._items)
        if lacks_text(mail, answer) and mail.uid not in self.suspects.incomplete:
            whole = self._structured(session, mail)
            if whole.text is not None:
                return replace(mail, text=whole.text)
        return with_text(mail, answer, self._page(session))


def _is_closed(mail: Mail) -> bool:
    """Tell whether a mail without a text may have one within what nobody has opened."""
    return is_smime(mail) or "pgp-encrypted" in mail.protection
