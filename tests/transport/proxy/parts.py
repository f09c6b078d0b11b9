"""What scripted proxies are made of."""

from __future__ import annotations

import socket
from typing import Any

from airflow_imap_provider.connection.settings import Settings, TunnelSettings
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Deadline
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import settings_for

TARGET = "imap.example.com"
OK = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n"
LOG_IN = (
    b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'
    b"Content-Length: 13\r\n\r\n<p>log in</p>"
)
GRANTED4 = b"\0\x5a" + b"\0" * 6
DONE5 = b"\5\0\0\1\x7f\0\0\1\x04\xd2"
GREETING = b"* OK ready\r\n"


def received(sock: socket.socket, size: int) -> bytes:
    """So many bytes; fewer if the connection ends."""
    data = b""
    while len(data) < size and (chunk := sock.recv(size - len(data))):
        data += chunk
    return data


def within(seconds: float = 5) -> Deadline:
    return Deadline(SYSTEM_CLOCK, seconds)


def through(server: ScriptedServer, kind: str, timeout: float = 5, **tunnel: Any) -> Settings:
    """Settings that lead through a scripted proxy to a scripted mail server in the same script."""
    values = {"type": kind, "host": server.host, "port": server.port, **tunnel}
    return settings_for(server, host=TARGET, port=993, timeout=timeout, tunnel=TunnelSettings(**values))


def head(peer: Peer) -> list[str]:
    """The client's request."""
    lines = []
    while line := peer.line():
        lines.append(line)
    return lines


def silent(peer: Peer) -> None:
    peer._server.stopping.wait()
