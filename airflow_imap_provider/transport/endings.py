"""Why a connection ended, or why an answer does not come: errors from what the socket said and how far one had got."""

from __future__ import annotations

import re
import socket
import ssl

from airflow_imap_provider.errors import ImapError, LostConnectionError, TlsError
from airflow_imap_provider.transport.remedies import ASK_OPERATOR, loss_remedy
from airflow_imap_provider.transport.tls_errors import (
    CHOOSE_IMPLICIT,
    CLIENT_CERTIFICATE,
    SPEAKS_TLS,
    client_certificate_problem,
)

__all__ = ["broken", "closed", "silence"]

_TLS_RECORD = re.compile(rb"[\x15\x16]\x03[\x00-\x04]")
_SILENT_GREETING = (
    "Choose Security mode Implicit, if this port speaks TLS from the first byte as 993 does; else check Port (port)."
)
_SILENT_INSIDE = "Check Port (port), 993 being usual: a server that greets nobody is overloaded, or no IMAP server."


def silence(stage: str, sock: socket.socket) -> str:
    """What to do about a server that says nothing; empty for what is usual at this stage."""
    if stage != "greeting":
        return ""
    return _SILENT_INSIDE if isinstance(sock, ssl.SSLSocket) else _SILENT_GREETING


def closed(stage: str, unread: bytes | bytearray) -> ImapError:
    """The error for a connection that the server has closed.

    :param unread: what it said before and what was no whole line.
    """
    if stage == "greeting" and _TLS_RECORD.match(unread):
        return TlsError(SPEAKS_TLS, stage="tls", remedy=CHOOSE_IMPLICIT)
    return LostConnectionError("the server closed the connection.", stage=stage, remedy=loss_remedy(stage))


def broken(stage: str, exc: OSError, *, opening: bool) -> ImapError:
    """The error for a connection that broke.

    :param opening: whether the login is not over yet.
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
    return LostConnectionError(f"the connection broke ({words}).", stage=stage, remedy=loss_remedy(stage))
