from __future__ import annotations

import base64
import re
import ssl
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, TlsSettings
from airflow_imap_provider.errors import AuthenticationError, ProtocolError, RefusedError, SettingsError, TlsError
from airflow_imap_provider.transport.auth import choose_mechanism
from tests.servers.dovecot import Dovecot
from tests.servers.scripted import CAPABILITIES, Peer, ScriptedServer
from tests.transport.conftest import LOGIN, PASSWORD, Opener, settings_for

PLAIN = base64.b64encode(f"\0{LOGIN}\0{PASSWORD}".encode()).decode()
ODD_PASSWORDS = [
    'quote" and \\backslash',
    "umlaut äöü",
    "emoji 🔑",
    "blank at the end ",
    "{5}",
    "*",
    "()%%",
    "x" * 900,
    "tab\tand \x7f",
    "line\r\nbreak",
    "x" * 3000,
]
ODD_PASSWORDS_FOR_DOVECOT = ODD_PASSWORDS[:-3]
"""Without what Dovecot 2.3 itself does not take: tabs, line breaks, and LOGIN lines of more than 1 KiB."""


# -- choosing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "offered", "chosen"),
    [
        ("auto", {"AUTH=PLAIN"}, "PLAIN"),
        ("auto", {"AUTH=PLAIN", "LOGINDISABLED"}, "PLAIN"),
        ("auto", {"AUTH=CRAM-MD5"}, "LOGIN"),
        ("auto", set(), "LOGIN"),
        ("plain", {"AUTH=PLAIN"}, "PLAIN"),
        ("login", {"AUTH=PLAIN"}, "LOGIN"),
    ],
)
def test_plain_goes_before_login_unless_the_connection_says_otherwise(
    method: str, offered: set[str], chosen: str
) -> None:
    assert choose_mechanism(method, frozenset(offered)) == chosen


@pytest.mark.parametrize(
    ("method", "offered"),
    [
        ("auto", {"LOGINDISABLED", "AUTH=XOAUTH2"}),
        ("login", {"LOGINDISABLED", "AUTH=PLAIN"}),
        ("plain", {"AUTH=XOAUTH2"}),
    ],
)
def test_what_the_server_does_not_offer_is_not_tried(method: str, offered: set[str]) -> None:
    with pytest.raises(AuthenticationError, match=r"announces AUTH=.*auth_method") as caught:
        choose_mechanism(method, frozenset(offered))
    assert ("encryption" in caught.value.remedy) is ("LOGINDISABLED" in offered)


# -- the exchange -----------------------------------------------------------------------------------------------------


