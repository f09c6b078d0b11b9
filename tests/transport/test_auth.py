from __future__ import annotations

import base64
import re
import socket
import ssl
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, TlsSettings
from airflow_imap_provider.errors import AuthenticationError, FolderNotFoundError, RefusedError, SettingsError
from airflow_imap_provider.transport.remedies import login_remedy, token_remedy
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


def test_encryption_is_no_remedy_where_there_is_encryption(
    opened: Opener, tls: ssl.SSLContext, trusting: TlsSettings
) -> None:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1 AUTH=XOAUTH2 LOGINDISABLED")
        peer.wait_for_end()

    with ScriptedServer(script, tls=tls) as server, pytest.raises(AuthenticationError) as caught:
        opened(settings_for(server, security="implicit", tls=trusting))
    assert "encryption" not in caught.value.remedy


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


@pytest.mark.parametrize(
    "words",
    [
        "[UNAVAILABLE] later please",
        "[LIMIT] later please",
        "[SERVERBUG] later please",
        "[ALERT] Too many simultaneous connections. (Failure)",
        "[ALERT] Account exceeded command or bandwidth limits. (Failure)",
    ],
)
def test_a_server_that_cannot_check_now_does_not_blame_the_credentials(words: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.expect("AUTHENTICATE")
        peer.no(words)

    with ScriptedServer(script) as server, pytest.raises(RefusedError, match="cannot check the login now") as caught:
        opened(settings_for(server))
    assert caught.value.stage == "authentication"
    assert caught.value.reply == words


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("[ALERT] Application-specific password required", "Make an app password"),
        ("Sorry, you need to create an 'app password' to use this service", "Make an app password"),
        ("[WEBALERT https://accounts.example.com/x] Web login required.", "in a browser"),
        ("[EXPIRED] too old", "has expired"),
        ("[REFERRAL imap://joe@other.example.com/] go there", "the server that the answer names as Address (host)"),
        ("[ALERT] Your account is not enabled for IMAP use. Please visit your settings", "Switch IMAP on"),
        ("[ALERT] IMAP access is disabled for your domain.", "Switch IMAP on"),
        ("[ALERT] You are yet to enable IMAP for your account.", "Switch IMAP on"),
        ("[AUTHENTICATIONFAILED] Authentication failed (IMAP disabled)", "Switch IMAP on"),
        ("NEOBHODIM parol prilozheniya / Application password is REQUIRED", "Make an app password"),
        ("[PRIVACYREQUIRED] encrypt", "(encryption)"),
        ("[AUTHORIZATIONFAILED] not yours", "does not open this mailbox"),
        ("[CONTACTADMIN] Account disabled", "operator"),
        ("[AUTHENTICATIONFAILED] Invalid credentials", "Password (password)"),
        ("nope", "Password (password)"),
    ],
)
def test_the_remedy_fits_the_servers_words(words: str, remedy: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.expect("AUTHENTICATE")
        peer.no(words)

    with ScriptedServer(script) as server, pytest.raises(AuthenticationError) as caught:
        opened(settings_for(server))
    assert remedy in caught.value.remedy


def test_the_servers_words_go_before_its_name() -> None:
    assert login_remedy("imap.gmail.com", "[ALERT] IMAP access is disabled for your domain.").startswith("Switch IMAP")
    assert login_remedy("imap.gmail.com", "[AUTHENTICATIONFAILED] Invalid credentials").startswith("Use an app")
    assert token_remedy("imap.gmail.com", "oauth-refresh-token", "(IMAP disabled)").startswith("Switch IMAP on")


def test_a_folder_that_is_at_another_server_says_so(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.let_in()
        peer.expect("EXAMINE")
        peer.no("[REFERRAL imap://other.example.com/INBOX] elsewhere")

    with ScriptedServer(script) as server, pytest.raises(FolderNotFoundError) as caught:
        opened(settings_for(server)).select("INBOX", readonly=True)
    assert "the answer names" in caught.value.remedy


def test_a_refusal_before_all_literals_are_sent_is_understood(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1")
        peer.expect("LOGIN")
        peer.no("no literals please")

    with ScriptedServer(script) as server, pytest.raises(AuthenticationError, match="no literals please"):
        opened(settings_for(server, auth=AuthSettings(login=LOGIN, password="ä")))


@pytest.mark.parametrize(
    ("host", "remedy"),
    [
        ("outlook.office365.com", "OAuth 2.0"),
        ("outlook.office365.us", "OAuth 2.0"),
        ("partner.outlook.cn", "OAuth 2.0"),
        ("imap.gmail.com", "Use an app password"),
        ("imap.mail.yahoo.com", "Make an app password"),
        ("imap.mail.me.com", "Make an app password"),
        ("imap.fastmail.com", "Make an app password"),
        ("readme.com", "Password (password)"),
        ("notgmail.com", "Password (password)"),
    ],
)
def test_the_remedy_fits_the_provider(host: str, remedy: str, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.expect("AUTHENTICATE")
        peer.no("AUTHENTICATE failed.")

    with ScriptedServer(script) as server:
        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (server.host, server.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address])
        with pytest.raises(AuthenticationError) as caught:
            opened(settings_for(server, host=host))
    assert remedy in caught.value.remedy
