"""Connections that do not work, each with the stage and the remedy that the Test must report.

Real servers and proxies wherever they can be made to do it. Over every row: the line fits into Airflow's toast and
ends with the remedy, the report is JSON, and no secret is in it or in the log.
"""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Settings, SmimeSettings, TlsSettings, TunnelSettings
from airflow_imap_provider.transport.diagnosis import diagnose
from airflow_imap_provider.transport.report import LINE_LIMIT, brief
from tests.servers.certificates import self_signed
from tests.servers.dovecot import Dovecot
from tests.servers.proxies import LOGIN as PROXY_LOGIN
from tests.servers.proxies import PASSWORD as PROXY_PASSWORD
from tests.servers.scripted import CAPABILITIES, Peer
from tests.servers.squid import REFUSED_PORT
from tests.servers.token_endpoint import Handler
from tests.servers.waiting import free_port
from tests.servers.winbind import ACCOUNT, DOMAIN
from tests.transport.conftest import server_context
from tests.transport.lab import SECRET, WRONG, Lab, old_context, shows_no_secret
from tests.transport.oauth_server import oauth_servers, world
from tests.transport.test_dial import full_listener

__all__ = ["oauth_servers", "world"]

DOVECOT, SQUID, DANTE = pytest.mark.dovecot, pytest.mark.squid, pytest.mark.dante
NTLM = (SQUID, pytest.mark.winbind, DOVECOT)


# -- what the servers do ----------------------------------------------------------------------------------------------


def quiet(peer: Peer) -> None:
    peer.wait_for_end()


def mute(peer: Peer) -> None:
    """Hear everything and say nothing."""
    peer.exactly(10_000)


def deaf(*commands: str) -> Callable[[Peer], None]:
    """A server that lets in, and falls silent at the first of these commands."""

    def script(peer: Peer) -> None:
        peer.let_in()
        if commands[0] == "EXAMINE":
            peer.expect("EXAMINE")
        else:
            peer.open_inbox()
            peer.expect("IDLE")
        quiet(peer)

    return script


def silent_at_login(peer: Peer) -> None:
    peer.greet()
    peer.expect("AUTHENTICATE")
    quiet(peer)


def dies_at_login(peer: Peer) -> None:
    peer.greet()
    peer.expect("AUTHENTICATE")
    peer.reset()


def silent_at_capabilities(peer: Peer) -> None:
    peer.send("* OK ready")
    peer.expect("CAPABILITY")
    quiet(peer)


def starttls_refused(peer: Peer) -> None:
    peer.greet("IMAP4rev1 STARTTLS")
    peer.expect("STARTTLS")
    peer.no("no certificate today")
    quiet(peer)


def starttls_injected(peer: Peer) -> None:
    peer.greet("IMAP4rev1 STARTTLS")
    peer.expect("STARTTLS")
    peer.send(f"{peer.tag} OK begin", "* CAPABILITY IMAP4rev1 AUTH=PLAIN")
    quiet(peer)


def greets_and_waits(capabilities: str, greeting: str = "* OK ready") -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.send(greeting)
        peer.tell_capabilities(capabilities)
        quiet(peer)

    return script


def overloaded(peer: Peer) -> None:
    peer.greet()
    peer.expect("AUTHENTICATE")
    peer.no("[UNAVAILABLE] no backend")
    quiet(peer)


def nonsense_at_login(peer: Peer) -> None:
    peer.greet()
    peer.expect("AUTHENTICATE")
    peer.send("?? what")
    quiet(peer)


def without_uidvalidity(peer: Peer) -> None:
    peer.let_in()
    peer.expect("EXAMINE")
    peer.ok("* 3 EXISTS")
    peer.expect("LOGOUT")
    peer.ok("* BYE")


def says(*lines: str) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.send(*lines)
        mute(peer)  # a TLS client may have said something already

    return script


