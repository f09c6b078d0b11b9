"""A TCP line between a client and a server that can be made as bad as real networks are, at once or by a seeded plan.

It listens on loopback and passes bytes on, until it is told to cut, reset, refuse, stall, drip, inject or swallow. What
a black hole has swallowed stays dead: the old connections are silent for ever, as after a firewall has forgotten them,
while the kernel goes on acknowledging every byte. On a line without TLS it also sees what passes by, so that a test can
act in the very moment in which a command or an answer is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from tests.servers.dovecot import HOST

__all__ = ["Fault", "RoughLine", "plan"]

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds for the line's own thread to carry out a command."""
CHUNK = 65536
KINDS = ("cut", "reset", "stall", "drip", "swallow", "refuse", "inject")
NOISE = (
    b"* 7 EXISTS\r\n",
    b"* BYE\r\n",
    b"\x00\xff\x16garbage\r\n",
    b"A1 OK\r\n",
    b"* OK [ALERT] noise\r\n",
    b"{9}\r\n",
)
"""What is injected: on an encrypted line any of it breaks the record, on a plain one it is part of the conversation."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    :param after: seconds of good weather before it.
    :param kind: one of :data:`KINDS`.
    :param lasts: seconds until the line is good again.
    """

    after: float
    kind: str
    lasts: float


def plan(rng: random.Random, seconds: float) -> list[Fault]:
    """Make faults for about so many seconds."""
    faults: list[Fault] = []
    while (spent := sum(fault.after + fault.lasts for fault in faults)) < seconds:
        kind = rng.choice(KINDS)
        lasts = 0.0 if kind in ("cut", "reset", "inject") else rng.uniform(1, 6)
        faults.append(Fault(rng.uniform(0.2, 3), kind, min(lasts, max(seconds - spent, 1.0))))
    return faults


