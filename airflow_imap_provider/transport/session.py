"""A session: one authenticated connection to one mailbox, and what the rest of the package does with it.

Opening has one budget from DNS to login, each later answer has its own. Whatever goes wrong comes out as one of the
package's own errors; after a timeout or a loss the session is not usable any more and nothing else is tried on it.
No Airflow here, and nothing about places, conditions or actions.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import (
    FolderNotFoundError,
    ImapError,
    ProtocolError,
    RefusedError,
)
from airflow_imap_provider.transport import commands
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Clock, Deadline
from airflow_imap_provider.transport.folders import Folder, FolderStatus
from airflow_imap_provider.transport.limits import MAX_COMMAND_BYTES
from airflow_imap_provider.transport.remedies import ASK_OPERATOR, MOVED
from airflow_imap_provider.transport.trace import NO_TRACE, Trace
from airflow_imap_provider.transport.turns import Turns

if TYPE_CHECKING:
    # Heavy: imported when a session is opened, not when a DAG file is parsed.
    from imapclient import IMAPClient

    from airflow_imap_provider.transport.border import Scrubber
    from airflow_imap_provider.transport.idle import IdleChannel
    from airflow_imap_provider.transport.opening import Connection

__all__ = ["Folder", "FolderStatus", "Session", "open_session"]

logger = logging.getLogger(__name__)

_CHECK_NAME = (
    "Check its name ('airflow imap4 folders CONN_ID' lists all): this server may want a prefix such as INBOX. and its "
    "own delimiter."
)


def open_session(
    settings: Settings,
    *,
    clock: Clock = SYSTEM_CLOCK,
    trace: Trace = NO_TRACE,
    within: Deadline | None = None,
    scrubber: Scrubber | None = None,
) -> Session:
    """Connect and log in; blocks for at most ``settings.timeout`` seconds.

    :param trace: who listens to what happens.
    :param within: limits the opening, and everything that is done with the session too.
    :param scrubber: the caller's, made of these settings; it gets to know the secrets that come up on the way.
    :raises SettingsError: the S/MIME key cannot be opened; nothing was sent.
    :raises ConnectError: the name does not resolve, or nobody listens.
    :raises TlsError: no encryption as the connection demands it.
    :raises AuthenticationError: the server does not accept the login.
    :raises ImapTimeoutError: the time is up; its stage says in what.
    :raises ImapError: any other child.
    """
    trace.enter("settings")
    if settings.smime.private_key:
        from airflow_imap_provider.connection.keys import smime_identities

        # A wrong passphrase shows when the connection is tested, not when the first encrypted mail comes.
        smime_identities(settings.smime)
    from airflow_imap_provider.transport.opening import connect

    return Session(settings, connect(settings, clock, trace, within=within, scrubber=scrubber))


class Session:
    """One authenticated connection. Made by :func:`open_session`.

    Methods block, except :meth:`close`, and may be called from any thread, but by one at a time. They raise nothing but
    :class:`~airflow_imap_provider.errors.ImapError` and its children.

    :ivar settings: what it was opened with.
    :ivar client: the IMAPClient underneath, for commands that are not here.
    :ivar capabilities: upper-case, as after the login.
    :ivar greeting: the server's first words.
    :ivar server_name: what the server calls itself; empty if it does not say.
    """

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self.settings = settings
        self.client: IMAPClient = connection.client
        self.capabilities = connection.capabilities
        self.greeting = connection.greeting
        self.server_name = connection.server_name
        self._stream = connection.stream
        self._scrubber = connection.scrubber
        self._turns = Turns(connection.stream, connection.scrubber)
        self._opened: FolderStatus | None = None
        self._copied: list[Any] = []

    def has(self, capability: str) -> bool:
        """Whether the server announces a capability."""
        return capability.upper() in self.capabilities

    @property
    def folder(self) -> FolderStatus:
        """The open folder, as it was when it was opened."""
        return self._require_folder("folder")

    @property
    def arrivals(self) -> int:
        """``* n EXISTS`` lines seen so far, in any answer: compare two readings to see whether mail was announced."""
        return self._stream.arrivals

    @property
    def usable(self) -> bool:
        """Whether further commands make sense; ``False`` after a timeout, a loss or :meth:`close`."""
        return self._stream.failure is None

    # -- folders ----------------------------------------------------------------------------------------------------

    def select(self, folder: str, *, readonly: bool) -> FolderStatus:
        """Open a folder: SELECT, or EXAMINE if *readonly*.

        :param folder: its name in plain Unicode.
        :raises FolderNotFoundError: the server does not open it.
        :raises RefusedError: it says no for another reason than the name.
        """
        mailbox = self._mailbox(folder)
        self._opened = None
        stream = self._stream

        def command() -> None:
            try:
                status, words = stream.select(mailbox, readonly)
            except stream.readonly:
                # imaplib's way to say that the server opened it for reading only; FolderStatus says so too.
                stream.is_readonly = True
                return
            if status != "OK":
                raise stream.error(words)

        def call() -> FolderStatus:
            command()
            uidvalidity = self._number("UIDVALIDITY")
            if uidvalidity is None:
                raise ProtocolError(
                    "the server gives the folder no UIDVALIDITY: its mails cannot be told apart for good.",
                    stage="folder",
                    remedy=ASK_OPERATOR,
                )
            return FolderStatus(
                name=folder,
                uidvalidity=uidvalidity,
                uidnext=self._number("UIDNEXT"),
                exists=self._number("EXISTS") or 0,
                readonly=readonly or "READ-ONLY" in stream.untagged_responses,
            )

        try:
            self._opened = self._turns.exchange("folder", call, FolderNotFoundError)
        except RefusedError as exc:
            remedy = _CHECK_NAME if isinstance(exc, FolderNotFoundError) and exc.remedy != MOVED else exc.remedy
            problem = f"the folder {folder!r} cannot be opened."
            raise type(exc)(problem, stage="folder", reply=exc.reply, remedy=remedy) from None
        return self._opened

    def folders(self, pattern: str = "*") -> list[Folder]:
        """The folders that match a pattern: ``*`` stands for anything, ``%`` for anything within a level."""
        mailbox = self._mailbox(pattern)
        stream = self._stream

        def call() -> list[Folder]:
            from airflow_imap_provider.transport.answers import parse_folders

            status, lines = stream.list('""', mailbox)
            if status != "OK":
                raise stream.error(lines)
            return [Folder(*parts) for parts in parse_folders(lines)]

        return self._turns.exchange("LIST", call)

    def noop(self) -> None:
        """Let the server tell what is new, and hear whether it is still there."""
        self._turns.command("NOOP", self._stream.noop)

    # -- reading ----------------------------------------------------------------------------------------------------

    def search(self, criteria: Sequence[object], charset: str | None = None) -> list[int]:
        """UID SEARCH in the open folder.

        :param criteria: a list as IMAPClient takes it: keys and values one after the other, lists for parentheses,
            numbers, dates. Values are quoted here.
        :param charset: for values beyond ASCII; UTF-8 when left out.
        :returns: UIDs in the server's order.
        :raises SettingsError: a value with CR, LF or NUL, or one that the charset does not have.
        """
        self._require_folder("SEARCH")
        pieces = commands.search_pieces(criteria, charset)

        def call() -> list[int]:
            from airflow_imap_provider.transport.answers import parse_esearch, parse_search

            stream = self._stream
            status, words = stream.execute("UID SEARCH", [" ", *pieces], literal_plus=self.has("LITERAL+"))
            if status != "OK":
                raise stream.error(words)
            # An OK without either is "nothing": so says iCloud, against RFC 3501 (section 6.4.4).
            told = stream.untagged_responses
            return [*parse_search(told.pop("SEARCH", [])), *parse_esearch(told.pop("ESEARCH", []))]

        return self._turns.exchange("SEARCH", call)

    def fetch(self, uids: Sequence[int], items: Sequence[str]) -> dict[int, dict[bytes, Any]]:
        """UID FETCH in the open folder, in as many commands as the UIDs need.

        Mails that are gone are missing, or there without some of the items: servers differ.

        :param uids: any number of them, in any order.
        :param items: like ``FLAGS`` or ``BODY.PEEK[]``.
        :returns: by UID, the values by the item's name as the server writes it, upper-case; dates are aware.
        :raises ProtocolError: the answer cannot be parsed; the session stays usable.
        """
        self._require_folder("FETCH")
        wanted = commands.item_list(items)
        found: dict[int, dict[bytes, Any]] = {}
        for text, members in self._sets(uids, wanted):
            found.update(self._turns.exchange("FETCH", partial(self._fetch, text, members, wanted)))
        return found

    def _fetch(self, text: str, members: Iterable[int], items: str) -> dict[int, dict[bytes, Any]]:
        from airflow_imap_provider.transport.answers import parse_fetch

        stream = self._stream
        status, data = stream.uid("FETCH", text, items)
        if status != "OK":
            if b"[EXPUNGEISSUED]" not in bytes(data[-1] or b"").upper():
                raise stream.error(data)
            # RFC 5530: some of them have just been removed by somebody else; the rest has been sent.
            data = stream.untagged_responses.pop("FETCH", [])
        return parse_fetch(data, members)

    def fetch_part(self, uid: int, section: str, *, octets: int = 0) -> Generator[bytes, None, None]:
        r"""The raw bytes of a part of a mail in the open folder, in pieces; ``\Seen`` is not set.

        A generator: until it has ended or is closed the session takes no other command.

        :param section: the part's number, such as ``1.2``; empty for the whole mail.
        :param octets: the size that the server told, if known.
        :raises ImapError: at the first piece or a later one; the mail is gone, for example.
        """
        from airflow_imap_provider.transport.partial import part_pieces

        self._require_folder("FETCH")
        commands.check_section(section)
        return part_pieces(self._stream, self._scrubber, self._turns.claim, self._turns.release, uid, section, octets)

    # -- changing ---------------------------------------------------------------------------------------------------

    def create(self, folder: str) -> None:
        """Create a folder, with the ones above it, and subscribe to it, so that mail programs show it.

        One that somebody else has created in this moment is fine.

        :raises RefusedError: the server refuses, and the folder is not there.
        """
        mailbox = self._mailbox(folder)
        try:
            self._turns.command("CREATE", partial(self._stream.create, mailbox))
        except RefusedError:
            if not self.folders(folder):
                raise
        try:
            self._turns.command("SUBSCRIBE", partial(self._stream.subscribe, mailbox))
        except RefusedError as exc:
            # The folder is there and takes mail, which is what matters.
            logger.info("The new folder %r cannot be subscribed to: %s", folder, exc)

    def add_labels(self, uids: Sequence[int], labels: Sequence[str]) -> None:
        """Put Gmail labels on mails; labels that do not exist are made.

        :raises RefusedError: the server is not Gmail (it does not announce X-GM-EXT-1).
        """
        self._label(uids, "+X-GM-LABELS", labels)

    def remove_labels(self, uids: Sequence[int], labels: Sequence[str]) -> None:
        """Take Gmail labels off mails.

        :raises RefusedError: the server is not Gmail (it does not announce X-GM-EXT-1).
        """
        self._label(uids, "-X-GM-LABELS", labels)

    def _label(self, uids: Sequence[int], item: str, labels: Sequence[str]) -> None:
        self._require_capability("STORE", "X-GM-EXT-1")
        self._change("STORE", uids, item, f"({' '.join(map(self._mailbox, labels))})")

    def add_flags(self, uids: Sequence[int], flags: Sequence[str]) -> None:
        """Set flags or keywords; UIDs that are gone are passed over.

        :raises RefusedError: the folder is open for reading only, or the server refuses.
        """
        self._change("STORE", uids, "+FLAGS.SILENT", commands.flag_list(flags))

    def remove_flags(self, uids: Sequence[int], flags: Sequence[str]) -> None:
        """Clear flags or keywords; UIDs that are gone are passed over.

        :raises RefusedError: the folder is open for reading only, or the server refuses.
        """
        self._change("STORE", uids, "-FLAGS.SILENT", commands.flag_list(flags))

    def copy(self, uids: Sequence[int], folder: str) -> None:
        """Copy mails into another folder.

        :raises FolderNotFoundError: there is no such folder.
        """
        self._require_folder("COPY")
        self._copied = []
        self._for_sets("COPY", uids, self._mailbox(folder))

    def move(self, uids: Sequence[int], folder: str) -> None:
        """Move mails into another folder (RFC 6851); only where the server has MOVE.

        :raises FolderNotFoundError: there is no such folder.
        :raises RefusedError: the server has no MOVE, or the folder is open for reading only.
        """
        self._require_capability("MOVE", "MOVE")
        self._copied = []
        self._change("MOVE", uids, self._mailbox(folder))

    def expunge(self, uids: Sequence[int]) -> None:
        r"""Remove those of these mails for good that have ``\Deleted`` (UID EXPUNGE, RFC 4315); never any others.

        :raises RefusedError: the server has no UIDPLUS, or the folder is open for reading only.
        """
        self._require_capability("EXPUNGE", "UIDPLUS")
        self._change("EXPUNGE", uids)

    def forget_copied(self) -> None:
        """Let :meth:`copied_to` know of nothing: an earlier COPY was of another mail."""
        self._copied = []

    def copied_to(self) -> tuple[int, int] | None:
        """UIDVALIDITY and last UID that the last COPY or MOVE has given, if the server says (COPYUID, RFC 4315)."""
        told = self._copied
        numbers = re.fullmatch(rb"(\d+) [\d:,]+ (?:[\d:,]*[:,])?(\d+)", told[-1].strip()) if told and told[-1] else None
        return (int(numbers[1]), int(numbers[2])) if numbers else None

    # -- waiting and ending -----------------------------------------------------------------------------------------

    def idle_channel(self) -> IdleChannel:
        """A channel that waits for new mail in the open folder, on an event loop."""
        from airflow_imap_provider.transport.idle import IdleChannel

        self._require_folder("idle")
        return IdleChannel(self._stream, self._scrubber, self._turns.claim, self._turns.release)

    def logout(self) -> None:
        """Say goodbye if the server still listens, and close; never raises."""
        self._turns.logout()

    def close(self) -> None:
        """End the connection at once.

        Safe from any thread and at any time: a call that waits in another thread ends with LostConnectionError.
        """
        self._turns.close()

    # -- helpers ----------------------------------------------------------------------------------------------------

    def _change(self, command: str, uids: Sequence[int], *arguments: str) -> None:
        opened = self._require_folder(command)
        if opened.readonly:
            # Asked here: Courier obeys a STORE in a folder that was opened for reading only.
            raise RefusedError(
                f"the folder {opened.name!r} is open for reading only.",
                stage=command,
                remedy="Open it with readonly=False; if it was, the account may not change this folder.",
            )
        self._for_sets(command, uids, *arguments)

    def _for_sets(self, command: str, uids: Sequence[int], *arguments: str) -> None:
        stream = self._stream
        for text, _ in self._sets(uids, *arguments):
            self._turns.command(command, partial(stream.uid, command, text, *arguments))
            self._copied = stream.untagged_responses.get("COPYUID", self._copied)

    def _sets(self, uids: Sequence[int], *arguments: str) -> Iterable[tuple[str, list[int]]]:
        return commands.uid_sets(uids, MAX_COMMAND_BYTES - commands.OVERHEAD - sum(map(len, arguments)))

    def _mailbox(self, folder: str) -> str:
        """The name as a quoted string in modified UTF-7 (RFC 9051 appendix A)."""
        from imapclient.imap_utf7 import encode

        return commands.quoted(encode(commands.check_folder(folder)).decode("ascii"))

    def _number(self, key: str) -> int | None:
        values: list[Any] = self._stream.untagged_responses.get(key, [])
        return int(values[-1]) if values else None

    def _require_folder(self, stage: str) -> FolderStatus:
        if self._opened is None:
            raise ImapError("no folder is open.", stage=stage, remedy="Open one with select() first.")
        return self._opened

    def _require_capability(self, command: str, capability: str) -> None:
        if not self.has(capability):
            raise RefusedError(
                f"the server does not have {capability}.",
                stage=command,
                remedy="Do without this command on this server, or ask its operator.",
            )
