"""Files that do not answer, as on a network drive that is away: they cost their own connections the timeout, and no
other connection anything."""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, OAuthSettings, Settings, TlsSettings, TunnelSettings
from airflow_imap_provider.errors import ImapError, ImapTimeoutError, SettingsError
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Deadline
from airflow_imap_provider.transport.oauth.channel import Route, open_channel
from tests.servers.certificates import Authority
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import LOGIN, Opener, context_of, settings_for


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    path = tmp_path / "pipe.pem"
    os.mkfifo(path)
    return str(path)


@pytest.fixture
def away(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file whose drive does not answer until the test is over: ``stat`` hangs, as it does on such a mount."""
    path = tmp_path / "away.pem"
    path.write_text(authority.pem)
    back = threading.Event()
    stat = Path.stat

    def hang(self: Path, **options: bool) -> os.stat_result:
        if self == path and not back.wait(60):
            raise TimeoutError
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", hang)
    yield path
    back.set()


def threads_that_read() -> int:
    return sum(thread.name == "imap-files" for thread in threading.enumerate())


def test_a_file_that_does_not_answer_is_waited_for_no_longer_than_the_timeout(
    away: Path, opened: Opener, tls: ssl.SSLContext
) -> None:
    with ScriptedServer(Peer.let_in, tls=tls) as server:
        settings = settings_for(server, security="implicit", tls=TlsSettings(ca_bundle=str(away)), timeout=0.5)
        begun = time.monotonic()
        for _ in range(3):
            with pytest.raises(ImapTimeoutError, match=r"CA bundle \(ca_bundle\): the file does not answer") as caught:
                opened(settings)
            assert caught.value.stage == "settings"
            assert "network drive" in caught.value.remedy
        assert time.monotonic() - begun < 30
    assert threads_that_read() == 1


def test_a_file_that_does_not_answer_keeps_no_other_connection_waiting(
    away: Path, opened: Opener, tls: ssl.SSLContext, authority: Authority
) -> None:
    with ScriptedServer(Peer.let_in, tls=tls) as server:
        hung = settings_for(server, security="implicit", tls=TlsSettings(ca_bundle=str(away)), timeout=50)

        def wait() -> None:
            with contextlib.suppress(ImapError):  # the file answers when the test is over, the server no longer
                opened(hung)

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        while not threads_that_read():
            time.sleep(0.01)
        healthy = (TlsSettings(ca_bundle=str(authority.path)), TlsSettings(ca_bundle=authority.pem))
        for trusting in healthy:
            assert opened(replace(hung, tls=trusting, timeout=20)).usable
        assert waiting.is_alive()


def test_a_token_endpoints_ca_bundle_and_an_applications_key_are_waited_for_no_longer_either(
    away: Path, opened: Opener
) -> None:
    route = Route(TunnelSettings(), str(away), False)
    with pytest.raises(ImapTimeoutError, match=r"CA bundle \(ca_bundle\): the file does not answer"):
        open_channel("https://127.0.0.1:1/token", route, Deadline(SYSTEM_CLOCK, 0.3), str)
    oauth = OAuthSettings(client_id="id", private_key=str(away), endpoint="https://127.0.0.1:1/token", scope="mail")
    auth = AuthSettings(method="oauth-client-credentials", login=LOGIN, oauth=oauth)
    with pytest.raises(ImapTimeoutError) as caught:
        opened(Settings(conn_id="away", host="127.0.0.1", port=1, security="none", timeout=0.5, auth=auth))
    assert "OAuth: private key (oauth_private_key): the file does not answer" in str(caught.value)


@pytest.mark.parametrize("field", ["ca_bundle", "client_certificate", "client_private_key"])
def test_a_named_pipe_is_refused_before_anybody_waits_for_its_writer(
    field: str, pipe: str, authority: Authority
) -> None:
    values: dict[str, Any] = (
        {"client_certificate": authority.pem, "client_private_key": authority.pem} if field != "ca_bundle" else {}
    )
    with pytest.raises(SettingsError, match=rf"\({field}\): .*it is no file, but a pipe, a socket or a device"):
        context_of(TlsSettings(**{**values, field: pipe}))
