"""Reads what is new in a folder since a place, decides what matches, and says how far that went.

Blocking; runs in a worker thread with a session whose folder is open. One call is one bounded batch: it never holds
more than a batch of mails, however many wait. Nothing here marks a mail.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import ImapError, RefusedError
from airflow_imap_provider.mail.conditions import Conditions
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mail.search import search_criteria
from airflow_imap_provider.mailbox.actions import Action
from airflow_imap_provider.mailbox.deciding import due, told
from airflow_imap_provider.mailbox.fetcher import Fetcher
from airflow_imap_provider.mailbox.place import Place, Todo
from airflow_imap_provider.mailbox.poison import HeldUpError
from airflow_imap_provider.mailbox.ranges import UidRanges
from airflow_imap_provider.mailbox.refitting import refit
from airflow_imap_provider.mailbox.searching import finds_substrings, received_since
from airflow_imap_provider.mailbox.unwrapping import require_smime
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Clock
from airflow_imap_provider.transport.throttling import recognise

if TYPE_CHECKING:
    from airflow_imap_provider.transport.session import FolderStatus, Session

__all__ = ["Batch", "Reader", "Wish"]

log = logging.getLogger(__name__)

SEARCH_WINDOW = 50_000
"""UIDs asked for in one SEARCH: imaplib takes lines of 1 MB, which is about 143,000 hits."""

SCAN = 500
"""Mails looked at in one batch at most: bounds its time (Dovecot serves some thousands a second) and its memory."""

FETCH_CHUNK = 100
"""Mails asked for in one FETCH: about 300 KiB of headers and structures."""

ASK_SERVER_ABOVE = 20
"""New mails from which it pays to let the server search first instead of looking at each here."""

EVENT_BYTES = 32 * 1024 - 1024
"""Bytes of payloads in one event; the rest of the 32 KiB is for the stream's name, the range and the brackets.
Airflow sends a run's events to each of its tasks."""

BATCH_SECONDS = 60.0
"""Seconds after which a batch ends with what it has: a slow server must not make it take so long that it is given up,
and begun again, for ever. Airflow fails a subscriber that holds a wake-up for 300. Those who share a connection share
them, since each waits for all others."""


@dataclass(frozen=True)
class Wish:
    """What a reader looks for and hands out.

    :param conn_id: goes into the payloads.
    :param folder: likewise.
    :param conditions: which mails match.
    :param on_match: actions for mails that match.
    :param on_no_match: actions for those that do not.
    :param always: actions for all.
    :param batch_size: mails in one batch at most.
    :param style: ``full`` or ``minimal`` payloads.
    :param headers: names of headers that the payload shows.
    :param text: whether the payload holds the text.
    :param smime: whether S/MIME signatures are checked although no condition asks for it.
    :param code_page: charset for text that declares none.
    :param server_search: whether the server may be asked to leave mails out.
    """

    conn_id: str
    folder: str
    conditions: Conditions
    on_match: tuple[Action, ...] = ()
    on_no_match: tuple[Action, ...] = ()
    always: tuple[Action, ...] = ()
    batch_size: int = 50
    style: str = "full"
    headers: tuple[str, ...] = ()
    text: bool = False
    smime: bool = False
    code_page: str = ""
    server_search: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form of a wish without actions, as a deferred sensor hands it to its trigger."""
        return {
            "conn_id": self.conn_id,
            "folder": self.folder,
            "conditions": self.conditions.dumps(),
            "batch_size": self.batch_size,
            "style": self.style,
            "headers": list(self.headers),
            "text": self.text,
            "smime": self.smime,
            "code_page": self.code_page,
            "server_search": self.server_search,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Wish:
        """Rebuild a wish from :meth:`to_json`'s form."""
        conditions, headers = Conditions.loads(data["conditions"]), tuple(data["headers"])
        return cls(**{**data, "conditions": conditions, "headers": headers})

    @property
    def acts(self) -> bool:
        """Whether any action is asked for: then the folder must be open for writing."""
        return bool(self.on_match or self.on_no_match or self.always)

    @property
    def needs_text(self) -> bool:
        """Whether bodies must be fetched."""
        return self.text or self.conditions.needs_text

    @property
    def needs_smime(self) -> bool:
        """Whether S/MIME signatures must be checked."""
        return self.smime or self.conditions.needs_smime


