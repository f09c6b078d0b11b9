"""The hook: an Airflow connection of type IMAP4 as an open mailbox, for tasks."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_imap_provider.connection.code_pages import as_code_page
from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.hooks.emails import listed_emails, with_files
from airflow_imap_provider.hooks.opened import Attachment, OpenedEmail, gone, opened_email
from airflow_imap_provider.hooks.settings import connection_settings

if TYPE_CHECKING:
    from imapclient import IMAPClient

    from airflow_imap_provider.hooks.sent import SentRecord
    from airflow_imap_provider.mail.conditions import Condition, Conditions
    from airflow_imap_provider.mail.message import Mail
    from airflow_imap_provider.mailbox.actions import Action
    from airflow_imap_provider.mailbox.explaining import Explanation
    from airflow_imap_provider.mailbox.place import Place
    from airflow_imap_provider.mailbox.reader import Wish
    from airflow_imap_provider.transport.report import Report
    from airflow_imap_provider.transport.session import Folder, Session

__all__ = ["Attachment", "Imap4Hook", "OpenedEmail", "listed_emails"]

BUTTON_LIMIT = 20.0
"""Seconds for all that the Test button does: the browser, and gateways before Airflow, give up after 30 to 60."""


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
        newest_first: bool = False,
        text: bool = False,
        headers: Sequence[str] = (),
        smime: bool = False,
        code_page: str = "",
    ) -> list[dict[str, Any]]:
        """Return the mails of a folder that meet conditions, in the order in which they came. Nothing is marked.

        :param most: how many mails to return at most: the oldest ones, or the newest.
        :param newest_first: begin with the mail that came last: with ``most=1`` it is the latest one.
        :param text: whether to return the text, too.
        :param headers: names of headers to return, too.
        :param smime: whether to check S/MIME signatures and return what came of it, too.
        :param code_page: charset for text that declares none or a wrong one; overrides the connection's.
        """
        from airflow_imap_provider.mailbox.looking import checked_most, newest, wish_of
        from airflow_imap_provider.mailbox.place import first_place
        from airflow_imap_provider.transport.clock import SYSTEM_CLOCK

        wish = wish_of(
            self.imap4_conn_id, conditions, folder, text=text, headers=headers, smime=smime, code_page=code_page
        )
        if newest_first:
            return newest(most=checked_most(most), session=self.session(), wish=wish, now=SYSTEM_CLOCK.now())
        return self.read(wish, first_place("all", SYSTEM_CLOCK.now()), enough=checked_most(most))[:most]

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
        smime: bool = False,
        code_page: str = "",
    ) -> list[dict[str, Any]]:
        """Return mails by UID, with their text unless told otherwise. UIDs that do not exist are passed over.

        The text of an encrypted mail is the one within, if the connection has its key.

        :param smime: whether to check S/MIME signatures and return what came of it, too.
        :param code_page: charset for text that declares none or a wrong one; overrides the connection's.
        :raises SettingsError: ``smime`` without the extra of that name.
        """
        from airflow_imap_provider.mail.payload import payload
        from airflow_imap_provider.mailbox.fetcher import Fetcher
        from airflow_imap_provider.mailbox.unwrapping import require_smime

        if smime:
            require_smime()
        page = as_code_page(code_page)
        fetcher = Fetcher(self.imap4_conn_id, headers=headers, code_page=page, text=text, smime=smime)
        session = self.session()
        mails = fetcher.fetch(session, session.select(folder, readonly=True), uids)
        return [payload(mail, headers=headers) for _, mail in mails]

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

    def attachments(self, email: Mapping[str, Any], name: str = "*", *, decrypt: bool = False) -> Iterator[Attachment]:
        """Go through the attachments of a mail, downloading one at a time.

        The mail is found although an action has moved it meanwhile: by its Message-ID, size and date of arrival.

        :param email: a mail as the trigger, the operators and this hook return it.
        :param name: a glob that the attachment's name must match, case-insensitively.
        :param decrypt: whether a mail that is encrypted or signed by S/MIME is opened, to get at what is within.
        :raises ImapError: if the mail is nowhere to be found, or cannot be opened.
        """
        from airflow_imap_provider.mailbox.contents import opened_contents

        mail = self._locate(email)

        def opened() -> Session:
            # Between two attachments the caller may have looked into another folder.
            session = self.session()
            if session.select(mail.folder, readonly=True).uidvalidity != mail.uidvalidity:
                raise gone(mail)
            return session

        with opened_contents(mail, opened, decrypt=decrypt) as contents:
            for part in contents.mail.attachments:
                if fnmatch.fnmatch(part.name.casefold(), name.casefold()):
                    yield Attachment(part.name, part.content_type, part.part, contents.content(part))

    def open_smime(self, email: Mapping[str, Any]) -> OpenedEmail:
        """Decrypt a mail and check its signatures; the text and the attachments are those within.

        A mail without S/MIME is returned as it is. It is found although an action has moved it meanwhile.

        :param email: a mail as the trigger, the operators and this hook return it.
        :raises SettingsError: the extra ``smime`` is missing, or the S/MIME key or CA bundle cannot be read.
        :raises ImapError: if the mail is nowhere to be found, or too large.
        """
        from airflow_imap_provider.mailbox.unwrapping import whole

        mail = self._locate(email)
        session = self.session()
        return opened_email(mail, whole(session, mail), session.settings)

    def save(
        self,
        emails: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        path: Any,
        *,
        missing: str = "fail",
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Save mails and their attachments to object storage, in constant memory, each file whole or not at all.

        A mail is found although an action has moved it meanwhile: by its Message-ID, size and date of arrival.

        :param emails: mails as the trigger, the operators and this hook return them.
        :param path: a URL such as ``s3://conn_id@bucket/folder``, an absolute path, or an ``ObjectStoragePath``.
        :param missing: ``"fail"``, or ``"ignore"`` mails that are nowhere any more.
        :param options: what and how, as :class:`~airflow_imap_provider.mailbox.choice.Choice` has it.
        :return: a dict for each file: ``key`` of the mail, ``path``, ``name``, ``part``, ``content_type``, ``size``,
            ``sha256``, ``existed``.
        :raises ImapError: a mail is nowhere to be found, or the storage fails; the other mails are saved.
        """
        from airflow.sdk.lineage import get_hook_lineage_collector

        from airflow_imap_provider.hooks import outgoing
        from airflow_imap_provider.mailbox.choice import Choice

        choice = Choice.from_json(options)
        saved = outgoing.save(self.session(), self._found(emails), path, choice, missing=missing)
        for each in saved:
            get_hook_lineage_collector().add_output_asset(context=self, uri=each["path"])
        return saved

    def forward(
        self,
        emails: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        to: str | Sequence[str] = (),
        *,
        missing: str = "fail",
        sent: SentRecord | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Forward mails by an SMTP connection of Airflow (extra ``smtp``).

        :param emails: mails as the trigger, the operators and this hook return them.
        :param to: whom to, as the option of that name.
        :param missing: ``"fail"``, or ``"ignore"`` mails that are nowhere any more.
        :param sent: keeps what was sent, and what it has is not sent again; a ``dict`` will do.
        :param options: the other options, as :class:`~airflow_imap_provider.mailbox.forwarding.Forwarding` has it.
        :return: a dict for each message: ``keys`` of the mails, ``message_id``, ``recipients``, ``refused``.
        :raises ImapError: a mail is nowhere to be found, or cannot be sent; the others are sent.
        """
        from airflow_imap_provider.hooks import outgoing
        from airflow_imap_provider.mailbox.forwarding import Forwarding

        forwarding = Forwarding.from_json({"to": to, **options})
        return outgoing.forward(self.session(), self._found(emails), forwarding, missing=missing, sent=sent)

    def _found(
        self, emails: Sequence[Mapping[str, Any]] | Mapping[str, Any], look_in: Sequence[str] = ()
    ) -> Iterator[tuple[str, Callable[[], Mail]]]:
        """Go through mails: the key of each, and what opens the folder in which it is now."""
        for email in listed_emails(emails):
            yield str(email["key"]), partial(self._locate, email, look_in)

    def _locate(self, email: Mapping[str, Any], look_in: Sequence[str] = (), headers: Sequence[str] = ()) -> Mail:
        """Select the folder in which a mail is now, and return the mail."""
        from airflow_imap_provider.mailbox.lookup import locate

        return locate(self.session(), email, self.imap4_conn_id, look_in=look_in, headers=headers)

    # --- acting -------------------------------------------------------------------------------------------------

    def act(
        self,
        emails: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        actions: Sequence[Action] | Action,
        *,
        repeated: bool = False,
        sent: SentRecord | None = None,
        saved: SentRecord | None = None,
        missing: str = "fail",
    ) -> list[dict[str, Any]]:
        """Do actions to mails where they were seen. Mails that are no longer there are passed over.

        :param emails: mails as the trigger, the operators and this hook return them.
        :param actions: see :mod:`airflow_imap_provider.mailbox.actions`.
        :param repeated: an earlier attempt may have been interrupted.
        :param sent: keeps what was forwarded or copied, and what it has is not done again; a ``dict`` will do.
        :param saved: keeps what was saved; a ``dict`` will do. With it a mail that is gone is not passed over by Save:
            what this has of it is returned, and without that it is an error.
        :param missing: ``"ignore"`` makes that a warning.
        :return: what was saved, and what was sent, as :meth:`save` and :meth:`forward` return it.
        :raises NotFoundError: a mail is gone that was to be saved; what was to be done to the others is done.
        :raises SettingsError: if the folder was re-created since, or its UIDs are other mails: nothing is done then.
        """
        from airflow_imap_provider.hooks.acting import act
        from airflow_imap_provider.mailbox.several import check_missing

        check_missing(missing)
        return act(
            self.session(),
            self.imap4_conn_id,
            emails,
            actions,
            repeated=repeated,
            sent=sent,
            saved=saved,
            missing=missing,
        )

    def exists(self, email: Mapping[str, Any], look_in: Sequence[str] = ()) -> bool:
        """Tell whether a mail is anywhere still: where it was seen, or known again in another folder."""
        from airflow_imap_provider.mailbox.lookup import NotFoundError

        try:
            self._locate(email, look_in)
        except NotFoundError:
            return False
        return True

    def follow(
        self,
        emails: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        actions: Sequence[Action] | Action,
        *,
        look_in: Sequence[str] = (),
        repeated: bool = False,
        sent: SentRecord | None = None,
    ) -> list[dict[str, Any]]:
        """Do actions to mails wherever they are now, and return them as they are afterwards.

        A mail that was moved is known again by Message-ID, size and date of arrival, if no other mail fits. One that is
        in the target of a move already is not moved again. To be deleted, a mail is not followed: it must be where it
        was seen, or in ``look_in``.

        :param emails: mails as the trigger, the operators and this hook return them.
        :param actions: see :mod:`airflow_imap_provider.mailbox.actions`.
        :param look_in: folders to look into first.
        :param repeated: an earlier attempt may have been interrupted: a mail to delete that is gone is one that it has
            deleted.
        :param sent: as for :meth:`act`.
        :return: the mails, with ``folder``, ``uid`` and ``uidvalidity`` of now; ``key`` stays. Deleted ones are
            returned as they came. With ``files``, if any were to be saved: what :meth:`save` returns, without ``key``.
        :raises ImapError: a mail is nowhere to be found, or several can be it; nothing is done to those after it.
        """
        from airflow_imap_provider.mailbox.actions import mail_by_mail, unconditional
        from airflow_imap_provider.mailbox.following import moved_to, place_of, to_act_on

        checked = mail_by_mail(unconditional(actions))
        result = []
        for email in listed_emails(emails):
            session = self.session()
            mail = to_act_on(session, email, self.imap4_conn_id, checked, look_in=look_in, repeated=repeated)
            if mail is None:
                result.append(dict(email))
                continue
            here: dict[str, Any] = {**email, **place_of(mail)}
            due = [action for action in checked if not (action.do == "move" and action.argument == mail.folder)]
            if due:
                here = with_files(here, due, self.act(here, due, repeated=repeated, sent=sent, saved={}))
            if due and due[-1].do == "move":
                here |= moved_to(session, here, self.imap4_conn_id, due[-1].argument)
            result.append(here)
        return result

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
        :param limit: seconds for the whole of it; without, each wait has the connection's Timeout (timeout).
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
        return diagnose(settings, folder=folder, limit=limit)
