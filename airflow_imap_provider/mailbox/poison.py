"""Tells a mail that cannot be read from a server that cannot read, so that the one does not stop a folder and the other
loses nothing.

Whatever goes wrong with a FETCH may be the mail's fault, or the server's: its storage is away, it has had enough, it is
about to go down. An OK that does not tell what was asked for is no better than a NO. A mail is only blamed if the
server gives another mail's header and body in the same session, and what it holds is only given up after
:data:`PATIENCE`; until then the folder is held up before it, and everybody is told.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import ImapError, ProtocolError, RefusedError
from airflow_imap_provider.mailbox.searching import still_there
from airflow_imap_provider.mailbox.short_answers import HEADER_ITEMS, tells, with_header
from airflow_imap_provider.transport.clock import Clock
from airflow_imap_provider.transport.throttling import recognise

if TYPE_CHECKING:
    from airflow_imap_provider.transport.session import Session

__all__ = ["GoneError", "HeldUpError", "Suspects"]

log = logging.getLogger(__name__)

PATIENCE = 900.0
"""Seconds from a mail's first failure until it is handled without what the server does not give of it. A restart, a
fail-over or a restore takes less; a mail that is really broken delays those behind it by so much."""

PATIENCE_WITH_A_LIMIT = 25 * 3600.0
"""The same if the server says that a limit is reached: some last for a day."""

TRIES = 4
"""Failures in that time at least, each beside a mail that could be read."""

LOSSES = 3
"""Connections lost by a mail until it is asked for without its structure. That costs nothing: it is read whole then."""

RETRY = (60.0, 600.0)
"""First and longest pause in seconds between two tries; it doubles in between."""

LARGEST_PIECE = 100
"""Mails asked for in one FETCH: about 300 KiB of headers and structures."""

SLOW = 10.0
"""Seconds that a FETCH may take until fewer mails are asked for in one: whoever shares the connection waits for it."""

COMPARISONS = 3
"""Other mails that are asked for until one is given: broken ones may lie side by side."""

FEW = 16
"""Mails of which the broken one is looked for at once; before that is done with more, others must be readable."""

NEIGHBOURS = 10_000
"""How far in UIDs another mail is looked for to compare with."""

_HEADER = ""  # what is fetched of a case's mail: the first FETCH, or a part by its name


class HeldUpError(Exception):
    """A mail cannot be read now, and it is too early to give it up: the folder cannot be read beyond it."""


class GoneError(Exception):
    """The mail is not there any more."""


@dataclass
class _Case:
    """What is known of a mail that could not be read.

    :param due: when it may be tried again, on the monotonic clock.
    :param first: when it failed beside a mail that could be read, for the first time.
    :param proven: how often it did.
    :param bare: how many connections it has cost to ask for next to nothing of it.
    :param given_up: whether the last failure came after all the patience there is.
    :param told: whether the log has it.
    """

    due: float = 0.0
    first: float | None = None
    patience: float = PATIENCE
    proven: int = 0
    bare: int = 0
    given_up: bool = False
    told: bool = False
    problem: str = ""


class Suspects:
    """Fetches mails, and keeps those that fail apart from those that do not.

    :param patient: for whoever never comes back to a mail that was passed. Without it a mail that a working server
        refuses is handled at once without what is refused, and nobody is held up.
    """

    def __init__(self, clock: Clock, *, patient: bool) -> None:
        self._clock, self._patient = clock, patient
        self._cases: dict[tuple[int, str], _Case] = {}
        self._at_once = LARGEST_PIECE  # as the server's speed allows
        self._careful = LARGEST_PIECE
        self._careful_until = 0
        self.incomplete: dict[int, str] = {}
        """Mails that were handed out without something that the server does not give, and its words."""

    def answers(
        self, session: Session, uids: Sequence[int], items: Sequence[str]
    ) -> Iterator[tuple[int, Mapping[bytes, Any]]]:
        """Yield what FETCH answers for each mail, in their order; those that are gone are missing.

        :param uids: ascending.
        :raises HeldUpError: when it comes to a mail that is to be tried again later.
        :raises ImapError: the server is not well, has had enough, or the connection is lost; fewer mails are asked for
            at once when it comes to these again.
        """
        begin = 0
        while begin < len(uids):
            size = self._at_once
            if uids[begin] <= self._careful_until:
                size = min(size, self._careful)
            piece = self._piece(uids[begin : begin + size])
            yield from self._read(session, piece, items)
            begin += len(piece)

    def _piece(self, uids: Sequence[int]) -> Sequence[int]:
        """A suspect is fetched alone."""
        known = next((place for place, uid in enumerate(uids) if (uid, _HEADER) in self._cases), len(uids))
        return uids[: max(known, 1)]

    def part(self, session: Session, uid: int, items: Sequence[str], name: str, first: Sequence[str]) -> dict[Any, Any]:
        """Return what FETCH answers for a part of a mail; nothing if it is given up.

        :param name: which part, for the log.
        :param first: what every mail is asked for first, to compare with another one.
        :raises HeldUpError: it is to be tried again later.
        :raises GoneError: the mail was expunged.
        :raises ImapError: as :meth:`answers` does.
        """
        key, case = (uid, name), self._cases.get((uid, name))
        if case is not None and case.given_up:
            self._give_up(uid, name, case.problem)
            return {}
        compared = self._compared(session, key, first)
        try:
            return self._guarded(session, [uid], items).get(uid, {})
        except (ProtocolError, RefusedError) as error:
            if not session.usable:
                self._note(key, error, compared)
                raise
            if isinstance(error, RefusedError) and (self._patient or recognise(error.reply)):
                self._blame(session, key, error, compared, first)
            self._give_up(uid, name, str(error))
            return {}
        except ImapError as error:
            self._note(key, error, compared)
            raise

    def done(self, uid: int) -> None:
        """A mail was handled: nothing more is to be known of it."""
        for key in [key for key in self._cases if key[0] == uid]:
            del self._cases[key]

    def forget(self) -> None:
        """UIDs mean other mails from now on."""
        self._cases.clear()
        self._careful_until = 0

    # --- several mails ------------------------------------------------------------------------------------------

    def _read(
        self, session: Session, uids: Sequence[int], items: Sequence[str], *, whole: bool = True
    ) -> Iterator[tuple[int, Mapping[bytes, Any]]]:
        """Fetch some mails; if they are refused or not understood, halves of them, down to the one that is why.

        :param whole: whether they are no half.
        """
        if len(uids) == 1:
            yield from self._alone(session, uids[0], items)
        else:
            try:
                answers = self._guarded(session, uids, items)
            except (ProtocolError, RefusedError) as error:
                if not session.usable or recognise(error.reply):
                    self._be_careful(uids)
                    raise
                if isinstance(error, RefusedError):
                    # Some servers refuse all if one has been expunged meanwhile.
                    there = still_there(session, uids)
                    if len(there) < len(uids):
                        if there:
                            yield from self._read(session, there, items)
                        return
                    if whole and len(uids) > FEW:
                        # One of themselves will do: all others may be broken ones that were given up.
                        self._other_works(session, uids, items, themselves=True)
                for half in (uids[: len(uids) // 2], uids[len(uids) // 2 :]):
                    yield from self._read(session, half, items, whole=False)
                return
            except ImapError:
                self._be_careful(uids)
                raise
            short = [uid for uid in uids if not tells(answers.get(uid), items)]
            there = still_there(session, short) if short else []
            for uid in uids:
                if uid not in short:
                    yield uid, answers[uid]
                elif uid in there:
                    yield from self._alone(session, uid, items)

    def _be_careful(self, uids: Sequence[int]) -> None:
        """One of these may have done it, or none: ask for fewer at once, so that it is found with few commands."""
        self._careful, self._careful_until = max(len(uids) // 10, 1), uids[-1]

    def _guarded(self, session: Session, uids: Sequence[int], items: Sequence[str]) -> dict[int, dict[bytes, Any]]:
        began = self._clock.monotonic()
        try:
            return session.fetch(uids, items)
        finally:
            took = self._clock.monotonic() - began
            if took > SLOW:
                self._at_once = max(int(len(uids) * SLOW / took), 1)
            elif took < SLOW / 4 and len(uids) >= self._at_once:
                self._at_once = min(self._at_once * 2, LARGEST_PIECE)

    # --- one mail -----------------------------------------------------------------------------------------------

    def _alone(self, session: Session, uid: int, items: Sequence[str]) -> Iterator[tuple[int, Mapping[bytes, Any]]]:
        """Fetch one mail, and if the server or its answer chokes on it, what can be had of it; nothing if gone."""
        key, case = (uid, _HEADER), self._cases.get((uid, _HEADER))
        without_structure = [item for item in items if item != "BODYSTRUCTURE"]
        levels = (items, without_structure, ["FLAGS", "INTERNALDATE"])
        try:
            compared = self._compared(session, key, items)
        except RefusedError as error:
            if not session.usable or recognise(error.reply) or self._level(case) == len(levels) - 1:
                raise
            # The others may be broken, too, and this one be there again.
            try:
                answer = self._told(session, uid, levels[self._level(case)])
            except (ProtocolError, RefusedError):
                raise error from None
            yield uid, answer
            return
        problem = case.problem if case is not None else ""
        for level in range(self._level(case), len(levels)):
            try:
                answer = self._told(session, uid, levels[level])
            except (ProtocolError, RefusedError) as error:
                problem = str(error)
                if not session.usable:
                    self._note(key, error, compared, bare=level == len(levels) - 1)
                    raise
                if isinstance(error, ProtocolError):
                    continue  # it has answered: it would answer the same again
                try:
                    compared = self._blame(session, key, error, compared, items, lossless=level == 0)
                except GoneError:
                    return
            except ImapError as error:
                self._note(key, error, compared, bare=level == len(levels) - 1)
                raise
            else:
                if level == len(levels) - 1:
                    self._give_up(uid, "header", problem)
                yield uid, answer
                return
        self._give_up(uid, "header", problem)
        yield uid, {b"UNREADABLE": True}

    def _told(self, session: Session, uid: int, items: Sequence[str]) -> Mapping[bytes, Any]:
        """Fetch one mail; a header that is not there is asked for once more.

        :raises RefusedError: also if the answer is OK and does not tell what was asked for.
        """
        answer = self._guarded(session, [uid], items).get(uid, {})
        if tells(answer, items):
            return answer
        if tells(answer, ()):
            more = self._guarded(session, [uid], HEADER_ITEMS).get(uid, {})
            if (complete := with_header(answer, more, items)) is not None:
                return complete
            raise RefusedError("the server answers OK and gives no header of the mail.", stage="FETCH")
        raise RefusedError("the server answers OK and leaves the mail out, which it still lists.", stage="FETCH")

    def _level(self, case: _Case | None) -> int:
        if case is None:
            return 0
        if case.given_up:
            return 2 + (case.bare >= LOSSES)
        return int(case.proven >= LOSSES)

    def _compared(self, session: Session, key: tuple[int, str], items: Sequence[str]) -> bool:
        """Before a suspect is tried again: whether the server gives another mail, just before it."""
        case = self._cases.get(key)
        if case is None:
            return False
        if case.due > self._clock.monotonic():
            raise self._held_up(key)
        return self._other_works(session, key[:1], items)

    def _blame(
        self,
        session: Session,
        key: tuple[int, str],
        error: RefusedError,
        compared: bool,
        items: Sequence[str],
        *,
        lossless: bool = False,
    ) -> bool:
        """A mail was refused: return if it may be had with less, else raise.

        :param lossless: whether that costs nothing.
        :returns: whether another mail could be read.
        """
        limit = recognise(error.reply)
        if limit is not None and not (compared and limit.name == "busy"):
            # The server wants to be left alone, or it does with everybody: it is, for as long as its words call for.
            self._note(key, error, compared)
            raise error
        if lossless:
            return compared
        if limit is None:
            if not still_there(session, key[:1]):
                self.done(key[0])
                raise GoneError
            compared = compared or self._other_works(session, key[:1], items)
        if self._note(key, error, compared).given_up or not self._patient:
            return compared
        raise self._held_up(key)

    def _other_works(
        self, session: Session, uids: Sequence[int], items: Sequence[str], *, themselves: bool = False
    ) -> bool:
        """Whether the server gives another mail's header and the beginning of its body; false if there is none.

        :param themselves: whether one of these is good enough, since only all of them together were refused.
        :raises ImapError: it does not.
        """
        near = session.search(["UID", f"{max(uids[0] - NEIGHBOURS, 1)}:{uids[-1] + NEIGHBOURS}"])
        others = sorted(set(near).difference(() if themselves else uids, (suspect for suspect, _ in self._cases)))
        if not others:
            return False
        # Headers and structures may come from an index while the mails themselves are out of reach.
        wanted = [*(item for item in items if item != "BODYSTRUCTURE"), "BODY.PEEK[]<0.512>"]
        refused: RefusedError | None = None
        # The newest is asked for first: older ones may have been given up long ago.
        for other in [others[-1], *random.sample(others[:-1], min(len(others) - 1, COMPARISONS - 1))]:
            try:
                answer = session.fetch([other], wanted).get(other, {})
            except RefusedError as error:
                if not session.usable or recognise(error.reply):
                    raise
                refused = error  # it may be broken, too
            else:
                bodies = [value for key, value in answer.items() if key.startswith(b"BODY[")]
                if bodies and all(isinstance(value, bytes) for value in bodies) and tells(answer, wanted):
                    return True
        if refused is not None:
            raise refused
        return False

    def _note(self, key: tuple[int, str], error: ImapError, compared: bool, *, bare: bool = False) -> _Case:
        now = self._clock.monotonic()
        case = self._cases.get(key)
        if case is None:
            case = self._cases[key] = _Case()
        limit = recognise(error.reply)
        case.problem = str(error)
        case.patience = PATIENCE if limit is None or limit.name == "busy" else PATIENCE_WITH_A_LIMIT
        if compared:
            case.first = now if case.first is None else case.first
            case.bare += bare
            case.proven += 1
            case.given_up = case.given_up or self._over(case)
        # Without a comparison the watcher's back-off says when, or the next poll.
        pause = min(RETRY[0] * 2.0 ** min(case.proven - 1, 20), RETRY[1])
        case.due = now + (pause if compared and not case.given_up else 0.0)
        return case

    def _over(self, case: _Case) -> bool:
        if not self._patient:
            return case.proven > 0
        if case.first is None or case.proven < TRIES:
            return False
        return self._clock.monotonic() - case.first >= case.patience

    def _held_up(self, key: tuple[int, str]) -> HeldUpError:
        case = self._cases[key]
        if not case.told:
            case.told = True
            log.warning(
                "mail %s cannot be read, and the folder is not read beyond it: %s It is tried again for %.0f minutes "
                "while others can be read, and then handled without what the server does not give.",
                key[0],
                case.problem,
                case.patience / 60,
            )
        return HeldUpError(f"UID {key[0]}: {case.problem}")

    def _give_up(self, uid: int, name: str, problem: str) -> None:
        self.incomplete[uid] = f"UID {uid}, without its {name}: {problem}"
        log.error("mail %s is handled without its %s, which the server does not give: %s", uid, name, problem)
