"""Everything that the rows of the matrix meet: a Dovecot with many faces, real proxies, and what came of an opening.

A row goes the user's way: a dict of values as the form stores them is parsed, and a session is opened with it.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from airflow_imap_provider.connection.parsing import parse
from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.hooks.imap4 import Imap4Hook, OpenedEmail
from airflow_imap_provider.transport.session import Session, open_session
from tests.matrix import tokens
from tests.matrix.tokens import Tokens
from tests.servers.certificates import Authority, ServerCertificate, self_signed
from tests.servers.client_material import Material
from tests.servers.daemon import Daemon
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import Script, ScriptedServer
from tests.servers.squid import Squid
from tests.servers.token_endpoint import TokenEndpoint
from tests.servers.waiting import wait_until
from tests.transport.login_server import MECHANISMS
from tests.transport.oauth_server import TOKEN_KEY

Form = tokens.Form
STANDARD = ("host", "port", "login", "password")
CONN_ID = "matrix"
PASSWORD = "m4ilbox s3cret/of:the@matrix"
MASTER_PASSWORD = "m4ster s3cret of the matrix"
SELF_SIGNED, ELSEWHERE, SLOPPY = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""Addresses at which the server shows another certificate; ELSEWHERE's is for 127.0.0.1 and ::1."""
SNI = "sni.example.com"
"""The name for which it shows yet another."""
NOBODY = "127.254.253.252"
"""An address at which nobody listens."""
LOG_LIMIT = 10.0
"""Seconds for a line to arrive in a server's log."""

_LISTEN = f"""
listen = 127.0.0.1, ::1, {SELF_SIGNED}, {ELSEWHERE}, {SLOPPY}
"""
_FACE = """
{where} {{
  ssl_cert = <{certificate.certificate}
  ssl_key = <{certificate.key}
}}
"""


