"""A token endpoint that fails in every way, and a mail server behind it that must not be troubled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone

import jwt
import pytest

from airflow_imap_provider.connection.settings import AuthSettings, OAuthSettings, Settings, TlsSettings
from airflow_imap_provider.errors import (
    AuthenticationError,
    ConnectError,
    ImapError,
    ImapTimeoutError,
    LoginRefusedError,
    LostConnectionError,
    ProtocolError,
    RefusedError,
    SettingsError,
    TlsError,
)
from airflow_imap_provider.transport.opening import connect
from airflow_imap_provider.transport.session import Session, open_session
from tests.servers.scripted import Peer, ScriptedServer
from tests.servers.token_endpoint import Handler, TokenEndpoint
from tests.servers.waiting import free_port, wait_until
from tests.transport.clocks import HandClock
from tests.transport.conftest import Opener
from tests.transport.oauth_server import OAuthWorld, oauth_servers, world

__all__ = ["oauth_servers", "world"]

pytestmark = pytest.mark.dovecot

NOWHERE = Settings(conn_id="nowhere", host="no-such-host.invalid")
"""A mail server that nobody may look for before there is a token."""


def asking(world: OAuthWorld, auth: AuthSettings, timeout: float = 10, **changes: object) -> Settings:
    tls = TlsSettings(ca_bundle=world.dovecot.authority.pem)
    return replace(NOWHERE, auth=auth, tls=tls, timeout=timeout, **changes)  # type: ignore[arg-type]


def failing(world: OAuthWorld, **changes: float) -> ImapError:
    user = world.dovecot.new_user()
    with pytest.raises(ImapError) as caught:
        open_session(asking(world, world.by_secret(user), **changes))
    return caught.value


# -- misbehaviour -----------------------------------------------------------------------------------------------------

HUGE = b'{"access_token": "' + b"x" * 1_000_000 + b'"}'

BROKEN: dict[str, tuple[Callable[[Handler], None], type[ImapError], str]] = {
    "500": (lambda peer: peer.answer(500, b"<h1>oops</h1>"), RefusedError, "cannot answer now (500)"),
    "503": (lambda peer: peer.answer(503, b"", Retry_After="30"), RefusedError, "(503). It asks to wait 30 s."),
    "429": (lambda peer: peer.answer(429, {"error": "slow_down"}), RefusedError, "cannot answer now (429)"),
    "redirect": (
        lambda peer: peer.answer(302, b"", Location=peer.endpoint.url),
        ProtocolError,
        "redirects to another address (302)",
    ),
    "HTML": (lambda peer: peer.answer(200, b"<!DOCTYPE html>Welcome"), ProtocolError, "a web page instead of JSON"),
    "huge": (lambda peer: peer.answer(200, HUGE), ProtocolError, "more than 262144 bytes"),
    "endless head": (lambda peer: peer.send(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000), ProtocolError, "HTTP"),
    "endless": (
        lambda peer: peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000),
        ProtocolError,
        "more than 262144 bytes",
    ),
    "bomb": (
        lambda peer: peer.answer(200, b"\x1f\x8b", Content_Encoding="gzip"),
        ProtocolError,
        "something else instead of JSON",
    ),
    "no token": (lambda peer: peer.answer(200, {"token_type": "Bearer"}), ProtocolError, "without a token"),
    "no HTTP": (lambda peer: peer.send(b"220 smtp ready\r\n"), ProtocolError, "does not speak HTTP"),
    "half": (
        lambda peer: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
        ProtocolError,
        "stopped in the middle",
    ),
    "cut": (lambda peer: peer.cut(), (ProtocolError, LostConnectionError), "localhost"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_told_for_what_it_is(name: str, world: OAuthWorld) -> None:
    misbehave, kind, words = BROKEN[name]
    world.endpoint.misbehave = misbehave
    error = failing(world)
    assert isinstance(error, kind)
    assert words in str(error)
    assert error.stage == "token"
    assert error.remedy
    # A redirect is not followed, nothing is asked twice, and the mail server is not looked for.
    assert len(world.endpoint.forms) == 1


@pytest.mark.parametrize(
    "misbehave",
    [
        lambda peer: peer.silent(),
        lambda peer: peer.drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000),
        lambda peer: peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        lambda peer: peer.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b" " * 10_000),
    ],
    ids=["silent", "drips in the head", "drips promises", "drips in the body"],
)
def test_an_endpoint_that_drips_or_says_nothing_has_no_more_time_than_all_together(
    misbehave: Callable[[Handler], None], world: OAuthWorld
) -> None:
    world.endpoint.misbehave = misbehave
    began = time.monotonic()
    error = failing(world, timeout=1)
    assert isinstance(error, ImapTimeoutError)
    assert error.stage == "token"
    assert "oauth_endpoint" in error.remedy
    assert time.monotonic() - began < 5


def test_what_the_endpoint_takes_of_the_time_the_mail_server_does_not_have(world: OAuthWorld) -> None:
    world.endpoint.delay = 2

    def silent(peer: Peer) -> None:
        peer.wait_for_end()

    with ScriptedServer(silent) as server:
        settings = asking(world, world.by_secret(world.dovecot.new_user()), timeout=3)
        settings = replace(settings, host=server.host, port=server.port, security="none")
        began = time.monotonic()
        with pytest.raises(ImapTimeoutError, match="greeting"):
            open_session(settings)
        assert time.monotonic() - began < 4.5, "two and three seconds are too many"


def test_an_endpoint_that_is_not_there_is_told(world: OAuthWorld) -> None:
    auth = world.by_secret(world.dovecot.new_user())
    for url, words in (
        (f"https://localhost:{free_port()}/token", "Connection refused"),
        ("https://no-such-endpoint.invalid/token", "does not resolve"),
    ):
        with pytest.raises(ConnectError, match=words) as caught:
            open_session(asking(world, replace(auth, oauth=replace(auth.oauth, endpoint=url))))
        assert caught.value.stage == "token"
        assert "oauth_endpoint" in caught.value.remedy


def test_an_endpoint_without_tls_where_https_was_said_is_told(world: OAuthWorld) -> None:
    with TokenEndpoint(b"k" * 32) as plain:
        auth = world.by_secret(world.dovecot.new_user())
        url = plain.url.replace("http:", "https:")
        with pytest.raises(TlsError, match="no encrypted connection with the token endpoint") as caught:
            open_session(asking(world, replace(auth, oauth=replace(auth.oauth, endpoint=url))))
        assert caught.value.stage == "token"


@pytest.mark.parametrize(
    ("bundle", "words"),
    [("/no/such/file.pem", "'/no/such/file.pem' cannot be read"), ("-----BEGIN CERTIFICATE-----\n", "the text")],
)
def test_a_ca_bundle_that_cannot_be_read_is_told(bundle: str, words: str, world: OAuthWorld) -> None:
    with pytest.raises(SettingsError, match=words):
        open_session(
            replace(asking(world, world.by_secret(world.dovecot.new_user())), tls=TlsSettings(ca_bundle=bundle))
        )


def test_a_ca_bundle_counts_as_file_and_as_text(world: OAuthWorld, opened: Opener) -> None:
    user = world.dovecot.new_user()
    for bundle in (world.dovecot.authority.pem, str(world.dovecot.authority.path)):
        assert opened(world.settings(user, world.by_secret(user), tls=TlsSettings(ca_bundle=bundle))).usable


def test_on_this_machine_http_is_enough(world: OAuthWorld, opened: Opener) -> None:
    user = world.dovecot.new_user()
    with TokenEndpoint(world.endpoint._token_key) as plain:
        client_id = plain.register(user.login, secret="s3cret")
        oauth = OAuthSettings(client_id=client_id, client_secret="s3cret", endpoint=plain.url, scope="x")
        auth = AuthSettings("oauth-client-credentials", user.login, oauth=oauth)
        assert opened(world.settings(user, auth)).usable


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"client_secret": "wrong-secret"}, "AADSTS7000215.*not the Secret ID"),
        ({"client_id": "unknown"}, "AADSTS700016.*does not know the application"),
    ],
)
def test_an_application_that_is_not_accepted_is_told_what_is_wrong(
    change: dict[str, str], words: str, world: OAuthWorld
) -> None:
    auth = world.by_secret(world.dovecot.new_user())
    with pytest.raises(AuthenticationError, match=rf"invalid_client.*{words}") as caught:
        open_session(asking(world, replace(auth, oauth=replace(auth.oauth, **change))))
    assert caught.value.stage == "token"
    assert "wrong-secret" not in str(caught.value)


@pytest.mark.parametrize("code", ["invalid_grant", "unauthorized_client", "invalid_scope", "interaction_required"])
def test_each_refusal_has_a_remedy(code: str, world: OAuthWorld) -> None:
    world.endpoint.misbehave = lambda peer: peer.answer(400, {"error": code, "error_description": "because"})
    error = failing(world)
    assert isinstance(error, AuthenticationError)
    assert f"{code}: because" in error.reply
    assert error.remedy


def test_a_consent_that_was_revoked_needs_a_new_one(world: OAuthWorld) -> None:
    auth = world.by_consent(world.dovecot.new_user())
    with pytest.raises(AuthenticationError, match=r"consent again.*\(oauth_refresh_token\)"):
        open_session(asking(world, replace(auth, oauth=replace(auth.oauth, refresh_token="revoked-refresh-token"))))


# -- the cache --------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def log_in(settings: Settings, clock: HandClock) -> None:
    connection = connect(settings, clock)
    connection.stream.shutdown()


def test_many_sessions_at_once_cost_one_request(world: OAuthWorld) -> None:
    user = world.dovecot.new_user()
    settings = world.settings(user, world.by_secret(user))
    world.endpoint.delay = 0.3
    sessions: list[Session] = []
    threads = [threading.Thread(target=lambda: sessions.append(open_session(settings))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for session in sessions:
        session.close()
    assert len(sessions) == 20
    assert len(world.endpoint.forms) == 1


def test_a_token_is_renewed_early_and_a_busy_endpoint_does_not_matter_then(world: OAuthWorld, clock: HandClock) -> None:
    user = world.dovecot.new_user()
    settings = world.settings(user, world.by_secret(user))
    log_in(settings, clock)
    clock.forward(3000)
    log_in(settings, clock)
    assert len(world.endpoint.forms) == 1
    clock.forward(400)
    world.endpoint.misbehave = lambda peer: peer.answer(503, b"")
    log_in(settings, clock)
    assert len(world.endpoint.forms) == 2
    world.endpoint.misbehave = None
    clock.forward(31)
    log_in(settings, clock)
    log_in(settings, clock)
    assert len(world.endpoint.forms) == 3


@pytest.mark.parametrize(("lifetime", "requests"), [(0, 2), ("0", 2), (-1, 2), (None, 1), ("3600", 1), ("soon", 1)])
def test_a_token_that_ends_at_once_is_used_and_not_kept(
    lifetime: object, requests: int, world: OAuthWorld, clock: HandClock
) -> None:
    user = world.dovecot.new_user()
    settings = world.settings(user, world.by_secret(user))
    world.endpoint.lifetime = lifetime
    log_in(settings, clock)
    log_in(settings, clock)
    assert len(world.endpoint.forms) == requests


def test_a_cached_token_that_is_refused_is_replaced_once(world: OAuthWorld, clock: HandClock) -> None:
    user = world.dovecot.new_user()
    settings = world.settings(user, world.by_secret(user))
    # The endpoint's word counts for the cache; the mail server's for the login.
    short = world.endpoint.token_for(user.login, lifetime=2)
    world.endpoint.misbehave = lambda peer: peer.answer(200, {"access_token": short, "expires_in": 3600})
    log_in(settings, clock)
    world.endpoint.misbehave = None
    # Dovecot's clock decides: it has whole seconds, and is some milliseconds late.
    end = jwt.decode(short, options={"verify_signature": False})["exp"] + 1.5
    wait_until(lambda: time.time() > end, "the token has ended")
    clock.forward(61)
    log_in(settings, clock)
    assert len(world.endpoint.forms) == 2
    log_in(settings, clock)
    assert len(world.endpoint.forms) == 2


def test_a_mailbox_that_a_new_token_does_not_open_costs_one_login_and_no_request_from_then_on(
    world: OAuthWorld, clock: HandClock
) -> None:
    user = world.dovecot.new_user()
    settings = world.settings(user, world.by_secret(user))
    log_in(settings, clock)
    logins = []

    def refuse(peer: Peer) -> None:
        peer.greet("IMAP4rev1 SASL-IR AUTH=XOAUTH2")
        logins.append(peer.expect("AUTHENTICATE"))
        peer.no("AUTHENTICATE failed.")

    with ScriptedServer(refuse) as server:
        refusing = replace(settings, host=server.host, port=server.port, security="none")

        def refused_after(seconds: float) -> tuple[int, int]:
            clock.forward(seconds)
            with pytest.raises(LoginRefusedError):
                log_in(refusing, clock)
            return len(logins), len(world.endpoint.forms)

        # Old enough to try another one, which does no better.
        assert refused_after(100) == (2, 2)
        assert refused_after(100) == (3, 2)
        assert refused_after(400) == (4, 2)
        # In the meantime the application may have been given more permissions, which stand in new tokens only.
        assert refused_after(200) == (6, 3)
    # The token is as good as before for who may use it.
    log_in(settings, clock)
    assert len(world.endpoint.forms) == 3


class TwoMinutesLater:
    """The real clock, when a token of now is old enough to try another one."""

    def monotonic(self) -> float:
        return time.monotonic() + 120

    def now(self) -> datetime:
        return datetime.now(timezone.utc)


def test_the_second_login_has_only_the_time_that_is_left(world: OAuthWorld) -> None:
    user = world.dovecot.new_user()
    settings = world.settings(user, world.by_secret(user))
    open_session(settings).close()
    seen: list[str] = []

    def refuse_and_be_silent(peer: Peer) -> None:
        if seen:
            peer.wait_for_end()
            return
        peer.greet("IMAP4rev1 SASL-IR AUTH=XOAUTH2")
        seen.append(peer.expect("AUTHENTICATE"))
        time.sleep(2)
        peer.no("no")

    with ScriptedServer(refuse_and_be_silent) as server:
        began = time.monotonic()
        refusing = replace(settings, host=server.host, port=server.port, security="none", timeout=3)
        with pytest.raises(ImapTimeoutError):
            open_session(refusing, clock=TwoMinutesLater())
        assert time.monotonic() - began < 4.5, "two and three seconds are too many"


@pytest.fixture(autouse=True)
def _endpoint_behaves_again(world: OAuthWorld) -> Iterator[None]:
    yield
    world.endpoint.reset()
