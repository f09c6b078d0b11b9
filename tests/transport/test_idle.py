from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from airflow_imap_provider.connection.settings import TlsSettings
from airflow_imap_provider.errors import (
    ImapError,
    ImapTimeoutError,
    LostConnectionError,
    ProtocolError,
    RefusedError,
)
from airflow_imap_provider.transport import idle as idling
from airflow_imap_provider.transport import stream as streams
from airflow_imap_provider.transport.idle import IdleChannel
from airflow_imap_provider.transport.session import Session
from tests.servers.dovecot import Dovecot, User
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


# -- what counts as an arrival, and nothing is overlooked -------------------------------------------------------------


async def test_exists_is_an_arrival_and_the_session_works_afterwards(opened: Opener) -> None:
    async with idle_on(opened, AGREE, send("* 4 EXISTS"), done, noop) as owner:
        before = owner.session.arrivals
        await owner.arrived()
        assert owner.session.arrivals == before + 1
        await owner.channel.stop()
        await asyncio.to_thread(owner.session.noop)
        assert owner.lost == []


async def test_exists_in_the_same_packet_as_the_continuation_is_seen(opened: Opener) -> None:
    async with idle_on(opened, send("+ idling", "* 4 EXISTS"), hold) as owner:
        await owner.arrived()


async def test_exists_before_the_continuation_is_seen_and_idle_goes_on(opened: Opener) -> None:
    async with idle_on(opened, send("* 4 EXISTS", "* 1 RECENT", "+ idling", "* 5 EXISTS"), done) as owner:
        before = owner.session.arrivals
        await owner.arrived()
        await owner.channel.stop()
        assert owner.session.arrivals == before + 2


