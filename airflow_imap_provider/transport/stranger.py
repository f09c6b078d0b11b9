"""Who is it that accepts a connection and does not greet, or speaks no TLS? Only the Test asks, on other connections.

An IMAP server speaks first. A web server waits to be asked, a TLS server for the client's first message; without this
both look like a server that is down. Whoever answers to neither is waited for as before.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from collections.abc import Callable

from airflow_imap_provider.errors import ImapError, ProtocolError, TlsError
from airflow_imap_provider.transport.clock import Deadline
from airflow_imap_provider.transport.greetings import TLS, WEB, speaker
from airflow_imap_provider.transport.limits import STRANGER_LIMIT
from airflow_imap_provider.transport.remedies import NOT_IMAP
from airflow_imap_provider.transport.tls_errors import CHOOSE_IMPLICIT, SPEAKS_TLS

__all__ = ["client_hello", "first_words", "identify"]

logger = logging.getLogger(__name__)

_REQUEST = b"GET / HTTP/1.0\r\n\r\n"
_WORDS = 512
"""Bytes that are looked at: a greeting, or the first lines of a web server's answer."""


def identify(connected: Callable[[], socket.socket], deadline: Deadline) -> None:
    """Ask as a browser does, then as a TLS client does.

    :param connected: makes another connection like the silent one.
    :param deadline: the budget of the opening that waits meanwhile.
    :raises ProtocolError: it is a web server.
    :raises TlsError: it speaks TLS.
    """
    words, encrypted = _answer(connected, _REQUEST, deadline)
    if speaker(words) == WEB:
        reply = words.decode("ascii", "replace")
        raise ProtocolError(f"this is {WEB}, no IMAP server.", stage="greeting", reply=reply, remedy=NOT_IMAP)
    if not encrypted and speaker(_answer(connected, client_hello(), deadline)[0]) == TLS:
        raise TlsError(SPEAKS_TLS, stage="tls", remedy=CHOOSE_IMPLICIT)


def first_words(dialled: Callable[[], socket.socket], deadline: Deadline) -> bytes:
    """The first line of who listens there: a greeting, or the answer to a browser's question if it says nothing.

    :param dialled: makes a connection that is not encrypted.
    :param deadline: the budget of the opening that has failed.
    :returns: empty if it stays silent.
    """
    return _answer(dialled, b"", deadline)[0] or _answer(dialled, _REQUEST, deadline)[0]


def _answer(connected: Callable[[], socket.socket], question: bytes, deadline: Deadline) -> tuple[bytes, bool]:
    """The first line of the answer, and whether the connection is encrypted."""
    try:
        with connected() as sock:
            encrypted = isinstance(sock, ssl.SSLSocket)
            sock.settimeout(min(STRANGER_LIMIT, deadline.remaining("greeting")))
            sock.sendall(question)
            return sock.recv(_WORDS).split(b"\n")[0].strip(b"\r"), encrypted
    except (ImapError, OSError) as exc:
        # No answer is an answer, too: the opening goes on waiting.
        logger.debug("No answer to a question: %s", exc)
        return b"", False


def client_hello() -> bytes:
    """The first message of a TLS handshake, to which only who speaks TLS answers in kind."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is decided by what comes, and nothing else is sent
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):  # it wants the answer, which is not waited for here
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()