@dataclass(frozen=True)
class Batch:
    """One step through a folder.

    :param start: the place from which the step was made, fitted to the folder.
    :param place: the place once the batch is handled.
    :param emails: the payloads of the mails that match, in the order of their UIDs.
    :param mails: the mails themselves.
    :param more: whether more is waiting already.
    :param seen: how many mails were looked at here.
    :param arrivals: the session's count of announced arrivals that the batch has certainly seen.
    :param incomplete: the mails among them that were handled without something that the server does not give, or that
        could not be judged, and why: a line each.
    :param notice: what has happened to the folder's UIDs, for the log; empty if they mean the mails of before.
    :param held_up: which mail the folder is not read beyond at present, and why; empty if that is not so.
    :param opening: what opening the folder has said when it was last opened before the end of the batch.
    """

    start: Place
    place: Place
    emails: tuple[dict[str, Any], ...] = ()
    mails: tuple[Mail, ...] = ()
    more: bool = False
    seen: int = 0
    arrivals: int = 0
    incomplete: tuple[str, ...] = ()
    held_up: str = ""
    notice: str = ""
    opening: FolderStatus | None = None

    @property
    def span(self) -> tuple[int, int]:
        """The first and last UID that an event with this batch covers.

        It begins where the event before ended: what lies between matched nothing. So the ranges that consumers keep
        stay contiguous.
        """
        return self.start.covered + 1, self.place.last_uid


@dataclass
class _Harvest:
    """What a batch has gathered so far."""

    emails: list[dict[str, Any]] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    todo: dict[tuple[Action, ...], list[int]] = field(default_factory=dict)
    size: int = 0
    last_uid: int = 0
    last: Mail | None = None
    full: bool = False
    held_up: str = ""
    unjudged: dict[int, str] = field(default_factory=dict)


