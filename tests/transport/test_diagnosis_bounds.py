"""What the Test keeps to: one limit for all of it where somebody waits, and no secret that came up on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Settings
from airflow_imap_provider.hooks import imap4
from airflow_imap_provider.transport.diagnosis import diagnose
from airflow_imap_provider.transport.findings import settings_findings
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import settings_for
from tests.transport.oauth_server import OAuthWorld, oauth_servers, world

__all__ = ["oauth_servers", "world"]

LIMIT = 1.0
SLOW = 0.7
"""Seconds of an answer: two of them do not fit into the limit."""


def slow(peer: Peer) -> None:
    peer._server.stopping.wait(SLOW)


def silent_folder(peer: Peer) -> None:
    slow(peer)
    peer.let_in()
    peer.expect("EXAMINE")
    peer.wait_for_end()


def flooding_folder(peer: Peer) -> None:
    """Each byte earns the answer time, but not the whole."""
    peer.let_in()
    peer.expect("EXAMINE")
    while not peer._server.stopping.wait(0.05):
        peer.send(f"* OK {'x' * 200_000}")


def silent_idle(peer: Peer) -> None:
    peer.let_in()
    slow(peer)
    peer.open_inbox()
    peer.expect("IDLE")
    peer.wait_for_end()


def silent_end_of_idle(peer: Peer) -> None:
    peer.serve_inbox()
    peer.expect("IDLE")
    slow(peer)
    peer.send("+ idling")
    assert peer.line() == "DONE"
    peer.wait_for_end()


def silent_goodbye(peer: Peer) -> None:
    peer.serve_inbox("IMAP4rev1 SASL-IR AUTH=PLAIN")
    peer.expect("LOGOUT")
    peer.wait_for_end()


@pytest.mark.parametrize(
    ("script", "stage", "words"),
    [
        (silent_folder, "folder", "no complete answer within 1 s"),
        (flooding_folder, "folder", "no complete answer within 1 s"),
        (silent_idle, "idle", "no answer to IDLE within 1 s"),
        (silent_end_of_idle, "idle", "no confirmation of the end of IDLE within 1 s"),
        (silent_goodbye, None, ""),
    ],
)
def test_the_limit_is_for_all_stages_together(script: Callable[[Peer], None], stage: str | None, words: str) -> None:
    with ScriptedServer(script) as server:
        began = time.monotonic()
        report = diagnose(settings_for(server, timeout=30), limit=LIMIT)
        took = time.monotonic() - began
    assert (report.failure.stage if report.failure else None) == stage, report.text()
    assert words in (report.failure.problem if report.failure else "")
    assert took < LIMIT + 3  # far below the timeout, with room for a machine that has other things to do


def test_the_button_has_one_limit_and_the_command_line_the_timeout_for_each_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(imap4, "BUTTON_LIMIT", LIMIT)
    with ScriptedServer(silent_idle) as server:
        stored = {"conn_type": "imap4", "host": server.host, "port": server.port, "login": "me", "password": "s3cret"}
        extra = {"encryption": "none", "timeout": 2}
        monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", json.dumps({**stored, "extra": extra}))
        _, line = imap4.Imap4Hook("mailbox").test_connection()
        assert "no answer to IDLE within 1 s" in line
        report = imap4.Imap4Hook("mailbox").diagnose()
        assert "no answer to IDLE within 2 s" in report.text()


@pytest.mark.dovecot
def test_a_report_does_not_show_a_token_that_was_got_on_the_way(world: OAuthWorld) -> None:
    token = "A-TOKEN.AS-LONG-AS-TOKENS.ARE-0123456789"  # upper case, which capabilities are brought into
    world.endpoint.more = {"access_token": token}

    def repeat(peer: Peer) -> None:
        peer.greet(f"IMAP4rev1 SASL-IR AUTH=XOAUTH2 AUTH={token}")
        peer.expect("AUTHENTICATE XOAUTH2")
        peer.no("no")

    settings = world.settings(user := world.dovecot.new_user(), world.by_secret(user))
    try:
        with ScriptedServer(repeat) as server:
            report = diagnose(replace(settings, host=server.host, port=server.port, security="none"))
    finally:
        world.endpoint.reset()
    assert report.fact("offered") == ("***", "XOAUTH2")
    assert token not in report.text() + json.dumps(report.as_dict()) + repr(report)


@pytest.mark.parametrize(("method", "warned"), [("oauth-refresh-token", True), ("plain", False)])
def test_a_password_that_a_method_of_oauth_does_not_use_is_warned_of(method: str, warned: bool) -> None:
    _, warnings = settings_findings(Settings("x", "h", auth=AuthSettings(method, "joe", "s3cret")))
    assert any("Password (password) is filled in and not used" in warning for warning in warnings) == warned


@pytest.mark.parametrize(("password", "warned"), [("s3cret ", True), ("\u00a0s3cret", True), ("s3 cret", False)])
def test_a_blank_around_a_secret_is_warned_of(password: str, warned: bool) -> None:
    _, warnings = settings_findings(Settings("x", "h", auth=AuthSettings("plain", "joe", password)))
    assert any("Password (password) begins or ends with a blank" in warning for warning in warnings) == warned
    assert "s3cret" not in "".join(warnings)
