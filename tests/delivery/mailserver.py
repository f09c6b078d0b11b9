"""A mail server with one watched folder, and the twin of :class:`Session` that talks to it: the transport's seam.

It does what real servers do and what cannot be arranged with one at a given command: mail that arrives between two
commands, a hint that never comes, a connection that breaks with a command done or not done, a folder that is made anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import ConnectError, ImapError, LostConnectionError, RefusedError
from airflow_imap_provider.mailbox.removing import copied_mark
from airflow_imap_provider.transport.session import FolderStatus
from tests.delivery.virtual import EPOCH, HostClock, Universe, VirtualLoop, pause

LATENCY = 0.01
"""Seconds that a command takes."""

TEXT = (b"TEXT", b"PLAIN", (b"CHARSET", b"UTF-8"), None, None, b"7BIT", 10, 1)
"""The structure of every mail."""


@dataclass
class StoredMail:
    """A mail in a folder."""

    name: str
    subject: str
    received: datetime
    size: int
    flags: set[str] = field(default_factory=set)

    @property
    def header(self) -> bytes:
        return f"From: a@b.example\r\nSubject: {self.subject}\r\nMessage-ID: <{self.name}>\r\n\r\n".encode()


@dataclass(eq=False)
class Folder:
    """INBOX from one making to the next.

    :param uidvalidity: as a SELECT tells it now.
    """

    uidvalidity: int
    uidnext: int = 1
    mails: dict[int, StoredMail] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """A mail was copied or moved, where that is seen afterwards.

    :param at: when.
    :param by: the clock of the host that had it done.
    """

    folder: str
    mail: StoredMail
    uid: int
    at: float
    by: HostClock
    session: TwinSession
    number: int
    marked: bool = False
    """Whether the original said already that it was copied."""

    @property
    def answered(self) -> bool:
        """Whether the answer has reached who asked for it."""
        return self.number <= self.session.answered


class MailServer:
    """One mailbox. UIDVALIDITY grows with every new INBOX."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.up = True
        self.mute = False
        """Whether it forgets to push in IDLE."""
        self.folder = Folder(100)
        self.changes: list[Change] = []
        """What was moved or copied."""
        self.deleted: list[StoredMail] = []
        self.sessions: list[TwinSession] = []
        self.refusals = 0
        """How many changes are still to be refused."""
        self.refusal = ""
        """In these words."""
        self.slow = 0.0
        """Seconds that a change takes besides."""
        self.unwell = ""
        """With which words every FETCH is refused; nothing while it is well."""
        self.unwell_in_search = False
        """Whether SEARCH is then refused too: it may come from an index."""
        self.poison: set[str] = set()
        """Mails whose header is refused, by name."""
        self.moves = True
        """Whether it has MOVE."""
        self.stale = 0
        """By how much a SELECT tells UIDNEXT too low: from an index that is not kept up."""
        self.short: dict[str, tuple[str, float]] = {}
        """Mails, by name, of which a FETCH that is OK gives less than was asked for: ``nothing``, ``flags`` or ``no
        header``; and until when."""
        self.before_command: Callable[[TwinSession, str], None] = lambda _session, _command: None
        self.after_command: Callable[[TwinSession, str], None] = lambda _session, _command: None

    @property
    def inbox(self) -> dict[int, StoredMail]:
        """The mails that a SELECT shows now, by UID."""
        return self.folder.mails

    @property
    def uidvalidity(self) -> int:
        return self.folder.uidvalidity

    def arrive(self, mail: StoredMail) -> int:
        uid, self.folder.uidnext = self.folder.uidnext, self.folder.uidnext + 1
        self.inbox[uid] = mail
        for session in list(self.sessions):
            if session.within is self.folder:
                session.announce()
        return uid

    def means_others_at(self, uid: int) -> bool:
        """Whether a session may take this UID for that of another mail, and cannot know better."""
        return any(uid < session.others_below for session in self.sessions)

    def lose_connections(self) -> None:
        for session in list(self.sessions):
            session.lose("connection reset")

    def recreate(self, *, restored: bool, sessions: str = "lost") -> None:
        """Make the folder anew, with the mails of before under new UIDs, or empty.

        :param sessions: what becomes of them: ``lost``, or they go on without a word until their next SELECT, in the
            ``old`` folder, where no mail comes any more (Dovecot 2.3 does so), or with the mails of the ``new`` one
            under the UIDVALIDITY that they were told.
        """
        self._renumber(self.uidvalidity + 100, restored=restored, sessions=sessions)

    def forget_uids(self, sessions: str = "lost") -> None:
        """Number the mails anew without saying so, as a restored index does, with most of them gone before."""
        self._renumber(self.uidvalidity, restored=True, sessions=sessions)

    def _renumber(self, uidvalidity: int, *, restored: bool, sessions: str) -> None:
        before = self.folder
        mails = [replace(mail, flags=set(mail.flags)) for mail in before.mails.values()] if restored else []
        self.folder = Folder(uidvalidity, len(mails) + 1, dict(enumerate(mails, 1)))
        if sessions == "lost":
            self.lose_connections()
        elif sessions == "new":
            for session in self.sessions:
                if session.within is not None:
                    session.others_below = max(session.others_below, before.uidnext)
                    session.within = self.folder

    def open_session(self, settings: Settings, *, clock: Any = None) -> TwinSession:
        """Stands for ``airflow_imap_provider.transport.session.open_session``."""
        pause(LATENCY * 4)
        if not self.up:
            raise ConnectError("nobody listens.", stage="tcp")
        session = TwinSession(self, settings)
        self.sessions.append(session)
        return session