class World:
    """The counterparts, each started when the first row asks for it.

    :param folder: for certificates.
    :param plain_only: a Dovecot that offers PLAIN and LOGIN only.
    :param start: starts a proxy by its name in :class:`~tests.servers.proxies.Proxies`.

    :ivar server: a Dovecot with every method, client certificates, master users and several faces.
    :ivar tokens: a token endpoint with https, whose certificate is of the server's authority.
    :ivar tokens_by_http: another one without encryption, which is only for this machine.
    :ivar ca: PEM text of the authorities of all certificates but the self-signed one.
    """

    def __init__(self, folder: Path, plain_only: Dovecot, start: Callable[[str], Daemon]) -> None:
        self._stack = ExitStack()
        self._start = start
        self._one_version: dict[str, Dovecot] = {}
        self._scripted: dict[Script, ScriptedServer] = {}
        self._proxies: dict[int, Daemon] = {}
        self.folder = folder
        self.plain_only = plain_only
        authority = Authority(folder, "Authority of the faces")
        self.self_signed = self_signed(folder, "self-signed")
        faces = {
            f"local {SELF_SIGNED}": self.self_signed,
            f"local {ELSEWHERE}": authority.issue("elsewhere", names=("elsewhere.example.com",)),
            f"local {SLOPPY}": authority.issue("sloppy", addresses=(SLOPPY,), strict=False),
            f"local_name {SNI}": authority.issue("sni", names=(SNI,)),
        }
        more = _LISTEN + "".join(_FACE.format(where=where, certificate=shown) for where, shown in faces.items())
        mechanisms = f"{MECHANISMS} xoauth2 oauthbearer"
        self.server = self._run(
            Dovecot(mechanisms=mechanisms, client_certificates=True, more=more, token_key=TOKEN_KEY)
        )
        self.tokens = self._tokens(self.server.authority.issue("endpoint"))
        self.tokens_by_http = self._tokens(None)
        self.master = self.server.add_master("boss", MASTER_PASSWORD)
        self.ca = self.server.authority.pem + authority.pem
        self.ca_path = folder / "ca.pem"
        self.ca_path.write_text(self.ca)

    def close(self) -> None:
        """Stop what was started here."""
        self._stack.close()

    def speaking_only(self, version: str) -> Dovecot:
        """A Dovecot that speaks one version of TLS."""
        if version not in self._one_version:
            self._one_version[version] = self._run(Dovecot(tls_version=version))
        return self._one_version[version]

    def scripted(self, script: Script) -> ScriptedServer:
        """A server that plays a script for everybody."""
        if script not in self._scripted:
            self._scripted[script] = self._stack.enter_context(ScriptedServer(script))
        return self._scripted[script]

    def proxy(self, name: str) -> Daemon:
        """A running proxy."""
        proxy = self._start(name)
        self._proxies[proxy.port] = proxy
        return proxy

    def form(self, server: Dovecot | None = None, **values: Any) -> Form:
        """The form of a new user of the server, by implicit TLS, with these values besides or instead."""
        server = server or self.server
        user = server.new_user(PASSWORD)
        form = {"host": "localhost", "port": server.tls_port, "login": user.login, "password": user.password}
        ca_bundle = self.ca if server is self.server else server.authority.pem
        return {**form, "timeout": 20, "ca_bundle": ca_bundle, **values}

    def through(self, name: str, kind: str = "http", server: Dovecot | None = None, **values: Any) -> Form:
        """The same through a proxy."""
        proxy = self.proxy(name)
        way = {"tunnel_type": kind, "tunnel_host": proxy.host, "tunnel_port": proxy.port}
        return self.form(server, **{**way, **values})

    def with_a_mail(self, subject: bytes = b"whose is it") -> User:
        """A user of the server whose INBOX has one mail."""
        return self.with_mail(b"Subject: " + subject + b"\r\n\r\nThis one's.\r\n")

    def with_mail(self, raw: bytes) -> User:
        """The same with this mail."""
        user = self.server.new_user(PASSWORD)
        self.server.deliver(user, raw)
        return user

    def by_token(self, method: str = "oauth-client-credentials", **values: Any) -> Form:
        """The form of somebody who logs in by a token."""
        form = self.form()
        return {**form, **self.tokens.by(method, form["login"]), **values}

    def certified(self, login: str = "", *, master: bool = False) -> Material:
        """A certificate that names a user, or somebody who may open everybody's mailbox.

        This server takes the name from the certificate also where a password is sent.
        """
        login = login or self.server.new_user(PASSWORD).login
        self.server.certify(login, master=master)
        return Material(self.server.client_authority.issue_client(login), self.server.client_authority.pem)

    def outcome(self, form: Form) -> Outcome:
        """Parse a form and open a session with it, as the hook and the trigger do."""
        came = Outcome(form)
        logins, proxy = self.logins(), self._proxies.get(form.get("tunnel_port") or 0)
        requests = len(_requests(proxy)) if isinstance(proxy, Squid) else 0
        endpoints = [self.tokens.endpoint, self.tokens_by_http.endpoint]
        asked = [len(endpoint.forms) for endpoint in endpoints]
        began = time.monotonic()
        try:
            came.settings = parse_form(form)
            came.session = open_session(came.settings)
        except ImapError as error:
            came.error = error
        came.seconds = time.monotonic() - began
        for endpoint, before in zip(endpoints, asked, strict=True):
            came.token_requests += endpoint.forms[before:]
        if came.session and form["port"] in (self.server.port, self.server.tls_port):
            wait_until(lambda: len(self.logins()) > len(logins), "the login in the server's log", LOG_LIMIT)
            came.login = self.logins()[-1]
        if isinstance(proxy, Squid):
            came.requests = lambda: _requests(proxy)[requests:]
        return came

    def logins(self) -> list[str]:
        """What the server wrote about logins so far."""
        return [line for line in self.server.log().splitlines() if "Login: user=" in line]

    def _tokens(self, certificate: ServerCertificate | None) -> Tokens:
        endpoint = self._stack.enter_context(TokenEndpoint(TOKEN_KEY, certificate))
        return Tokens(self.server, endpoint, self.folder)

    def _run(self, server: Dovecot) -> Dovecot:
        self._stack.callback(server.remove)
        server.start()
        self._stack.callback(server.kill)  # politely it takes a second
        return server


def parse_form(form: Form) -> Settings:
    """The settings of a form."""
    standard = {key: form.get(key) for key in STANDARD}
    return parse(CONN_ID, **standard, extra={key: value for key, value in form.items() if key not in STANDARD})


