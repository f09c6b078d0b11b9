"""What an opening tells about itself while it runs: the stage that it enters, and facts about it.

The Test of a connection listens here, so that it tests the very way that triggers and tasks take. Everybody else
listens with :data:`NO_TRACE`, which does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import ssl

__all__ = ["NO_TRACE", "Trace"]


class Trace(Protocol):
    """Who listens."""

    def enter(self, stage: str) -> None:
        """A stage begins, and the one before it is over; the same one again goes on."""
        ...

    def told(self, stage: str, **facts: object) -> None:
        """Facts about the latest stage of this name."""
        ...

    def encrypted(self, sock: ssl.SSLSocket) -> None:
        """A handshake is over; fingerprints are not compared yet."""
        ...

    @property
    def curious(self) -> bool:
        """Whether to find out who it is that accepts a connection and does not greet."""
        ...


class _Nobody:
    def enter(self, stage: str) -> None:
        pass

    def told(self, stage: str, **facts: object) -> None:
        pass

    def encrypted(self, sock: ssl.SSLSocket) -> None:
        pass

    @property
    def curious(self) -> bool:
        return False


NO_TRACE: Trace = _Nobody()
