"""A server that falls silent, at each step of logging in and at each later answer: a timeout that names the stage."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from airflow_imap_provider.connection.settings import AuthSettings
from airflow_imap_provider.errors import ImapTimeoutError
from airflow_imap_provider.transport.session import Session
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import LOGIN, PASSWORD, Opener, settings_for
from tests.transport.inbox import after_inbox, open_inbox
from tests.transport.test_scram_exchange import in_base64, play_scram

CHALLENGE = "+ " + base64.b64encode(b"<1896.697170952@example.com>").decode()
BUDGET = 0.4


def after(capabilities: str, *steps: Callable[[Peer], object]) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.greet(f"IMAP4rev1 {capabilities}")
        for step in steps:
            step(peer)
        peer.wait_for_end()

    return script


def asked(peer: Peer) -> None:
    peer.expect("AUTHENTICATE")


def request(peer: Peer) -> None:
    peer.send("+ ")


LOGGING_IN: dict[str, tuple[str, Callable[[Peer], None]]] = {
    "PLAIN, before its request": ("plain", after("AUTH=PLAIN", asked)),
    "PLAIN, after the password": ("plain", after("AUTH=PLAIN", asked, request, Peer.line)),
    "LOGIN": ("login", after("", lambda peer: peer.expect("LOGIN"))),
    "LOGIN, before a literal": ("login-literal", after("", lambda peer: peer.expect("LOGIN"))),
    "LOGIN, before the second": ("login-literal", after("", lambda peer: peer.expect("LOGIN"), request, Peer.line)),
    "CRAM-MD5, before the challenge": ("cram-md5", after("AUTH=CRAM-MD5", asked)),
    "CRAM-MD5, after the answer": (
        "cram-md5",
        after("AUTH=CRAM-MD5", asked, lambda peer: peer.send(CHALLENGE), Peer.line),
    ),
    "SCRAM, before its request": ("scram-sha-256", after("AUTH=SCRAM-SHA-256", asked)),
    "SCRAM, before the salt": ("scram-sha-256", after("AUTH=SCRAM-SHA-256 SASL-IR", asked)),
    "SCRAM, after the proof": ("scram-sha-256", after("AUTH=SCRAM-SHA-256 SASL-IR", play_scram)),
    "SCRAM, after the signature": (
        "scram-sha-256",
        after("AUTH=SCRAM-SHA-256 SASL-IR", lambda peer: peer.send(f"+ {in_base64(play_scram(peer))}"), Peer.line),
    ),
    "ANONYMOUS": ("anonymous", after("AUTH=ANONYMOUS", asked, request, Peer.line)),
}


@pytest.mark.parametrize("step", LOGGING_IN)
def test_silence_at_each_step_of_logging_in_names_the_stage(step: str, opened: Opener) -> None:
    method, script = LOGGING_IN[step]
    login = "jürgen" if method == "login-literal" else LOGIN
    auth = AuthSettings(method.removesuffix("-literal"), login, PASSWORD)
    with ScriptedServer(script) as server:
        with pytest.raises(ImapTimeoutError, match=f"authentication: no complete answer within {BUDGET}") as caught:
            opened(settings_for(server, timeout=BUDGET, auth=auth))
        server.wait_until_played()  # it came as far as the step
    assert caught.value.stage == "authentication"


LATER: dict[str, tuple[str, Callable[[Session], object]]] = {
    "folder": ("EXAMINE", lambda session: session.select("Other", readonly=True)),
    "LIST": ("LIST", lambda session: session.folders()),
    "NOOP": ("NOOP", lambda session: session.noop()),
    "SEARCH": ("UID SEARCH", lambda session: session.search(["ALL"])),
    "FETCH": ("UID FETCH", lambda session: session.fetch([1], ["FLAGS"])),
    "STORE": ("UID STORE", lambda session: session.add_flags([1], ["\\Seen"])),
    "COPY": ("UID COPY", lambda session: session.copy([1], "Other")),
    "MOVE": ("UID MOVE", lambda session: session.move([1], "Other")),
    "EXPUNGE": ("UID EXPUNGE", lambda session: session.expunge([1])),
}


@pytest.mark.parametrize("stage", LATER)
def test_silence_instead_of_a_later_answer_names_the_command(stage: str, opened: Opener) -> None:
    command, call = LATER[stage]

    def silent(peer: Peer) -> None:
        peer.expect(command)
        peer.wait_for_end()

    with ScriptedServer(after_inbox(silent)) as server:
        session = open_inbox(opened, server, timeout=BUDGET)
        with pytest.raises(ImapTimeoutError) as caught:
            call(session)
        session.close()
        server.wait_until_played()
    assert caught.value.stage == stage
    assert not session.usable
