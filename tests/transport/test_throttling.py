"""The servers' ways of saying "not now", in their own words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_imap_provider.connection.settings import AuthSettings
from airflow_imap_provider.errors import LostConnectionError, RefusedError
from airflow_imap_provider.transport.report import brief
from airflow_imap_provider.transport.throttling import recognise, suggested_pause
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import Opener, settings_for
from tests.transport.inbox import after_inbox, open_inbox

SEEN = [
    # Gmail
    ("[ALERT] Too many simultaneous connections. (Failure)", "connections"),
    ("[OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", "throttled"),
    ("[ALERT] Account exceeded command or bandwidth limits. (Failure)", "throttled"),
    ("Lockdown in sector 4 (Failure)", "throttled"),
    ("Success [THROTTLED]", "throttled"),
    # Office 365 and Exchange
    ("Request is throttled. Suggested Backoff Time: 299961 milliseconds", "throttled"),
    ("Server Unavailable. 15", "busy"),
    ("Server Busy", "busy"),
    ("User is authenticated but not connected.", "backend"),
    ("Connection is closed. 13", "backend"),
    ("Connection closed. 14", "backend"),
    # Yahoo
    ("[LIMIT] CAPABILITY Rate limit hit.", "throttled"),
    # iCloud
    ("[UNAVAILABLE] Service temporarily unavailable", "busy"),
    # Dovecot
    (
        "[UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)",
        "connections",
    ),
    # RFC 5530, whoever says it
    ("[INUSE] Mailbox in use", "busy"),
    ("[OVERQUOTA] Sorry", "full"),
    ("[SERVERBUG] oops", "busy"),
]


@pytest.mark.parametrize(("words", "name"), SEEN)
def test_what_providers_say_is_recognised_and_has_a_remedy(words: str, name: str) -> None:
    limit = recognise(words)
    assert limit is not None
    assert limit.name == name
    assert limit.remedy.endswith(".")


@pytest.mark.parametrize(
    "words",
    [
        "[AUTHENTICATIONFAILED] Invalid credentials (Failure)",
        "LOGIN failed.",
        "[ALERT] Application-specific password required",
        "AUTHENTICATE failed.",
        "[NONEXISTENT] Unknown Mailbox",
        "IMAP4rev1 Server logging out",
    ],
)
def test_a_refused_login_or_a_missing_folder_is_no_limit(words: str) -> None:
    assert recognise(words) is None


def test_the_suggested_pause_is_read_and_bounded() -> None:
    assert suggested_pause("Request is throttled. Suggested Backoff Time: 299961 milliseconds") == 299.961
    assert suggested_pause("BAD Request is throttled. Suggested Backoff Time: 999999999 milliseconds") == 3600
    assert suggested_pause("Request is throttled.") is None


@pytest.mark.parametrize("words", [words for words, _ in SEEN])
@pytest.mark.parametrize("verb", ["no", "bad"])
def test_a_limit_at_login_does_not_count_as_a_refused_login(words: str, verb: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.expect("AUTHENTICATE")
        getattr(peer, verb)(words)

    with ScriptedServer(script) as server, pytest.raises(RefusedError) as caught:
        opened(settings_for(server))
    limit = recognise(words)
    assert limit is not None
    assert caught.value.remedy == limit.remedy


@pytest.mark.parametrize("words", ["Connection is closed. 13", "[UNAVAILABLE] Too many connections"])
def test_a_limit_in_bye_brings_its_remedy(words: str, opened: Opener) -> None:
    def leave(peer: Peer) -> None:
        peer.expect("NOOP")
        peer.send(f"* BYE {words}")

    with ScriptedServer(after_inbox(leave)) as server, pytest.raises(LostConnectionError) as caught:
        open_inbox(opened, server).noop()
    limit = recognise(words)
    assert limit is not None
    assert (caught.value.reply, caught.value.remedy) == (words, limit.remedy)


def test_exchange_without_permission_for_the_mailbox_points_to_alias_and_full_access(opened: Opener) -> None:
    """XOAUTH2 succeeds, and the first command that needs the mailbox says this; also with a wrong Alias."""

    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1 SASL-IR AUTH=XOAUTH2")
        peer.expect("AUTHENTICATE XOAUTH2")
        peer.ok(words="[CAPABILITY IMAP4rev1] AUTHENTICATE completed.")
        peer.expect("EXAMINE")
        peer.bad("User is authenticated but not connected.")

    with ScriptedServer(script) as server:
        auth = AuthSettings("bearer", "joe@example.com", "a-token", alias="shared@example.com")
        session = opened(replace(settings_for(server), auth=auth))
        with pytest.raises(RefusedError) as caught:
            session.select("INBOX", readonly=True)
    assert caught.value.stage == "folder"
    first = brief(caught.value.remedy)
    assert first.startswith("Check Alias (alias), Username (login)")
    assert "Full Access" in first