class TwinSession:
    """What the provider uses of a session. Each command takes its time, and the world may change meanwhile."""

    greeting = "twin"
    server_name = ""

    def __init__(self, server: MailServer, settings: Settings) -> None:
        self._server, self.settings = server, settings
        self.arrivals = 0
        self._pending = 0
        self._failure: ImapError | None = None
        self._channel: TwinChannel | None = None
        self._status: FolderStatus | None = None
        self.within: Folder | None = None
        """The folder whose mails it sees."""
        self.others_below = 0
        """Below this UID the mails that it sees may be others than those it has seen before."""
        self._changes = 0
        self.answered = 0
        """Changes whose answer has reached the other side."""
        self._by = server.universe.clock

    @property
    def usable(self) -> bool:
        return self._failure is None

    def has(self, capability: str) -> bool:
        return capability in {"IDLE", "UIDPLUS", *(["MOVE"] if self._server.moves else [])}

    def lose(self, words: str) -> None:
        if self._failure is None:
            self._failure = LostConnectionError(words, stage="folder")
            if self in self._server.sessions:
                self._server.sessions.remove(self)
            if self._channel is not None:
                self._channel.lost(self._failure)

    def announce(self) -> None:
        """A mail has arrived: told in IDLE, else with the answer to the next command."""
        self._pending += 1
        if self._channel is not None and not self._server.mute:
            self.hear()
            self._channel.hint()

    def hear(self) -> None:
        self.arrivals, self._pending = self.arrivals + self._pending, 0

    def _command(self, name: str) -> None:
        assert self._channel is None, "a command during IDLE"
        pause(LATENCY / 2)
        self._server.before_command(self, name)
        if self._failure is not None:
            raise self._failure

    def _done(self, name: str) -> None:
        self.hear()
        pause(LATENCY / 2)
        self._server.after_command(self, name)
        if self._failure is not None:
            raise self._failure

    # --- commands -----------------------------------------------------------------------------------------------

    def select(self, folder: str, *, readonly: bool) -> FolderStatus:
        self._command("SELECT")
        now = self.within = self._server.folder
        self.others_below = 0
        uidnext = max(now.uidnext - self._server.stale, 0)
        status = self._status = FolderStatus(folder, now.uidvalidity, uidnext, len(now.mails), readonly)
        self._done("SELECT")
        return status

    def noop(self) -> None:
        self._command("NOOP")
        self._done("NOOP")

    def search(self, criteria: Sequence[object], charset: str | None = None) -> list[int]:
        self._command("SEARCH")
        if self._server.unwell_in_search:
            self._refuse_if_unwell("SEARCH")
        found = [uid for uid, mail in self._mails.items() if self._matches(uid, mail, list(criteria))]
        self._done("SEARCH")
        return found

    def _matches(self, uid: int, mail: StoredMail, criteria: list[Any]) -> bool:
        highest = max(self._mails)
        while criteria:
            key = criteria.pop(0)
            if key == "UID":
                first, _, last = str(criteria.pop(0)).partition(":")
                low = highest if first == "*" else int(first)
                top = low if not last else highest if last == "*" else int(last)
                if not min(low, top) <= uid <= max(low, top):
                    return False
            elif key == "UNSEEN":
                if "\\Seen" in mail.flags:
                    return False
            elif key == "SINCE":
                since = criteria.pop(0)
                assert isinstance(since, date)
                if mail.received.date() < since:
                    return False
            elif key == "BEFORE":
                before = criteria.pop(0)
                assert isinstance(before, date)
                if mail.received.date() >= before:
                    return False
            else:
                raise AssertionError(f"the twin does not know {key}")
        return True

    def fetch(self, uids: Sequence[int], items: Sequence[str]) -> dict[int, dict[bytes, Any]]:
        self._command("FETCH")
        self._refuse_if_unwell("FETCH")
        if any("BODY" in item for item in items):
            names = {mail.name for uid in uids if (mail := self._mails.get(uid))}
            if names & self._server.poison:
                raise RefusedError("the server refuses.", stage="FETCH", reply="it cannot be converted")
        found: dict[int, dict[bytes, Any]] = {}
        for uid in uids:
            mail = self._mails.get(uid)
            how, until = self._server.short.get(mail.name, ("", 0.0)) if mail is not None else ("", 0.0)
            short = how if self._server.universe.now < until else ""
            if mail is not None and short != "nothing":
                answer = found[uid] = {b"UID": uid, b"FLAGS": tuple(flag.encode() for flag in sorted(mail.flags))}
                if short != "flags":
                    told = {b"INTERNALDATE": mail.received, b"RFC822.SIZE": mail.size, b"BODYSTRUCTURE": TEXT}
                    answer.update(told)
                if not short:
                    answer[b"BODY[HEADER.FIELDS (FROM)]"] = mail.header
        self._done("FETCH")
        return found

    def _refuse_if_unwell(self, name: str) -> None:
        if self._server.unwell:
            raise RefusedError("the server refuses.", stage=name, reply=self._server.unwell)

    def _change(self, name: str, uids: Sequence[int], change: Callable[[int, StoredMail], None]) -> None:
        assert self._status is not None
        self._command(name)
        if self._status.readonly:
            raise RefusedError("the folder is open for reading only", stage=name)
        if self._server.refusals:
            self._server.refusals -= 1
            raise RefusedError("not now", stage=name, reply=self._server.refusal)
        pause(self._server.slow)
        self._changes += 1
        for uid in uids:
            if uid in self._mails:
                change(uid, self._mails[uid])
        self._done(name)
        self.answered = self._changes

    @property
    def _mails(self) -> dict[int, StoredMail]:
        assert self.within is not None
        return self.within.mails

    @property
    def folder(self) -> FolderStatus:
        assert self._status is not None
        return self._status

    def forget_copied(self) -> None:
        """It keeps none."""

    def copied_to(self) -> None:
        """A server without COPYUID."""

    def add_flags(self, uids: Sequence[int], flags: Sequence[str]) -> None:
        self._change("STORE", uids, lambda _uid, mail: mail.flags.update(flags))

    def remove_flags(self, uids: Sequence[int], flags: Sequence[str]) -> None:
        self._change("STORE", uids, lambda _uid, mail: mail.flags.difference_update(flags))

    def copy(self, uids: Sequence[int], folder: str) -> None:
        self._change("COPY", uids, lambda uid, mail: self._note(folder, uid, mail))

    def move(self, uids: Sequence[int], folder: str) -> None:
        def move(uid: int, mail: StoredMail) -> None:
            self._note(folder, uid, mail)
            del self._mails[uid]

        self._change("MOVE", uids, move)

    def expunge(self, uids: Sequence[int]) -> None:
        def expunge(uid: int, mail: StoredMail) -> None:
            if "\\Deleted" in mail.flags:
                if self.within is self._server.folder:
                    self._server.deleted.append(mail)
                del self._mails[uid]

        self._change("EXPUNGE", uids, expunge)

    def _note(self, folder: str, uid: int, mail: StoredMail) -> None:
        server = self._server
        if self.within is server.folder:  # what comes out of a deleted folder, nobody sees
            marked = {"\\Deleted", copied_mark(folder)} <= mail.flags
            now = server.universe.now
            server.changes.append(Change(folder, mail, uid, now, self._by, self, self._changes, marked))

    # --- waiting and ending -------------------------------------------------------------------------------------

    def idle_channel(self) -> TwinChannel:
        return TwinChannel(self)

    def logout(self) -> None:
        pause(LATENCY)
        self.close()

    def close(self) -> None:
        self.lose("this side has closed the connection")


