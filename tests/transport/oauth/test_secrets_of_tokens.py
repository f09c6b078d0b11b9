"""No token, assertion, secret or key shows, whatever endpoint and mail server repeat, with every log at DEBUG."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote_plus, unquote_plus

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, OAuthSettings, Settings, TlsSettings
from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.transport.diagnosis import diagnose
from airflow_imap_provider.transport.session import open_session
from tests.servers.scripted import Peer, ScriptedServer
from tests.servers.token_endpoint import Handler
from tests.transport.conftest import Opener
from tests.transport.oauth.showing import check_nothing_shows
from tests.transport.oauth_server import OAuthWorld, oauth_servers, world
from tests.transport.test_oauth_logins import METHODS
from tests.transport.test_secrets import everything_about
from tests.transport.test_secrets_of_methods import everything_of

__all__ = ["oauth_servers", "world"]

pytestmark = pytest.mark.dovecot


@pytest.fixture(autouse=True)
def _every_log(caplog: pytest.LogCaptureFixture) -> None:
    """Airflow, if it is loaded already, has set these to WARNING."""
    for name in ("httpx", "httpcore", "airflow_imap_provider"):
        caplog.set_level(logging.DEBUG, logger=name)


TOKEN_METHODS = [name for name in METHODS if name != "bearer"]


def echo(status: int, **members: str) -> Callable[[Handler], None]:
    """An answer that repeats all that was sent, in the body, the header and the reason phrase."""

    def misbehave(peer: Handler) -> None:
        said = peer.said.replace("\n", " ")
        encoded = quote_plus(said)
        content = {name: value.format(said=said, encoded=encoded) for name, value in members.items()}
        peer.answer(status, content, X_Echo=encoded, Set_Cookie=said, Location=f"https://elsewhere/?{encoded}")

    return misbehave


def echo_raw(peer: Handler) -> None:
    peer.send(
        b"HTTP/1.1 200 " + peer.said.encode() + b"\r\nX: " + peer.said.encode() + b"\r\n\r\n" + peer.said.encode()
    )


ECHOES: dict[str, Callable[[Handler], None]] = {
    "refusal": echo(400, error="invalid_grant", error_description="you said {said}, {encoded}"),
    "refusal in the code": echo(400, error="{said}"),
    "busy": echo(503, error="temporarily_unavailable", error_description="{said}"),
    "redirect": echo(302),
    "another type": echo(200, access_token="abc", token_type="{said}"),
    "nothing": echo(200),
    "no JSON": echo_raw,
    "no HTTP": lambda peer: peer.send(peer.said.encode() + b"\r\n\r\n"),
    "cut": lambda peer: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + peer.said.encode()),
}


@pytest.mark.parametrize("misbehave", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("method", TOKEN_METHODS)
def test_an_endpoint_that_repeats_what_it_got_brings_nothing_into_a_message(
    method: str, misbehave: Callable[[Handler], None], world: OAuthWorld, caplog: pytest.LogCaptureFixture
) -> None:
    user = world.dovecot.new_user()
    settings = world.settings(user, METHODS[method](world, user))
    world.endpoint.misbehave = misbehave
    with caplog.at_level(logging.DEBUG), pytest.raises(ImapError) as caught:
        open_session(settings)
    assert len(world.endpoint.forms) == 1
    check_nothing_shows(world, settings, everything_about(caught.value) + caplog.text)


def test_a_key_in_the_query_of_the_endpoint_shows_nowhere(world: OAuthWorld, caplog: pytest.LogCaptureFixture) -> None:
    key, paths = "Function/Key 123+", []

    def misbehave(peer: Handler) -> None:
        paths.append(peer.path)
        said = f"you asked {peer.path}, {unquote_plus(peer.path)}"
        peer.answer(400, {"error": "invalid_grant", "error_description": said}, Location=peer.path)

    user = world.dovecot.new_user()
    auth = world.by_secret(user)
    endpoint = f"{world.endpoint.url}?code={quote_plus(key)}"
    settings = world.settings(user, replace(auth, oauth=replace(auth.oauth, endpoint=endpoint)))
    world.endpoint.misbehave = misbehave
    with caplog.at_level(logging.DEBUG), pytest.raises(ImapError) as caught:
        open_session(settings)
    report = diagnose(settings)
    assert len(paths) == 2
    assert all(path.endswith(quote_plus(key)) for path in paths), "it was not sent"
    shown = f"{everything_about(caught.value)} {caplog.text} {report} {report!r} {settings!r}"
    assert "you asked" in shown
    assert "Key" not in shown.replace("PRIVATE KEY", "").replace(type(caught.value).__name__, "")


SERVERS: dict[str, Callable[[Peer, str], None]] = {
    "NO": lambda peer, said: peer.no(f"you said {said}"),
    "BAD": lambda peer, said: peer.bad(f"you said {said}"),
    "BYE": lambda peer, said: peer.send(f"* BYE you said {said}"),
    "garbage": lambda peer, said: peer.send(said),
    "temporary": lambda peer, said: peer.no(f"[UNAVAILABLE] {said}"),
}


@pytest.mark.parametrize("answer", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("method", METHODS)
def test_a_mail_server_that_repeats_what_it_got_brings_nothing_into_a_message(
    method: str,
    mechanism: str,
    answer: Callable[[Peer, str], None],
    world: OAuthWorld,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def script(peer: Peer) -> None:
        peer.greet(f"IMAP4rev1 SASL-IR AUTH={mechanism}")
        said = peer.expect("AUTHENTICATE").partition(" ")[2]
        plain = base64.b64decode(said).decode()
        token = plain.rpartition("Bearer ")[2].strip("\x01")
        peer.send("+ " + base64.b64encode(f'{{"status":"{said}","schemes":"{token}"}}'.encode()).decode())
        peer.line()
        answer(peer, f"{said} {token} {plain}".replace("\x01", " "))

    user = world.dovecot.new_user()
    settings = world.settings(user, METHODS[method](world, user), timeout=2)
    with caplog.at_level(logging.DEBUG), ScriptedServer(script) as server:
        settings = replace(settings, host=server.host, port=server.port, security="none")
        with pytest.raises(ImapError) as caught:
            open_session(settings)
        check_nothing_shows(world, settings, everything_about(caught.value) + caplog.text)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_a_real_login_shows_anywhere(
    method: str, world: OAuthWorld, opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    world.endpoint.rotates = True
    user = world.dovecot.new_user()
    settings = world.settings(user, METHODS[method](world, user))
    with caplog.at_level(logging.DEBUG):
        session = opened(settings)
        texts = [*everything_of(session), caplog.text]
        session.logout()
    for text in texts:
        check_nothing_shows(world, settings, text)
    # The logs were on, and said something.
    assert method == "bearer" or "has given a token" in caplog.text


@pytest.mark.parametrize("key", ["private_key", "endpoint"])
def test_a_key_that_cannot_be_used_does_not_show(key: str, world: OAuthWorld, caplog: pytest.LogCaptureFixture) -> None:
    user = world.dovecot.new_user()
    auth = world.by_certificate(user)
    changed = {
        "private_key": auth.oauth.private_key.replace("MII", "MIJ"),
        "endpoint": "https://no-such-host.invalid/",
    }
    auth = replace(auth, oauth=replace(auth.oauth, **{key: changed[key]}))
    settings = world.settings(user, auth, tls=TlsSettings())
    with caplog.at_level(logging.DEBUG), pytest.raises(ImapError) as caught:
        open_session(settings)
    check_nothing_shows(world, settings, everything_about(caught.value) + caplog.text)


PASTED = {
    "a client secret": "8Q8~abc/DEF.ghi-jkl_mno~pqr+stu",
    "one that begins like a path": "/8Q8abcDEFghijklmnopqrstu",
    "a key without its first and last line": base64.b64encode(b"\x30\x77\x02\x01\x01" + b"key" * 40).decode(),
    "something long": "k3y" * 2000,
    "half a character": "s3cret-\ud800-of-the-application",
}
"""What is neither PEM nor PKCS#12 nor JSON counts as a path, and is a secret all the same."""


