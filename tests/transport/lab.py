"""What the Test's tests start: servers and proxies that are right or wrong, and settings that lead to them."""

from __future__ import annotations

import ssl
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Settings, TlsSettings, TunnelSettings
from tests.servers.certificates import Authority
from tests.servers.dovecot import Dovecot
from tests.servers.proxies import PASSWORD as PROXY_PASSWORD
from tests.servers.scripted import Peer, ScriptedServer
from tests.servers.token_endpoint import Misbehaviour
from tests.transport.conftest import server_context
from tests.transport.oauth_server import OAuthWorld
from tests.transport.test_secrets import forms

SECRET = "mailbox-s3cret-w0rd"
WRONG = "wr0ng-but-s3cret"


class Lab:
    """Starts what a row needs, and ends it with the test."""

    def __init__(self, request: pytest.FixtureRequest, stack: ExitStack, folder: Path) -> None:
        self._request = request
        self._stack = stack
        self.folder = folder

    @property
    def dovecot(self) -> Dovecot:
        found: Dovecot = self._request.getfixturevalue("dovecot")
        return found

    @property
    def authority(self) -> Authority:
        found: Authority = self._request.getfixturevalue("authority")
        return found

    @property
    def tokens(self) -> OAuthWorld:
        """The mail server and the endpoint of OAuth; the test's module has the fixture."""
        found: OAuthWorld = self._request.getfixturevalue("world")
        return found

    def by_token(
        self, misbehave: Misbehaviour | None = None, *, secret: str = SECRET, endpoint: str = "", **changes: Any
    ) -> Settings:
        """Settings of an application with a secret.

        :param misbehave: what the endpoint does.
        :param secret: the one that is sent.
        :param endpoint: where to ask instead.
        """
        self.tokens.endpoint.misbehave = misbehave
        user = self.tokens.dovecot.new_user()
        auth = self.tokens.by_secret(user, secret=SECRET)
        oauth = replace(auth.oauth, client_secret=secret, endpoint=endpoint or auth.oauth.endpoint)
        return self.tokens.settings(user, replace(auth, oauth=oauth), **changes)

    def enter(self, manager: Any) -> Any:
        return self._stack.enter_context(manager)

    def real(self, **changes: Any) -> Settings:
        """Settings of a new user of the real Dovecot."""
        return self.dovecot.settings(self.dovecot.new_user(SECRET), **changes)

    def login(self, password: str, **changes: Any) -> Settings:
        user = self.dovecot.new_user(SECRET)
        return self.dovecot.settings(replace(user, password=password), **changes)

    def at(self, host: str, port: int, **changes: Any) -> Settings:
        values: dict[str, Any] = {
            "conn_id": "row",
            "host": host,
            "port": port,
            "security": "none",
            "timeout": 5,
            "auth": AuthSettings(login="alice", password=SECRET),
            "tls": TlsSettings(ca_bundle=self.authority.pem),
        }
        return Settings(**{**values, **changes})

    def scripted(
        self, script: Callable[[Peer], None], context: ssl.SSLContext | None = None, **changes: Any
    ) -> Settings:
        server = self.enter(ScriptedServer(script, tls=context))
        return self.at(server.host, server.port, **changes)

    def certified(self, label: str, tls: TlsSettings | None = None, **certificate: Any) -> Settings:
        """A server with implicit TLS and this certificate."""
        context = server_context(self.authority.issue(label, **certificate))
        return self.scripted(
            Peer.let_in, context, security="implicit", tls=tls or TlsSettings(ca_bundle=self.authority.pem)
        )

    def web(self, tls: ssl.SSLContext | None = None, **changes: Any) -> Settings:
        """A real web server."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Quiet)
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        return self.at("127.0.0.1", server.server_port, **changes)

    def proxied(self, name: str, settings: Settings, **tunnel: Any) -> Settings:
        proxy = self._request.getfixturevalue("proxies")(name)
        return replace(settings, tunnel=TunnelSettings(host=proxy.host, port=proxy.port, **tunnel))


class _Quiet(BaseHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


def old_context(lab: Lab) -> ssl.SSLContext:
    context = server_context(lab.authority.issue("old", rsa_key=True))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    return context


def shows_no_secret(*texts: str) -> None:
    for secret in (SECRET, WRONG, PROXY_PASSWORD):
        for form in (*forms(secret), secret.encode().decode("latin-1")):
            assert not any(form in text for text in texts), form
