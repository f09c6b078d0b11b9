"""Connections that work: the facts and warnings that the Test reports of them, and that it changes nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import TlsSettings
from airflow_imap_provider.transport.diagnosis import diagnose
from airflow_imap_provider.transport.report import Report
from tests.servers.dovecot import Dovecot, User
from tests.servers.proxies import LOGIN as PROXY_LOGIN
from tests.servers.proxies import PASSWORD as PROXY_PASSWORD
from tests.servers.scripted import Peer
from tests.transport.lab import SECRET, Lab, old_context, shows_no_secret
from tests.transport.oauth_server import oauth_servers, world

__all__ = ["oauth_servers", "world"]

SQUID, DANTE = pytest.mark.squid, pytest.mark.dante
JOE = {"login": PROXY_LOGIN, "password": PROXY_PASSWORD}


def stages(report: Report) -> list[str]:
    return [step.stage for step in report.steps]


def test_a_good_connection_is_reported_with_its_facts_and_nothing_is_marked(lab: Lab, dovecot: Dovecot) -> None:
    user = dovecot.new_user(SECRET)
    dovecot.deliver(user, b"Subject: one\r\n\r\nHello.\r\n")
    report = diagnose(dovecot.settings(user, host="localhost"))
    assert report.ok, report.text()
    assert stages(report) == [
        "settings", "dns", "tcp", "tls", "greeting", "capabilities", "authentication", "capabilities", "ID", "folder",
        "idle",
    ]  # fmt: skip
    assert "127.0.0.1" in str(report.fact("addresses"))
    assert report.fact("connected") == f"127.0.0.1 port {dovecot.tls_port}"
    assert (report.fact("version"), report.fact("mechanism")) == ("TLSv1.3", "PLAIN")
    assert (report.fact("subject"), report.fact("issuer")) == ("CN=server", "CN=Test Authority")
    assert report.fact("days_left") in (29, 30)
    assert "Dovecot" in str(report.fact("greeting"))
    assert report.fact("has") == ("IDLE", "MOVE", "UIDPLUS", "CONDSTORE")
    assert report.fact("lacks") == ("OBJECTID", "QUOTA")
    assert (report.fact("folder"), report.fact("mails"), report.fact("idle")) == ("INBOX", 1, True)
    assert isinstance(report.fact("uidvalidity"), int)
    assert report.line().startswith("OK in ")
    assert "INBOX has 1 mails; IDLE works" in report.line()
    shows_no_secret(report.text(), json.dumps(report.as_dict()))
    with dovecot.connection(user) as client:
        client.select(readonly=True)
        assert client.search(None, "UNSEEN", "RECENT")[1] == [b"1"]


@pytest.mark.parametrize("pin", ["certificate_pin", "key_pin"])
def test_the_fingerprints_can_be_pasted_as_pins(pin: str, dovecot: Dovecot, user: User) -> None:
    settings = dovecot.settings(user)
    pinned = TlsSettings(verify="pinned", pins=(str(diagnose(settings).fact(pin)),))
    report = diagnose(replace(settings, tls=pinned))
    assert report.ok, report.text()
    assert not any("not checked" in warning for warning in report.warnings)


def test_a_wrong_pin_is_reported_with_the_certificate_that_the_server_has(dovecot: Dovecot, user: User) -> None:
    report = diagnose(dovecot.settings(user, tls=TlsSettings(verify="pinned", pins=("0" * 64,))))
    assert report.failure is not None
    assert report.failure.facts["certificate_pin"] == diagnose(dovecot.settings(user)).fact("certificate_pin")


def test_the_stages_of_starttls_are_in_their_order(dovecot: Dovecot, user: User) -> None:
    report = diagnose(dovecot.settings(user, security="starttls"))
    assert stages(report)[:6] == ["settings", "tcp", "greeting", "capabilities", "starttls", "tls"]
    assert report.ok, report.text()


@pytest.mark.parametrize(
    ("proxy", "tunnel", "answer"),
    [
        pytest.param("squid with digest", {"type": "http", **JOE}, "200 .*login by Digest", marks=SQUID),
        pytest.param("microsocks with login", {"type": "socks5", **JOE}, "0: .*password", marks=pytest.mark.microsocks),
        pytest.param("dante", {"type": "socks4", "remote_dns": False}, "90: granted", marks=DANTE),
    ],
)
def test_a_proxy_is_reported_with_its_answer(proxy: str, tunnel: dict[str, Any], answer: str, lab: Lab) -> None:
    report = diagnose(lab.proxied(proxy, lab.real(), **tunnel))
    assert report.ok, report.text()
    assert "proxy" in stages(report)
    assert "tcp" not in stages(report)
    assert report.fact("kind") == tunnel["type"]
    assert re.search(answer, str(report.fact("answer")))


@pytest.mark.dovecot
def test_who_gave_a_token_and_how_long_it_lasts_is_reported_and_each_test_asks_anew(lab: Lab) -> None:
    lab.tokens.endpoint.lifetime = 1800
    settings = lab.by_token()
    report = diagnose(settings)
    assert report.ok, report.text()
    assert stages(report)[:3] == ["settings", "token", "tcp"]
    assert (report.fact("endpoint"), report.fact("lifetime")) == ("localhost", "1800 s")
    assert report.fact("mechanism") == "XOAUTH2"
    again = diagnose(settings)
    assert again.ok, again.text()
    assert len(lab.tokens.endpoint.issued) == 2
    for text in (report.text(), json.dumps(report.as_dict()), again.text()):
        assert not [token for token in lab.tokens.endpoint.issued if token in text]
        shows_no_secret(text)


def warns(report: Report, words: str) -> bool:
    return any(words in warning for warning in report.warnings)


def test_a_server_without_idle_works_and_is_warned_of(lab: Lab) -> None:
    def script(peer: Peer) -> None:
        peer.serve_inbox("IMAP4rev1 SASL-IR AUTH=PLAIN")
        peer.expect("LOGOUT")
        peer.ok("* BYE")

    report = diagnose(lab.scripted(script))
    assert report.ok, report.text()
    assert warns(report, "no IDLE: new mail is found by polling")
    assert "idle" not in stages(report)
    assert "no IDLE (polling)" in report.line()
    assert warns(report, "No encryption")


def test_a_server_that_refuses_the_idle_that_it_announces_works_and_is_warned_of(lab: Lab) -> None:
    def script(peer: Peer) -> None:
        peer.serve_inbox()
        peer.expect("IDLE")
        peer.no("not for you")
        peer.expect("LOGOUT")
        peer.ok("* BYE")

    report = diagnose(lab.scripted(script))
    assert report.ok, report.text()
    assert warns(report, "announces IDLE and refuses it (not for you)")
    assert report.fact("idle") is False
    assert "IDLE is refused (polling)" in report.line()


def test_a_slow_server_is_asked_who_it_is_and_waited_for(lab: Lab) -> None:
    """It looks up our name before it greets; meanwhile it takes no other connection."""

    def script(peer: Peer) -> None:
        peer._server.stopping.wait(3.5)
        peer.serve_inbox("IMAP4rev1 SASL-IR AUTH=PLAIN")
        peer.expect("LOGOUT")
        peer.ok("* BYE")

    def scripts(peer: Peer) -> None:
        if peers:
            peer.close()
            return
        peers.append(peer)
        script(peer)

    peers: list[Peer] = []
    report = diagnose(lab.scripted(scripts, timeout=20))
    assert report.ok, report.text()


@pytest.mark.parametrize(
    ("verify", "words"), [("chain", "name is not checked"), ("none", "certificate is not checked")]
)
def test_less_than_full_verification_is_warned_of(verify: Any, words: str, dovecot: Dovecot, user: User) -> None:
    bundle = dovecot.authority.pem if verify == "chain" else ""
    assert warns(diagnose(dovecot.settings(user, tls=TlsSettings(verify=verify, ca_bundle=bundle))), words)


def test_an_old_version_and_an_early_end_of_the_certificate_are_warned_of(lab: Lab) -> None:
    tls = TlsSettings(versions=("TLSv1",), ca_bundle=lab.authority.pem)
    report = diagnose(lab.scripted(Peer.let_in, old_context(lab), security="implicit", tls=tls))
    assert report.fact("version") == "TLSv1"
    assert warns(report, "TLSv1 is broken")
    assert warns(report, "TLSv1 are allowed")
    assert warns(report, "expires in 29 days")


def test_secrets_in_the_servers_words_are_taken_out(lab: Lab) -> None:
    def script(peer: Peer) -> None:
        peer.send(f"* OK hello {SECRET}")
        peer.tell_capabilities()
        peer.expect("AUTHENTICATE")
        peer.no(f"you said {peer.arguments} {SECRET}")

    report = diagnose(lab.scripted(script))
    assert report.fact("greeting") == "OK hello ***"
    shows_no_secret(report.text(), report.line(), json.dumps(report.as_dict()), repr(report))
