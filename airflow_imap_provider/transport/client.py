"""IMAPClient on our stream.

The one place that leans on IMAPClient's private names: ``_create_IMAP4`` to put our stream under it, ``_imap`` and
``_starttls_done`` to keep its state right. A test notices when one of them goes.
"""

from __future__ import annotations

import ssl
from typing import Any

from imapclient import IMAPClient
from imapclient.imapclient import SocketTimeout

from airflow_imap_provider.connection.shared import shared
from airflow_imap_provider.transport.stream import BufferedIMAP4

__all__ = ["StreamClient"]

_NO_TIMEOUT = SocketTimeout(None, None)
"""The stream sets its own before each wait."""


class StreamClient(IMAPClient):  # type: ignore[misc]  # IMAPClient brings no types for subclasses
    """IMAPClient that speaks over a stream that is open already.

    :param stream: connected, greeting read.
    :param implicit: whether it was encrypted from the first byte.
    """

    def __init__(self, stream: BufferedIMAP4, *, implicit: bool) -> None:
        self._stream = stream
        self._starttls_done: bool
        self._cached_capabilities: tuple[bytes, ...] | None
        super().__init__(stream.host, stream.port, ssl=implicit, timeout=_NO_TIMEOUT)
        # IMAPClient sets 5, which writes every literal as repr() to the log: bodies in the log, and twice the memory.
        stream.debug = 0
        del stream._mesg  # its adapter of a logger, which nothing is written to
        # Aware dates; True would give naive ones in this machine's time zone.
        self.normalise_times = False

    def _create_IMAP4(self) -> BufferedIMAP4:  # noqa: N802
        return self._stream

    def _set_read_timeout(self) -> None:
        """Leave the socket alone: the stream sets its timeout before each wait."""

    def capabilities(self) -> Any:
        """What the server can do: the last that it has said, for it may tell before and after it lets somebody in."""
        told = self._stream.untagged_responses.get("CAPABILITY", [])
        del told[:-1]
        found = shared(super().capabilities())
        if self._cached_capabilities:
            self._cached_capabilities = found
        return found

    def starttls(self, ssl_context: ssl.SSLContext | None = None) -> Any:
        """Encrypt with the context of the connection's settings; another one is not accepted.

        :raises TlsError: as :meth:`BufferedIMAP4.starttls`.
        """
        if ssl_context is not None:
            raise ValueError("the connection's settings decide about TLS")
        if self.ssl or self._starttls_done:
            raise self.AbortError("TLS session already established")
        status, words = self._stream.starttls()
        self._checkok("starttls", status, words)
        self._starttls_done = True
        return words[0]
