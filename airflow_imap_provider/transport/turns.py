"""Whose turn it is on a connection: one call at a time, from any thread, and an end that can come at any time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_imap_provider.errors import ImapError, LostConnectionError, RefusedError
from airflow_imap_provider.transport.limits import LOGOUT_LIMIT
from airflow_imap_provider.transport.remedies import LATER

if TYPE_CHECKING:
    # Heavy: imported when a session is opened, not when a DAG file is parsed.
    from airflow_imap_provider.transport.border import Scrubber
    from airflow_imap_provider.transport.stream import BufferedIMAP4

__all__ = ["Turns"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_OWN_SESSION = "Give each thread a session of its own."


class Turns:
    """Gives the stream to one call after the other.

    :param stream: the connection.
    :param scrubber: takes secrets out of the server's words.
    """

    def __init__(self, stream: BufferedIMAP4, scrubber: Scrubber) -> None:
        self._stream = stream
        self._scrubber = scrubber
        self._busy = threading.Lock()
        self._closing = False

    def claim(self, stage: str) -> None:
        """Begin a turn.

        :raises ImapError: it is somebody else's, or the connection is of no use any more.
        """
        if not self._busy.acquire(blocking=False):
            raise ImapError("the session is in use by another call, or in IDLE.", stage=stage, remedy=_OWN_SESSION)
        try:
            self._stream.begin(stage)
        except ImapError:
            self.release()
            raise

    def release(self) -> None:
        """End the turn."""
        self._busy.release()
        if self._closing:
            self.close()

    def exchange(self, stage: str, call: Callable[[], T], refused: type[ImapError] = RefusedError) -> T:
        """Do something within a turn of its own.

        :param refused: what a NO or BAD is at this stage.
        :raises ImapError: whatever goes wrong.
        """
        from airflow_imap_provider.transport.border import guarded

        self.claim(stage)
        try:
            return guarded(call, self._stream, self._scrubber, refused)
        finally:
            self.release()

    def command(self, stage: str, command: Callable[[], tuple[str, Any]]) -> None:
        """Send a command of which only matters that it is done.

        :raises RefusedError: the server refuses.
        """

        def call() -> None:
            status, words = command()
            if status != "OK":
                raise self._stream.error(words)

        self.exchange(stage, call)

    def logout(self) -> None:
        """Say goodbye if the server still listens, and close; never raises."""
        if self._stream.failure is None:
            self._stream.hurry(LOGOUT_LIMIT)
            try:
                self.exchange("LOGOUT", self._stream.logout)
            except ImapError as exc:
                logger.debug("%s", exc)
        self.close()

    def close(self) -> None:
        """End the connection at once.

        Safe from any thread and at any time: a call that waits in another thread ends with LostConnectionError.
        """
        self._closing = True
        self._stream.cut(
            LostConnectionError("this side has closed the connection.", stage=self._stream.stage, remedy=LATER)
        )
        # While somebody uses the socket its number must stay taken; who uses it closes it when done (release).
        if self._busy.acquire(blocking=False):
            try:
                self._stream.shutdown()
            finally:
                self._busy.release()
