"""The tokens of this process: one request at a time for each, renewed before they end, shared by all who wait.

It knows neither settings nor endpoints: a key stands for what a token is asked for with, and a function asks. An
endpoint that has just failed is left in peace for a while, whoever comes.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from airflow_imap_provider.errors import (
    AuthenticationError,
    ImapError,
    ImapTimeoutError,
    RefusedError,
    SettingsError,
)
from airflow_imap_provider.transport.clock import Clock, Deadline
from airflow_imap_provider.transport.oauth.answers import Token
from airflow_imap_provider.transport.oauth.limits import (
    CACHED_TOKENS,
    EARLY,
    FAILURE_PAUSE,
    LONGEST_PAUSE,
    RENEWAL_PAUSE,
)
from airflow_imap_provider.transport.oauth.remedies import SILENT, TOKEN_STAGE

__all__ = ["Granted", "TokenCache"]

logger = logging.getLogger(__name__)

Fetch = Callable[[Deadline], Token]


@dataclass(frozen=True)
class Granted:
    """An access token to log in with.

    :param cached: whether it was there already; a mail server that refuses such a one may accept a new one.
    :param age: seconds since it was asked for.
    """

    access_token: str = field(repr=False)
    cached: bool
    age: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class _Held:
    access_token: str = field(repr=False)
    asked_at: float
    renew_at: float
    ends_at: float

    def granted(self, now: float) -> Granted:
        return Granted(self.access_token, cached=True, age=now - self.asked_at)


class _Flight:
    """A request that is under way; who comes meanwhile waits for what it brings."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.access_token = ""
        self.error: ImapError | None = None


class _Entry:
    """What is known by one key.

    :ivar failure: why the last request brought nothing; counts until ``not_before``.
    """

    def __init__(self) -> None:
        self.held: _Held | None = None
        self.flight: _Flight | None = None
        self.failure: ImapError | None = None
        self.not_before = 0.0


class TokenCache:
    """Tokens by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def get(
        self,
        key: bytes,
        clock: Clock,
        deadline: Deadline,
        fetch: Fetch,
        refused: str = "",
        *,
        fresh: bool = False,
    ) -> Granted:
        """A token that lasts for a while.

        :param deadline: how long to wait, whoever asks the endpoint.
        :param fetch: asks the endpoint, within the deadline that it is given.
        :param refused: an access token that a mail server has just refused: this one will not do.
        :param fresh: whether the endpoint is to be asked whatever is known here.
        :raises ImapError: what *fetch* raised, here or for somebody who asked first, maybe a moment ago.
        """
        while True:
            with self._lock:
                entry = self._entry(key)
                now = clock.monotonic()
                held = entry.held
                if held is not None and (fresh or held.access_token == refused or now >= held.ends_at):
                    held = None
                if held is not None and now < held.renew_at:
                    return held.granted(now)
                flight = entry.flight
                leading = flight is None
                if flight is None:
                    if entry.failure is not None and now < entry.not_before and not fresh:
                        raise _copy(entry.failure)
                    flight = entry.flight = _Flight()
            if leading:
                return self._lead(entry, flight, held, clock, deadline, fetch)
            if held is not None:
                # Somebody is renewing it, and it is still good.
                return held.granted(now)
            if not flight.over.wait(deadline.remaining(TOKEN_STAGE, SILENT)):
                raise deadline.missed(TOKEN_STAGE, SILENT)
            if flight.access_token:
                return Granted(flight.access_token, cached=False)
            if flight.error is not None:
                raise _copy(flight.error)
            # Who asked ran out of time, or was interrupted: that is not our affair.

    def _entry(self, key: bytes) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= CACHED_TOKENS:
                oldest = next((key for key, entry in self._entries.items() if entry.flight is None), None)
                if oldest is not None:
                    del self._entries[oldest]
            entry = self._entries[key] = _Entry()
        self._entries.move_to_end(key)
        return entry

    def _lead(
        self, entry: _Entry, flight: _Flight, held: _Held | None, clock: Clock, deadline: Deadline, fetch: Fetch
    ) -> Granted:
        try:
            asked_at = clock.monotonic()
            # A token that is still good needs time to log in with it.
            limit = deadline if held is None else deadline.part(2, TOKEN_STAGE)
            token = fetch(limit)
            flight.access_token = token.access_token
            with self._lock:
                entry.held, entry.failure = _held(token, asked_at), None
            return Granted(token.access_token, cached=False)
        except ImapError as exc:
            return self._failed(entry, flight, held, clock.monotonic(), exc)
        finally:
            with self._lock:
                entry.flight = None
            flight.over.set()

    def _failed(self, entry: _Entry, flight: _Flight, held: _Held | None, now: float, exc: ImapError) -> Granted:
        """What a failed request means: for those who come next, and whether the old token still does.

        :raises ImapError: it does not.
        """
        with self._lock:
            # A time limit is its owner's: who has more time may ask.
            if not isinstance(exc, ImapTimeoutError):
                flight.error = entry.failure = _copy(exc)
                entry.not_before = now + _pause(exc)
            if held is None or now >= held.ends_at or isinstance(exc, (AuthenticationError, SettingsError)):
                raise exc
            pause = max(RENEWAL_PAUSE, entry.not_before - now)
            entry.held = replace(held, renew_at=min(now + pause, held.ends_at))
        logger.debug("The token is not renewed yet, and good for another while: %s", exc)
        return held.granted(now)


def _pause(exc: ImapError) -> float:
    told = exc.retry_after if isinstance(exc, RefusedError) else 0.0
    return min(max(told, FAILURE_PAUSE), LONGEST_PAUSE)


def _held(token: Token, asked_at: float) -> _Held | None:
    if token.lifetime <= 0:
        return None
    ends_at = asked_at + token.lifetime
    return _Held(token.access_token, asked_at, ends_at - min(EARLY, token.lifetime / 2), ends_at)


def _copy(error: ImapError) -> ImapError:
    """The same for another thread, as a traceback belongs to one."""
    return type(error)(error.problem, stage=error.stage, reply=error.reply, remedy=error.remedy)
