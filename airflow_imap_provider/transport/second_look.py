"""What a Test finds out when encryption failed: whose certificate was refused, or who it is that speaks no TLS.

Asked on a connection of its own, made like the first one (same proxy, same budget). Nothing is sent on it beyond what
begins the encryption: no login, no client certificate. An ordinary session never asks: it has been told not to trust
this server.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace

from airflow_imap_provider.connection.settings import Settings, TlsSettings
from airflow_imap_provider.errors import CertificateError, ImapError, NotTlsError, ProtocolError, TlsError
from airflow_imap_provider.transport.border import Scrubber, guarded
from airflow_imap_provider.transport.client import StreamClient
from airflow_imap_provider.transport.clock import Clock, Deadline
from airflow_imap_provider.transport.greetings import IMAP, speaker, words_of
from airflow_imap_provider.transport.remedies import NOT_IMAP
from airflow_imap_provider.transport.stranger import first_words
from airflow_imap_provider.transport.stream import BufferedIMAP4
from airflow_imap_provider.transport.tls import encrypt
from airflow_imap_provider.transport.tls_errors import NOT_TLS
from airflow_imap_provider.transport.trace import Trace

__all__ = ["look_again"]

logger = logging.getLogger(__name__)


def look_again(
    error: TlsError,
    settings: Settings,
    dialled: Callable[[], socket.socket],
    clock: Clock,
    deadline: Deadline,
    scrubber: Scrubber,
    trace: Trace,
) -> None:
    """Find out more about a failed encryption; returns when there is no more to say.

    :param error: why it failed.
    :param dialled: makes another connection to the server, not encrypted.
    :param deadline: the budget of the opening that failed.
    :param trace: is told whose certificate it is.
    :raises TlsError: it is an IMAP server that does not speak TLS from the first byte.
    :raises ProtocolError: it is no IMAP server.
    """
    if isinstance(error, CertificateError):
        try:
            _see_certificate(settings, dialled, clock, deadline, scrubber, trace)
        except (ImapError, OSError) as exc:
            # The first error says what matters; a server that is gone now adds nothing to it.
            logger.debug("The refused certificate cannot be looked at: %s", exc)
    elif isinstance(error, NotTlsError) and settings.security == "implicit":
        words = first_words(dialled, deadline)
        if who := speaker(words):
            reply = words_of(scrubber.clean(words.removeprefix(b"* ")))
            if who == IMAP:
                raise TlsError(
                    "the server speaks IMAP here, but no TLS from the first byte.",
                    stage="tls",
                    reply=reply,
                    remedy=NOT_TLS,
                )
            raise ProtocolError(f"this is {who}, no IMAP server.", stage="tls", reply=reply, remedy=NOT_IMAP)


def _see_certificate(
    settings: Settings,
    dialled: Callable[[], socket.socket],
    clock: Clock,
    deadline: Deadline,
    scrubber: Scrubber,
    trace: Trace,
) -> None:
    """Shake hands without checking anything, tell the trace what the server has shown, and hang up."""

    def shake_hands(sock: socket.socket) -> ssl.SSLSocket:
        return encrypt(sock, _unverified(settings.tls), settings.host, deadline, trace=trace)

    sock = dialled()
    if settings.security == "implicit":
        with sock:
            shake_hands(sock).close()
        return

    def shake_hands_and_leave(sock: socket.socket) -> ssl.SSLSocket:
        shake_hands(sock).close()
        raise _SeenError

    stream = BufferedIMAP4(
        sock,
        settings.host,
        settings.port,
        encrypt=shake_hands_and_leave,
        clock=clock,
        deadline=deadline,
        timeout=settings.timeout,
    )
    try:
        guarded(stream.greet, stream, scrubber)
        guarded(StreamClient(stream, implicit=False).starttls, stream, scrubber, TlsError)
    except _SeenError:
        return
    finally:
        stream.shutdown()


class _SeenError(Exception):
    """Ends a connection whose certificate was seen, before anything is said inside the encryption."""


def _unverified(tls: TlsSettings) -> TlsSettings:
    """The same handshake with nothing to check and nothing to show: a stranger is not told who we are."""
    return replace(
        tls,
        verify="none",
        pins=(),
        ca_bundle="",
        client_certificate="",
        client_private_key="",
        client_private_key_passphrase="",
    )
