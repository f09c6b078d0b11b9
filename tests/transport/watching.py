"""Somebody who watches a folder in IDLE, on a server that plays what a test wants to see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from airflow_imap_provider.errors import (
    ImapError,
)
from airflow_imap_provider.transport.idle import IdleChannel
from airflow_imap_provider.transport.session import Session
from tests.servers.scripted import Peer, ScriptedServer
from tests.servers.waiting import until
from tests.transport.conftest import Opener, settings_for

MAIL = b"Subject: hello\r\n\r\ntext\r\n"

Step = Callable[[Peer], None]


class Owner:
    """Who watches a folder: keeps what the channel calls."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.channel: IdleChannel = session.idle_channel()
        self.arrivals = 0
        self.lost: list[ImapError] = []

    def start(self) -> None:
        self.channel.start(asyncio.get_running_loop(), self._arrived, self.lost.append)

    def _arrived(self) -> None:
        self.arrivals += 1

    async def arrived(self, times: int = 1) -> None:
        await until(lambda: self.arrivals >= times, f"{times} arrivals")

    async def has_lost(self) -> ImapError:
        await until(lambda: bool(self.lost), "the loss")
        assert len(self.lost) == 1
        return self.lost[0]


@asynccontextmanager
async def idle_on(opened: Opener, *steps: Step, timeout: float = 5) -> AsyncIterator[Owner]:
    """A channel that has started, on a server that plays these steps after IDLE has arrived."""

    def script(peer: Peer) -> None:
        peer.serve_inbox()
        peer.expect("IDLE")
        for step in steps:
            step(peer)

    with ScriptedServer(script) as server:
        session = await asyncio.to_thread(opened, settings_for(server, timeout=timeout))
        await asyncio.to_thread(session.select, "INBOX", readonly=True)
        owner = Owner(session)
        owner.start()
        try:
            yield owner
        finally:
            owner.channel.abandon()
            session.close()


def send(*lines: str) -> Step:
    return lambda peer: peer.send(*lines)


def send_raw(data: bytes) -> Step:
    return lambda peer: peer.send_raw(data)


def done(peer: Peer) -> None:
    assert peer.line() == "DONE"
    peer.ok()


def noop(peer: Peer) -> None:
    peer.expect("NOOP")
    peer.ok()


def hold(peer: Peer) -> None:
    peer.wait_for_end()


AGREE = send("+ idling")


async def agreed(owner: Owner) -> None:
    await until(lambda: owner.channel.active, "the server has agreed to IDLE")
