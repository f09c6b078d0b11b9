"""Every way to get a token, against a real mail server that checks it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Security, TlsSettings
from airflow_imap_provider.errors import AuthenticationError, LoginRefusedError, SettingsError, TlsError
from tests.servers.dovecot import Dovecot
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import Opener, settings_for
from tests.transport.login_server import is_in, mailbox_with_a_mail
from tests.transport.oauth_server import OAuthWorld, oauth_servers, world

__all__ = ["oauth_servers", "world"]

pytestmark = pytest.mark.dovecot

METHODS: dict[str, Callable[..., AuthSettings]] = {
    "secret": OAuthWorld.by_secret,
    "certificate": OAuthWorld.by_certificate,
    "refresh token": OAuthWorld.by_consent,
    "service account": OAuthWorld.by_service_account,
    "bearer": OAuthWorld.by_token,
}


@pytest.mark.parametrize("alias", [False, True], ids=["own", "alias"])
@pytest.mark.parametrize("mechanism", ["both", "XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("method", METHODS)
def test_a_token_opens_the_mailbox(method: str, mechanism: str, alias: bool, opened: Opener, world: OAuthWorld) -> None:
    server = world.only[mechanism]
    user = mailbox_with_a_mail(server)
    auth = METHODS[method](world, user)
    if alias:
        # Somebody else's login: the mailbox is the alias, for which the token is.
        auth = METHODS[method](world, server.new_user(), alias=user.login)
    assert is_in(opened(world.settings(user, auth, server)))
    used = "XOAUTH2" if mechanism == "both" else mechanism
    server.wait_for_log(f"user=<{user.login}>, method={used}")
    assert len(world.endpoint.forms) == (0 if method == "bearer" else 1)


@pytest.mark.parametrize("security", ["none", "starttls", "implicit"])
def test_a_token_travels_as_a_password_does(security: Security, opened: Opener, world: OAuthWorld) -> None:
    user = mailbox_with_a_mail(world.dovecot)
    assert is_in(opened(world.settings(user, world.by_secret(user), security=security)))


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("method", METHODS)
def test_a_token_that_the_mail_server_does_not_take_is_refused_with_its_words(
    method: str, mechanism: str, opened: Opener, world: OAuthWorld
) -> None:
    world.endpoint.wrong_key = True
    user = world.dovecot.new_user()
    with pytest.raises(LoginRefusedError, match=rf"'{user.login}' by {mechanism}.*; status") as caught:
        opened(world.settings(user, METHODS[method](world, user), world.only[mechanism]))
    assert caught.value.stage == "authentication"
    assert ("Password (password)" in caught.value.remedy) == (method == "bearer")
    assert "Check Username (login) and Password" not in caught.value.remedy
    # It was new: another one would not be better.
    assert len(world.endpoint.forms) == (0 if method == "bearer" else 1)


def test_a_token_of_somebody_else_opens_no_mailbox(opened: Opener, world: OAuthWorld) -> None:
    user, other = world.dovecot.new_user(), world.dovecot.new_user()
    token = world.endpoint.token_for(other.login)
    with pytest.raises(LoginRefusedError):
        opened(world.settings(user, AuthSettings("bearer", user.login, token)))


def test_an_expired_bearer_token_is_answered_with_what_to_do(opened: Opener, world: OAuthWorld) -> None:
    user = world.dovecot.new_user()
    token = world.endpoint.token_for(user.login, lifetime=-60)
    with pytest.raises(LoginRefusedError, match="Put a new token into Password"):
        opened(world.settings(user, AuthSettings("bearer", user.login, token)))


@pytest.mark.parametrize("method", METHODS)
def test_a_server_that_takes_no_tokens_says_so(
    method: str, opened: Opener, world: OAuthWorld, dovecot: Dovecot
) -> None:
    user = dovecot.new_user()
    with pytest.raises(AuthenticationError, match=r"not offer a login with a token \(XOAUTH2 or OAUTHBEARER\)"):
        opened(world.settings(user, METHODS[method](world, user), dovecot))


def test_what_the_mail_servers_certificate_need_not_stand_up_to_the_endpoints_must(
    opened: Opener, world: OAuthWorld
) -> None:
    user = world.dovecot.new_user()
    with pytest.raises(TlsError, match="certificate of the token endpoint localhost") as caught:
        opened(world.settings(user, world.by_secret(user), tls=TlsSettings(verify="none")))
    assert caught.value.stage == "token"
    assert "CA bundle" in caught.value.remedy
    assert world.endpoint.forms == []


@pytest.mark.parametrize(("size", "with_the_command"), [(1000, True), (6000, False)])
def test_a_token_too_long_for_a_command_is_sent_on_a_line_of_its_own(
    size: int, with_the_command: bool, opened: Opener
) -> None:
    token, capabilities = "t" * size, "IMAP4rev1 SASL-IR AUTH=XOAUTH2"

    def script(peer: Peer) -> None:
        peer.greet(capabilities)
        sent = peer.expect("AUTHENTICATE").removeprefix("XOAUTH2").strip()
        assert bool(sent) == with_the_command
        if not sent:
            peer.send("+ ")
            sent = peer.line()
        assert base64.b64decode(sent) == f"user=alice\x01auth=Bearer {token}\x01\x01".encode()
        peer.ok(words=f"[CAPABILITY {capabilities}] logged in")

    with ScriptedServer(script) as server:
        assert opened(settings_for(server, auth=AuthSettings("bearer", "alice", token))).usable


@pytest.mark.parametrize("field", ["login", "alias"])
def test_an_identity_that_could_add_fields_is_refused(field: str, opened: Opener) -> None:
    auth = replace(AuthSettings("bearer", "alice", "token"), **{field: "joe\x01auth=Bearer x"})
    with ScriptedServer(lambda peer: peer.greet("IMAP4rev1 AUTH=XOAUTH2")) as server:
        with pytest.raises(SettingsError, match="contains a control character"):
            opened(settings_for(server, auth=auth))
        assert b"AUTHENTICATE" not in server.received
