"""Fetches mails whatever they are like: the fields that describe them, and bodies only where something needs them.

Servers and connections break on single mails. Such a mail is fetched alone, and with less and less detail, so that the
others are read. What the mails are for is decided elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import ImapError, ProtocolError, RefusedError
from airflow_imap_provider.mail.fetching import fetch_items, mail_from_fetch, text_items, with_text
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mail.raw import RAW_LIMIT, RawMail, structured_by
from airflow_imap_provider.mailbox.unwrapping import is_smime, not_looked_at, opened

if TYPE_CHECKING:
    from airflow_imap_provider.transport.session import FolderStatus, Session

__all__ = ["LOSSES_PER_LEVEL", "Fetcher"]

log = logging.getLogger(__name__)

LOSSES_PER_LEVEL = 3
"""Connections lost while one mail was fetched, before less of it is asked for. One or two may be the network's."""


class Fetcher:
    """Fetches mails. Keeps nothing but the UIDs that seem to break the connection.

    :param conn_id: the mails say it.
    :param headers: names of headers that the mails shall have.
    :param code_page: charset for text that declares none or a wrong one; overrides the connection's.
    :param text: whether the mails shall have their text.
    :param smime: whether S/MIME signatures are checked although the text is there without.
    """

    def __init__(
        self, conn_id: str, *, headers: Iterable[str] = (), code_page: str = "", text: bool = False, smime: bool = False
    ) -> None:
        self._conn_id = conn_id
        self._headers = sorted({name.lower() for name in headers})
        self._items = fetch_items(self._headers)
        self._code_page = code_page
        self._text = text
        self._smime = smime
        self._losses: dict[int, int] = {}
        self._fetching: tuple[int, ...] = ()

    def _page(self, session: Session) -> str:
        return self._code_page or session.settings.code_page

    def fetch(self, session: Session, status: FolderStatus, uids: Sequence[int]) -> Iterator[tuple[int, Mail]]:
        """Yield mails with their UIDs; one that was expunged meanwhile is missing, one that cannot be read has defects.

        :param session: its folder must be open.
        :param status: what opening the folder said.
        :raises ImapError: if the connection breaks; the next call takes the mails that may be why with more care.
        """
        for told, readable in self._told(session, status, uids):
            mail = self._structured(session, told) if readable and not told.structured else told
            if is_smime(mail) and (self._smime or (self._text and not mail.text_parts)):
                mail = self._opened(session, mail)
            if self._text and mail.text_parts and mail.text is None:
                mail = self._with_text(session, mail)
            yield mail.uid, mail

    def told(self, session: Session, status: FolderStatus, uids: Sequence[int]) -> list[Mail]:
        """Return mails as the server tells them: no body is looked at, whatever the structure is like."""
        return [mail for mail, _ in self._told(session, status, uids)]

    def _told(self, session: Session, status: FolderStatus, uids: Sequence[int]) -> Iterator[tuple[Mail, bool]]:
        """Yield mails, and whether there is anything in them to be read."""
        suspects, self._fetching = self._fetching, ()
        if len(suspects) == 1:
            self._losses[suspects[0]] = self._losses.get(suspects[0], 0) + 1
        # The connection broke during the last fetch; perhaps one of those mails did it: take them one by one.
        singly = not set(suspects).isdisjoint(uids) or any(uid in self._losses for uid in uids)
        answers: dict[int, Mapping[bytes, Any]] = {}
        if not singly:
            try:
                answers.update(self._guarded(session, uids, self._items))
            except (ProtocolError, RefusedError):
                if not session.usable:
                    raise
                singly = True
        for uid in uids:
            answer = (self._fetch_alone(session, uid) if singly else answers).get(uid)
            if answer is None or not any(key not in (b"UID", b"SEQ") for key in answer):
                continue
            mail = mail_from_fetch(
                answer,
                conn_id=self._conn_id,
                folder=status.name,
                uid=uid,
                uidvalidity=status.uidvalidity,
                code_page=self._page(session),
                headers=self._headers,
            )
            yield mail, b"UNREADABLE" not in answer
            self._losses.pop(uid, None)

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
        if self._losses.get(mail.uid, 0) >= LOSSES_PER_LEVEL:
            return None
        try:
            answer = self._guarded(session, [mail.uid], [f"BODY.PEEK[]<0.{RAW_LIMIT}>"]).get(mail.uid, {})
        except (ProtocolError, RefusedError) as error:
            if not session.usable:
                raise
            log.warning("mail %s cannot be fetched whole: %s", mail.uid, error)
            return None
        raw = next((value for key, value in answer.items() if key.startswith(b"BODY[]")), None)
        return raw if isinstance(raw, bytes) else None

    def _with_text(self, session: Session, mail: Mail) -> Mail:
        answer: Mapping[bytes, Any] = {}
        if self._losses.get(mail.uid, 0) < LOSSES_PER_LEVEL:
            try:
                answer = self._guarded(session, [mail.uid], text_items(mail)).get(mail.uid, {})
            except (ProtocolError, RefusedError) as error:
                if not session.usable:
                    raise
                log.warning("the text of mail %s cannot be fetched: %s", mail.uid, error)
        return with_text(mail, answer, self._page(session))

    def _guarded(self, session: Session, uids: Sequence[int], items: Sequence[str]) -> dict[int, dict[bytes, Any]]:
        """FETCH, and remember which mails were asked for if the connection does not survive it."""
        self._fetching = tuple(uids)
        try:
            answers = session.fetch(uids, items)
        except ImapError:
            if session.usable:
                self._fetching = ()
            raise
        self._fetching = ()
        return answers

    def _fetch_alone(self, session: Session, uid: int) -> dict[int, Mapping[bytes, Any]]:
        """Fetch one mail, and if the server or its answer chokes on it, what can be had of it."""
        without_structure = [item for item in self._items if item != "BODYSTRUCTURE"]
        levels = (self._items, without_structure, ["FLAGS", "INTERNALDATE"])
        for items in levels[self._losses.get(uid, 0) // LOSSES_PER_LEVEL :]:
            try:
                return dict(self._guarded(session, [uid], items))
            except (ProtocolError, RefusedError) as error:
                if not session.usable:
                    raise
                log.warning("mail %s cannot be fetched whole: %s", uid, error)
        log.error("mail %s cannot be fetched at all: it is handled without its content", uid)
        return {uid: {b"UNREADABLE": True}}
