"""A session whose INBOX is open, on a server that plays what a test wants to see answered."""

from __future__ import annotations

from collections.abc import Callable

from airflow_imap_provider.transport.session import Session
from tests.servers.scripted import CAPABILITIES, Peer, ScriptedServer
from tests.transport.conftest import Opener, settings_for

MAIL = b"Subject: hello\r\nFrom: a@example.com\r\n\r\ntext\r\n"


def after_inbox(*steps: Callable[[Peer], None], capabilities: str = CAPABILITIES) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.serve_inbox(capabilities)
        for step in steps:
            step(peer)

    return script


def open_inbox(opened: Opener, server: ScriptedServer, *, timeout: float = 5, readonly: bool = False) -> Session:
    session = opened(settings_for(server, timeout=timeout))
    session.select("INBOX", readonly=readonly)
    return session
