"""IDLE (RFC 2177) on an event loop, without a thread for each mailbox.

The socket is non-blocking and watched by the loop while the channel is attached; what comes is taken from the stream's
one buffer, so nothing is overlooked that came before, with or after the server's ``+``. A line of the server is only a
hint: what is new is asked for afterwards, in the ordinary way.
"""

from __future__ import annotations

import asyncio
import copy
import re
import ssl
from collections.abc import Callable
from enum import Enum

from airflow_imap_provider.errors import (
    ImapError,
    LostConnectionError,
    ProtocolError,
    RefusedError,
)
from airflow_imap_provider.transport.border import Scrubber, ended
from airflow_imap_provider.transport.remedies import ASK_OPERATOR, DEAD_LINE, LATER
from airflow_imap_provider.transport.stream import BufferedIMAP4

__all__ = ["IdleChannel"]

READS_AT_ONCE = 16
"""Reads of 64 KiB before the loop gets its turn again: a server that floods must not hold up all other mailboxes."""

LINES_AT_ONCE = 1000
"""Lines before the loop gets its turn again, for the same reason: some 3 microseconds each."""

_LITERAL = re.compile(rb"\{(\d+)\}$")
_STATUS = re.compile(rb"\* (?:OK|NO|BAD|PREAUTH)\b", re.IGNORECASE)
_BYE = re.compile(rb"\* BYE\b *(.*)", re.IGNORECASE)


class _Phase(Enum):
    NEW = "not started"
    ASKED = "IDLE is sent, the server has not agreed yet"
    IDLING = "the server tells what happens"
    LEAVING = "DONE is sent"
    OVER = "the stream is free for commands, or broken"


