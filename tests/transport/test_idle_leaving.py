from __future__ import annotations

import asyncio
import gc
import socket
import threading

import pytest

from airflow_imap_provider.errors import (
    ImapError,
    ImapTimeoutError,
    LostConnectionError,
)
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import Opener, settings_for
from tests.transport.watching import AGREE, MAIL, Owner, agreed, done, hold, idle_on, noop


async def test_stopping_before_the_server_agrees_waits_for_it_and_sends_done_once(opened: Opener) -> None:
    stopping = threading.Event()

    def late(peer: Peer) -> None:
        assert stopping.wait(5)
        peer.send("+ idling")

    async with idle_on(opened, late, done, noop) as owner:
        stop = asyncio.gather(owner.channel.stop(), owner.channel.stop())
        await asyncio.sleep(0)
        stopping.set()
        await stop
        await asyncio.to_thread(owner.session.noop)


async def test_stopping_when_the_server_refuses_is_quiet(opened: Opener) -> None:
    async with idle_on(opened, lambda peer: peer.bad("no"), noop) as owner:
        await owner.channel.stop()
        assert owner.lost == []
        await asyncio.to_thread(owner.session.noop)


async def test_stopping_a_channel_that_never_started_is_quiet(opened: Opener) -> None:
    with ScriptedServer(lambda peer: (peer.serve_inbox(), noop(peer))[0]) as server:  # type: ignore[func-returns-value]
        session = await asyncio.to_thread(opened, settings_for(server))
        await asyncio.to_thread(session.select, "INBOX", readonly=True)
        channel = session.idle_channel()
        await channel.stop()
        channel.abandon()
        await asyncio.to_thread(session.noop)


async def test_no_confirmation_of_done_is_a_timeout_that_stop_raises(opened: Opener) -> None:
    def ignore(peer: Peer) -> None:
        assert peer.line() == "DONE"
        peer.wait_for_end()

    async with idle_on(opened, AGREE, ignore, timeout=1) as owner:
        await agreed(owner)
        with pytest.raises(ImapTimeoutError, match="end of IDLE"):
            await owner.channel.stop()
        assert owner.lost == []
        assert not owner.session.usable


async def test_a_loss_while_leaving_is_raised_and_not_told(opened: Opener) -> None:
    def vanish(peer: Peer) -> None:
        assert peer.line() == "DONE"

    async with idle_on(opened, AGREE, vanish) as owner:
        await agreed(owner)
        with pytest.raises(LostConnectionError):
            await owner.channel.stop()
        assert owner.lost == []


async def test_a_loss_that_sending_done_brings_to_light_is_raised(opened: Opener) -> None:
    async with idle_on(opened, AGREE, hold) as owner:
        await agreed(owner)
        # Without a turn of the loop in between: nobody has read the end of the connection yet.
        owner.session.client.socket().shutdown(socket.SHUT_RDWR)
        with pytest.raises(LostConnectionError):
            await owner.channel.stop()
        assert owner.lost == []


async def test_a_cancelled_stop_makes_the_session_unusable(opened: Opener) -> None:
    def ignore(peer: Peer) -> None:
        assert peer.line() == "DONE"
        peer.wait_for_end()

    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with idle_on(opened, AGREE, ignore) as owner:
        await agreed(owner)
        stop = asyncio.create_task(owner.channel.stop())
        await asyncio.sleep(0)
        stop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stop
        assert not owner.session.usable
    del stop, owner
    gc.collect()
    assert complaints == [], "nobody has to fetch an error that nobody waits for"


async def test_an_abandoned_channel_says_nothing_more_and_lets_the_session_go(opened: Opener) -> None:
    async with idle_on(opened, AGREE, hold) as owner:
        await agreed(owner)
        owner.channel.abandon()
        owner.channel.abandon()
        assert not owner.session.usable
        assert owner.lost == []
        sock = owner.session.client.socket()
        owner.session.close()
        assert sock.fileno() == -1


async def test_the_session_is_taken_while_a_channel_is_in_idle(opened: Opener) -> None:
    async with idle_on(opened, AGREE, done, noop) as owner:
        with pytest.raises(ImapError, match="in use"):
            owner.session.noop()
        with pytest.raises(ImapError, match="in use"):
            Owner(owner.session).start()
        await owner.channel.stop()
        await asyncio.to_thread(owner.session.noop)


async def test_the_tag_of_idle_is_forgotten_afterwards(opened: Opener) -> None:
    async with idle_on(opened, AGREE, done) as owner:
        await owner.channel.stop()
        assert owner.session.client._imap.tagged_commands == {}


async def test_a_full_socket_sends_the_rest_when_it_can(opened: Opener) -> None:
    """IDLE and DONE are few bytes, but the socket may take none of them at the moment."""
    read_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.serve_inbox()
        assert read_on.wait(5)
        peer.exactly(filled[0])
        peer.expect("IDLE")
        peer.send("+ idling")
        done(peer)

    filled: list[int] = []
    with ScriptedServer(script) as server:
        session = await asyncio.to_thread(opened, settings_for(server))
        await asyncio.to_thread(session.select, "INBOX", readonly=True)
        sock = session.client.socket()
        sock.setblocking(False)
        filled.append(fill(sock))
        owner = Owner(session)
        owner.start()
        await asyncio.sleep(0)
        read_on.set()
        await owner.channel.stop()


def fill(sock: socket.socket) -> int:
    """Send blanks until the socket takes no more; returns how many."""
    total = 0
    try:
        while True:
            total += sock.send(b" " * 65536)
    except BlockingIOError:
        return total


@pytest.mark.dovecot
@pytest.mark.parametrize("security", ["none", "starttls", "implicit"])
async def test_a_real_server_announces_mail(security: str, opened: Opener, dovecot: Dovecot, user: User) -> None:
    session = await asyncio.to_thread(opened, dovecot.settings(user, security=security))  # type: ignore[arg-type]
    await asyncio.to_thread(session.select, "INBOX", readonly=True)
    for number in (1, 2):
        owner = Owner(session)
        owner.start()
        await asyncio.to_thread(dovecot.deliver, user, MAIL)
        await owner.arrived()
        await owner.channel.stop()
        assert await asyncio.to_thread(session.search, ["ALL"]) == list(range(1, number + 1))


@pytest.mark.dovecot
async def test_a_mail_stored_while_idle_is_starting_is_not_missed(opened: Opener, dovecot: Dovecot, user: User) -> None:
    session = await asyncio.to_thread(opened, dovecot.settings(user))
    await asyncio.to_thread(session.select, "INBOX", readonly=True)
    await asyncio.to_thread(dovecot.deliver, user, MAIL)
    owner = Owner(session)
    owner.start()
    await owner.arrived()
    await owner.channel.stop()


@pytest.mark.dovecot
async def test_a_killed_server_is_noticed_at_once_by_all(opened: Opener) -> None:
    server = await asyncio.to_thread(Dovecot)
    try:
        await asyncio.to_thread(server.start)
        owners = []
        for _ in range(20):
            session = await asyncio.to_thread(opened, server.settings(server.alice))
            await asyncio.to_thread(session.select, "INBOX", readonly=True)
            owners.append(Owner(session))
            owners[-1].start()
        for owner in owners:
            await agreed(owner)
        server.kill()
        for owner in owners:
            assert isinstance(await owner.has_lost(), LostConnectionError)
    finally:
        await asyncio.to_thread(server.remove)
