"""The wire under IMAPClient: imaplib's protocol on a socket of ours, with one buffer of ours.

imaplib and IMAPClient do the parsing; this class decides how bytes come and go: every wait is bounded by one deadline
per answer, sizes are capped, nothing is left over at STARTTLS, and after a timeout or a loss the stream refuses to be
used again. It can be read without blocking, which is what IDLE on an event loop needs.
"""

from __future__ import annotations

import contextlib
import copy
import imaplib
import io
import re
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

from airflow_imap_provider.connection.shared import shared
from airflow_imap_provider.errors import ImapError, ImapTimeoutError, LostConnectionError, ProtocolError
from airflow_imap_provider.transport.clock import Clock, Deadline
from airflow_imap_provider.transport.commands import Literal
from airflow_imap_provider.transport.endings import broken, closed, encrypted_already, silence_remedy
from airflow_imap_provider.transport.limits import (
    GREETING_PATIENCE,
    MAX_ANSWER_BYTES,
    MAX_LINE_BYTES,
    MAX_LITERAL_BYTES,
    MIN_BYTES_PER_SECOND,
    RECEIVE_BYTES,
)
from airflow_imap_provider.transport.remedies import ASK_OPERATOR, LATER, NOT_IMAP
from airflow_imap_provider.transport.tls_errors import no_starttls, tampered
from airflow_imap_provider.transport.trace import NO_TRACE, Trace

__all__ = ["BufferedIMAP4"]

IMAP4_PORT = 143
_EXISTS = re.compile(rb"\* \d+ EXISTS\b", re.IGNORECASE)