def test_plain_saves_a_round_trip_where_the_server_allows(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(CAPABILITIES)
        assert peer.expect("AUTHENTICATE") == f"PLAIN {PLAIN}"
        peer.ok(words=f"[CAPABILITY {CAPABILITIES}] in")

    with ScriptedServer(script) as server:
        assert opened(settings_for(server)).has("idle")


def test_plain_waits_for_the_server_where_it_must_whatever_the_challenge_says(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1 AUTH=PLAIN")
        assert peer.expect("AUTHENTICATE") == "PLAIN"
        peer.send("+ go ahead, no base64 here")
        assert peer.line() == PLAIN
        peer.ok()
        peer.tell_capabilities()

    with ScriptedServer(script) as server:
        assert opened(settings_for(server)).usable


def test_a_challenge_too_many_is_cancelled(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(CAPABILITIES)
        peer.expect("AUTHENTICATE PLAIN")
        peer.send("+ bW9yZQ==")
        assert peer.line() == "*"
        peer.bad("cancelled")

    with ScriptedServer(script) as server, pytest.raises(AuthenticationError, match="cancelled"):
        opened(settings_for(server))


def test_login_quotes_what_can_be_quoted(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1")
        assert peer.expect("LOGIN") == r'"alice" "a\"b\\c d"'
        peer.ok()
        peer.tell_capabilities()

    with ScriptedServer(script) as server:
        assert opened(settings_for(server, auth=AuthSettings(login=LOGIN, password='a"b\\c d'))).usable


def test_login_takes_literals_for_what_cannot_be_quoted(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1")
        assert peer.expect("LOGIN") == "{5}"
        peer.send("+ ")
        assert peer.exactly(5) == b"alice"
        assert peer.line() == " {7}"
        peer.send("+ ")
        assert peer.exactly(7) == "pässwd".encode()
        assert peer.line() == ""
        peer.ok()
        peer.tell_capabilities()

    with ScriptedServer(script) as server:
        assert opened(settings_for(server, auth=AuthSettings(login=LOGIN, password="pässwd"))).usable


@pytest.mark.parametrize("password", ODD_PASSWORDS)
def test_any_password_reaches_the_server_as_it_is_by_login(password: str, opened: Opener) -> None:
    seen = []

    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1")
        arguments = peer.expect("LOGIN")
        if arguments.startswith("{"):
            peer.send("+ ")
            peer.exactly(len(LOGIN))
            size = int(peer.line().strip(" {}"))
            peer.send("+ ")
            seen.append(peer.exactly(size).decode())
            peer.line()
        else:
            quoted = arguments.removeprefix(f'"{LOGIN}" "').removesuffix('"')
            seen.append(re.sub(r"\\(.)", r"\1", quoted))
        peer.ok()
        peer.tell_capabilities()

    with ScriptedServer(script) as server:
        opened(settings_for(server, auth=AuthSettings(login=LOGIN, password=password)))
    assert seen == [password]


@pytest.mark.parametrize("password", ODD_PASSWORDS)
def test_any_password_reaches_the_server_as_it_is_by_plain(password: str, opened: Opener) -> None:
    seen = []

    def script(peer: Peer) -> None:
        peer.greet()
        seen.append(base64.b64decode(peer.expect("AUTHENTICATE PLAIN")).decode())
        peer.ok(words=f"[CAPABILITY {CAPABILITIES}] in")

    with ScriptedServer(script) as server:
        opened(settings_for(server, auth=AuthSettings(login=LOGIN, password=password)))
    assert seen == [f"\0{LOGIN}\0{password}"]


@pytest.mark.dovecot
@pytest.mark.parametrize("method", ["plain", "login"])
@pytest.mark.parametrize("password", ODD_PASSWORDS_FOR_DOVECOT)
def test_a_real_server_takes_odd_passwords(method: str, password: str, opened: Opener, dovecot: Dovecot) -> None:
    user = dovecot.new_user(password)
    auth = AuthSettings(method=method, login=user.login, password=password)
    assert opened(dovecot.settings(user, auth=auth)).usable


@pytest.mark.dovecot
def test_a_login_name_beyond_ascii_works(opened: Opener, dovecot: Dovecot) -> None:
    user = dovecot.add_user("jürgen@bücher.example")
    for method in ("plain", "login"):
        auth = AuthSettings(method=method, login=user.login, password=user.password)
        assert opened(dovecot.settings(user, auth=auth)).usable


@pytest.mark.parametrize("secret", ["nul\0", "lone \ud800 surrogate"])
@pytest.mark.parametrize("field", ["login", "password"])
def test_a_character_that_imap_cannot_carry_is_a_settings_error(secret: str, field: str, opened: Opener) -> None:
    values: dict[str, Any] = {"login": LOGIN, "password": PASSWORD, field: secret}
    with ScriptedServer(Peer.greet) as server, pytest.raises(SettingsError, match=rf"\({field}\)") as caught:
        opened(settings_for(server, auth=AuthSettings(**values)))
    assert secret not in str(caught.value)


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.dovecot
@pytest.mark.parametrize("method", ["plain", "login"])
def test_a_wrong_password_is_an_authentication_error_with_the_servers_words(
    method: str, opened: Opener, dovecot: Dovecot
) -> None:
    auth = AuthSettings(method=method, login="alice", password="wrong")
    with pytest.raises(AuthenticationError, match="AUTHENTICATIONFAILED") as caught:
        opened(dovecot.settings(dovecot.alice, auth=auth))
    assert "Password (password)" in caught.value.remedy


@pytest.mark.parametrize("capabilities", ["IMAP4rev1", CAPABILITIES])
@pytest.mark.parametrize("verb", ["no", "bad"])
def test_both_no_and_bad_are_authentication_errors(capabilities: str, verb: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet(capabilities)
        peer.expect("LOGIN" if capabilities == "IMAP4rev1" else "AUTHENTICATE")
        getattr(peer, verb)("never heard of you")

    with ScriptedServer(script) as server, pytest.raises(AuthenticationError, match="never heard of you"):
        opened(settings_for(server))


@pytest.mark.parametrize("code", ["UNAVAILABLE", "LIMIT", "SERVERBUG"])
def test_a_server_that_cannot_check_now_does_not_blame_the_credentials(code: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.expect("AUTHENTICATE")
        peer.no(f"[{code}] later please")

    with ScriptedServer(script) as server, pytest.raises(RefusedError, match="later please") as caught:
        opened(settings_for(server))
    assert caught.value.stage == "authentication"


@pytest.mark.parametrize(
    ("words", "remedy"),
    [("[ALERT] Application-specific password required", "app password"), ("nope", "Password (password)")],
)
def test_the_remedy_fits_the_servers_words(words: str, remedy: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.expect("AUTHENTICATE")
        peer.no(words)

    with ScriptedServer(script) as server, pytest.raises(AuthenticationError) as caught:
        opened(settings_for(server))
    assert remedy in caught.value.remedy


def test_a_refusal_before_all_literals_are_sent_is_understood(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1")
        peer.expect("LOGIN")
        peer.no("no literals please")

    with ScriptedServer(script) as server, pytest.raises(AuthenticationError, match="no literals please"):
        opened(settings_for(server, auth=AuthSettings(login=LOGIN, password="ä")))


# -- nothing secret before encryption ---------------------------------------------------------------------------------


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
        peer.ok()
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


def test_a_server_that_breaks_the_protocol_at_login_is_a_protocol_error(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.expect("AUTHENTICATE")
        peer.send("250 this is SMTP")
        peer.wait_for_end()

    with ScriptedServer(script) as server, pytest.raises(ProtocolError) as caught:
        opened(settings_for(server))
    assert caught.value.stage == "authentication"