class IdleChannel:
    """One stay in IDLE. Everything here happens in the thread of the event loop.

    :param claim: takes the session for this channel.
    :param release: gives it back.
    """

    __slots__ = (
        "_claim",
        "_continued",
        "_deadline",
        "_done",
        "_failure",
        "_goes_on",
        "_literal",
        "_loop",
        "_number",
        "_on_agreed",
        "_on_arrival",
        "_on_lost",
        "_outgoing",
        "_phase",
        "_release",
        "_scrubber",
        "_stream",
        "_tag",
        "_timer",
        "_untold",
    )

    def __init__(
        self,
        stream: BufferedIMAP4,
        scrubber: Scrubber,
        claim: Callable[[str], None],
        release: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._scrubber = scrubber
        self._claim = claim
        self._release = release
        self._phase = _Phase.NEW
        self._outgoing = bytearray()
        self._literal = 0  # bytes of a literal that are still to be passed over
        self._continued = False  # whether the next line goes on with a response that a literal interrupted
        self._goes_on = False  # whether the next turn of the loop reads on
        self._done: asyncio.Future[None] | None = None  # there once stop() was called
        self._failure: ImapError | None = None  # why the connection is of no more use
        self._untold: ImapError | None = None  # what on_lost has to hear

    # -- what the owner calls ---------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether the server has agreed and tells what happens."""
        return self._phase is _Phase.IDLING

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        on_arrival: Callable[[], None],
        on_lost: Callable[[ImapError], None],
        on_agreed: Callable[[], None] | None = None,
    ) -> None:
        """Send IDLE and attach to the loop.

        :param on_arrival: called when mail is announced (EXISTS); several at once may be one call.
        :param on_lost: called at most once, when IDLE ends without :meth:`stop`: the connection broke or said BYE, the
            server refused or ended IDLE, or did not agree within the timeout. The channel is detached by then.
        :raises ImapError: the session is in use or not usable.
        """
        self._claim("idle")
        self._loop = loop
        self._on_arrival = on_arrival
        self._on_lost = on_lost
        self._on_agreed = on_agreed
        self._phase = _Phase.ASKED
        self._tag = self._stream._new_tag()
        self._outgoing += self._tag + b" IDLE\r\n"
        self._stream.sock.setblocking(False)
        self._number = self._stream.sock.fileno()
        self._await_answer()
        loop.add_reader(self._number, self._on_readable)
        # From the loop, not from here: the caller need not expect its callbacks before this returns.
        loop.call_soon(self._on_readable)

    async def stop(self) -> None:
        """Leave IDLE; afterwards the session is used as before.

        Nothing to do if IDLE has ended already. Mail that is announced while leaving counts in ``Session.arrivals``.

        :raises ImapError: the connection broke, now or before, or the server did not confirm within the timeout; it is
            not told to ``on_lost`` too.
        """
        if not self._attached:
            if self._failure is not None:
                raise copy.copy(self._failure)
            return
        if self._done is None:
            self._done = self._loop.create_future()
            self._timer.cancel()
            self._await_answer()
            try:
                self._leave()
            except ImapError as exc:
                self._lose(exc)
        try:
            await asyncio.shield(self._done)
        except asyncio.CancelledError:
            # Nobody is left to read the confirmation, so the stream would be out of step.
            self.abandon()
            raise

    def abandon(self) -> None:
        """Detach at once, without a word to the server; a session that was in IDLE is not usable any more."""
        if self._attached:
            self._lose(self._stream.fail(LostConnectionError("IDLE was abandoned.", stage="idle", remedy=LATER)))
        self._untold = None

    # -- what the loop calls ----------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        self._goes_on = False
        self._on_readable()

    def _on_readable(self) -> None:
        if not self._attached or self._goes_on:
            return  # once in a turn of the loop, however much there is
        before = self._stream.arrivals
        more = False
        try:
            self._flush()
            more = self._read()
        except ImapError as exc:
            self._lose(exc)
        if more:
            # What TLS has decrypted already would not make the socket readable again.
            self._goes_on = True
            self._loop.call_soon(self._go_on)
        # Last, and in the order of the lines, so that the owner finds the channel in a state that it can act on.
        if self._stream.arrivals > before and self._done is None:
            self._on_arrival()
        self._tell()

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._number)
        self._on_readable()

    def _await_answer(self) -> None:
        """Give the server its time: to agree, or to confirm the end."""
        self._deadline = self._stream.new_deadline()
        self._timer = self._loop.call_later(self._deadline.left, self._on_silence)

    def _on_silence(self) -> None:
        if self._done is not None:
            missed = self._deadline.missed("idle", DEAD_LINE, "no confirmation of the end of IDLE")
        else:
            missed = self._deadline.missed("idle", what="no answer to IDLE")
        self._lose(self._stream.fail(missed))
        self._tell()

    def _tell(self) -> None:
        error, self._untold = self._untold, None
        if error is not None:
            self._on_lost(error)

    # -- bytes ------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what the socket takes; these are a few bytes, but a socket may take none at all."""
        if not self._outgoing:
            return
        try:
            del self._outgoing[: self._stream.sock.send(self._outgoing)]
        except ssl.SSLWantReadError:
            # TLS wants to hear something first; the next readable moment tries again.
            return
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._loop.add_writer(self._number, self._on_writable)
        except OSError as exc:
            raise self._stream.broken(exc) from exc
        else:
            if self._outgoing:
                self._loop.add_writer(self._number, self._on_writable)

    def _read(self) -> bool:
        """Take in what is there; returns whether there may be more."""
        lines = LINES_AT_ONCE
        for _ in range(READS_AT_ONCE):
            lines = self._consume(lines)
            if not lines:
                return True
            if not self._attached or not self._stream.receive_available():
                return False
        return True

    def _consume(self, lines: int) -> int:
        """Take so many lines at most; returns how many more may be taken."""
        while self._attached and lines:
            if self._literal:
                self._literal -= self._stream.discard(self._literal)
                if self._literal:
                    break
            line = self._stream.next_line()
            if line is None:
                break
            self._take(line)
            lines -= 1
        return lines

    # -- lines ------------------------------------------------------------------------------------------------------

    def _take(self, line: bytes) -> None:
        goes_on, self._continued = self._continued, False
        if not goes_on and not line.startswith(b"* "):
            self._take_other(line)
            return
        if not goes_on and (bye := _BYE.match(line)):
            raise self._stream.fail(ended("idle", self._scrubber.clean(bye.group(1))))
        literal = _LITERAL.search(line)
        if literal and (goes_on or not _STATUS.match(line)):
            self._literal = int(literal.group(1))
            self._stream.check_literal(self._literal)
            self._continued = True

    def _take_other(self, line: bytes) -> None:
        if line.startswith(b"+"):
            if self._phase is _Phase.ASKED:
                self._phase = _Phase.IDLING
                if self._on_agreed is not None:
                    self._loop.call_soon(self._on_agreed)
                if self._done is None:
                    self._timer.cancel()
                else:
                    self._leave()
            return
        tag, _, words = line.partition(b" ")
        if tag != self._tag:
            raise self._stream.fail(
                ProtocolError("the server's answer breaks the protocol.", stage="idle", remedy=ASK_OPERATOR)
            )
        self._end(words)

    def _leave(self) -> None:
        """DONE, once; before the server's ``+`` it would not be understood (RFC 2177)."""
        if self._phase is _Phase.IDLING:
            self._phase = _Phase.LEAVING
            self._outgoing += b"DONE\r\n"
            self._flush()

    def _end(self, words: bytes) -> None:
        """The tagged answer: the stream is free for commands again, whatever it says."""
        agreed = self._phase is not _Phase.ASKED
        self._detach()
        if self._done is not None:
            self._done.set_result(None)
            return
        self._untold = RefusedError(
            "the server has ended IDLE by itself." if agreed else "the server refuses IDLE.",
            stage="idle",
            reply=self._scrubber.clean(words.partition(b" ")[2]),
            remedy="Nothing is lost: such a server is polled every poll_interval seconds instead.",
        )

    # -- the end ----------------------------------------------------------------------------------------------------

    def _lose(self, error: ImapError) -> None:
        error = self._failure = copy.copy(error)  # without its traceback, which leads here: that would be a circle
        self._detach()
        if self._done is None:
            self._untold = copy.copy(error)
        else:
            self._done.set_exception(copy.copy(error))

    @property
    def _attached(self) -> bool:
        return self._phase not in (_Phase.NEW, _Phase.OVER)

    def _detach(self) -> None:
        self._phase = _Phase.OVER
        self._timer.cancel()
        self._loop.remove_reader(self._number)
        self._loop.remove_writer(self._number)
        self._stream.tagged_commands.pop(self._tag, None)
        self._release()
