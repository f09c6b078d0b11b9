"""Asks for a connection's settings, which may take for ever: a secrets backend hangs, an answer is lost.

Nobody waits for that without a limit, and whoever goes on without an answer asks no second time meanwhile: Airflow
gives all secrets backends of a triggerer one thread, and what hangs there must not grow by a call of each mailbox and
minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import ImapTimeoutError
from airflow_imap_provider.mailbox import pacing
from airflow_imap_provider.mailbox.waiting import within
from airflow_imap_provider.transport.clock import Clock

__all__ = ["ANSWER_LIMIT", "SettingsSource", "answered"]

log = logging.getLogger(__name__)

ANSWER_LIMIT = 60.0
"""Seconds to wait for an answer: secrets backends ask over the network, each with retries of its own."""

PATIENCE = 300.0
"""Seconds after which a question without an answer is given up, and may be asked again: its answer may be lost, and
where a thread hangs, so many calls more do not matter."""


class SettingsSource:
    """One connection's settings. Everything here happens in the thread of the event loop.

    :param ask: asks Airflow.
    :param name: names the connection's folder in the log.
    :param on_edited: called when a look has found other settings than those of the last :meth:`get`.
    """

    __slots__ = (
        "_ask",
        "_asked_at",
        "_clock",
        "_name",
        "_on_edited",
        "_question",
        "_timer",
        "_used",
        "edited",
        "seen_at",
    )

    def __init__(
        self, ask: Callable[[], Awaitable[Settings]], name: str, clock: Clock, on_edited: Callable[[], None]
    ) -> None:
        self._ask, self._name, self._clock, self._on_edited = ask, name, clock, on_edited
        self._used: Settings | None = None
        self._question: asyncio.Future[Settings] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._asked_at = 0.0
        self.seen_at = 0.0
        """When they were asked for last, in the clock's seconds."""
        self.edited = False
        """Whether a look has found others than :meth:`get` gave last."""

    async def get(self) -> Settings:
        """Return the settings to connect with.

        :raises ImapTimeoutError: there is no answer; the question stays, and the next call waits for the same answer.
        """
        self._used, self.edited = None, False
        question = self._asked()
        try:
            await asyncio.wait((question,), timeout=ANSWER_LIMIT)
            if not question.done():
                raise _no_answer()
            self._used = question.result()
        finally:
            del question  # it knows its error, whose traceback knows this frame: a circle
        self.edited = False
        return self._used

    def look(self) -> None:
        """Begin to look whether they are others by now. Nobody waits for it."""
        self._asked()

    async def have_changed(self, seconds: float) -> bool:
        """Look whether they are others by now; no answer within ``seconds`` is none."""
        question = self._asked()
        await asyncio.wait((question,), timeout=min(seconds, ANSWER_LIMIT))
        return self.edited

    def until_look(self) -> float:
        """Return the seconds until the next look is due; below zero if it was due already."""
        return self.seen_at + pacing.SETTINGS_RENEWAL - self._clock.monotonic()

    def close(self) -> None:
        """Nobody wants to know any more."""
        self._give_up()

    def _asked(self) -> asyncio.Future[Settings]:
        """The question that waits for its answer; another one only if there is none, or it has waited for too long."""
        now = self.seen_at = self._clock.monotonic()
        if self._question is not None and now - self._asked_at > PATIENCE:
            self._give_up()
        if self._question is None:
            self._asked_at = now
            self._question = asyncio.ensure_future(self._ask())
            self._question.add_done_callback(self._answered)
            self._timer = asyncio.get_running_loop().call_later(ANSWER_LIMIT, self._unanswered)
        return self._question

    def _answered(self, question: asyncio.Future[Settings]) -> None:
        # A secrets backend may raise anything; the next attempt to connect tells it.
        answer = None if question.cancelled() or question.exception() is not None else question.result()
        if question is not self._question:
            return  # given up
        self._question = None
        if self._timer is not None:
            self._timer.cancel()
        if answer is not None and answer != self._used:
            self.edited = True
            self._on_edited()

    def _unanswered(self) -> None:
        if self._used is not None:  # without a connection the failure to make one says it
            log.warning(
                "Airflow has not answered within %.0f s what the connection of %s is now, which goes on with what it "
                "was. Check the secrets backends: those of a triggerer share one thread.",
                ANSWER_LIMIT,
                self._name,
            )

    def _give_up(self) -> None:
        # Not waited for: where a thread hangs, the cancellation comes to nothing.
        question, self._question = self._question, None
        if question is not None:
            question.cancel()
        if self._timer is not None:
            self._timer.cancel()


async def answered(settings: Coroutine[Any, Any, Settings]) -> Settings:
    """Wait for settings that are asked for once.

    :raises ImapTimeoutError: there is no answer.
    """
    try:
        return await within(settings, ANSWER_LIMIT)
    except asyncio.TimeoutError:
        raise _no_answer() from None


def _no_answer() -> ImapTimeoutError:
    return ImapTimeoutError(
        f"Airflow has not answered within {ANSWER_LIMIT:.0f} s what this connection's fields are.",
        stage="settings",
        remedy="Check that the secrets backends ([secrets] backend) and Airflow's API answer: the secrets backends of "
        "a triggerer share one thread, and one call that hangs holds up all of them until the triggerer is restarted.",
    )
