"""What a handshake with a proxy is made of.

A handshake is a generator: it yields what it wants done and is sent what came of it. So it does no I/O, can be tested
like a transcript, and never holds a byte that belongs to what comes after it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

__all__ = ["Handshake", "Read", "ReadUntil", "Reconnect", "Send", "Step"]


@dataclass(frozen=True)
class Send:
    """Send these bytes. Answered with ``b""``.

    A connection that breaks here is noticed by the next read, so that the proxy's last words are still read.
    """

    data: bytes = field(repr=False)  # credentials are in it


@dataclass(frozen=True)
class Read:
    """Read exactly so many bytes. Answered with them, or with fewer if the proxy closed the connection."""

    size: int


@dataclass(frozen=True)
class ReadUntil:
    """Read up to and including the first of these ends. Answered like :class:`Read`.

    :param limit: bytes; an answer that is as long and has no end is given up, and handed over without one.
    """

    ends: tuple[bytes, ...]
    limit: int


@dataclass(frozen=True)
class Reconnect:
    """Go on with a new connection to the proxy. Answered with ``b""``."""


Step = Send | Read | ReadUntil | Reconnect
Handshake = Generator[Step, bytes, str]
"""Ends when the tunnel is there, and returns the proxy's words with the way of logging in; raises
:class:`~airflow_imap_provider.errors.ProxyError` when it will not be."""
