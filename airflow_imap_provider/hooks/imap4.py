"""The hook: an Airflow connection of type IMAP4 as an open mailbox, for tasks."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_imap_provider.connection.code_pages import as_code_page
from airflow_imap_provider.errors import FolderNotFoundError, ImapError, SettingsError
from airflow_imap_provider.hooks.settings import connection_settings

if TYPE_CHECKING:
    from imapclient import IMAPClient

    from airflow_imap_provider.mail.conditions import Condition, Conditions
    from airflow_imap_provider.mail.message import Attachment as Part
    from airflow_imap_provider.mail.message import Mail
    from airflow_imap_provider.mailbox.actions import Action
    from airflow_imap_provider.mailbox.explaining import Explanation
    from airflow_imap_provider.mailbox.place import Place
    from airflow_imap_provider.mailbox.reader import Wish
    from airflow_imap_provider.transport.report import Report
    from airflow_imap_provider.transport.session import Folder, FolderStatus, Session

__all__ = ["Attachment", "Imap4Hook"]

PIECE = 1024 * 1024
"""Bytes of an attachment asked for at once: its memory stays near its size (a whole fetch needs several times that)."""

FOLDERS_SEARCHED = 200
"""Folders searched for a mail that was moved, at most."""

BUTTON_LIMIT = 20.0
"""Seconds that the Test button gives each wait: the browser, and gateways before Airflow, give up after 30 to 60."""


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


class Imap4Hook(BaseHook):
    """An authenticated, encrypted connection to a mailbox.

    A context manager; outside of ``with`` it connects at the first use and :meth:`close` ends it. Not for use by
    several threads at once.

    :param imap4_conn_id: the connection of type IMAP4.
    """

    conn_name_attr = "imap4_conn_id"
    default_conn_name = "imap4_default"
    conn_type = "imap4"
    hook_name = "IMAP4"

    def __init__(self, imap4_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.imap4_conn_id = imap4_conn_id
        self._session: Session | None = None

    def __enter__(self) -> Imap4Hook:
        self.session()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def session(self) -> Session:
        """Return the open session, opening it first if needed.

        :raises ImapError: with stage, answer and remedy, if that fails.
        """
        if self._session is None or not self._session.usable:
            from airflow_imap_provider.transport.session import open_session

            self.close()
            self._session = open_session(connection_settings(self.imap4_conn_id))
        return self._session

    def get_conn(self) -> IMAPClient:
        """Return the authenticated IMAPClient, for whatever this hook has no method for."""
        return self.session().client

    def close(self) -> None:
        """Log out. Does nothing without a connection."""
        session, self._session = self._session, None
        if session is not None:
            session.logout()

    # --- looking ------------------------------------------------------------------------------------------------

    def folders(self, pattern: str = "*") -> list[Folder]:
        """Return the folders whose names match a LIST pattern (``*`` any, ``%`` up to the next delimiter)."""
        return self.session().folders(pattern)

    def search(
        self,
        conditions: Sequence[Condition] | Condition | Conditions = (),
        *,
        folder: str = "INBOX",
        most: int = 1000,
        text: bool = False,
        headers: Sequence[str] = (),
        code_page: str = "",
    ) -> list[dict[str, Any]]:
        """Return the mails of a folder that meet conditions, oldest first. Nothing is marked.

        :param most: how many mails to return at most.
        :param text: whether to return the text, too.
        :param headers: names of headers to return, too.
        :param code_page: charset for text that declares none or a wrong one; overrides the connection's.
        """
        from airflow_imap_provider.mail.conditions import Condition, Conditions
        from airflow_imap_provider.mailbox.place import first_place
        from airflow_imap_provider.mailbox.reader import Wish
        from airflow_imap_provider.transport.clock import SYSTEM_CLOCK

        if not isinstance(conditions, Conditions):
            conditions = Conditions([conditions] if isinstance(conditions, Condition) else list(conditions))
        wish = Wish(
            conn_id=self.imap4_conn_id,
            folder=folder,
            conditions=conditions,
            text=text,
            headers=tuple(headers),
            code_page=as_code_page(code_page),
        )
        return self.read(wish, first_place("all", SYSTEM_CLOCK.now()), enough=most)[:most]

    def read(self, wish: Wish, place: Place, *, enough: int) -> list[dict[str, Any]]:
        """Return the mails after a place that a wish describes, until there are enough or no more."""
        from airflow_imap_provider.mailbox.reader import Reader

        reader = Reader(wish)
        emails: list[dict[str, Any]] = []
        session = self.session()
        status = session.select(wish.folder, readonly=True)
        while True:
            batch = reader.read(session, status, place)
            place = batch.place
            emails += batch.emails
            if len(emails) >= enough or not batch.more:
                return emails

    def fetch(
        self,
        uids: Sequence[int],
        *,
        folder: str = "INBOX",
        text: bool = True,
        headers: Sequence[str] = (),
        code_page: str = "",
    ) -> list[dict[str, Any]]:
        """Return mails by UID, with their text unless told otherwise. UIDs that do not exist are passed over.

        :param code_page: charset for text that declares none or a wrong one; overrides the connection's.
        """
        from airflow_imap_provider.mail.fetching import text_items, with_text
        from airflow_imap_provider.mail.payload import payload

        override = as_code_page(code_page)
        session = self.session()
        code_page = override or session.settings.code_page
        status = session.select(folder, readonly=True)
        emails = []
        for mail in self._mails(session, status, uids, headers, code_page):
            shown = mail
            if text and mail.text_parts:
                answer = session.fetch([mail.uid], text_items(mail)).get(mail.uid, {})
                shown = with_text(mail, answer, code_page)
            emails.append(payload(shown, headers=headers))
        return emails

    def explain(
        self,
        conditions: Sequence[Condition] | Condition | Conditions,
        folder: str = "INBOX",
        last: int = 10,
        *,
        code_page: str = "",
    ) -> Explanation:
        """Tell for the last mails of a folder which conditions hold, which fail and on what; nothing is marked.

        Print it, or look at its ``search`` (what the server is asked in a backlog, and why not more) and ``mails``.

        :param last: how many mails, counted from the newest.
        :param code_page: charset for text that declares none or a wrong one; overrides the connection's.
        """
        from airflow_imap_provider.mailbox.explaining import explain

        return explain(
            self.session(), conditions, conn_id=self.imap4_conn_id, folder=folder, last=last, code_page=code_page
        )

    def attachments(self, email: Mapping[str, Any], name: str = "*") -> Iterator[Attachment]:
        """Go through the attachments of a mail, downloading one at a time.

        The mail is found although an action has moved it meanwhile: by its Message-ID.

        :param email: a mail as the trigger, the operators and this hook return it.
        :param name: a glob that the attachment's name must match, case-insensitively.
        :raises ImapError: if the mail is nowhere to be found.
        """
        mail = self._locate(email)
        for part in mail.attachments:
            if fnmatch.fnmatch(part.name.casefold(), name.casefold()):
                yield Attachment(part.name, part.content_type, part.part, self._download(mail, part))

    def _download(self, mail: Mail, part: Part) -> bytes:
        from airflow_imap_provider.mail.transfer import decode_transfer

        session, raw = self.session(), bytearray()
        # Between two attachments the caller may have looked into another folder.
        if session.select(mail.folder, readonly=True).uidvalidity != mail.uidvalidity:
            raise _gone(part, mail)
        while True:
            item = f"BODY.PEEK[{part.part}]<{len(raw)}.{PIECE}>"
            answer = session.fetch([mail.uid], [item]).get(mail.uid, {})
            piece = next((value for key, value in answer.items() if key.startswith(b"BODY[")), None)
            if piece is None and not raw:
                raise _gone(part, mail)
            raw += piece or b""
            # Sizes that servers tell are not to be trusted: the end is where nothing more comes.
            if not piece or len(piece) < PIECE:
                return decode_transfer(bytes(raw), part.encoding)

    def _mails(
        self,
        session: Session,
        status: FolderStatus,
        uids: Sequence[int],
        headers: Sequence[str] = (),
        code_page: str = "",
    ) -> list[Mail]:
        from airflow_imap_provider.mail.fetching import fetch_items, mail_from_fetch

        answers = session.fetch(uids, fetch_items(headers)) if uids else {}
        return [
            mail_from_fetch(
                answers[uid],
                conn_id=self.imap4_conn_id,
                folder=status.name,
                uid=uid,
                uidvalidity=status.uidvalidity,
                code_page=code_page or session.settings.code_page,
                headers=headers,
            )
            for uid in uids
            if uid in answers and len(answers[uid]) > 2  # more than UID and SEQ: not expunged
        ]

    def _locate(self, email: Mapping[str, Any]) -> Mail:
        """Select the folder in which a mail is now, and return the mail."""
        session = self.session()
        wanted = email.get("message_id") or ""
        try:
            status = session.select(email["folder"], readonly=True)
        except FolderNotFoundError:
            mails = []
        else:
            mails = self._mails(session, status, [email["uid"]]) if status.uidvalidity == email["uidvalidity"] else []
        if mails:
            return mails[0]
        if wanted:
            for folder in self._other_folders(session, email["folder"]):
                status = session.select(folder, readonly=True)
                for mail in self._mails(session, status, session.search(["HEADER", "Message-ID", wanted])):
                    if mail.message_id == wanted:
                        return mail
        raise ImapError(
            f"mail {email['uid']} is not in {email['folder']} any more, nor in another folder",
            stage="fetch",
            remedy="It was deleted, or has no Message-ID by which to find it: move mails after the work is done.",
        )

    def _other_folders(self, session: Session, first: str) -> list[str]:
        found = [
            folder.name
            for folder in session.folders()
            if not {"\\noselect", "\\nonexistent"} & {attribute.lower() for attribute in folder.attributes}
        ]
        others = [name for name in found if name != first]
        return [*[name for name in found if name == first], *others][:FOLDERS_SEARCHED]

    # --- acting -------------------------------------------------------------------------------------------------

    def act(
        self,
        emails: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        actions: Sequence[Action] | Action,
        **options: Any,
    ) -> None:
        """Do actions to mails. Mails that are no longer where they were are passed over.

        :param emails: mails as the trigger, the operators and this hook return them.
        :param actions: see :mod:`airflow_imap_provider.mailbox.actions`.
        :param options: ``repeated=True`` if an earlier attempt may have been interrupted.
        :raises SettingsError: if the folder was re-created since: the UIDs mean other mails then.
        """
        from airflow_imap_provider.mailbox.actions import perform, unconditional

        checked = unconditional(actions)
        by_folder: dict[tuple[str, int], list[int]] = {}
        for email in [emails] if isinstance(emails, Mapping) else emails:
            by_folder.setdefault((email["folder"], email["uidvalidity"]), []).append(email["uid"])
        session = self.session()
        for (folder, uidvalidity), uids in by_folder.items():
            status = session.select(folder, readonly=False)
            if status.uidvalidity != uidvalidity:
                raise SettingsError(
                    f"the folder {folder!r} was re-created since these mails were seen (UIDVALIDITY {uidvalidity} is "
                    f"now {status.uidvalidity}); nothing was done to them.",
                    stage="actions",
                )
            perform(session, uids, checked, **options)

    # --- the Test -----------------------------------------------------------------------------------------------

    def test_connection(self) -> tuple[bool, str]:
        """Test the connection; for the Test button of the connection form. Changes nothing.

        The whole report goes into the log.

        :return: whether it works, and one line below 200 characters: Airflow shows it for about five seconds.
        """
        report = self.diagnose(limit=BUTTON_LIMIT)
        self.log.log(logging.INFO if report.ok else logging.ERROR, "%s", report.text())
        return report.ok, report.line()

    def diagnose(self, folder: str = "INBOX", *, limit: float | None = None) -> Report:
        """Test the connection stage by stage, on a connection of its own. Changes nothing.

        :param folder: the folder to look into.
        :param limit: seconds that go before a longer Timeout (timeout) of the connection.
        :return: what was found, and on failure the stage, the other side's words and what to change. Bad settings are
            a report, too.
        """
        from airflow_imap_provider.transport.diagnosis import diagnose
        from airflow_imap_provider.transport.report import Report, failed

        try:
            settings = connection_settings(self.imap4_conn_id)
        except SettingsError as error:
            return Report(self.imap4_conn_id, (failed(error, self.imap4_conn_id),))
        if limit is not None:
            settings = replace(settings, timeout=min(settings.timeout, limit))
        return diagnose(settings, folder=folder)


def _gone(part: Part, mail: Mail) -> ImapError:
    return ImapError(
        f"the attachment {part.name!r} of mail {mail.uid} is gone from {mail.folder}",
        stage="fetch",
        remedy="Another client has removed or moved the mail in this moment: try again.",
    )