class TwinChannel:
    """A stay in IDLE; like the real one it calls back from the loop."""

    def __init__(self, session: TwinSession) -> None:
        self._session = session
        self._over = False

    def start(self, loop: VirtualLoop, on_arrival: Callable[[], None], on_lost: Callable[[ImapError], None]) -> None:
        if self._session._failure is not None:
            raise self._session._failure
        self._loop, self._on_arrival, self._on_lost = loop, on_arrival, on_lost
        self._session._channel = self
        # What was announced with nobody looking is told now by some servers, and never by others: never, here.

    def hint(self) -> None:
        self._loop.call_later(LATENCY, lambda: None if self._over else self._on_arrival())

    def lost(self, error: ImapError) -> None:
        self._session._channel = None

        def tell() -> None:
            if not self._over:
                self._over = True
                self._on_lost(error)

        self._loop.call_later(LATENCY, tell)

    async def stop(self) -> None:
        self._session._channel, over, self._over = None, self._over, True
        if not over:
            await asyncio.sleep(LATENCY)
        self._session.hear()
        if self._session._failure is not None:
            raise self._session._failure

    def abandon(self) -> None:
        self._session._channel, self._over = None, True


def received(universe: Universe) -> datetime:
    """INTERNALDATE of a mail that arrives now: whole seconds."""
    return (EPOCH + timedelta(seconds=universe.now)).replace(microsecond=0)