def _requests(proxy: Squid) -> list[str]:
    log = proxy.folder / "access.log"
    return [unquote(line) for line in log.read_text().splitlines() if " CONNECT " in line] if log.exists() else []


@dataclass
class Outcome:
    """What came of opening a session: the session, or the error.

    :ivar login: what the server wrote about the login.
    :ivar token_requests: what the token endpoints were sent.
    :ivar requests: gives what a Squid wrote about requests since.
    """

    form: Form
    settings: Settings | None = None
    session: Session | None = None
    error: ImapError | None = None
    seconds: float = 0.0
    login: str = ""
    token_requests: list[dict[str, str]] = field(default_factory=list)
    requests: Callable[[], list[str]] = list

    def __enter__(self) -> Outcome:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def opened(self) -> bool:
        return self.session is not None

    @property
    def socket(self) -> socket.socket | None:
        """The connection, ``None`` if none was opened."""
        found: socket.socket | None = self.session.client.socket() if self.session else None
        return found

    @property
    def tls(self) -> str:
        """The version of TLS; ``none`` for an unencrypted connection, empty if none was opened."""
        if self.socket is None:
            return ""
        return self.socket.version() or "" if isinstance(self.socket, ssl.SSLSocket) else "none"

    @property
    def subject(self) -> str:
        """Whom the server's certificate names; empty if that was not checked."""
        if not isinstance(self.socket, ssl.SSLSocket):
            return ""
        parts: Any = (self.socket.getpeercert() or {}).get("subject", ())
        return str(dict(pair for part in parts for pair in part).get("commonName", ""))

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the other end."""
        name = self.socket.getpeername() if self.socket else ("", 0)
        return str(name[0]), int(name[1])

    @property
    def mails(self) -> int:
        """Mails in the INBOX that was opened; -1 if none was."""
        return self.session.select("INBOX", readonly=True).exists if self.session else -1

    @property
    def first_subject(self) -> str:
        """The subject of the first mail, as the hook returns it."""
        return str(self._hook.fetch([1])[0]["subject"]) if self.session else ""

    @property
    def text_within(self) -> str:
        """The text of the first mail, decrypted; empty if that was not opened."""
        return self._without_smime.text if self.session else ""

    @property
    def kept_shut(self) -> str:
        """What came of the first mail's encryption; empty if there is no session."""
        return self._without_smime.smime.encryption if self.session else ""

    @property
    def _without_smime(self) -> OpenedEmail:
        [email] = self._hook.fetch([1], text=False)
        return self._hook.open_smime(email)

    @property
    def _hook(self) -> Imap4Hook:
        hook = Imap4Hook(CONN_ID)
        hook._session = self.session
        return hook

    @property
    def method(self) -> str:
        """By what method somebody logged in, in the words of the server."""
        return self.login.partition("method=")[2].partition(",")[0]

    @property
    def token_request(self) -> dict[str, str]:
        """The only token request; empty if there was none."""
        assert len(self.token_requests) <= 1
        return self.token_requests[0] if self.token_requests else {}

    @property
    def asked_at(self) -> str:
        """The address of the token endpoint in the settings; empty if there are none."""
        return self.settings.auth.oauth.endpoint if self.settings else ""

    def says(self, *words: str) -> bool:
        """Whether there is an error with these words."""
        return self.error is not None and all(word in str(self.error) for word in words)

    @property
    def asked(self) -> str:
        """What a Squid wrote about its last request: result, request, and the login sent. Ends the session."""
        self.close()
        wait_until(lambda: bool(self.requests()), f"a line in the proxy's log; {self.error}", LOG_LIMIT)
        return self.requests()[-1]

    def close(self) -> None:
        """End the session; a Squid writes about a tunnel when that ends."""
        if self.session is not None and self.session.usable:
            self.session.close()
            if self.requests is not list:
                wait_until(self._tunnel_has_ended, "the end in the proxy's log", LOG_LIMIT)

    def _tunnel_has_ended(self) -> bool:
        # The token's, which ends before, leads to another port.
        return any("/200 " in line and f":{self.form['port']} " in line for line in self.requests())