async def test_exists_behind_the_answer_to_the_command_before_is_seen(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.let_in()
        peer.expect("EXAMINE")
        peer.send("* 3 EXISTS", "* OK [UIDVALIDITY 7] valid", f"{peer.tag} OK done", "* 4 EXISTS")
        peer.expect("IDLE")
        peer.send("+ idling")
        peer.wait_for_end()

    with ScriptedServer(script) as server:
        session = await asyncio.to_thread(opened, settings_for(server))
        await asyncio.to_thread(session.select, "INBOX", readonly=True)
        owner = Owner(session)
        owner.start()
        await owner.arrived()
        owner.channel.abandon()
        session.close()


async def test_a_line_that_comes_byte_by_byte_is_one_line(opened: Opener) -> None:
    slowly: Step = lambda peer: peer.drip(b"+ idling\r\n* 4 EXISTS\r\n", 0.002)  # noqa: E731
    async with idle_on(opened, slowly, done) as owner:
        await owner.arrived()
        await owner.channel.stop()
        assert owner.arrivals == 1


async def test_recent_expunge_flags_and_ok_are_no_arrivals(opened: Opener) -> None:
    chatter = ("* 1 RECENT", "* 2 EXPUNGE", "* 1 FETCH (FLAGS (\\Seen))", "* OK EXISTS {5}", "* OK Still here")
    async with idle_on(opened, send("+ idling", *chatter), done) as owner:
        before = owner.session.arrivals
        await agreed(owner)
        await owner.channel.stop()
        assert (owner.arrivals, owner.session.arrivals) == (0, before)


async def test_a_literal_in_an_untagged_line_is_passed_over_wherever_it_is_cut(opened: Opener) -> None:
    literal = b"* 99 EXISTS\r\n+ x\r\n"
    line = b'* 1 FETCH (ENVELOPE {%d}\r\n%s {2}\r\nab "x")\r\n' % (len(literal), literal)
    async with idle_on(opened, AGREE, lambda peer: peer.drip(line, 0.001), send("* 4 EXISTS"), done) as owner:
        before = owner.session.arrivals
        await owner.arrived()
        await owner.channel.stop()
        assert owner.session.arrivals == before + 1


async def test_mail_announced_while_leaving_is_counted(opened: Opener) -> None:
    def leave(peer: Peer) -> None:
        assert peer.line() == "DONE"
        peer.ok("* 4 EXISTS")

    async with idle_on(opened, AGREE, leave) as owner:
        before = owner.session.arrivals
        await agreed(owner)
        await owner.channel.stop()
        assert owner.session.arrivals == before + 1


async def test_a_flood_of_lines_is_read_to_its_end_and_the_loop_gets_its_turn(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idling, "READS_AT_ONCE", 2)
    monkeypatch.setattr(streams, "RECEIVE_BYTES", 1024)
    flood = b"* OK chatter\r\n" * 20_000 + b"* 4 EXISTS\r\n"
    async with idle_on(opened, AGREE, send_raw(flood), hold) as owner:
        turns = 0
        while not owner.arrivals:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10


async def test_what_tls_has_already_decrypted_is_read(
    opened: Opener, tls: ssl.SSLContext, trusting: TlsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One TLS record holds more than all reads of one turn take, so the rest waits inside TLS, not in the socket.
    monkeypatch.setattr(idling, "READS_AT_ONCE", 1)
    monkeypatch.setattr(streams, "RECEIVE_BYTES", 256)

    def script(peer: Peer) -> None:
        peer.serve_inbox()
        peer.expect("IDLE")
        peer.send_raw(b"+ idling\r\n" + b"* OK chatter\r\n" * 500 + b"* 4 EXISTS\r\n")
        done(peer)

    with ScriptedServer(script, tls=tls) as server:
        session = await asyncio.to_thread(opened, settings_for(server, security="implicit", tls=trusting))
        await asyncio.to_thread(session.select, "INBOX", readonly=True)
        owner = Owner(session)
        owner.start()
        await owner.arrived()
        await owner.channel.stop()


# -- losing it --------------------------------------------------------------------------------------------------------


async def test_the_end_of_the_connection_is_told_once(opened: Opener) -> None:
    async with idle_on(opened, AGREE, Peer.close) as owner:
        assert isinstance(await owner.has_lost(), LostConnectionError)
        assert not owner.session.usable
        with pytest.raises(LostConnectionError):
            await owner.channel.stop()
        assert len(owner.lost) == 1


async def test_bye_is_told_with_the_servers_words(opened: Opener) -> None:
    async with idle_on(opened, AGREE, send("* BYE Autologout; idle for too long"), Peer.close) as owner:
        error = await owner.has_lost()
        assert isinstance(error, LostConnectionError)
        assert "Autologout" in error.reply


async def test_mail_announced_just_before_the_end_is_told_before_the_loss(opened: Opener) -> None:
    async with idle_on(opened, send("+ idling", "* 4 EXISTS", "* BYE bye"), hold) as owner:
        await owner.has_lost()
        assert owner.arrivals == 1


@pytest.mark.parametrize("verb", ["NO", "BAD"])
async def test_a_refusal_is_told_and_leaves_the_session_usable(verb: str, opened: Opener) -> None:
    async with idle_on(opened, lambda peer: peer.send(f"{peer.tag} {verb} no idling here"), noop) as owner:
        error = await owner.has_lost()
        assert isinstance(error, RefusedError)
        assert "no idling here" in error.reply
        await owner.channel.stop()
        await asyncio.to_thread(owner.session.noop)


async def test_a_server_that_ends_idle_by_itself_is_told_and_leaves_the_session_usable(opened: Opener) -> None:
    async with idle_on(opened, AGREE, lambda peer: peer.ok(words="enough"), noop) as owner:
        error = await owner.has_lost()
        assert isinstance(error, RefusedError)
        assert "by itself" in error.problem
        await asyncio.to_thread(owner.session.noop)


async def test_no_answer_to_idle_is_a_timeout(opened: Opener) -> None:
    async with idle_on(opened, hold, timeout=0.3) as owner:
        error = await owner.has_lost()
        assert isinstance(error, ImapTimeoutError)
        assert error.stage == "idle"
        assert not owner.session.usable


async def test_an_answer_out_of_step_is_a_protocol_error(opened: Opener) -> None:
    async with idle_on(opened, send("+ idling", "what is this"), hold) as owner:
        assert isinstance(await owner.has_lost(), ProtocolError)
        assert not owner.session.usable


async def test_a_literal_of_4_gb_is_refused(opened: Opener) -> None:
    async with idle_on(opened, send("+ idling", "* 1 FETCH (BODY[] {4294967296}"), hold) as owner:
        assert isinstance(await owner.has_lost(), ProtocolError)


async def test_a_line_without_end_is_refused(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 1000)
    async with idle_on(opened, AGREE, send_raw(b"x" * 5000), hold) as owner:
        assert isinstance(await owner.has_lost(), ProtocolError)


async def test_a_closed_session_wakes_its_channel(opened: Opener) -> None:
    async with idle_on(opened, AGREE, hold) as owner:
        await agreed(owner)
        sock = owner.session.client.socket()
        await asyncio.to_thread(owner.session.close)
        error = await owner.has_lost()
        assert "this side" in error.problem
        assert sock.fileno() == -1


# -- leaving ----------------------------------------------------------------------------------------------------------


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

    async with idle_on(opened, AGREE, ignore, timeout=0.3) as owner:
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


async def test_a_cancelled_stop_makes_the_session_unusable(opened: Opener) -> None:
    def ignore(peer: Peer) -> None:
        assert peer.line() == "DONE"
        peer.wait_for_end()

    async with idle_on(opened, AGREE, ignore) as owner:
        await agreed(owner)
        stop = asyncio.create_task(owner.channel.stop())
        await asyncio.sleep(0)
        stop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stop
        assert not owner.session.usable
        gc.collect()


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


# -- the real server --------------------------------------------------------------------------------------------------


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


async def agreed(owner: Owner) -> None:
    await until(lambda: owner.channel.active, "the server has agreed to IDLE")
