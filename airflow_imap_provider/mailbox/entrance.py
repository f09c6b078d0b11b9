"""Where connects queue: so many at once, each host its share, and so many a second.

Ten thousand mailboxes are activated together, or come back together after a server's restart. They enter one after the
other, in the order in which they came. A host that does not answer keeps one thread at most, and those that wait for it
are told at once instead of each finding out for itself; a host that answers gets more and more at once.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar
from weakref import WeakKeyDictionary

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import (
    AuthenticationError,
    ConnectError,
    ExhaustedError,
    ImapError,
    ImapTimeoutError,
    LostConnectionError,
    RefusedError,
    TlsError,
)
from airflow_imap_provider.mailbox.executor import CONNECTORS
from airflow_imap_provider.transport.throttling import recognise

__all__ = ["Entrance", "Turn", "entrance", "route"]

T = TypeVar("T")

PER_HOST = 8
"""Connects to one host at once: half of the threads. At 50 ms a round trip that is some twenty logins a second."""

UNPROVEN = 2
"""Connects at once to a host of which nothing is known yet."""

FOR_PROVEN = 4
"""Threads that hosts without a success cannot have: mailboxes on servers that answer always find one."""

A_SECOND = 50.0
"""Connects to one host that begin in a second, on average: servers count logins a minute and an address."""

BURST = 8
"""Connects to one host that may begin at once before that rate counts."""

UNREACHABLE_STAGES = frozenset({"dns", "tcp", "proxy", "tls", "greeting"})
"""Where a failure speaks of the host, and not of this mailbox."""


def route(settings: Settings) -> Hashable:
    """Return what connections have in common that lead to the same host in the same way."""
    tunnel = settings.tunnel
    return settings.host, settings.port, tunnel.type, tunnel.host, tunnel.port


@dataclass(eq=False)
class _Host:
    name: str
    share: int = UNPROVEN
    running: int = 0
    rate_until: float = 0.0  # the moment up to which the rate is used up
    queued: bool = False  # whether it stands among the hosts that are ready, or has a timer to do so
    turning_away: bool = False  # whether those that wait are being told that it does not answer
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    @property
    def proven(self) -> bool:
        return self.share > UNPROVEN


class Turn:
    """The right to connect, once."""

    def __init__(self, entrance: Entrance, host: _Host) -> None:
        self._entrance, self._host = entrance, host

    async def spend(self, connecting: Awaitable[T]) -> T:
        """Wait for a connect, and give the place to the next."""
        try:
            result = await connecting
        except BaseException as error:
            self._entrance.leave(self._host, error)
            raise
        self._entrance.leave(self._host, None)
        return result


class Entrance:
    """The queue of one event loop."""

    def __init__(self) -> None:
        self._hosts: dict[Hashable, _Host] = {}
        self._ready: deque[_Host] = deque()
        self._held_back: deque[_Host] = deque()
        self._running = 0
        self._unproven = 0

    async def enter(self, key: Hashable, name: str) -> Turn:
        """Wait for a turn to connect.

        :param key: what :func:`route` says.
        :param name: the host's name, for the error.
        :raises ConnectError: the host did not answer another connection while this one waited.
        """
        host = self._hosts.get(key)
        if host is None:
            host = self._hosts[key] = _Host(name)
        granted = asyncio.get_running_loop().create_future()
        host.waiting.append(granted)
        self._offer(host)
        self._dispatch()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self.leave(host, None, used=False)
            raise
        return Turn(self, host)

    def leave(self, host: _Host, error: BaseException | None, *, used: bool = True) -> None:
        """A connect is over.

        :param error: what came of it, if it failed.
        :param used: whether it was tried at all.
        """
        host.running -= 1
        self._running -= 1
        self._unproven -= not host.proven
        if used:
            self._judge(host, error)
        self._offer(host)
        while self._held_back:
            self._ready.append(self._held_back.popleft())
        self._dispatch()

    def _judge(self, host: _Host, error: BaseException | None) -> None:
        was_proven = host.proven
        if isinstance(error, ImapError) and _unreachable(error):
            host.share = 1
            if not host.turning_away:
                self._turn_away(host, error, len(host.waiting))
        elif isinstance(error, ImapError) and recognise(error.reply):
            # It may be about this account only: the others go on, fewer at once.
            host.share = min(host.share, max(host.share // 2, UNPROVEN))
        elif error is None or isinstance(error, (AuthenticationError, RefusedError, TlsError)):
            # Refusing is an answer as well.
            host.share = min(max(host.share, UNPROVEN) + 1, PER_HOST)
        # Those that run still count as what the host is now.
        self._unproven += host.running * (was_proven - host.proven)

    def _turn_away(self, host: _Host, error: ImapError, count: int) -> None:
        """Tell those that wait, one in each turn of the loop: ten thousand in one would hold up everybody else."""
        while host.waiting and host.waiting[0].done():
            host.waiting.popleft()
        host.turning_away = count > 0 and bool(host.waiting)
        if host.turning_away:
            problem = f"{error.stage}: {error.problem}" if error.stage else error.problem
            # With the server's words, which say how long to stay away: those who wait would hear the same.
            host.waiting.popleft().set_exception(
                ConnectError(
                    f"{host.name} did not answer another connection to it just now: {problem}",
                    stage="tcp",
                    reply=error.reply,
                    remedy=error.remedy,
                )
            )
            asyncio.get_running_loop().call_soon(self._turn_away, host, error, count - 1)
        else:
            self._offer(host)
            self._dispatch()

    def _offer(self, host: _Host) -> None:
        """Let a host have its next turn, now or when its rate admits it."""
        if host.queued or host.turning_away or not host.waiting or host.running >= host.share:
            return
        host.queued = True
        loop = asyncio.get_running_loop()
        pause = host.rate_until - BURST / A_SECOND - loop.time()
        if pause > 0:
            loop.call_later(pause, self._ripe, host)
        else:
            self._ready.append(host)

    def _ripe(self, host: _Host) -> None:
        self._ready.append(host)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._ready and self._running < CONNECTORS:
            host = self._ready.popleft()
            if not host.proven and self._unproven >= CONNECTORS - FOR_PROVEN:
                self._held_back.append(host)
                continue
            host.queued = False
            while host.waiting and host.waiting[0].done():
                host.waiting.popleft()
            if not host.waiting or host.turning_away or host.running >= host.share:
                continue
            host.waiting.popleft().set_result(None)
            host.running += 1
            self._running += 1
            self._unproven += not host.proven
            now = asyncio.get_running_loop().time()
            host.rate_until = max(now, host.rate_until) + random.uniform(0.5, 1.5) / A_SECOND
            self._offer(host)


def _unreachable(error: ImapError) -> bool:
    if not isinstance(error, (ConnectError, ImapTimeoutError, LostConnectionError)):
        return False
    return error.stage in UNREACHABLE_STAGES and not isinstance(error, ExhaustedError)


_entrances: WeakKeyDictionary[asyncio.AbstractEventLoop, Entrance] = WeakKeyDictionary()


def entrance() -> Entrance:
    """Return the entrance of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _entrances.get(loop)
    if found is None:
        found = _entrances[loop] = Entrance()
    return found
