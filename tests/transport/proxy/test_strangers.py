"""Proxy fields that lead to something else: who it is, is said, and what to choose instead."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from airflow_imap_provider.connection.settings import TunnelSettings
from airflow_imap_provider.errors import ProxyError
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Deadline
from airflow_imap_provider.transport.diagnosis import diagnose
from airflow_imap_provider.transport.proxy.tunnel import open_tunnel
from airflow_imap_provider.transport.report import Report
from tests.servers.scripted import Peer
from tests.transport.lab import Lab

TYPES = ["http", "socks4a", "socks5"]


def says(*lines: str) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.send(*lines)
        peer.exactly(10_000)

    return script


def through(lab: Lab, kind: str, port: int, host: str = "127.0.0.1", timeout: float = 30) -> Report:
    return diagnose(lab.at("mail.example.com", 993, timeout=timeout, tunnel=TunnelSettings(kind, host, port)))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("greeting", "who"),
    [
        ("* OK [CAPABILITY IMAP4rev1] ready", "this is an IMAP server, no proxy"),
        ("220 mail.example.com ESMTP", "this is an SMTP server, which takes mail and gives none out, no proxy"),
        ("+OK ready", "this is a POP3 server, no proxy"),
        ("SSH-2.0-OpenSSH_9.2p1", "this is an SSH server, no proxy"),
    ],
)
def test_a_server_that_greets_is_no_proxy(greeting: str, who: str, kind: str, lab: Lab) -> None:
    report = through(lab, kind, lab.scripted(says(greeting)).port)
    assert report.failure is not None
    assert (report.failure.stage, report.failure.problem) == ("proxy", f"{who}.")
    assert report.failure.reply == greeting
    assert report.failure.remedy == "Check Proxy address (tunnel_host) and Proxy port (tunnel_port)."


@pytest.mark.parametrize("kind", ["socks4a", "socks5"])
def test_an_answer_of_http_to_socks_leads_to_the_other_type(kind: str, lab: Lab) -> None:
    report = through(lab, kind, lab.scripted(says("HTTP/1.1 400 Bad Request", "", "")).port)
    assert report.failure is not None
    assert "an HTTP proxy or a web server" in report.failure.problem
    assert report.failure.reply == "HTTP/1.1 400 Bad Request"
    assert report.failure.remedy.startswith("Choose http as Proxy type (tunnel_type)")


@pytest.mark.parametrize("kind", TYPES)
def test_a_port_that_speaks_tls_is_named_so(kind: str, lab: Lab) -> None:
    def alert(peer: Peer) -> None:
        peer.send_raw(b"\x15\x03\x01\x00\x02\x02\x32")
        peer.exactly(10_000)

    report = through(lab, kind, lab.scripted(alert).port)
    assert report.failure is not None
    assert report.failure.problem == "the proxy speaks TLS on this port."
    assert "HTTPS proxies are not supported" in report.failure.remedy


@pytest.mark.parametrize("kind", ["socks4a", "socks5"])
@pytest.mark.squid
def test_a_real_http_proxy_that_waits_for_the_rest_of_a_line_is_asked(kind: str, lab: Lab) -> None:
    proxy = lab.proxied("squid", lab.at("127.0.0.1", 993), type="http").tunnel
    assert proxy.port is not None
    report = through(lab, kind, proxy.port, proxy.host)
    assert report.failure is not None
    assert "an HTTP proxy or a web server" in report.failure.problem, report.text()
    assert report.failure.remedy.startswith("Choose http as Proxy type (tunnel_type)")


@pytest.mark.parametrize("kind", ["http", "socks4a"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("microsocks", marks=pytest.mark.microsocks),
        pytest.param("microsocks with login", marks=pytest.mark.microsocks),
    ],
)
def test_a_real_socks5_proxy_that_hangs_up_is_asked(name: str, kind: str, lab: Lab) -> None:
    proxy = lab.proxied(name, lab.at("127.0.0.1", 993), type="http").tunnel
    assert proxy.port is not None
    report = through(lab, kind, proxy.port, proxy.host)
    assert report.failure is not None
    assert report.failure.problem.startswith("this is a SOCKS5 proxy"), report.text()
    assert report.failure.remedy == "Choose socks5 as Proxy type (tunnel_type)."


def test_a_proxy_that_is_slow_to_reach_the_mail_server_is_asked_and_waited_for(lab: Lab) -> None:
    asked: list[Peer] = []

    def script(peer: Peer) -> None:
        asked.append(peer)
        if len(asked) > 1:
            peer.close()  # it answers to no other protocol
            return
        assert peer.exactly(3) == b"\x05\x01\x00"
        peer._server.stopping.wait(4)
        peer.send_raw(b"\x05\x00")
        peer.exactly(4 + 1 + len("mail.example.com") + 2)
        peer.send_raw(b"\x05\x00\x00\x01" + bytes(6))
        peer.serve_inbox("IMAP4rev1 SASL-IR AUTH=PLAIN")
        peer.expect("LOGOUT")
        peer.ok("* BYE")

    assert through(lab, "socks5", lab.scripted(script).port).ok


def test_only_a_test_asks(lab: Lab) -> None:
    peers: list[Peer] = []

    def silent(peer: Peer) -> None:
        peers.append(peer)
        peer.close()

    port = lab.scripted(silent).port
    deadline = Deadline(SYSTEM_CLOCK, 5)
    began = time.monotonic()
    with pytest.raises(ProxyError, match="closed the connection"):
        open_tunnel(TunnelSettings("http", "127.0.0.1", port), "mail.example.com", 993, deadline)
    assert len(peers) == 1
    assert time.monotonic() - began < 5
