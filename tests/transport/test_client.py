"""What our use of IMAPClient and imaplib leans on: private names, which a new version may change without notice."""

from __future__ import annotations

import imaplib
import inspect
import logging
import subprocess
import sys

import imapclient
import pytest
from imapclient import IMAPClient

from airflow_imap_provider.errors import ImapTimeoutError
from airflow_imap_provider.transport.stream import BufferedIMAP4
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import Opener, settings_for

BODY = b"the body of somebody's mail"


def answer_fetch(peer: Peer, body: bytes = BODY) -> None:
    peer.expect("UID FETCH")
    peer.send_raw(b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%s)\r\n" % (len(body), body))
    peer.ok()


@pytest.mark.parametrize("name", ["_create_IMAP4", "_set_read_timeout", "_checkok"])
def test_imapclient_still_has_the_private_methods_that_are_overridden_or_called(name: str) -> None:
    assert callable(getattr(IMAPClient, name))


def test_imapclient_still_builds_its_connection_in_create_imap4() -> None:
    source = inspect.getsource(IMAPClient.__init__)
    assert "self._imap = self._create_IMAP4()" in source
    assert "self._starttls_done = False" in source
    assert "self._cached_capabilities = None" in source


@pytest.mark.parametrize(
    "name", ["_connect", "_new_tag", "_get_response", "_get_tagged_response", "_command_complete", "_simple_command"]
)
def test_imaplib_still_has_the_private_methods_that_are_overridden_or_called(name: str) -> None:
    assert callable(getattr(imaplib.IMAP4, name))


@pytest.mark.parametrize("name", ["_connect", "_new_tag", "_get_tagged_response", "open", "read", "readline", "send"])
def test_overridden_methods_take_the_arguments_that_imaplibs_own_take(name: str) -> None:
    ours = inspect.signature(getattr(BufferedIMAP4, name)).parameters
    theirs = inspect.signature(getattr(imaplib.IMAP4, name)).parameters
    assert list(ours) == list(theirs)


def test_imaplibs_own_file_is_never_made() -> None:
    # Python 3.14 has a second buffer and a property of this name; ours must be the only buffer.
    source = inspect.getsource(BufferedIMAP4)
    assert "makefile" not in source
    assert "self.file" not in source


def test_imapclient_is_one_of_the_versions_that_this_was_written_for() -> None:
    assert imapclient.version_info[:2] >= (4, 1)


def test_nothing_heavy_is_imported_before_a_session_is_opened() -> None:
    code = (
        "import sys, airflow_imap_provider.transport.session as _;"
        "heavy = {'imapclient', 'imaplib', 'ssl', 'cryptography', 'asyncio', 'httpx', 'h11', 'jwt', 'spnego'};"
        "print(*heavy & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"


def test_who_logs_in_without_a_token_loads_nothing_for_tokens() -> None:
    code = (
        "import sys, airflow_imap_provider.transport.opening as _;"
        "print(*{'httpx', 'httpcore', 'h11', 'jwt'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"


def test_bodies_never_reach_the_log_even_at_debug(opened: Opener, caplog: pytest.LogCaptureFixture) -> None:
    def script(peer: Peer) -> None:
        peer.serve_inbox()
        answer_fetch(peer)
        answer_fetch(peer)

    with caplog.at_level(logging.DEBUG), ScriptedServer(script) as server:
        session = opened(settings_for(server))
        session.select("INBOX", readonly=True)
        assert session.fetch([1], ["BODY.PEEK[]"])[1][b"BODY[]"] == BODY
        assert session.client.fetch([1], ["BODY.PEEK[]"])[1][b"BODY[]"] == BODY
    assert BODY.decode() not in caplog.text
    assert session.client._imap.debug == 0


def test_the_client_itself_is_bounded_too(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.serve_inbox()
        peer.expect("NOOP")
        peer.wait_for_end()

    with ScriptedServer(script) as server:
        session = opened(settings_for(server, timeout=1))
        session.select("INBOX", readonly=True)
        with pytest.raises(ImapTimeoutError):
            session.client.noop()
        assert not session.usable


def test_the_client_starts_tls_only_with_the_settings_own_context(opened: Opener) -> None:
    with ScriptedServer(lambda peer: (peer.let_in(), peer.wait_for_end())[0]) as server:  # type: ignore[func-returns-value]
        session = opened(settings_for(server))
        with pytest.raises(ValueError, match="settings decide"):
            session.client.starttls(object())
        session.close()