class BufferedIMAP4(imaplib.IMAP4):
    """imaplib's client on a connected socket.

    :param sock: connected, and already encrypted if encryption is implicit; owned from now on.
    :param encrypt: runs the TLS handshake on a socket, for STARTTLS.
    :param deadline: the budget for opening the session; holds until :meth:`opened`.
    :param timeout: seconds for each answer after that, within what the opening's deadline itself is within.
    :param trace: who listens.
    :param identify: called once if no greeting comes in a while: raises what it found out, or returns.

    :ivar sock: what is read and written, encrypted from the handshake on.
    :ivar arrivals: ``* n EXISTS`` lines seen so far, in whatever answer.
    :ivar answer: the last command's tagged answer, status and words; ``None`` while it is awaited.
    :ivar failure: why the stream cannot be used any more.
    :ivar first_line: what should be the greeting.
    """

    # What imaplib has in the instance's dictionary is so many attributes that one more dictionary of ours would cost
    # each mailbox 1.5 KiB.
    __slots__ = (
        "_answer_bytes",
        "_buffer",
        "_clock",
        "_deadline",
        "_encrypt",
        "_ending",
        "_identify",
        "_opening",
        "_stage",
        "_timeout",
        "_trace",
        "answer",
        "arrivals",
        "failure",
        "first_line",
        "sock",
    )

    def __init__(
        self,
        sock: socket.socket,
        host: str,
        port: int,
        *,
        encrypt: Callable[[socket.socket], ssl.SSLSocket],
        clock: Clock,
        deadline: Deadline,
        timeout: float,
        trace: Trace = NO_TRACE,
        identify: Callable[[], None] | None = None,
    ) -> None:
        self.sock = sock
        self.arrivals = 0
        self.answer: tuple[str, list[Any]] | None = None
        self.failure: ImapError | None = None
        self.first_line = b""
        self._trace = trace
        self.stage = "greeting"
        self._identify = identify
        self._encrypt = encrypt
        self._clock = clock
        self._deadline = deadline
        self._timeout = timeout
        self._opening = True
        self._buffer = bytearray()
        self._answer_bytes = 0
        self._ending = threading.Lock()
        super().__init__(host, port)

    @property
    def stage(self) -> str:
        """What is being waited for; errors name it, and whoever listens hears of it."""
        return self._stage

    @stage.setter
    def stage(self, stage: str) -> None:
        self._stage = stage
        self._trace.enter(stage)

    # -- the life of the stream -----------------------------------------------------------------------------------

    def greet(self) -> None:
        """Read the greeting and ask for the capabilities (RFC 9051 section 7.1)."""
        try:
            super()._connect()  # type: ignore[misc]  # private: typeshed does not have it
        except self.abort:
            raise
        except self.error as exc:
            announced = " ".join(getattr(self, "capabilities", ()))
            if not announced:
                raise
            problem = "the server speaks neither IMAP4rev1 nor IMAP4."
            raise ProtocolError(problem, stage="capabilities", reply=announced, remedy=NOT_IMAP) from exc

    def opened(self) -> None:
        """From now on each answer has a deadline of its own."""
        self._opening = False
        # Of no more use, and what they hold is much in the sum of all mailboxes.
        self.first_line = b""
        self._identify = None
        if isinstance(self.sock, ssl.SSLSocket):
            self._encrypt = encrypted_already

    def begin(self, stage: str) -> None:
        """Get ready for a command.

        Untagged responses that nobody asked for are forgotten here: they would be taken for this command's answer
        (a FETCH without UID under the wrong mail), and pile up over months.

        :raises ImapError: the stream cannot be used any more.
        """
        self._check()
        self.stage = stage
        self.answer = None
        self.untagged_responses.clear()
        self._start_answer()

    def hurry(self, seconds: float) -> None:
        """From now on give each answer no more than so many seconds."""
        self._timeout = min(self._timeout, seconds)

    def new_deadline(self) -> Deadline:
        """The deadline of an answer that is waited for from now on."""
        return Deadline(self._clock, self._timeout, self._deadline.within)

    def fail(self, failure: ImapError) -> ImapError:
        """Note why the stream cannot be used any more, and return the error to raise; the first reason stays."""
        # Copies, since an instance that is raised again and again grows its traceback; and one that is kept and knows
        # its traceback would be a circle through the stream, which only the garbage collector ends.
        if self.failure is None:
            self.failure = copy.copy(failure)
        return copy.copy(self.failure)

    def cut(self, failure: ImapError) -> None:
        """End the connection at once; safe from any thread, and wakes one that waits in a read."""
        self.fail(failure)
        with self._ending, contextlib.suppress(OSError):  # gone already: which is what was wanted
            # Not SSLSocket.shutdown: that one drops the encryption first, and the waking reader would take what
            # is left in the kernel's buffer for plain text.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def shutdown(self) -> None:
        """Close the socket; only by who uses the stream, since another thread's read must not meet a reused number."""
        self.cut(LostConnectionError("this side has closed the connection.", stage=self.stage, remedy=LATER))
        with self._ending:
            self.sock.close()

    def _check(self) -> None:
        if self.failure is not None:
            raise copy.copy(self.failure)

    def _start_answer(self) -> None:
        self._answer_bytes = 0
        if not self._opening:
            self._deadline = self.new_deadline()

    # -- what imaplib calls -----------------------------------------------------------------------------------------

    def open(self, host: str = "", port: int = IMAP4_PORT, timeout: float | None = None) -> None:  # noqa: ARG002
        """Only note where the socket leads to: it is connected already."""
        self.host = host
        self.port = port

    def send(self, data: Any) -> None:
        """Send all of it, within the deadline of the answer that it leads to."""
        if self.stage == "greeting":
            # imaplib goes on by itself from the greeting to asking for the capabilities.
            self.stage = "capabilities"
            self._identify = None
        view = memoryview(data)
        while view:
            self._check()
            try:
                self.sock.settimeout(self._time_left())
                view = view[self.sock.send(view) :]
            except OSError as exc:
                raise self.broken(exc) from exc

    def readline(self) -> bytes:
        """The next line with its end.

        :raises ProtocolError: it is longer than :data:`MAX_LINE_BYTES`.
        """
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            self._check_line(searched)
            self._receive()
        return self._take_line(end)

    def read(self, size: int) -> bytes:
        """A literal of this size.

        :raises ProtocolError: it is larger than :data:`MAX_LITERAL_BYTES`.
        """
        self.check_literal(size)
        # A BytesIO hands its content over without another copy.
        literal = io.BytesIO()
        while True:
            part = self._buffer[: size - literal.tell()]
            del self._buffer[: len(part)]
            literal.write(part)
            if literal.tell() == size:
                return literal.getvalue()
            self._receive()

    def starttls(self, ssl_context: ssl.SSLContext | None = None) -> Any:  # noqa: ARG002
        """STARTTLS (RFC 9051 section 6.2.1), with the context of the connection's settings.

        :raises TlsError: not offered, refused, the handshake failed, or somebody sent plain text behind the answer.
        """
        self.stage = "starttls"
        if "STARTTLS" not in self.capabilities:
            raise no_starttls()
        status, words = self._simple_command("STARTTLS")
        if status != "OK":
            raise self.error(words)
        if self._buffer:
            # Whoever wrote this was not protected by TLS; taken for the server's words it would be an injection
            # (CVE-2011-0411, and "NO STARTTLS", USENIX Security 2021).
            raise self.fail(tampered())
        self.stage = "tls"
        self.sock = self._encrypt(self.sock)
        self._tls_established = True
        # What was said before TLS counts no more (RFC 9051 section 6.2.1).
        self.untagged_responses.clear()
        self.stage = "capabilities"
        self._get_capabilities()
        return status, words

    def execute(self, words: str, pieces: Sequence[str | Literal], *, literal_plus: bool) -> tuple[str, list[Any]]:
        """Send a command with any number of literals; imaplib can send one, at the end.

        :param words: the command's words, like ``UID SEARCH``.
        :param pieces: its arguments, blanks included.
        :param literal_plus: whether the server takes literals without being asked (LITERAL+, RFC 7888).
        :returns: the tagged answer.
        """
        tag = self._new_tag()
        out = bytearray(tag + b" " + words.encode("ascii"))
        for piece in pieces:
            if isinstance(piece, str):
                out += piece.encode("ascii")
                continue
            out += b"{%d%s}\r\n" % (len(piece.value), b"+" if literal_plus else b"")
            if not literal_plus:
                self.send(out)
                out.clear()
                if not self._asked_to_go_on(tag):
                    return self._complete(words, tag)
            out += piece.value
        self.send(out + b"\r\n")
        return self._complete(words, tag)

    def send_command(self, name: str, *arguments: str) -> bytes:
        """Send a command and do not wait: more may be sent before its answer is read with :meth:`finish_command`.

        :returns: its tag.
        """
        return cast("bytes", self._command(name, *arguments))

    def finish_command(self, name: str, tag: bytes) -> tuple[str, list[Any]]:
        """Wait for the answer to a command that was sent; its time begins now."""
        self._start_answer()
        self.answer = None
        return self._complete(name, tag)

    def _asked_to_go_on(self, tag: bytes) -> bool:
        """Wait for ``+``; ``False`` if the command is answered instead: a refusal."""
        while self._get_response():
            if self.tagged_commands[tag]:
                return False
        return True

    def _complete(self, words: str, tag: bytes) -> tuple[str, list[Any]]:
        return cast("tuple[str, list[Any]]", self._command_complete(words, tag))

    def _get_capabilities(self) -> None:
        super()._get_capabilities()  # type: ignore[misc]
        self.capabilities = shared(self.capabilities)

    def _connect(self) -> None:
        """Not while constructing, as imaplib would: nobody could ask a half-made stream what went wrong."""

    def _new_tag(self) -> bytes:
        # Where every command begins, IMAPClient's own included: whoever takes the client gets the limits too.
        self._start_answer()
        tag: bytes = super()._new_tag()  # type: ignore[misc]
        return tag

    def _get_tagged_response(self, tag: bytes, expect_bye: bool = False) -> tuple[str, list[Any]]:
        answer: tuple[str, list[Any]] = super()._get_tagged_response(tag, expect_bye)  # type: ignore[misc]
        self.answer = answer
        return answer

    def _log(self, line: str) -> None:
        """Keep nothing: imaplib's list of the last ten lines would hold the password."""

    # -- bytes ------------------------------------------------------------------------------------------------------

    def receive_available(self) -> bool:
        """Take in what one read gives, without waiting; the socket must be non-blocking.

        :returns: whether there was anything.
        :raises LostConnectionError: the connection ended.
        """
        self._check()
        try:
            chunk = self.sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as exc:
            raise self.broken(exc) from exc
        self._store(chunk)
        return True

    def next_line(self) -> bytes | None:
        """The next line without its end, if all of it is there."""
        end = self._buffer.find(b"\n")
        if end < 0:
            self._check_line(len(self._buffer))
            return None
        return self._take_line(end).rstrip(b"\r\n")

    def discard(self, size: int) -> int:
        """Drop up to so many bytes that are there; returns how many it were."""
        count = min(size, len(self._buffer))
        del self._buffer[:count]
        return count

    def check_literal(self, size: int) -> None:
        """Refuse a literal that is too large.

        :raises ProtocolError: it is larger than :data:`MAX_LITERAL_BYTES`.
        """
        if size > MAX_LITERAL_BYTES:
            raise self._excess(f"the server announces {size} bytes in one piece; the limit is {MAX_LITERAL_BYTES}.")

    def _take_line(self, end: int) -> bytes:
        line = bytes(memoryview(self._buffer)[: end + 1])
        del self._buffer[: end + 1]
        if self.stage == "greeting":
            self.first_line = line
        if _EXISTS.match(line):
            self.arrivals += 1
        return line

    def _check_line(self, length: int) -> None:
        if length > MAX_LINE_BYTES:
            raise self._excess(f"a line of the server is longer than {MAX_LINE_BYTES} bytes.")

    def _receive(self) -> None:
        self._check()
        try:
            left = self._time_left()
            self.sock.settimeout(left if self._identify is None else min(left, GREETING_PATIENCE))
            chunk = self.sock.recv(RECEIVE_BYTES)
        except OSError as exc:
            if self._identify is not None and isinstance(exc, TimeoutError):
                identify, self._identify = self._identify, None
                identify()
                return
            raise self.broken(exc) from exc
        self._store(chunk)
        self._answer_bytes += len(chunk)
        if self._answer_bytes > MAX_ANSWER_BYTES:
            raise self._excess(f"the answer is larger than {MAX_ANSWER_BYTES} bytes.")
        if not self._opening:
            self._deadline.extend(len(chunk) / MIN_BYTES_PER_SECOND)

    def _store(self, chunk: bytes) -> None:
        if not chunk:
            raise self.fail(closed(self.stage, self._buffer))
        self._buffer += chunk

    def _time_left(self) -> float:
        return self._deadline.remaining(self.stage, silence_remedy(self.stage, self.sock))

    def broken(self, exc: OSError) -> ImapError:
        """Note what the socket said as the end of the stream, and return the error to raise."""
        if isinstance(exc, ImapTimeoutError):
            return self.fail(exc)
        if isinstance(exc, TimeoutError) and exc.errno is None:  # the socket's own; TCP's has a number
            return self.fail(self._deadline.missed(self.stage, silence_remedy(self.stage, self.sock)))
        return self.fail(broken(exc, self.stage, opening=self._opening))

    def _excess(self, problem: str) -> ImapError:
        # The rest of the answer is still under way: nothing after it could be understood.
        return self.fail(ProtocolError(problem, stage=self.stage, remedy=ASK_OPERATOR))