@pytest.mark.parametrize("pasted", PASTED.values(), ids=PASTED)
@pytest.mark.parametrize("method", ["oauth-client-credentials", "oauth-service-account"])
def test_a_secret_that_was_pasted_into_the_private_keys_field_does_not_show(method: str, pasted: str) -> None:
    oauth = OAuthSettings(client_id="0000", endpoint="https://localhost/token", scope="mail", private_key=pasted)
    settings = Settings("mail", "no-such-host.invalid", auth=AuthSettings(method, "joe", oauth=oauth))
    with pytest.raises(SettingsError, match=r"oauth_private_key\): the path \(not shown") as caught:
        open_session(settings)
    report = diagnose(settings)
    shown = everything_about(caught.value) + report.line() + report.text() + json.dumps(report.as_dict()) + repr(report)
    for part in (pasted, repr(pasted)[1:-1], pasted[:12], pasted[-12:]):
        assert part not in shown


@pytest.mark.parametrize("pasted", PASTED.values(), ids=PASTED)
@pytest.mark.parametrize("field", ["client_private_key", "client_certificate"])
def test_a_secret_that_was_pasted_into_the_fields_of_the_client_certificate_does_not_show(
    field: str, pasted: str
) -> None:
    tls = TlsSettings(**{"client_private_key": "-----BEGIN", field: pasted})  # type: ignore[arg-type]
    settings = Settings("mail", "no-such-host.invalid", auth=AuthSettings("plain", "joe", "password"), tls=tls)
    with pytest.raises(SettingsError) as caught:
        open_session(settings)
    report = diagnose(settings)
    shown = everything_about(caught.value) + report.line() + report.text() + json.dumps(report.as_dict()) + repr(report)
    for part in (pasted, repr(pasted)[1:-1], pasted[:12], pasted[-12:]):
        assert part not in shown


def test_a_bearer_token_is_a_secret_of_the_settings(world: OAuthWorld) -> None:
    token = world.endpoint.token_for("joe")
    settings = world.settings(world.dovecot.alice, AuthSettings("bearer", "joe", token))
    assert token in settings.secrets()
    assert token not in repr(settings)
