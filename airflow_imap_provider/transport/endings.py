"""How a stream ends, in this package's words: what a silence, a closed connection or a socket's error mean at a stage.

Pure functions; the stream notes what they return, and is not used again.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl

from airflow_imap_provider.errors import ImapError, LostConnectionError, TlsError
from airflow_imap_provider.transport.remedies import ASK_OPERATOR, DEAD_LINE, loss_remedy
from airflow_imap_provider.transport.tls_errors import (
    CHOOSE_IMPLICIT,
    CLIENT_CERTIFICATE,
    SPEAKS_TLS,
    client_certificate_problem,
)

__all__ = ["SILENT_GREETING", "SILENT_INSIDE", "broken", "closed", "encrypted_already", "silence_remedy"]

SILENT_GREETING = (
    "Choose Security mode Implicit, if this port speaks TLS from the first byte as 993 does; else check Port (port)."
)
SILENT_INSIDE = "Check Port (port), 993 being usual: a server that greets nobody is overloaded, or no IMAP server."

_TLS_RECORD = re.compile(rb"[\x15\x16]\x03[\x00-\x04]")


def silence_remedy(stage: str, sock: socket.socket) -> str:
    """What to do about a server that says nothing; empty for what is usual at the stage."""
    if stage != "greeting":
        return ""
    return SILENT_INSIDE if isinstance(sock, ssl.SSLSocket) else SILENT_GREETING


def closed(stage: str, received: bytearray) -> ImapError:
    """The error for a server that has closed the connection.

    :param received: what it has said since the last line.
    """
    if stage == "greeting" and _TLS_RECORD.match(received):
        return TlsError(SPEAKS_TLS, stage="tls", remedy=CHOOSE_IMPLICIT)
    return LostConnectionError("the server closed the connection.", stage=stage, remedy=loss_remedy(stage))


def broken(exc: OSError, stage: str, *, opening: bool) -> ImapError:
    """The error for what the socket said.

    :param opening: whether the session is still being opened.
    """
    words = getattr(exc, "reason", None) or exc.strerror or str(exc)
    if opening and isinstance(exc, ssl.SSLError):
        # With TLS 1.3 a server looks at the client's certificate only after the client's handshake is over.
        problem = client_certificate_problem(words)
        return TlsError(
            problem or "the server ended the encryption.",
            stage="tls" if problem else stage,
            reply=words,
            remedy=CLIENT_CERTIFICATE if problem else ASK_OPERATOR,
        )
    remedy = DEAD_LINE if exc.errno == errno.ETIMEDOUT and not opening else loss_remedy(stage)
    return LostConnectionError(f"the connection broke ({words}).", stage=stage, remedy=remedy)


def encrypted_already(_: socket.socket) -> ssl.SSLSocket:
    """What a handshake is on a connection that is open and encrypted."""
    raise TlsError("the connection is encrypted already.", stage="starttls", remedy="Leave starttls() out.")
