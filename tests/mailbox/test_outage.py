"""Losing the connection: said once, given time, and an edited connection is picked up without a restart."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from dataclasses import replace

import pytest

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import ConnectError, RefusedError
from airflow_imap_provider.mailbox.backoff import Backoff
from airflow_imap_provider.mailbox.outage import CONNECTING, KINDS, Reporter
from airflow_imap_provider.mailbox.watcher import FolderWatcher
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK
from tests.mailbox.test_watcher import Reading, scripted_member
from tests.servers.dovecot import Dovecot, User
from tests.servers.hurried import HurriedClock, HurriedLoop
from tests.servers.scripted import Peer, ScriptedServer
from tests.servers.waiting import until


def lines(caplog: pytest.LogCaptureFixture, word: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if word in record.getMessage()]


def test_an_outage_is_one_line_whatever_numbers_its_errors_have(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reporter = Reporter("INBOX of c", SYSTEM_CLOCK)
    assert reporter.state.error == CONNECTING
    reporter.connected("mail")
    for number in range(100):
        reporter.failed(RefusedError(f"throttled for {number} milliseconds", stage="idle"), 300)
        reporter.failed(ConnectError(f"port {number} refused", stage="tcp"), 60)
    assert len(lines(caplog, "not watching")) == 2
    began = reporter.state.since
    reporter.connected("mail")
    reporter.failed(ConnectError("port 7 refused", stage="tcp"), 60)
    assert len(lines(caplog, "not watching")) == 2, "a login alone does not end an outage"
    reporter.connected("mail")
    reporter.well()
    reporter.well()
    assert len(lines(caplog, "watching INBOX of c again")) == 1
    reporter.failed(ConnectError("port 7 refused", stage="tcp"), 60)
    assert len(lines(caplog, "not watching")) == 3
    assert reporter.state.since > began


def test_a_server_with_endless_variations_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    reporter = Reporter("INBOX of c", SYSTEM_CLOCK)
    for letters in itertools.islice(itertools.product("abcdef", repeat=4), 1000):
        reporter.failed(ConnectError("".join(letters), stage="tcp"), 60)
    assert len(lines(caplog, "not watching")) == KINDS
    assert reporter.state.error.startswith("tcp: "), "the state still has the newest"


def test_an_outage_keeps_its_beginning_when_its_error_changes() -> None:
    reporter = Reporter("INBOX of c", SYSTEM_CLOCK)
    reporter.connected("mail")
    reporter.failed(ConnectError("refused", stage="tcp"), 1)
    began = reporter.state
    reporter.failed(ConnectError("unreachable", stage="tcp"), 1)
    assert reporter.state == replace(began, error="tcp: unreachable")


async def test_a_server_that_lets_in_and_drops_is_one_line_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "airflow_imap_provider.mailbox.watcher")
    visits = 0
    enough = threading.Event()

    def drop(peer: Peer) -> None:
        nonlocal visits
        visits += 1
        if visits > 6:
            enough.set()
            peer.wait_for_end()
        peer.serve_inbox()
        peer.send(f"* BYE [UNAVAILABLE] Too many connections, session {visits}")

    # The words ask for a minute; that is looked at in test_backoff.
    monkeypatch.setattr(Backoff, "next", lambda self, error: 0.01)
    with ScriptedServer(drop) as server:
        member = scripted_member(server)
        member.join("dropping")
        await until(enough.is_set, "it has been tried again and again")
        await member.leave()
    assert len(lines(caplog, "not watching")) == 1
    assert len(lines(caplog, "watching INBOX of dropping (")) == 1
    assert "Close other programs on this account" in lines(caplog, "not watching")[0]


class Patient:
    """A member that wants nothing but the safety net, as seldom as can be asked for."""

    poll_interval, idle, acts = 3600.0, True, False

    def wake(self) -> None:
        pass


@pytest.mark.dovecot
def test_an_edited_connection_is_used_within_ten_minutes_however_seldom_the_folder_is_polled(
    dovecot: Dovecot, user: User
) -> None:
    other = Dovecot()
    other.start()
    loop, clock = HurriedLoop(), HurriedClock()
    asked: list[float] = []
    edited_at = 0.0
    now: Settings = dovecot.settings(user, timeout=1000)

    async def settings() -> Settings:
        asked.append(clock.monotonic())
        return now

    async def watch() -> None:
        nonlocal now, edited_at
        watcher = FolderWatcher(settings, "INBOX", "edited", clock=clock)
        watcher.members.add(Patient())
        watcher.start()
        await until(lambda: watcher._channel is not None, "it rests in IDLE")
        now, edited_at = other.settings(other.alice, timeout=1000), clock.monotonic()
        await until(lambda: f"Login: user=<{other.alice.login}>" in other.log(), "the other host is used", 30)
        await until(lambda: watcher._channel is not None, "it rests in IDLE there")
        await watcher.stop()

    try:
        loop.run_until_complete(watch())
        noticed = next(moment for moment in asked if moment > edited_at)
        assert noticed - edited_at < 600
        assert len(asked) == 3, "at the start, when it was edited, and for the new connection"
    finally:
        loop.close()
        other.remove()


async def test_an_edited_password_is_used_at_the_next_reconnect(dovecot: Dovecot, user: User) -> None:
    member = Reading(dovecot.settings(user))
    member.join("edited")
    await until(lambda: member.watcher is not None and member.watcher.state.connected, "it is connected")
    other = dovecot.new_user()
    member.settings = dovecot.settings(other)
    dovecot.kick(user)
    await until(lambda: f"Login: user=<{other.login}>" in dovecot.log(), "the new login is used", 20)
    await until(lambda: member.watcher is not None and member.watcher.connects == 2, "it is connected again")
    await member.leave()


async def test_a_throttled_mailbox_stays_away_as_long_as_the_server_asks(caplog: pytest.LogCaptureFixture) -> None:
    words = "Request is throttled. Suggested Backoff Time: 299961 milliseconds"
    visits = 0

    def refuse(peer: Peer) -> None:
        nonlocal visits
        visits += 1
        peer.greet()
        peer.expect("AUTHENTICATE")
        peer.bad(words)
        peer.wait_for_end()

    with ScriptedServer(refuse) as server:
        member = scripted_member(server)
        member.join("throttled")
        await until(lambda: bool(lines(caplog, "not watching")), "it is reported")
        await asyncio.sleep(1)
        await member.leave()
    assert visits == 1
    (line,) = lines(caplog, "not watching")
    assert words in line
    assert "passes by itself" in line
    assert 299 < float(line.rsplit("Trying again in ", maxsplit=1)[1].split(" ")[0]) < 300 * 1.31
