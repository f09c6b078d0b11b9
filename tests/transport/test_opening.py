"""Opening a session: the stages, the one budget, and what each stage's failure says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Settings, SmimeSettings
from airflow_imap_provider.errors import (
    ConnectError,
    ImapTimeoutError,
    LostConnectionError,
    ProtocolError,
    SettingsError,
)
from airflow_imap_provider.transport.session import open_session
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import Peer, ScriptedServer
from tests.servers.waiting import free_port
from tests.transport.conftest import Opener, settings_for


@pytest.mark.dovecot
@pytest.mark.parametrize("security", ["none", "starttls", "implicit"])
def test_a_session_opens_with_every_security(security: str, opened: Opener, dovecot: Dovecot, user: User) -> None:
    session = opened(dovecot.settings(user, security=security))  # type: ignore[arg-type]
    assert session.has("idle")
    assert session.usable
    assert session.server_name == "Dovecot"
    assert "Dovecot" in session.greeting
    assert session.capabilities >= {"MOVE", "UIDPLUS"}


def test_a_key_for_mails_that_cannot_be_opened_is_said_before_anything_is_sent() -> None:
    settings = Settings(
        conn_id="x", host="127.0.0.1", port=free_port(), smime=SmimeSettings(private_key="/tmp/key.pem")
    )
    with pytest.raises(SettingsError, match="smime_private_key"):
        open_session(settings)


def test_a_closed_port_is_a_connect_error() -> None:
    with pytest.raises(ConnectError, match="refused"):
        open_session(Settings(conn_id="x", host="127.0.0.1", port=free_port()))


def test_an_unknown_host_is_a_connect_error() -> None:
    with pytest.raises(ConnectError, match="does not resolve"):
        open_session(Settings(conn_id="x", host="no-such-host.invalid"))


# -- silence and dripping at each stage -------------------------------------------------------------------------------


def silent_at_greeting(peer: Peer) -> None:
    peer.wait_for_end()


def silent_at_capabilities(peer: Peer) -> None:
    peer.send("* OK ready")
    peer.expect("CAPABILITY")
    peer.wait_for_end()


def silent_at_starttls(peer: Peer) -> None:
    peer.greet("IMAP4rev1 STARTTLS")
    peer.expect("STARTTLS")
    peer.wait_for_end()


def silent_at_tls(peer: Peer) -> None:
    peer.greet("IMAP4rev1 STARTTLS")
    peer.expect("STARTTLS")
    peer.ok()
    while True:
        peer.exactly(1)


def silent_at_authentication(peer: Peer) -> None:
    peer.greet()
    peer.expect("AUTHENTICATE")
    peer.wait_for_end()


def silent_at_capabilities_after_login(peer: Peer) -> None:
    peer.greet()
    peer.expect("AUTHENTICATE")
    peer.ok()
    peer.expect("CAPABILITY")
    peer.wait_for_end()


def silent_at_id(peer: Peer) -> None:
    peer.let_in("IMAP4rev1 ID AUTH=PLAIN SASL-IR")
    peer.expect("ID")
    peer.wait_for_end()


@pytest.mark.parametrize(
    ("script", "security", "stage"),
    [
        (silent_at_greeting, "none", "greeting"),
        (silent_at_capabilities, "none", "capabilities"),
        (silent_at_starttls, "starttls", "starttls"),
        (silent_at_tls, "starttls", "tls"),
        (silent_at_authentication, "none", "authentication"),
        (silent_at_capabilities_after_login, "none", "capabilities"),
        (silent_at_id, "none", "ID"),
    ],
)
def test_a_silent_server_is_a_timeout_that_names_the_stage(
    script: Callable[[Peer], None], security: str, stage: str, opened: Opener
) -> None:
    with ScriptedServer(script) as server, pytest.raises(ImapTimeoutError) as caught:
        opened(settings_for(server, security=security, timeout=1))
    assert caught.value.stage == stage
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.timeout(15)  # the dripping would last longer
def test_a_dripping_greeting_does_not_last_longer_than_the_budget(opened: Opener) -> None:
    drip = ScriptedServer(lambda peer: peer.drip(b"* OK" + b" " * 1000, 0.05))
    with drip as server, pytest.raises(ImapTimeoutError):
        opened(settings_for(server, timeout=0.3))


def test_all_stages_together_have_one_budget(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer._server.stopping.wait(0.3)
        peer.send("* OK ready")
        peer.expect("CAPABILITY")
        peer._server.stopping.wait(0.3)
        peer.ok("* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR")
        peer.expect("AUTHENTICATE")
        peer._server.stopping.wait(0.9)
        peer.ok()

    with ScriptedServer(script) as server, pytest.raises(ImapTimeoutError) as caught:
        opened(settings_for(server, timeout=1))
    assert caught.value.stage == "authentication"


# -- other ways to fail -----------------------------------------------------------------------------------------------


def test_a_greeting_of_bye_brings_the_servers_words(opened: Opener) -> None:
    with (
        ScriptedServer(lambda peer: peer.send("* BYE too many connections from your address")) as server,
        pytest.raises(LostConnectionError, match="too many connections") as caught,
    ):
        opened(settings_for(server))
    assert caught.value.stage == "greeting"


def test_bye_at_login_brings_the_servers_words(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.expect("AUTHENTICATE")
        peer.send("* BYE maintenance")

    with ScriptedServer(script) as server, pytest.raises(LostConnectionError, match="maintenance"):
        opened(settings_for(server))


@pytest.mark.parametrize("greeting", ["220 mail ESMTP", "+OK POP3 ready", "HTTP/1.1 400 Bad Request", "* NO go away"])
def test_another_protocols_greeting_is_shown(greeting: str, opened: Opener) -> None:
    with (
        ScriptedServer(lambda peer: peer.send(greeting)) as server,
        pytest.raises(ProtocolError, match="no IMAP server") as caught,
    ):
        opened(settings_for(server))
    assert greeting[:10] in caught.value.reply


def test_a_server_that_speaks_another_version_of_imap_says_what_it_announces(opened: Opener) -> None:
    with (
        ScriptedServer(lambda peer: peer.greet("IMAP5 AUTH=PLAIN")) as server,
        pytest.raises(ProtocolError, match="neither IMAP4rev1") as caught,
    ):
        opened(settings_for(server))
    assert "IMAP5" in caught.value.reply


@pytest.mark.parametrize("answer", ["* OK nothing here", "* CAPABILITY"])
def test_a_server_that_announces_nothing_is_a_protocol_error(answer: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.send("* OK ready")
        peer.expect("CAPABILITY")
        peer.ok(answer)

    with ScriptedServer(script) as server, pytest.raises(ProtocolError) as caught:
        opened(settings_for(server))
    assert caught.value.stage == "capabilities"


def test_a_server_that_closes_at_once_is_a_lost_connection(opened: Opener) -> None:
    with ScriptedServer(Peer.close) as server, pytest.raises(LostConnectionError):
        opened(settings_for(server))


@pytest.mark.parametrize("verb", ["no", "bad"])
def test_a_refused_id_does_not_matter(verb: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.let_in("IMAP4rev1 ID AUTH=PLAIN SASL-IR")
        peer.expect("ID")
        getattr(peer, verb)("not for you")

    with ScriptedServer(script) as server:
        session = opened(settings_for(server))
        assert session.server_name == ""
        assert session.usable


@pytest.mark.parametrize("answer", ["* ID NIL", "* ID ()", '* ID ("version" "1")', '* ID ("name" NIL)', "* ID ((("])
def test_a_server_that_does_not_name_itself_has_no_name(answer: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.let_in("IMAP4rev1 ID AUTH=PLAIN SASL-IR")
        peer.expect("ID")
        peer.ok(answer)

    with ScriptedServer(script) as server:
        assert opened(settings_for(server)).server_name == ""


def test_id_is_not_sent_to_a_server_that_does_not_have_it(opened: Opener) -> None:
    with ScriptedServer(Peer.let_in) as server:
        opened(settings_for(server))
        assert b" ID " not in server.received


def test_a_failed_opening_leaves_no_connection_open(opened: Opener) -> None:
    closed = []

    def script(peer: Peer) -> None:
        peer.greet()
        peer.expect("AUTHENTICATE")
        peer.no("no")
        peer.wait_for_end()
        closed.append(True)

    with ScriptedServer(script) as server:
        with pytest.raises(Exception, match="does not accept the login"):
            opened(settings_for(server, auth=AuthSettings(login="a", password="b")))
        server.wait_until_played()
    assert closed