def demanding_context(lab: Lab) -> ssl.SSLContext:
    context = server_context(lab.authority.issue("demanding"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(lab.authority.path)
    return context


def full(lab: Lab) -> Settings:
    return lab.at("127.0.0.1", lab.enter(full_listener()).getsockname()[1], timeout=1)


def hashed_for_cram(lab: Lab) -> Settings:
    assert lab.dovecot  # says whether there is one to be had
    server = Dovecot(mechanisms="cram-md5 plain")
    lab._stack.callback(server.remove)
    server.start()
    user = server.add_hashed_user("hashed", SECRET, "SHA512-CRYPT")
    return server.settings(user, auth=AuthSettings("cram-md5", user.login, SECRET))


def without_rights(lab: Lab) -> Settings:
    user, other = lab.dovecot.new_user(SECRET), lab.dovecot.new_user(SECRET)
    return lab.dovecot.settings(user, auth=AuthSettings("plain", user.login, SECRET, alias=other.login))


def answers(status: int, content: Any, **headers: str) -> Callable[[Handler], None]:
    return lambda peer: peer.answer(status, content, **headers)


def echoes(peer: Handler) -> None:
    """Refuse, and repeat what was sent."""
    peer.answer(401, {"error": "invalid_client", "error_description": f"AADSTS7000215: Not the secret: {peer.said}"})


def expired_consent(lab: Lab) -> Settings:
    user = lab.tokens.dovecot.new_user()
    auth = lab.tokens.by_consent(user)
    return lab.tokens.settings(user, replace(auth, oauth=replace(auth.oauth, refresh_token=WRONG)))


def without_delegation(lab: Lab) -> Settings:
    user = lab.tokens.dovecot.new_user()
    auth = lab.tokens.by_service_account(user)
    return lab.tokens.settings(user, replace(auth, oauth=replace(auth.oauth, scope="contacts")))


def refused_token(lab: Lab) -> Settings:
    settings = lab.by_token()
    lab.tokens.endpoint.wrong_key = True
    return settings


def expired_token(lab: Lab) -> Settings:
    user = lab.tokens.dovecot.new_user()
    token = lab.tokens.endpoint.token_for(user.login, lifetime=-60)
    return lab.tokens.settings(user, AuthSettings("bearer", user.login, token))


def asked_through(proxy: str, endpoint: str = "", **tunnel: Any) -> Callable[[Lab], Settings]:
    return lambda lab: lab.proxied(proxy, lab.by_token(endpoint=endpoint), **tunnel)


JOE = {"login": PROXY_LOGIN, "password": PROXY_PASSWORD}
IMPOSTOR = {"login": PROXY_LOGIN, "password": WRONG}
IMPOSTOR_IN_DOMAIN = {"login": ACCOUNT, "password": WRONG, "domain": DOMAIN}


def row(name: str, make: Callable[[Lab], Settings], stage: str, remedy: str, *marks: Any, folder: str = "INBOX") -> Any:
    return pytest.param(make, folder, stage, remedy, marks=marks, id=name)


# fmt: off
BROKEN = [
    row("S/MIME key is no file", lambda lab: lab.at("127.0.0.1", 1, smime=SmimeSettings(private_key="/etc/no.pem")),
        "settings", "Give PEM (a path on this machine, or the text)"),
    row("CA bundle is no file", lambda lab: lab.at("127.0.0.1", 1, security="implicit",
        tls=TlsSettings(ca_bundle="/nowhere/ca.pem")), "settings", "path of a PEM file"),
    row("a name that nobody knows", lambda lab: lab.at("no-such-host.invalid", 993), "dns", "DNS of this machine"),
    row("nobody listens", lambda lab: lab.at("127.0.0.1", free_port()), "tcp",
        "Check Address (host) and Port (port)"),
    row("a firewall swallows", full, "tcp", "firewalls and routes"),
    # Other servers on the port.
    row("web server", lambda lab: lab.web(timeout=60), "greeting", "IMAP is usually on 993"),
    row("web server, implicit", lambda lab: lab.web(timeout=60, security="implicit"), "tls", "usually on 993"),
    row("web server with TLS, implicit", lambda lab: lab.web(server_context(lab.authority.issue("web")), timeout=60,
        security="implicit"), "greeting", "IMAP is usually on 993"),
    row("SMTP server", lambda lab: lab.scripted(says("220 mail ESMTP")), "greeting", "IMAP is usually on 993"),
    row("POP3 server", lambda lab: lab.scripted(says("+OK POP3")), "greeting", "IMAP is usually on 993"),
    row("SMTP server, implicit", lambda lab: lab.scripted(says("220 mail ESMTP"), security="implicit"), "tls",
        "IMAP is usually on 993"),
    row("SMTP server, STARTTLS", lambda lab: lab.scripted(says("220 mail ESMTP"), security="starttls"), "greeting",
        "IMAP is usually on 993"),
    row("SMTP server inside TLS", lambda lab: lab.scripted(says("220 mail ESMTP"), server_context(
        lab.authority.issue("smtps")), security="implicit"), "greeting", "IMAP is usually on 993"),
    row("POP3 server inside TLS", lambda lab: lab.scripted(says("+OK POP3"), server_context(
        lab.authority.issue("pop3s")), security="implicit"), "greeting", "IMAP is usually on 993"),
    row("SSH server", lambda lab: lab.scripted(says("SSH-2.0-OpenSSH_9.2p1")), "greeting", "IMAP is usually on 993"),
    row("SSH server, implicit", lambda lab: lab.scripted(says("SSH-2.0-OpenSSH_9.2p1"), security="implicit"), "tls",
        "IMAP is usually on 993"),
    row("nobody speaks", lambda lab: lab.scripted(quiet, timeout=1), "greeting", "check Port (port)"),
    row("nobody speaks inside TLS", lambda lab: lab.scripted(quiet, server_context(lab.authority.issue("mute")),
        security="implicit", timeout=1), "greeting", "Check Port (port)"),
    row("closes at once", lambda lab: lab.scripted(Peer.close), "greeting", "allows connections from this machine"),
    row("BYE as greeting", lambda lab: lab.scripted(says("* BYE too many connections")), "greeting",
        "raise the server's limit"),
    # Encryption.
    row("implicit on the plain port", lambda lab: lab.real(port=lab.dovecot.port), "tls",
        "Security mode Explicit (STARTTLS), or port 993", DOVECOT),
    row("none on the TLS port", lambda lab: lab.real(security="none", port=lab.dovecot.tls_port, timeout=60), "tls",
        "Choose SSL with Security mode Implicit", DOVECOT),
    row("STARTTLS on the TLS port", lambda lab: lab.real(security="starttls", port=lab.dovecot.tls_port, timeout=60),
        "tls", "Choose SSL with Security mode Implicit", DOVECOT),
    row("unknown authority", lambda lab: lab.real(tls=TlsSettings()), "tls", "CA bundle (ca_bundle)", DOVECOT),
    row("pin of another", lambda lab: lab.real(tls=TlsSettings(verify="pinned", pins=("0" * 64,))), "tls",
        "Pinned fingerprints (pins)", DOVECOT),
    row("self-signed", lambda lab: lab.scripted(Peer.let_in, server_context(self_signed(lab.folder, "me")),
        security="implicit"), "tls", "Or pin it (pins; verify: pinned)"),
    row("expired", lambda lab: lab.certified("stale", days=(-10, -1)), "tls", "to renew it"),
    row("not valid yet", lambda lab: lab.certified("early", days=(5, 10)), "tls", "clock of this machine"),
    row("another name", lambda lab: lab.certified("other", names=("other.example.com",), addresses=()), "tls",
        "Server name (server_name)"),
    row("broken rules", lambda lab: lab.certified("lax", strict=False), "tls", "Strict certificate checks"),
    row("only TLS 1.0", lambda lab: lab.scripted(Peer.let_in, old_context(lab), security="implicit"), "tls",
        "Allowed SSL/TLS versions (tls_versions)"),
    row("wants a client certificate", lambda lab: lab.scripted(Peer.let_in, demanding_context(lab),
        security="implicit"), "tls", "Client certificate (client_certificate)"),
    row("falls silent in the handshake", lambda lab: lab.scripted(mute,
        security="implicit", timeout=1), "tls", "Choose Security mode Explicit"),
    row("no STARTTLS", lambda lab: lab.scripted(greets_and_waits(CAPABILITIES), security="starttls"), "starttls",
        "Try Security mode Implicit with port 993"),
    row("STARTTLS refused", lambda lab: lab.scripted(starttls_refused, security="starttls"), "starttls",
        "Try Security mode Implicit with port 993"),
    row("PREAUTH before STARTTLS", lambda lab: lab.scripted(greets_and_waits(CAPABILITIES, "* PREAUTH hello"),
        security="starttls"), "starttls", "Choose Security mode Implicit"),
    row("bytes behind STARTTLS", lambda lab: lab.scripted(starttls_injected, security="starttls"), "starttls",
        "Do not log in over this network"),
    # Logging in.
    row("silent at capabilities", lambda lab: lab.scripted(silent_at_capabilities, timeout=1), "capabilities",
        "Raise Timeout (timeout)"),
    row("another IMAP", lambda lab: lab.scripted(greets_and_waits("IMAP5")), "capabilities", "usually on 993"),
    row("LOGINDISABLED", lambda lab: lab.scripted(greets_and_waits("IMAP4rev1 STARTTLS LOGINDISABLED")),
        "authentication", "switch encryption on"),
    row("wrong password", lambda lab: lab.login(WRONG), "authentication", "Password (password)", DOVECOT),
    row("wrong password after STARTTLS", lambda lab: lab.login(WRONG, security="starttls"), "authentication",
        "Password (password)", DOVECOT),
    row("a method that is not offered", lambda lab: lab.real(auth=AuthSettings("scram-sha-256", "alice", SECRET)),
        "authentication", "Choose another Method (auth_method)", DOVECOT),
    row("an alias without rights", without_rights, "authentication", "mailbox named in Alias (alias)", DOVECOT),
    row("CRAM-MD5 with hashed passwords", hashed_for_cram, "authentication", "choose plain as Method", DOVECOT),
    row("silent at the login", lambda lab: lab.scripted(silent_at_login, timeout=1), "authentication",
        "Raise Timeout (timeout)"),
    row("dies at the login", lambda lab: lab.scripted(dies_at_login), "authentication", "too many connections"),
    row("no backend", lambda lab: lab.scripted(overloaded), "authentication", "goes on by itself"),
    row("nonsense at the login", lambda lab: lab.scripted(nonsense_at_login), "authentication", "server's operator"),
    # After it.
    row("no such folder", Lab.real, "folder", "Check its name", DOVECOT, folder="Nowhere"),
    row("no UIDVALIDITY", lambda lab: lab.scripted(without_uidvalidity), "folder", "server's operator"),
    row("silent at EXAMINE", lambda lab: lab.scripted(deaf("EXAMINE"), timeout=1), "folder", "folder may be very"),
    row("silent at IDLE", lambda lab: lab.scripted(deaf("IDLE"), timeout=1), "idle", "does not answer to it"),
    # Proxies.
    row("no proxy there", lambda lab: lab.at("127.0.0.1", 993, tunnel=TunnelSettings("http", "127.0.0.1",
        free_port())), "proxy", "Proxy port (tunnel_port)"),
    row("a proxy that nobody knows", lambda lab: lab.at("127.0.0.1", 993, tunnel=TunnelSettings("socks5",
        "no-such-proxy.invalid", 1080)), "proxy", "Proxy address (tunnel_host) and the DNS"),
    row("the proxy wants a login", lambda lab: lab.proxied("squid with basic", lab.real(), type="http"), "proxy",
        "Proxy username (tunnel_login)", SQUID, DOVECOT),
    row("wrong Basic", lambda lab: lab.proxied("squid with basic", lab.real(), type="http", **IMPOSTOR), "proxy",
        "Proxy password (tunnel_password)", SQUID, DOVECOT),
    row("wrong Digest", lambda lab: lab.proxied("squid with digest", lab.real(), type="http", **IMPOSTOR), "proxy",
        "Proxy password (tunnel_password)", SQUID, DOVECOT),
    row("wrong NTLM", lambda lab: lab.proxied("squid with ntlm", lab.real(), type="http", **IMPOSTOR_IN_DOMAIN),
        "proxy", "Proxy domain (tunnel_domain)", *NTLM),
    row("the proxy forbids the port", lambda lab: lab.proxied("squid", lab.at("localhost", REFUSED_PORT),
        type="http"), "proxy", "operator to allow this address and port", SQUID),
    row("nobody listens behind the proxy", lambda lab: lab.proxied("dante", lab.at("localhost", 1), type="socks5"),
        "proxy", "Check Address (host) and Port (port)", DANTE),
    row("SOCKS to an HTTP proxy", lambda lab: lab.proxied("squid", lab.at("localhost", 993, timeout=1),
        type="socks5"), "proxy", "Proxy type (tunnel_type)", SQUID),
    row("SOCKS to a mail server", lambda lab: lab.at("127.0.0.1", 993, tunnel=TunnelSettings("socks5", "127.0.0.1",
        lab.dovecot.port)), "proxy", "Check Proxy address (tunnel_host)", DOVECOT),
    row("HTTP to a mail server", lambda lab: lab.at("127.0.0.1", 993, tunnel=TunnelSettings("http", "127.0.0.1",
        lab.dovecot.port)), "proxy", "Check Proxy address (tunnel_host)", DOVECOT),
    row("HTTP to a mail server with TLS", lambda lab: lab.at("127.0.0.1", 993, tunnel=TunnelSettings("http",
        "127.0.0.1", lab.dovecot.tls_port)), "proxy", "HTTPS proxies are not supported", DOVECOT),
    row("SOCKS to an SSH server", lambda lab: lab.at("127.0.0.1", 993, tunnel=TunnelSettings("socks5", "127.0.0.1",
        lab.scripted(says("SSH-2.0-OpenSSH_9.2p1")).port)), "proxy", "Check Proxy address (tunnel_host)"),
    row("HTTP to a SOCKS proxy", lambda lab: lab.proxied("microsocks", lab.at("localhost", 993), type="http"),
        "proxy", "Proxy type (tunnel_type)", pytest.mark.microsocks),
    row("a name to be resolved here", lambda lab: lab.proxied("squid", lab.at("no-such-host.invalid", 993),
        type="http", remote_dns=False), "dns", "DNS of this machine", SQUID),
    row("implicit on the plain port, by proxy", lambda lab: lab.proxied("dante", lab.real(port=lab.dovecot.port),
        type="socks5"), "tls", "Security mode Explicit", DANTE, DOVECOT),
    row("none on the TLS port, by proxy", lambda lab: lab.proxied("dante", lab.real(security="none",
        port=lab.dovecot.tls_port, timeout=60), type="socks5"), "tls", "Security mode Implicit", DANTE, DOVECOT),
    # Tokens.
    row("nobody listens at the endpoint", lambda lab: lab.by_token(endpoint=f"https://localhost:{free_port()}/token"),
        "token", "OAuth: endpoint (oauth_endpoint)", DOVECOT),
    row("an endpoint that nobody knows", lambda lab: lab.by_token(endpoint="https://no-such-host.invalid/token"),
        "token", "OAuth: endpoint (oauth_endpoint) and the DNS of this machine", DOVECOT),
    row("a silent endpoint", lambda lab: lab.by_token(Handler.silent, timeout=1), "token",
        "The token endpoint does not answer in time", DOVECOT),
    row("a silent proxy on the way to the endpoint", lambda lab: replace(lab.by_token(timeout=1),
        tunnel=TunnelSettings("http", "127.0.0.1", lab.scripted(mute).port)), "proxy", "Proxy", DOVECOT),
    row("an endpoint that hangs up", lambda lab: lab.by_token(Handler.cut), "token",
        "OAuth: endpoint (oauth_endpoint)", DOVECOT),
    row("a portal answers", lambda lab: lab.by_token(answers(200, b"<html>Welcome</html>")), "token",
        "no portal or filter answers in its place", DOVECOT),
    row("the endpoint is elsewhere", lambda lab: lab.by_token(answers(302, b"", Location="https://elsewhere/")),
        "token", "OAuth: endpoint (oauth_endpoint)", DOVECOT),
    row("the endpoint is overloaded", lambda lab: lab.by_token(answers(503, b"", Retry_After="30")), "token",
        "try again later", DOVECOT),
    row("wrong secret of the application", lambda lab: lab.by_token(secret=WRONG), "token",
        "with the Value from Certificates & secrets, not the Secret ID", DOVECOT),
    row("the endpoint repeats the secret", lambda lab: lab.by_token(echoes), "token", "with the Value", DOVECOT),
    row("the consent has ended", expired_consent, "token", "Let the user consent again", DOVECOT),
    row("no delegation to the service account", without_delegation, "token", "under Domain-wide delegation",
        DOVECOT),
    row("certificate of the endpoint", lambda lab: lab.by_token(tls=TlsSettings(verify="none")), "token",
        "CA bundle (ca_bundle)", DOVECOT),
    row("the mail server refuses the token", refused_token, "authentication", "OAuth: scope (oauth_scope)", DOVECOT),
    row("an expired bearer token", expired_token, "authentication", "Put a new token into Password", DOVECOT),
    row("a server that takes no tokens", lambda lab: replace(lab.by_token(), port=lab.dovecot.tls_port,
        tls=TlsSettings(ca_bundle=lab.dovecot.authority.pem + lab.tokens.dovecot.authority.pem)), "authentication",
        "Method (auth_method)", DOVECOT),
    row("the proxy forbids the endpoint", asked_through("squid", f"https://localhost:{REFUSED_PORT}/token",
        type="http"), "proxy", "operator to allow this address and port", SQUID, DOVECOT),
    row("wrong proxy login on the way to the endpoint", asked_through("squid with digest", type="http", **IMPOSTOR),
        "proxy", "Proxy password (tunnel_password)", SQUID, DOVECOT),
]
# fmt: on


@pytest.mark.timeout(60)  # every row is over within ten seconds, however long the connection's timeout is
@pytest.mark.parametrize(("make", "folder", "stage", "remedy"), BROKEN)
def test_a_broken_connection_is_reported_with_its_stage_and_remedy(
    make: Callable[[Lab], Settings],
    folder: str,
    stage: str,
    remedy: str,
    lab: Lab,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        report = diagnose(make(lab), folder=folder)
    text, line = report.text(), report.line()
    failure = report.failure
    assert failure is not None, text
    assert (failure.stage, report.steps[-1]) == (stage, failure), text
    assert remedy in failure.remedy, text
    assert failure.problem
    assert all(step.ok for step in report.steps[:-1])
    # The line.
    assert line.startswith(f"{stage}: ")
    assert line.endswith(brief(failure.remedy))
    assert not brief(failure.remedy).endswith("…")
    assert len(line) <= LINE_LIMIT < 200
    assert "\n" not in line
    assert "row" not in line.split()
    # The whole.
    assert failure.remedy in text
    assert failure.problem in text
    assert report.seconds < 10
    shows_no_secret(line, text, json.dumps(report.as_dict(), allow_nan=False), repr(report), caplog.text)


@pytest.mark.dovecot
def test_the_answer_to_a_refused_token_is_the_servers_own_reason(lab: Lab) -> None:
    report = diagnose(refused_token(lab))
    assert report.failure is not None
    assert "status " in report.failure.reply
    assert report.fact("endpoint") == "localhost"


def test_there_are_more_broken_connections_than_were_asked_for() -> None:
    assert len({one.id for one in BROKEN}) == len(BROKEN) >= 40
