"""A token endpoint on loopback: an authorization server's part that the package talks to, and every way to fail.

It checks what it gets as a real one does (secrets, signatures, audiences, used-up refresh tokens), and gives JWTs that
the Dovecot of the tests accepts. Each application or consent leads to one mailbox.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.servers.certificates import ServerCertificate
from tests.servers.dovecot import HOST

CLIENT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"

Form = dict[str, str]
Misbehaviour = Callable[["Handler"], None]


class RefusedRequestError(Exception):
    """What becomes an error answer (RFC 6749 section 5.2)."""

    def __init__(self, code: str, words: str = "") -> None:
        super().__init__(code)
        self.code, self.words = code, words


@dataclass
class Application:
    """A registered client.

    :param mailbox: whose its tokens are.
    :param certificate: of the key that it signs with.
    """

    mailbox: str
    secret: str = ""
    certificate: x509.Certificate | None = None


@dataclass
class Consent:
    """What a user has consented to.

    :param valid: the refresh token that counts.
    :param used: those that it has replaced.
    """

    mailbox: str
    valid: str
    client_id: str
    used: list[str] = field(default_factory=list)


class TokenEndpoint:
    """A running endpoint.

    :param token_key: what the tokens are signed with (HS256).
    :param certificate: for https; without one it speaks http.

    :ivar forms: what was sent, request by request.
    :ivar headers: their headers.
    :ivar peers: the address that each came from.
    :ivar issued: the access tokens that were given.
    :ivar lifetime: the ``expires_in`` of its answers; ``None`` leaves it out.
    :ivar more: further members of its answers.
    :ivar rotates: whether a refresh token is replaced at each use.
    :ivar detects_reuse: whether a refresh token that comes a second time ends the consent (RFC 9700 section 4.14.2).
    :ivar wrong_key: whether it signs so that no mail server takes it.
    :ivar misbehave: answers in its place.
    :ivar delay: seconds before it answers.
    """

    def __init__(self, token_key: bytes, certificate: ServerCertificate | None = None) -> None:
        self._token_key = token_key
        self._server = _Server((HOST, 0), self)
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate.certificate, certificate.key)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if certificate else 'http'}://localhost:{self.port}/token"
        self._lock = threading.Lock()
        self._applications: dict[str, Application] = {}
        self._consents: list[Consent] = []
        self._service_accounts: dict[str, Any] = {}
        self._assertions: set[str] = set()
        self.stopping = threading.Event()
        self.reset()

    def reset(self) -> None:
        """Behave well, and forget what was asked."""
        self.forms: list[Form] = []
        self.headers: list[dict[str, str]] = []
        self.peers: list[tuple[str, int]] = []
        self.issued: list[str] = []
        self.lifetime: Any = 3600
        self.more: dict[str, Any] = {}
        self.rotates = False
        self.detects_reuse = False
        self.wrong_key = False
        self.misbehave: Misbehaviour | None = None
        self.delay = 0.0

    def __enter__(self) -> TokenEndpoint:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="token endpoint")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # -- who may ask ----------------------------------------------------------------------------------------------

    def register(self, mailbox: str, *, secret: str = "", certificate: x509.Certificate | None = None) -> str:
        """A new application; returns its id."""
        client_id = secrets.token_hex(8)
        self._applications[client_id] = Application(mailbox, secret, certificate)
        return client_id

    def consent(self, mailbox: str, client_id: str) -> Consent:
        """A user's consent for an application."""
        consent = Consent(mailbox, f"refresh-{secrets.token_urlsafe(24)}", client_id)
        self._consents.append(consent)
        return consent

    def add_service_account(self, email: str, public_key: Any) -> None:
        """A service account that may act for every mailbox."""
        self._service_accounts[email] = public_key

    def token_for(self, mailbox: str, *, lifetime: float = 3600) -> str:
        """A token as the mail server takes it."""
        key = secrets.token_bytes(32) if self.wrong_key else self._token_key
        now = int(time.time())
        # Issued a minute ago, as real endpoints allow for clocks that differ: time(), which Dovecot asks, is some
        # milliseconds late, and a token of the second that has just begun would be one of the future.
        claims = {"email": mailbox, "sub": mailbox, "azp": "default", "iat": now - 60, "exp": int(now + lifetime)}
        # Two in one second are two tokens.
        claims["jti"] = secrets.token_hex(8)
        return jwt.encode(claims, key, algorithm="HS256", headers={"kid": "default"})

    # -- answering ------------------------------------------------------------------------------------------------

    def grant(self, form: Form) -> dict[str, Any]:
        """What a request is answered with.

        :raises RefusedRequestError: it is not granted.
        """
        with self._lock:
            kind = form.get("grant_type")
            answer: dict[str, Any] = {"token_type": "Bearer"}
            if kind == "client_credentials":
                mailbox = self._application(form).mailbox
            elif kind == "refresh_token":
                consent = self._refresh(form)
                mailbox = consent.mailbox
                if consent.used:
                    answer["refresh_token"] = consent.valid
            elif kind == JWT_BEARER:
                mailbox = self._service_account(form)
            else:
                raise RefusedRequestError("unsupported_grant_type")
            answer["access_token"] = self.token_for(mailbox)
            self.issued.append(answer["access_token"])
            if self.lifetime is not None:
                answer["expires_in"] = self.lifetime
            return {**answer, **self.more}

    def _application(self, form: Form) -> Application:
        application = self._applications.get(form.get("client_id", ""))
        if application is None:
            raise RefusedRequestError("invalid_client", "AADSTS700016: no such application")
        if application.secret and form.get("client_secret") != application.secret:
            raise RefusedRequestError("invalid_client", "AADSTS7000215: Invalid client secret provided.")
        if application.certificate is not None:
            self._check_assertion(application.certificate, form)
        return application

    def _check_assertion(self, certificate: x509.Certificate, form: Form) -> None:
        assertion = form.get("client_assertion", "")
        if form.get("client_assertion_type") != CLIENT_ASSERTION:
            raise RefusedRequestError("invalid_client", "no assertion")
        header = jwt.get_unverified_header(assertion)
        for name, algorithm in (("x5t", hashes.SHA1()), ("x5t#S256", hashes.SHA256())):
            expected = base64.urlsafe_b64encode(certificate.fingerprint(algorithm)).rstrip(b"=").decode()
            if header.get(name) != expected:
                raise RefusedRequestError("invalid_client", f"AADSTS700027: {name} is not known")
        key: Any = certificate.public_key()
        claims = self._decoded(assertion, key, ["RS256", "ES256"])
        if (
            claims["iss"] != form["client_id"]
            or claims["sub"] != form["client_id"]
            or claims["jti"] in self._assertions
        ):
            raise RefusedRequestError("invalid_client", "AADSTS50013: assertion is not valid")
        self._assertions.add(claims["jti"])

    def _refresh(self, form: Form) -> Consent:
        self._application(form)
        given = form.get("refresh_token")
        for consent in self._consents:
            if consent.valid == given and consent.client_id == form["client_id"]:
                if self.rotates:
                    consent.used.append(consent.valid)
                    consent.valid = f"refresh-{secrets.token_urlsafe(24)}"
                return consent
            if given in consent.used and self.detects_reuse:
                consent.valid = ""
        raise RefusedRequestError("invalid_grant", "AADSTS70008: The refresh token has expired or was revoked.")

    def _service_account(self, form: Form) -> str:
        assertion = form.get("assertion", "")
        email = jwt.decode(assertion, options={"verify_signature": False})["iss"]
        if email not in self._service_accounts:
            raise RefusedRequestError("invalid_grant", "Invalid JWT Signature.")
        claims = self._decoded(assertion, self._service_accounts[email], ["RS256"])
        if claims["scope"] != "https://mail.google.com/":
            raise RefusedRequestError("unauthorized_client", "Client is unauthorized to retrieve access tokens")
        mailbox: str = claims["sub"]
        return mailbox

    def _decoded(self, assertion: str, key: Any, algorithms: list[str]) -> dict[str, Any]:
        try:
            return jwt.decode(
                assertion, key, algorithms=algorithms, audience=self.url, options={"require": ["exp", "iat", "aud"]}
            )
        except jwt.InvalidTokenError as exc:
            raise RefusedRequestError("invalid_grant", f"Invalid JWT: {exc}") from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], endpoint: TokenEndpoint) -> None:
        super().__init__(address, Handler)
        self.endpoint = endpoint

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        tls = self.endpoint._tls
        if tls is not None:
            try:
                request = tls.wrap_socket(request, server_side=True)
            except OSError:
                self.shutdown_request(request)
                return
        super().process_request_thread(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client may leave when it likes."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        endpoint = self.endpoint
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode(), strict_parsing=True))
        endpoint.headers.append(dict(self.headers))
        endpoint.peers.append(self.client_address)
        endpoint.forms.append(form)
        if endpoint.delay:
            endpoint.stopping.wait(endpoint.delay)
        if endpoint.misbehave is not None:
            with contextlib.suppress(OSError):
                endpoint.misbehave(self)
            self.close_connection = True
            return
        try:
            self.answer(200, endpoint.grant(form))
        except RefusedRequestError as exc:
            self.answer(
                401 if exc.code == "invalid_client" else 400, {"error": exc.code, "error_description": exc.words}
            )

    @property
    def endpoint(self) -> TokenEndpoint:
        return self.server.endpoint

    @property
    def said(self) -> str:
        """Everything secret that the client has sent."""
        return " ".join(self.endpoint.forms[-1].values())

    def answer(self, status: int, content: Any, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def drip(self, data: bytes, seconds: float = 0.02) -> None:
        """One byte after the other, until the client has had enough."""
        with contextlib.suppress(OSError):
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if self.endpoint.stopping.wait(seconds):
                    return

    def send(self, data: bytes) -> None:
        """These bytes and nothing else."""
        with contextlib.suppress(OSError):
            self.wfile.write(data)

    def silent(self) -> None:
        """Nothing, until the client goes away."""
        self.connection.settimeout(10)
        with contextlib.suppress(OSError):
            self.connection.recv(1)

    def cut(self) -> None:
        """The end, without a word."""
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """To nobody."""