class Reader:
    """Reads batches for one wish. Keeps nothing but the mails that could not be read yet.

    :param patient: for whoever moves a place, and so never comes back to a mail; see
        :class:`~airflow_imap_provider.mailbox.poison.Suspects`.
    """

    def __init__(self, wish: Wish, *, clock: Clock = SYSTEM_CLOCK, patient: bool = False) -> None:
        self.wish = wish
        self._clock = clock
        self._fetcher = Fetcher(
            wish.conn_id,
            headers=[*wish.conditions.headers, *wish.headers],
            code_page=wish.code_page,
            text=wish.needs_text,
            smime=wish.needs_smime,
            clock=clock,
            patient=patient,
        )
        self._stopped: tuple[FolderStatus, ImapError] | None = None
        self._sound: tuple[FolderStatus, int] | None = None

    def read(self, session: Session, status: FolderStatus, place: Place, *, seconds: float | None = None) -> Batch:
        """Return the next batch after ``place``, or an empty one.

        :param session: its folder must be open; nobody else uses it meanwhile.
        :param status: what opening the folder said.
        :param seconds: after which the batch ends with what it has; :data:`BATCH_SECONDS` if left out.
        :raises ImapError: if the connection breaks; nothing is lost by calling again with the same place.
        """
        if self.wish.needs_smime or (self.wish.needs_text and session.settings.smime.private_key):
            require_smime()
        stopped, self._stopped = self._stopped, None
        if stopped is not None and stopped[0] is status:
            raise stopped[1]
        self._fetcher.suspects.incomplete.clear()
        # Some servers show new mail to SEARCH only after a NOOP (Courier), or in the second SEARCH (Dovecot).
        session.noop()
        arrivals = session.arrivals
        now = self._clock.now()
        sound = self._sound[1] if self._sound is not None and self._sound[0] is status else 0
        fitted = refit(session, status, place, now, sound=sound)
        if fitted.notice:
            self._fetcher.suspects.forget()
        start = fitted.place
        uids, last_uid, more = self._new_uids(session, start, fitted.highest)
        if len(uids) > ASK_SERVER_ABOVE and self.wish.server_search:
            uids = self._ask_server(session, uids, start.last_uid + 1, last_uid, now)
        if len(uids) > SCAN:
            uids, more = uids[:SCAN], True
            last_uid = uids[-1]
        end = self._clock.monotonic() + (BATCH_SECONDS if seconds is None else seconds)
        harvest = self._harvest(session, status, start, uids, now, end)
        if harvest.full or harvest.held_up:
            more = (more or harvest.last_uid < last_uid) and not harvest.held_up
            last_uid = harvest.last_uid
        incomplete = {**self._fetcher.suspects.incomplete, **harvest.unjudged}
        todo = [Todo(UidRanges.of((uid, uid) for uid in of), actions) for actions, of in harvest.todo.items()]
        self._sound = session.folder, last_uid
        return Batch(
            start=start,
            place=start.after(last_uid, harvest.mails, todo, now=self._clock.now(), last=harvest.last),
            emails=tuple(harvest.emails),
            mails=tuple(harvest.mails),
            more=more,
            seen=len(uids),
            arrivals=arrivals,
            incomplete=tuple(why for uid, why in sorted(incomplete.items()) if uid <= last_uid),
            held_up=harvest.held_up,
            notice=fitted.notice,
            opening=session.folder,
        )

    def _new_uids(self, session: Session, place: Place, highest: int) -> tuple[list[int], int, bool]:
        """Return candidates, the UID up to which they are complete, and whether there is more behind that."""
        low, window = place.last_uid + 1, SEARCH_WINDOW
        floor = place.floor
        # What SELECT told of the highest UID may be older than the floor, or missing.
        highest = max(highest, floor.until if floor else 0)
        while low + window <= highest or (floor and low <= floor.until):
            # A backlog: step through it in windows that widen where UIDs are sparse.
            criteria: list[object] = []
            top = min(low + window - 1, highest)
            if floor and low <= floor.until:
                top = min(top, floor.until)
                if floor.unread:
                    criteria.append("UNSEEN")
                if floor.since is not None:
                    criteria += received_since(floor.since)
            uids = sorted(uid for uid in session.search(["UID", f"{low}:{top}", *criteria]) if low <= uid <= top)
            if uids:
                return uids, top, True
            low, window = top + 1, window * 2
        # The last message is returned when nothing is new: n:* is the same as *:n (RFC 3501, section 6.4.8).
        uids = sorted(uid for uid in session.search(["UID", f"{low}:*"]) if uid >= low)
        return uids, max(uids, default=low - 1), False

    def _ask_server(self, session: Session, uids: list[int], low: int, top: int, now: datetime) -> list[int]:
        wish = self.wish
        if wish.on_no_match or wish.always or any(action.when for action in wish.on_match):
            return uids  # these need the outcome of every mail
        criteria = search_criteria(wish.conditions, text=finds_substrings(session), now=now)
        if not criteria:
            return uids
        try:
            hits = set(session.search(["UID", f"{low}:{top}", *criteria]))
        except RefusedError as error:
            if recognise(error.reply):
                raise  # it would take the next command no better
            log.info("the server does not take this search, so every new mail is looked at instead: %s", error)
            return uids
        return [uid for uid in uids if uid in hits]

    def _harvest(
        self, session: Session, status: FolderStatus, place: Place, uids: Sequence[int], now: datetime, end: float
    ) -> _Harvest:
        harvest = _Harvest(last_uid=place.last_uid)
        try:
            self._gather(session, status, place, uids, now, end, harvest)
        except HeldUpError as reason:
            harvest.held_up = str(reason)
        except ImapError as error:
            if harvest.last_uid == place.last_uid:
                raise
            # What there is was read in order, and is not read again. The error waits for the next call.
            # Without its traceback, which knows the session: both would stay as long as the connection is away.
            harvest.full, self._stopped = True, (session.folder, copy.copy(error))
        return harvest

    def _gather(
        self,
        session: Session,
        status: FolderStatus,
        place: Place,
        uids: Sequence[int],
        now: datetime,
        end: float,
        harvest: _Harvest,
    ) -> None:
        for begin in range(0, len(uids), FETCH_CHUNK):
            chunk = uids[begin : begin + FETCH_CHUNK]
            for uid, mail in self._fetcher.fetch(session, status, chunk):
                if place.counts(mail):
                    self._consider_safely(mail, harvest, now)
                if harvest.full:
                    return
                harvest.last_uid, harvest.last = uid, mail
                if self._clock.monotonic() > end:
                    harvest.full = True
                    return

    def _consider_safely(self, mail: Mail, harvest: _Harvest, now: datetime) -> None:
        try:
            self._consider(mail, harvest, now)
        except Exception as error:
            # One mail must never stop the folder, whatever is in it. It cannot be said to match.
            log.exception("mail %s cannot be judged, and is passed over", mail.uid)
            harvest.unjudged[mail.uid] = f"UID {mail.uid}, passed over: it cannot be judged ({type(error).__name__})"

    def _consider(self, mail: Mail, harvest: _Harvest, now: datetime) -> None:
        wish = self.wish
        outcome = wish.conditions.outcome(mail, now)
        matches = wish.conditions.decides(outcome)
        incomplete = mail.uid in self._fetcher.suspects.incomplete
        if matches:
            email = told(wish, mail, incomplete=incomplete)
            size = len(json.dumps(email))
            if harvest.emails and (len(harvest.emails) >= wish.batch_size or harvest.size + size > EVENT_BYTES):
                harvest.full = True
                return
            harvest.emails.append(email)
            harvest.mails.append(mail)
            harvest.size += size
        actions = due(wish, mail, outcome, matches=matches, incomplete=incomplete)
        if actions:
            harvest.todo.setdefault(actions, []).append(mail.uid)

    def mails(self, session: Session, status: FolderStatus, uids: Sequence[int]) -> list[Mail]:
        """Return mails by UID as the conditions see them, without deciding anything; those that are gone are missing.

        :param session: its folder must be open.
        :param status: what opening the folder said.
        :raises ImapError: if the connection breaks.
        """
        return [mail for _, mail in self._fetcher.fetch(session, status, uids)]
