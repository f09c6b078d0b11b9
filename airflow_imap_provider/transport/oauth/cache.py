"""The tokens of this process: one request at a time for each, renewed before they end, shared by all who wait.

It knows neither settings nor endpoints: a key stands for what a token is asked for with, and a function asks.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_imap_provider.errors import AuthenticationError, ImapError, ImapTimeoutError, SettingsError
from airflow_imap_provider.transport.clock import Clock, Deadline
from airflow_imap_provider.transport.oauth.answers import Token
from airflow_imap_provider.transport.oauth.limits import CACHED_TOKENS, EARLY
from airflow_imap_provider.transport.oauth.remedies import SILENT, TOKEN_STAGE

__all__ = ["Granted", "TokenCache"]

logger = logging.getLogger(__name__)

Fetch = Callable[[Deadline], Token]


@dataclass(frozen=True)
class Granted:
    """An access token to log in with.

    :param cached: whether it was there already; a mail server that refuses such a one may accept a new one.
    """

    access_token: str = field(repr=False)
    cached: bool


@dataclass(frozen=True)
class _Held:
    access_token: str = field(repr=False)
    renew_at: float
    ends_at: float


class _Flight:
    """A request that is under way; who comes meanwhile waits for what it brings."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.access_token = ""
        self.error: ImapError | None = None


class _Entry:
    def __init__(self) -> None:
        self.held: _Held | None = None
        self.flight: _Flight | None = None


class TokenCache:
    """Tokens by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def get(self, key: bytes, clock: Clock, deadline: Deadline, fetch: Fetch, refused: str = "") -> Granted:
        """A token that lasts for a while.

        :param deadline: how long to wait, whoever asks the endpoint.
        :param fetch: asks the endpoint, within the deadline that it is given.
        :param refused: an access token that a mail server has just refused: this one will not do.
        :raises ImapError: what *fetch* raised, here or for somebody who asked first.
        """
        while True:
            with self._lock:
                entry = self._entry(key)
                held = entry.held
                now = clock.monotonic()
                if held is not None and (held.access_token == refused or now >= held.ends_at):
                    held = None
                if held is not None and now < held.renew_at:
                    return Granted(held.access_token, cached=True)
                flight = entry.flight
                leading = flight is None
                if flight is None:
                    flight = entry.flight = _Flight()
            if leading:
                return self._lead(entry, flight, held, clock, deadline, fetch)
            if held is not None:
                # Somebody is renewing it, and it is still good.
                return Granted(held.access_token, cached=True)
            if not flight.over.wait(deadline.remaining(TOKEN_STAGE, SILENT)):
                raise deadline.missed(TOKEN_STAGE, SILENT)
            if flight.access_token:
                return Granted(flight.access_token, cached=False)
            if flight.error is not None:
                raise _copy(flight.error)
            # Who asked ran out of time, or was interrupted: that is not our affair.

    def forget(self, key: bytes, access_token: str) -> None:
        """Do not give this one to anybody again."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.held is not None and entry.held.access_token == access_token:
                entry.held = None

    def _entry(self, key: bytes) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
            if len(self._entries) > CACHED_TOKENS:
                oldest = next((key for key, entry in self._entries.items() if entry.flight is None), None)
                if oldest is not None:
                    del self._entries[oldest]
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
                entry.held = _held(token, asked_at)
            return Granted(token.access_token, cached=False)
        except ImapError as exc:
            if not isinstance(exc, ImapTimeoutError):
                flight.error = exc
            if held is None or isinstance(exc, (AuthenticationError, SettingsError)):
                raise
            logger.debug("The token is not renewed yet, and good for another while: %s", exc)
            return Granted(held.access_token, cached=True)
        finally:
            with self._lock:
                entry.flight = None
            flight.over.set()


def _held(token: Token, asked_at: float) -> _Held | None:
    if token.lifetime <= 0:
        return None
    ends_at = asked_at + token.lifetime
    return _Held(token.access_token, ends_at - min(EARLY, token.lifetime / 2), ends_at)


def _copy(error: ImapError) -> ImapError:
    """The same for another thread, as a traceback belongs to one."""
    return type(error)(error.problem, stage=error.stage, reply=error.reply, remedy=error.remedy)
