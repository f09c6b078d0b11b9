"""Nothing secret is sent before the encryption that the connection demands, and nothing said before it counts."""

from __future__ import annotations

import base64
import socket
import ssl

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Settings, TlsSettings
from airflow_imap_provider.errors import AuthenticationError, ImapError, LostConnectionError, ProtocolError, TlsError
from airflow_imap_provider.transport.auth import authenticate
from airflow_imap_provider.transport.border import Scrubber
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Deadline
from airflow_imap_provider.transport.stream import BufferedIMAP4
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import LOGIN, PASSWORD, Opener, settings_for

PLAIN = base64.b64encode(f"\0{LOGIN}\0{PASSWORD}".encode()).decode()


def never(_: socket.socket) -> ssl.SSLSocket:
    raise AssertionError("no TLS here")


def test_the_login_itself_refuses_an_unencrypted_stream_where_encryption_is_demanded() -> None:
    settings = Settings(conn_id="x", host="h", auth=AuthSettings(login=LOGIN, password=PASSWORD))
    deadline = Deadline(SYSTEM_CLOCK, 5)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = BufferedIMAP4(ours, "h", 993, encrypt=never, clock=SYSTEM_CLOCK, deadline=deadline, timeout=5)
        with pytest.raises(TlsError, match="no password is sent"):
            authenticate(stream, settings, frozenset({"AUTH=PLAIN"}), Scrubber(settings))
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


def test_no_login_is_sent_where_the_server_forbids_it(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1 STARTTLS LOGINDISABLED")
        peer.wait_for_end()

    with ScriptedServer(script) as server:
        with pytest.raises(AuthenticationError, match="LOGINDISABLED"):
            opened(settings_for(server))
        assert b"LOGIN " not in server.received


def test_no_login_is_sent_when_starttls_is_demanded_and_not_offered(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.wait_for_end()

    with ScriptedServer(script) as server:
        with pytest.raises(TlsError, match="does not offer STARTTLS") as caught:
            opened(settings_for(server, security="starttls"))
        assert "Implicit" in caught.value.remedy
        assert b"AUTHENTICATE" not in server.received


@pytest.mark.parametrize("verb", ["no", "bad"])
def test_no_login_is_sent_when_starttls_is_refused(verb: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1 STARTTLS AUTH=PLAIN")
        peer.expect("STARTTLS")
        getattr(peer, verb)("certificate is lost")
        peer.wait_for_end()

    with ScriptedServer(script) as server:
        with pytest.raises(TlsError, match="certificate is lost") as caught:
            opened(settings_for(server, security="starttls"))
        assert caught.value.stage == "starttls"
        assert b"AUTHENTICATE" not in server.received


def test_bytes_behind_the_answer_to_starttls_are_refused(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1 STARTTLS AUTH=PLAIN")
        peer.expect("STARTTLS")
        peer.send(f"{peer.tag} OK begin", "* CAPABILITY IMAP4rev1 AUTH=PLAIN X-INJECTED")
        peer.wait_for_end()

    with ScriptedServer(script) as server:
        with pytest.raises(TlsError, match="tampering"):
            opened(settings_for(server, security="starttls"))
        assert b"AUTHENTICATE" not in server.received


def test_preauth_is_refused_where_starttls_is_demanded(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.send("* PREAUTH welcome home")
        peer.tell_capabilities("IMAP4rev1 STARTTLS")
        peer.wait_for_end()

    with ScriptedServer(script) as server, pytest.raises(TlsError, match="PREAUTH"):
        opened(settings_for(server, security="starttls"))


def test_preauth_needs_no_login_otherwise(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.send("* PREAUTH welcome home")
        peer.tell_capabilities("IMAP4rev1")
        peer.tell_capabilities("IMAP4rev1 IDLE")
        peer.open_inbox()

    with ScriptedServer(script) as server:
        session = opened(settings_for(server))
        assert session.capabilities == {"IMAP4REV1", "IDLE"}
        assert session.select("INBOX", readonly=True).exists == 3
        assert b"LOGIN" not in server.received


def test_capabilities_count_only_as_told_after_tls_and_after_the_login(
    opened: Opener, tls: ssl.SSLContext, trusting: TlsSettings
) -> None:
    def script(peer: Peer) -> None:
        peer.send("* OK [CAPABILITY IMAP4rev1 STARTTLS X-GREETING] ready")
        peer.tell_capabilities("IMAP4rev1 STARTTLS LOGINDISABLED X-PLAINTEXT")
        peer.expect("STARTTLS")
        peer.ok("* CAPABILITY IMAP4rev1 AUTH=PLAIN X-BEFORE", "* 9 EXISTS")
        peer.starttls(tls)
        peer.tell_capabilities("IMAP4rev1 AUTH=PLAIN X-ENCRYPTED")
        peer.expect("AUTHENTICATE PLAIN")
        peer.send("+ ")
        assert peer.line() == PLAIN
        peer.ok()
        peer.tell_capabilities("IMAP4rev1 IDLE")

    with ScriptedServer(script) as server:
        session = opened(settings_for(server, security="starttls", tls=trusting))
        assert session.capabilities == {"IMAP4REV1", "IDLE"}


def test_what_is_said_with_the_answer_to_starttls_does_not_outlive_it(
    opened: Opener, tls: ssl.SSLContext, trusting: TlsSettings
) -> None:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1 STARTTLS LOGINDISABLED")
        peer.expect("STARTTLS")
        peer.ok("* CAPABILITY IMAP4rev1 AUTH=PLAIN X-INJECTED")
        peer.starttls(tls)
        # No untagged answer: what is left from before would be taken for it.
        peer.expect("CAPABILITY")
        peer.ok()
        peer.wait_for_end()

    with ScriptedServer(script) as server:
        with pytest.raises(ImapError):
            opened(settings_for(server, security="starttls", tls=trusting))
        assert b"AUTHENTICATE" not in server.received


def test_a_goodbye_before_encryption_ends_the_connection(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1 STARTTLS AUTH=PLAIN")
        peer.expect("STARTTLS")
        peer.ok("* BYE somebody else wants this")
        peer.wait_for_end()

    with ScriptedServer(script) as server:
        with pytest.raises(LostConnectionError, match="somebody else"):
            opened(settings_for(server, security="starttls"))
        assert b"AUTHENTICATE" not in server.received


def test_of_two_announcements_at_the_login_the_last_counts(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.expect("AUTHENTICATE PLAIN")
        peer.ok("* CAPABILITY IMAP4rev1 X-BEFORE", words="[CAPABILITY IMAP4rev1 IDLE] in")

    with ScriptedServer(script) as server:
        assert opened(settings_for(server)).capabilities == {"IMAP4REV1", "IDLE"}


def test_a_server_that_breaks_the_protocol_at_login_is_a_protocol_error(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.expect("AUTHENTICATE")
        peer.send("250 this is SMTP")
        peer.wait_for_end()

    with ScriptedServer(script) as server, pytest.raises(ProtocolError) as caught:
        opened(settings_for(server))
    assert caught.value.stage == "authentication"
