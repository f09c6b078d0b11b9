"""What the Test finds out about a server whose encryption it does not accept, and what it does not do for that."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import Settings, TlsSettings
from airflow_imap_provider.errors import CertificateError
from airflow_imap_provider.transport.diagnosis import diagnose
from airflow_imap_provider.transport.report import Report
from airflow_imap_provider.transport.session import open_session
from tests.servers.certificates import self_signed
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import server_context, settings_for
from tests.transport.lab import SECRET, Lab

DOVECOT, SQUID, DANTE = pytest.mark.dovecot, pytest.mark.squid, pytest.mark.dante
WHOSE = ("subject", "names", "issuer", "valid_from", "expires", "certificate_pin", "key_pin")
UNTRUSTING = TlsSettings()


def whose(report: Report) -> dict[str, Any]:
    """What the report says of the certificate."""
    return {name: report.fact(name) for name in WHOSE}


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(lambda lab, real: real(), id="directly"),
        pytest.param(lambda lab, real: real(security="starttls"), id="STARTTLS"),
        pytest.param(lambda lab, real: lab.proxied("squid", real(), type="http"), marks=SQUID, id="HTTP proxy"),
        pytest.param(lambda lab, real: lab.proxied("dante", real(), type="socks5"), marks=DANTE, id="SOCKS5"),
        pytest.param(
            lambda lab, real: lab.proxied("dante", real(security="starttls"), type="socks5"),
            marks=DANTE,
            id="SOCKS5 and STARTTLS",
        ),
    ],
)
@DOVECOT
def test_a_refused_certificate_is_shown_with_the_pins_that_would_accept_it(
    way: Callable[[Lab, Callable[..., Settings]], Settings], lab: Lab
) -> None:
    settings = way(lab, lab.real)
    good = diagnose(settings)
    assert good.ok, good.text()
    refused = diagnose(replace(settings, tls=UNTRUSTING))
    assert refused.failure is not None
    assert refused.failure.stage == "tls"
    assert None not in whose(refused).values()
    assert whose(refused) == whose(good)
    assert "the server's administrator confirms the report's SHA-256" in refused.failure.remedy
    for pin in ("certificate_pin", "key_pin"):
        assert str(refused.fact(pin)) in refused.text()
        pinned = TlsSettings(verify="pinned", pins=(str(refused.fact(pin)),))
        assert diagnose(replace(settings, tls=pinned)).ok


@pytest.mark.parametrize(
    ("make", "subject"),
    [
        (lambda lab: lab.certified("stale", days=(-10, -1)), "CN=stale"),
        (lambda lab: lab.certified("early", days=(5, 10)), "CN=early"),
        (lambda lab: lab.certified("other", names=("other.example.com",), addresses=()), "CN=other"),
        (
            lambda lab: lab.scripted(Peer.let_in, server_context(self_signed(lab.folder, "own")), security="implicit"),
            "CN=own",
        ),
    ],
    ids=["expired", "not valid yet", "another name", "self-signed"],
)
def test_whatever_a_certificate_is_refused_for_the_test_shows_it(
    make: Callable[[Lab], Settings], subject: str, lab: Lab
) -> None:
    report = diagnose(make(lab))
    assert report.failure is not None
    assert report.failure.facts["subject"] == subject
    assert len(str(report.failure.facts["certificate_pin"])) == 64


@DOVECOT
def test_a_pin_that_is_right_besides_a_chain_that_is_not_leads_to_pinned_only(lab: Lab) -> None:
    settings = lab.real()
    pin = str(diagnose(settings).fact("key_pin"))
    report = diagnose(replace(settings, tls=TlsSettings(pins=(pin,))))
    assert report.failure is not None
    assert report.failure.remedy.startswith("Choose Verify certificate (verify) Pinned only")
    assert "CA bundle (ca_bundle)" in report.failure.remedy
    assert "confirms" not in report.failure.remedy


def test_the_line_of_a_self_signed_certificate_has_room_for_both_ways_out(lab: Lab) -> None:
    context = server_context(self_signed(lab.folder, "own"))
    line = diagnose(lab.scripted(Peer.let_in, context, security="implicit")).line()
    assert "CA bundle (ca_bundle). Or pin it" in line
    assert line.endswith("confirms the report's SHA-256.")


class Door:
    """Counts connections, and what was said inside the encryption of each."""

    def __init__(self, lab: Lab, *, starttls: bool = False) -> None:
        self.context = server_context(self_signed(lab.folder, "door"))
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.context.load_verify_locations(lab.authority.path)
        self.starttls = starttls
        self.said: list[bytes] = []
        self.shown: list[Any] = []

    def __call__(self, peer: Peer) -> None:
        self.said.append(b"")
        if self.starttls:
            peer.greet("IMAP4rev1 STARTTLS LOGINDISABLED")
            peer.expect("STARTTLS")
            peer.ok()
        peer.starttls(self.context)
        before = len(peer._server.received)
        assert isinstance(peer._sock, ssl.SSLSocket)
        try:
            peer.line()
        finally:
            # None where the client has ended the handshake before this side was done with it.
            with contextlib.suppress(ValueError):
                self.shown.append(peer._sock.getpeercert())
            self.said[-1] = bytes(peer._server.received[before:])


@pytest.mark.parametrize("starttls", [False, True], ids=["implicit", "STARTTLS"])
def test_nothing_is_said_to_a_server_whose_certificate_is_refused_and_no_certificate_is_shown_to_it(
    starttls: bool, lab: Lab
) -> None:
    client = lab.authority.issue_client("alice")
    tls = TlsSettings(client_certificate=str(client.certificate), client_private_key=str(client.key))
    door = Door(lab, starttls=starttls)
    with ScriptedServer(door) as server:
        settings = settings_for(server, security="starttls" if starttls else "implicit", tls=tls)
        report = diagnose(settings)
        server.wait_until_played()
    assert report.fact("subject") == "CN=door", report.text()
    assert len(door.said) == 2, "one refused, one looked at"
    assert not any(door.said)
    assert not any(door.shown)


def test_an_ordinary_session_does_not_look_again(lab: Lab) -> None:
    door = Door(lab)
    with ScriptedServer(door) as server, pytest.raises(CertificateError):
        open_session(settings_for(server, security="implicit"))
    assert len(door.said) == 1


def test_a_server_that_is_gone_at_the_second_look_leaves_the_first_error(lab: Lab) -> None:
    door = Door(lab)

    def once(peer: Peer) -> None:
        if door.said:
            peer.close()
        else:
            door(peer)

    with ScriptedServer(once) as server:
        report = diagnose(settings_for(server, security="implicit"))
    assert report.failure is not None
    assert "self-signed" in report.failure.problem
    assert report.fact("subject") is None


def test_the_second_look_is_within_the_limit_of_the_test(lab: Lab) -> None:
    door = Door(lab)

    def once(peer: Peer) -> None:
        if door.said:
            peer.exactly(10_000)
        else:
            door(peer)

    with ScriptedServer(once) as server:
        began = time.monotonic()
        report = diagnose(settings_for(server, security="implicit", timeout=30), limit=1.0)
        took = time.monotonic() - began
    assert report.failure is not None
    assert "self-signed" in report.failure.problem
    assert took < 5


# -- no TLS -----------------------------------------------------------------------------------------------------------


def says(*lines: str) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.send(*lines)
        peer.exactly(10_000)

    return script


SPEAKERS = [
    ("220 mail.example.com ESMTP Postfix", "an SMTP server"),
    ("220 (vsFTPd 3.0.3)", "an FTP server"),
    ("220 ready", "an SMTP or FTP server"),
    ("554 go away", "an SMTP or FTP server"),
    ("+OK Dovecot ready.", "a POP3 server"),
    ("SSH-2.0-OpenSSH_9.2p1", "an SSH server"),
    ('"IMPLEMENTATION" "Dovecot Pigeonhole"', "a ManageSieve server"),
    ("HTTP/1.1 400 Bad Request", "a web server"),
]


@pytest.mark.parametrize("security", ["none", "starttls", "implicit"])
@pytest.mark.parametrize(("greeting", "who"), SPEAKERS)
def test_a_server_of_another_protocol_is_recognised_by_its_greeting(
    greeting: str, who: str, security: str, lab: Lab
) -> None:
    report = diagnose(lab.scripted(says(greeting), security=security))
    assert report.failure is not None
    assert report.failure.stage == ("tls" if security == "implicit" else "greeting")
    assert report.failure.problem.startswith(f"this is {who}")
    assert report.failure.reply == greeting
    assert "IMAP is usually on 993 (SSL) or 143" in report.failure.remedy


@pytest.mark.parametrize(("greeting", "who"), SPEAKERS)
def test_a_server_of_another_protocol_is_recognised_inside_tls_too(greeting: str, who: str, lab: Lab) -> None:
    """As on port 465 or 995."""
    context = server_context(lab.authority.issue("inside"))
    report = diagnose(lab.scripted(says(greeting), context, security="implicit"))
    assert report.failure is not None
    assert report.failure.stage == "greeting"
    assert report.failure.problem.startswith(f"this is {who}")


def test_a_real_web_server_is_recognised_whatever_the_security_mode_is(lab: Lab) -> None:
    for security in ("none", "starttls", "implicit"):
        report = diagnose(lab.web(timeout=60, security=security))
        assert report.failure is not None
        assert report.failure.problem == "this is a web server, no IMAP server.", report.text()


def test_an_imap_server_without_tls_from_the_first_byte_is_named_so(dovecot: Dovecot, user: User) -> None:
    report = diagnose(dovecot.settings(user, port=dovecot.port))
    assert report.failure is not None
    assert report.failure.problem == "the server speaks IMAP here, but no TLS from the first byte."
    assert "Dovecot" in report.failure.reply
    assert "Choose Security mode Explicit (STARTTLS)" in report.failure.remedy
    assert SECRET not in report.text()
