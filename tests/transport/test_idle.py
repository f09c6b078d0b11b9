from __future__ import annotations

import asyncio
import ssl

import pytest

from airflow_imap_provider.connection.settings import TlsSettings
from airflow_imap_provider.errors import (
    ImapTimeoutError,
    LostConnectionError,
    ProtocolError,
    RefusedError,
)
from airflow_imap_provider.transport import idle as idling
from airflow_imap_provider.transport import stream as streams
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import Opener, settings_for
from tests.transport.watching import AGREE, Owner, Step, agreed, done, hold, idle_on, noop, send, send_raw


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


async def test_the_end_of_the_connection_is_told_once(opened: Opener) -> None:
    async with idle_on(opened, AGREE, Peer.close) as owner:
        assert isinstance(await owner.has_lost(), LostConnectionError)
        assert not owner.session.usable
        with pytest.raises(LostConnectionError):
            await owner.channel.stop()
        assert len(owner.lost) == 1


async def test_a_reset_connection_is_told(opened: Opener) -> None:
    async with idle_on(opened, AGREE, Peer.reset) as owner:
        assert isinstance(await owner.has_lost(), LostConnectionError)


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
    async with idle_on(opened, hold, timeout=1) as owner:
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


async def test_a_flood_of_lines_is_taken_in_turns_that_leave_the_loop_to_others(opened: Opener) -> None:
    lines = 100_000

    def flood(peer: Peer) -> None:
        peer.send("+ idling")
        peer.send_raw(b"* 1 EXISTS\r\n" * lines)
        peer.wait_for_end()

    async with idle_on(opened, flood) as owner:
        turns = 0
        while owner.session.arrivals < lines:
            before = owner.session.arrivals
            await asyncio.sleep(0)
            turns += 1
            assert owner.session.arrivals - before <= idling.LINES_AT_ONCE
        assert turns >= lines / idling.LINES_AT_ONCE
        owner.channel.abandon()