@dataclass(eq=False)
class _Pair:
    """One connection of a client, and the one to the server that belongs to it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    dead: bool = False
    pumps: list[asyncio.Task[None]] = field(default_factory=list)


@dataclass
class _Moment:
    """Something to do while certain bytes are held at the line."""

    pattern: bytes
    act: Callable[[], None]
    passed: bool
    left: int


class RoughLine:
    """One line to one server; a context manager.

    :param port: the server's port.

    :ivar port: where clients connect to instead.
    :ivar accepted: how many connections there have been.
    """

    def __init__(self, port: int, host: str = HOST) -> None:
        self._target = (host, port)
        self.host = host
        self.port = 0
        self.accepted = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rough line", daemon=True)
        self._pairs: set[_Pair] = set()
        self._moments: list[_Moment] = []
        self._flowing = asyncio.Event()
        self._rate = 0.0
        self._swallowing = self._refusing = False

    def __enter__(self) -> RoughLine:
        self._thread.start()
        self._call(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the line and all that passes over it."""
        if self._loop.is_closed():
            return
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    # -- weather --------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """End all connections politely (FIN)."""
        self._call(self._end_all(reset=False))

    def reset(self) -> None:
        """Tear all connections down (RST)."""
        self._call(self._end_all(reset=True))

    def refuse(self) -> None:
        """Tear down every new connection, until :meth:`flow`; the old ones go on."""
        self._call(self._set(refusing=True))

    def stall(self) -> None:
        """Hold all bytes, until :meth:`flow`; none is lost."""
        self._call(self._set(flowing=False))

    def drip(self, bytes_per_second: float) -> None:
        """Let bytes through one by one, until :meth:`flow`."""
        self._call(self._set(rate=bytes_per_second))

    def swallow(self) -> None:
        """Black hole: accept everything and answer nothing, until :meth:`flow`; these connections never recover."""
        self._call(self._set(swallowing=True))

    def inject(self, data: bytes) -> None:
        """Send bytes to all clients that the server has not sent."""
        self._call(self._inject(data))

    def flow(self) -> None:
        """Good weather."""
        self._call(self._set())

    def suffer(self, faults: list[Fault], rng: random.Random, stopping: threading.Event) -> None:
        """Play a plan, in the caller's thread; good weather afterwards."""
        for fault in faults:
            if stopping.wait(fault.after):
                break
            if fault.kind == "drip":
                self.drip(rng.uniform(50, 400))
            elif fault.kind == "inject":
                self.inject(rng.choice(NOISE))
            else:
                getattr(self, fault.kind)()
            stopping.wait(fault.lasts)
            self.flow()
        self.flow()

    def at(self, pattern: bytes, act: Callable[[], None], *, passed: bool = False, times: int = 1) -> None:
        """Call ``act`` while the next bytes with this pattern are at the line, in either direction.

        :param passed: let the bytes pass first.
        :param times: how often.
        """
        self._moments.append(_Moment(pattern, act, passed, times))

    @property
    def moments_left(self) -> int:
        """How many of the moments have not come yet."""
        return sum(moment.left for moment in self._moments)

    # -- in the line's own thread -----------------------------------------------------------------------------------

    def _call(self, what: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(what, self._loop)
        return future.result(PATIENCE)

    async def _open(self) -> None:
        self._flowing.set()
        self._listener = await asyncio.start_server(self._serve, self.host, 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._listener.close()
        self._flowing.set()
        await self._end_all(reset=True)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _set(
        self, *, flowing: bool = True, rate: float = 0.0, swallowing: bool = False, refusing: bool = False
    ) -> None:
        self._rate, self._swallowing, self._refusing = rate, swallowing, refusing
        if swallowing:
            for pair in self._pairs:
                pair.dead = True
        (self._flowing.set if flowing else self._flowing.clear)()

    async def _inject(self, data: bytes) -> None:
        for pair in self._pairs:
            if not pair.dead:
                pair.client.write(data)

    async def _end_all(self, *, reset: bool) -> None:
        for pair in list(self._pairs):
            self._end(pair, reset=reset)

    def _end(self, pair: _Pair, *, reset: bool) -> None:
        self._pairs.discard(pair)
        for writer in (pair.client, pair.server):
            if writer is not None:
                if reset:
                    _make_rst(writer)
                    writer.transport.abort()
                else:
                    writer.close()
        for pump in pair.pumps:
            pump.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        pair = _Pair(writer, dead=self._swallowing)
        self._pairs.add(pair)
        if self._refusing:
            self._end(pair, reset=True)
            return
        if pair.dead:
            with contextlib.suppress(OSError):
                while await reader.read(CHUNK):
                    pass
            self._end(pair, reset=False)
            return
        try:
            server_reader, pair.server = await asyncio.open_connection(*self._target)
        except OSError:
            self._end(pair, reset=True)
            return
        pair.pumps = [
            asyncio.create_task(self._pump(pair, reader, pair.server)),
            asyncio.create_task(self._pump(pair, server_reader, writer)),
        ]

    async def _pump(self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                if pair.dead:
                    continue
                await self._act_on(data, passed=False)
                await self._flowing.wait()
                await self._write(pair, writer, data)
                await self._act_on(data, passed=True)
        except OSError:
            pass  # one side has torn the connection down; the other one is told below
        if pair.dead and writer is pair.client:
            return  # the server gave up; whoever sits behind a black hole does not hear of it
        self._end(pair, reset=False)

    async def _write(self, pair: _Pair, writer: asyncio.StreamWriter, data: bytes) -> None:
        while data and not pair.dead:
            piece = data[:1] if self._rate else data
            writer.write(piece)
            await writer.drain()
            data = data[len(piece) :]
            if data:
                await asyncio.sleep(1 / self._rate if self._rate else 0)

    async def _act_on(self, data: bytes, *, passed: bool) -> None:
        for moment in self._moments:
            if moment.left and moment.passed is passed and moment.pattern in data:
                moment.left -= 1
                await asyncio.to_thread(moment.act)


def _make_rst(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
