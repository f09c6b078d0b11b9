"""SCRAM over IMAP with servers that Dovecot cannot be: ones that bind to the channel, impostors, broken ones."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Callable

import pytest
import scramp

from airflow_imap_provider.connection.settings import AuthSettings, TlsSettings
from airflow_imap_provider.errors import AuthenticationError, ImapError, ImapTimeoutError, RefusedError
from airflow_imap_provider.transport.session import Session
from tests.servers.certificates import Authority, ServerCertificate
from tests.servers.scripted import CAPABILITIES, Peer, ScriptedServer
from tests.transport.conftest import LOGIN, PASSWORD, Opener, server_context, settings_for

SCRAM = "IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256 AUTH=PLAIN"
PLUS = "IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN"

Binding = tuple[str, bytes] | None


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def play_scram(
    peer: Peer, *, name: str = "SCRAM-SHA-256", password: str = PASSWORD, binding: Binding = None, arguments: str = ""
) -> str:
    """The server's side with the right mechanism; returns the server's final message, which is still to be sent."""
    mechanism = scramp.ScramMechanism(name)
    info = mechanism.make_auth_info(password)
    server = mechanism.make_server(lambda _: info, channel_binding=binding)
    said = (arguments or peer.expect("AUTHENTICATE")).split(" ")
    assert said[0] == name
    if len(said) == 1:
        peer.send("+ ")
        said.append(peer.line())
    server.set_client_first(base64.b64decode(said[1]).decode())
    peer.send(f"+ {in_base64(server.get_server_first())}")
    server.set_client_final(base64.b64decode(peer.line()).decode())
    final: str = server.get_server_final()
    return final


def accept(peer: Peer, final: str) -> None:
    peer.send(f"+ {in_base64(final)}")
    assert peer.line() == ""
    peer.ok(words=f"[CAPABILITY {CAPABILITIES}] in")


def log_in(opened: Opener, script: Callable[[Peer], None], method: str = "auto") -> Session:
    with ScriptedServer(script) as server:
        return opened(settings_for(server, auth=AuthSettings(method, LOGIN, PASSWORD)))


def refused(opened: Opener, script: Callable[[Peer], None]) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as caught:
        log_in(opened, script)
    assert caught.value.stage == "authentication"
    assert PASSWORD not in str(caught.value)
    return caught.value


# -- as it should be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capabilities", [SCRAM, SCRAM.replace(" SASL-IR", "")])
def test_both_ways_to_begin_work(capabilities: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(capabilities)
        accept(peer, play_scram(peer))

    assert log_in(opened, script).usable


def test_capabilities_that_forbid_login_afterwards_do_not_matter(opened: Opener) -> None:
    # Cyrus goes on saying LOGINDISABLED after a login without encryption.
    def script(peer: Peer) -> None:
        peer.greet(f"{SCRAM} LOGINDISABLED")
        final = play_scram(peer)
        peer.send(f"+ {in_base64(final)}")
        peer.line()
        peer.ok(words="in")
        peer.tell_capabilities("IMAP4rev1 IDLE LOGINDISABLED")
        peer.open_inbox()

    with ScriptedServer(script) as server:
        session = opened(settings_for(server))
        assert session.select("INBOX", readonly=True).exists == 3


# -- impostors and broken servers -------------------------------------------------------------------------------------


def test_a_wrong_signature_is_said_to_come_from_somebody_who_does_not_know_the_password(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(SCRAM)
        play_scram(peer)
        peer.send(f"+ {in_base64('v=' + 'A' * 43 + '=')}")
        assert peer.line() == "*"
        # An impostor would rather be believed.
        peer.ok(words="you are in, believe me")

    assert "does not know the password" in refused(opened, script).problem


@pytest.mark.parametrize("after_the_proof", [False, True])
def test_success_without_a_signature_is_not_believed(after_the_proof: bool, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(SCRAM)
        if after_the_proof:
            play_scram(peer)
        else:
            peer.expect("AUTHENTICATE")
        peer.ok(words="you are in")

    assert "without having proved that it knows the password" in refused(opened, script).problem


@pytest.mark.parametrize("challenge", ["cj1hYmM", "cj1hYmMsc", "!!!!", "cj1hYmM= trailing", ""])
def test_a_damaged_challenge_ends_the_exchange(challenge: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(SCRAM)
        peer.expect("AUTHENTICATE")
        peer.send(f"+ {challenge}")
        assert peer.line() == "*"
        peer.bad("cancelled")

    error = refused(opened, script)
    assert "no base64" in error.problem or "not SCRAM's" in error.problem


@pytest.mark.parametrize("capabilities", ["IMAP4rev1 SASL-IR AUTH=CRAM-MD5 LOGINDISABLED"])
@pytest.mark.parametrize("challenge", ["", "PDE4OTYuNjk", "?"])
def test_a_damaged_challenge_of_cram_md5_ends_the_exchange(capabilities: str, challenge: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(capabilities)
        assert peer.expect("AUTHENTICATE") == "CRAM-MD5"
        peer.send(f"+ {challenge}")
        assert peer.line() == "*"
        peer.bad("cancelled")

    refused(opened, script)


def test_the_servers_reason_inside_the_exchange_is_repeated(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(SCRAM)
        peer.expect("AUTHENTICATE")
        peer.send(f"+ {in_base64('e=unknown-user')}")
        assert peer.line() == ""
        peer.no("[AUTHENTICATIONFAILED] no")

    assert "[AUTHENTICATIONFAILED] no; unknown-user" in str(refused(opened, script))


def test_a_password_that_the_server_does_not_have_is_not_shown_to_it(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(SCRAM)
        with pytest.raises(scramp.ScramException):
            play_scram(peer, password="another")
        peer.no("[AUTHENTICATIONFAILED] wrong")

    with ScriptedServer(script) as server:
        with pytest.raises(AuthenticationError, match="wrong"):
            opened(settings_for(server))
        assert PASSWORD.encode() not in server.received
        # Nor is a weaker method tried after the refusal: whoever is on the way could refuse.
        assert server.received.count(b"AUTHENTICATE") == 1
        assert b"LOGIN" not in server.received


def test_a_server_that_cannot_check_now_does_not_blame_the_password(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(SCRAM)
        play_scram(peer)
        peer.no("[UNAVAILABLE] later")

    with pytest.raises(RefusedError, match="later"):
        log_in(opened, script)


def test_an_exchange_that_never_ends_is_cancelled_each_time(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(SCRAM)
        peer.expect("AUTHENTICATE")
        for _ in range(5):
            peer.send("+ bW9yZQ==")
            assert peer.line() == "*"
        peer.bad("all right")

    assert "not SCRAM's" in refused(opened, script).problem


def test_silence_in_the_middle_of_the_exchange_is_a_timeout(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(SCRAM)
        peer.expect("AUTHENTICATE")
        peer.wait_for_end()

    with ScriptedServer(script) as server, pytest.raises(ImapTimeoutError) as caught:
        opened(settings_for(server, timeout=1))
    assert caught.value.stage == "authentication"


# -- channel binding --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> ServerCertificate:
    return authority.issue("binding")


def speaking(certificate: ServerCertificate, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = server_context(certificate)
    context.minimum_version = context.maximum_version = version
    return context


def end_point(certificate: ServerCertificate) -> Binding:
    return "tls-server-end-point", hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.pem)).digest()


@pytest.mark.parametrize("method", ["auto", "scram-sha-256", "scram-sha-1"])
def test_up_to_tls_1_2_the_exchange_is_bound_to_the_connection(
    method: str, opened: Opener, certificate: ServerCertificate, trusting: TlsSettings
) -> None:
    name = "SCRAM-SHA-1-PLUS" if method == "scram-sha-1" else "SCRAM-SHA-256-PLUS"

    def script(peer: Peer) -> None:
        peer.greet(f"{PLUS} AUTH=SCRAM-SHA-1-PLUS AUTH=SCRAM-SHA-1")
        unique = peer.channel_binding()
        assert unique
        accept(peer, play_scram(peer, name=name, binding=("tls-unique", unique)))

    auth = AuthSettings(method, LOGIN, PASSWORD)
    with ScriptedServer(script, tls=speaking(certificate, ssl.TLSVersion.TLSv1_2)) as server:
        assert opened(settings_for(server, security="implicit", tls=trusting, auth=auth)).usable


def test_with_tls_1_3_it_is_bound_to_the_certificate(
    opened: Opener, certificate: ServerCertificate, trusting: TlsSettings
) -> None:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1 STARTTLS LOGINDISABLED")
        peer.expect("STARTTLS")
        peer.ok()
        peer.starttls(speaking(certificate, ssl.TLSVersion.TLSv1_3))
        peer.tell_capabilities(PLUS)
        accept(peer, play_scram(peer, name="SCRAM-SHA-256-PLUS", binding=end_point(certificate)))

    with ScriptedServer(script) as server:
        assert opened(settings_for(server, security="starttls", tls=trusting)).usable


@pytest.mark.parametrize("inside", [True, False])
def test_a_server_that_binds_only_to_what_python_does_not_give_is_logged_in_to_without(
    inside: bool, opened: Opener, certificate: ServerCertificate, trusting: TlsSettings
) -> None:
    def script(peer: Peer) -> None:
        peer.greet(PLUS)
        assert peer.expect("AUTHENTICATE").startswith("SCRAM-SHA-256-PLUS ")
        if inside:
            peer.send(f"+ {in_base64('e=unsupported-channel-binding-type')}")
            assert peer.line() == ""
        peer.no("tls-exporter only")
        # Not "y", which would say that it has not offered to bind.
        first = peer.expect("AUTHENTICATE")
        assert base64.b64decode(first.split(" ")[1]).startswith(b"n,,")
        accept(peer, play_scram(peer, arguments=first))

    with ScriptedServer(script, tls=speaking(certificate, ssl.TLSVersion.TLSv1_3)) as server:
        assert opened(settings_for(server, security="implicit", tls=trusting)).usable


@pytest.mark.parametrize(
    "words", ["[UNAVAILABLE] later", "Too many login attempts", "[CONTACTADMIN] locked", "[AUTHORIZATIONFAILED] no"]
)
def test_a_refusal_that_is_not_about_the_binding_is_not_answered_by_another_attempt(
    words: str, opened: Opener, certificate: ServerCertificate, trusting: TlsSettings
) -> None:
    def script(peer: Peer) -> None:
        peer.greet(PLUS)
        assert peer.expect("AUTHENTICATE").startswith("SCRAM-SHA-256-PLUS ")
        peer.no(words)
        peer.wait_for_end()

    with ScriptedServer(script, tls=speaking(certificate, ssl.TLSVersion.TLSv1_3)) as server:
        with pytest.raises(ImapError):
            opened(settings_for(server, security="implicit", tls=trusting))
        assert server.received.count(b"AUTHENTICATE") == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_somebody_between_two_encrypted_connections_is_noticed_and_gets_no_second_try(
    version: ssl.TLSVersion, opened: Opener, certificate: ServerCertificate, trusting: TlsSettings
) -> None:
    name = "tls-unique" if version is ssl.TLSVersion.TLSv1_2 else "tls-server-end-point"

    def script(peer: Peer) -> None:
        peer.greet(PLUS)
        with pytest.raises(scramp.ScramException, match="channel bindings don't match"):
            play_scram(peer, name="SCRAM-SHA-256-PLUS", binding=(name, b"of the other connection"))
        peer.no("you are not where you think you are")
        peer.wait_for_end()

    with ScriptedServer(script, tls=speaking(certificate, version)) as server:
        with pytest.raises(AuthenticationError, match="not where you think"):
            opened(settings_for(server, security="implicit", tls=trusting))
        assert server.received.count(b"AUTHENTICATE") == 1


def test_up_to_tls_1_2_a_refusal_to_bind_is_not_answered_by_going_without(
    opened: Opener, certificate: ServerCertificate, trusting: TlsSettings
) -> None:
    # Every server with -PLUS knows tls-unique: whoever says otherwise wants the binding out of the way.
    def script(peer: Peer) -> None:
        peer.greet(PLUS)
        assert peer.expect("AUTHENTICATE").startswith("SCRAM-SHA-256-PLUS ")
        peer.no("no binding today")
        peer.wait_for_end()

    encrypted = speaking(certificate, ssl.TLSVersion.TLSv1_2)
    with (
        ScriptedServer(script, tls=encrypted) as server,
        pytest.raises(AuthenticationError, match="no binding today"),
    ):
        opened(settings_for(server, security="implicit", tls=trusting))


def test_an_offer_to_bind_that_was_removed_on_the_way_is_noticed_by_the_server(
    opened: Opener, certificate: ServerCertificate, trusting: TlsSettings
) -> None:
    def script(peer: Peer) -> None:
        peer.greet(SCRAM)
        unique = peer.channel_binding() or b""
        with pytest.raises(scramp.ScramException, match="in fact it does"):
            play_scram(peer, binding=("tls-unique", unique))
        peer.no("somebody has removed my offer")

    encrypted = speaking(certificate, ssl.TLSVersion.TLSv1_2)
    with (
        ScriptedServer(script, tls=encrypted) as server,
        pytest.raises(AuthenticationError, match="removed my offer"),
    ):
        opened(settings_for(server, security="implicit", tls=trusting))
