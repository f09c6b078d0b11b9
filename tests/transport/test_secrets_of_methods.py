"""No password, key, passphrase or response shows, by any method of logging in, right or wrong, whatever is echoed."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Settings, TlsSettings
from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.transport.session import Session
from airflow_imap_provider.transport.tls import _contexts
from tests.servers.client_material import PASSPHRASE, Material
from tests.servers.dovecot import Dovecot
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import LOGIN, Opener, settings_for
from tests.transport.login_server import login_server, settings_of
from tests.transport.test_secrets import everything_about, forms

__all__ = ["login_server"]

SECRET = "hunter2-is-my-p4ssw0rd"
METHODS = ["auto", "login", "plain", "cram-md5", "scram-sha-1", "scram-sha-256"]


def sent_lines(received: bytes) -> list[str]:
    """What the client has said that could be a secret: base64 of some length, and what is in it."""
    words = [word for word in received.decode().split() if len(word) >= 24]
    # Names of mechanisms and the like are no base64.
    encoded = [word for word in words if len(word) % 4 == 0 and re.fullmatch(r"[A-Za-z0-9+/]+=*", word)]
    return words + [base64.b64decode(word).decode("utf-8", "replace") for word in encoded]


ANSWERS: dict[str, Callable[[Peer, str], None]] = {
    "NO": lambda peer, said: peer.no(f"you said {said}"),
    "BAD": lambda peer, said: peer.bad(f"you said {said}"),
    "BYE": lambda peer, said: peer.send(f"* BYE you said {said}"),
    "garbage": lambda peer, said: peer.send(said),
    "temporary": lambda peer, said: peer.no(f"[UNAVAILABLE] {said}"),
}


@pytest.mark.parametrize("alias", ["", "the-mailbox-of-sales"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("method", ["plain", "cram-md5", "scram-sha-1", "scram-sha-256"])
def test_a_server_that_repeats_what_it_got_brings_nothing_into_a_message(
    method: str, answer: Callable[[Peer, str], None], alias: str, opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    if alias and method == "cram-md5":
        alias = ""

    def script(peer: Peer) -> None:
        peer.greet(f"IMAP4rev1 SASL-IR AUTH={method.upper()}")
        said = peer.expect("AUTHENTICATE").partition(" ")[2]
        if method == "cram-md5":
            peer.send("+ " + base64.b64encode(b"<1896.697170952@example.com>").decode())
            said += peer.line()
        elif method != "plain":
            nonce = base64.b64decode(said).decode().rpartition("r=")[2]
            first = f"r={nonce}more,s={base64.b64encode(b'0123456789abcdef').decode()},i=4096"
            peer.send("+ " + base64.b64encode(first.encode()).decode())
            line = peer.line()
            said += f" {line} {base64.b64decode(line).decode()}"
        answer(peer, said)

    auth = AuthSettings(method, LOGIN, SECRET, alias)
    with caplog.at_level(logging.DEBUG), ScriptedServer(script) as server:
        with pytest.raises(ImapError) as caught:
            opened(settings_for(server, timeout=1, auth=auth))
        shown = everything_about(caught.value) + caplog.text
        for hidden in (*forms(SECRET), *sent_lines(bytes(server.received))):
            assert hidden not in shown


@pytest.mark.dovecot
@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_a_real_login_shows_anywhere(
    method: str, opened: Opener, login_server: Dovecot, caplog: pytest.LogCaptureFixture
) -> None:
    user = login_server.new_user(SECRET)
    with caplog.at_level(logging.DEBUG):
        session = opened(login_server.settings(user, auth=AuthSettings(method, user.login, SECRET)))
        texts = [caplog.text, *everything_of(session)]
        session.logout()
        with pytest.raises(ImapError) as caught:
            opened(login_server.settings(user, auth=AuthSettings(method, user.login, f"{SECRET}-wrong")))
        texts += [caplog.text, everything_about(caught.value)]
    for text in texts:
        for hidden in forms(SECRET):
            assert hidden not in text


@pytest.mark.dovecot
def test_nothing_of_a_client_certificate_shows_anywhere(
    opened: Opener, login_server: Dovecot, caplog: pytest.LogCaptureFixture
) -> None:
    user = login_server.new_user()
    login_server.certify(user.login)
    mine = Material(login_server.client_authority.issue_client(user.login), login_server.client_authority.pem)
    key = mine.encrypted()
    tls = TlsSettings(
        ca_bundle=login_server.authority.pem,
        client_certificate=mine.certificate,
        client_private_key=key,
        client_private_key_passphrase=PASSPHRASE,
    )
    settings: Settings = settings_of(login_server, auth=AuthSettings("external"), tls=tls)
    with caplog.at_level(logging.DEBUG):
        session = opened(settings)
        texts = [caplog.text, *everything_of(session), repr(list(_contexts))]
    for text in texts:
        for hidden in (PASSPHRASE, *key.splitlines()[1:-1], *mine.key.splitlines()[1:-1]):
            assert hidden not in text


def everything_of(session: Session) -> list[str]:
    return [
        repr(session),
        repr(vars(session)),
        repr(session.settings),
        repr(vars(session.client)),
        repr(vars(session.client._imap)),
    ]
