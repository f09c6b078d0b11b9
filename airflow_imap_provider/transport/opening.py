"""From settings to an authenticated connection: dial, encrypt, greet, STARTTLS, log in, ask what the server can.

The stages run in this order under one deadline, and each names itself in its errors; with OAuth a token comes first.
Dialling leads through the proxy if there is one, after which nothing differs. Capabilities are asked for again after
TLS and after the login, since servers announce others then (and somebody on the way could have written the first ones).
"""

from __future__ import annotations

import functools
import logging
import socket
import ssl
from dataclasses import dataclass

from imapclient import IMAPClient

from airflow_imap_provider import __version__
from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.connection.shared import KEPT
from airflow_imap_provider.errors import AuthenticationError, ImapError, TlsError
from airflow_imap_provider.transport.auth import authenticate
from airflow_imap_provider.transport.border import Scrubber, guarded
from airflow_imap_provider.transport.client import StreamClient
from airflow_imap_provider.transport.clock import Clock, Deadline
from airflow_imap_provider.transport.dial import dial
from airflow_imap_provider.transport.greetings import words_of
from airflow_imap_provider.transport.proxy.tunnel import open_tunnel
from airflow_imap_provider.transport.second_look import look_again
from airflow_imap_provider.transport.stranger import identify
from airflow_imap_provider.transport.stream import BufferedIMAP4
from airflow_imap_provider.transport.tls import context_for, encrypt
from airflow_imap_provider.transport.trace import NO_TRACE, Trace

__all__ = ["Connection", "connect"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Connection:
    """An authenticated connection.

    :param greeting: the server's first words.
    :param capabilities: upper-case, as they are after the login.
    :param server_name: what the server calls itself (ID, RFC 2971); empty if it does not say.
    """

    stream: BufferedIMAP4
    client: IMAPClient
    scrubber: Scrubber
    greeting: str
    capabilities: frozenset[str]
    server_name: str


def connect(
    settings: Settings,
    clock: Clock,
    trace: Trace = NO_TRACE,
    *,
    within: Deadline | None = None,
    scrubber: Scrubber | None = None,
) -> Connection:
    """Open a connection and log in, all within ``settings.timeout`` seconds.

    :param trace: who listens to what happens.
    :param within: limits the opening, and everything after it too.
    :param scrubber: the caller's, which gets to know the secrets that come up here.
    :raises ImapError: one of its children, with the stage.
    """
    deadline = Deadline(clock, settings.timeout, within)
    scrubs = scrubber or Scrubber(settings)
    if settings.security != "none":
        context_for(settings.tls, deadline)  # what cannot be read of it is found before anything is sent

    def log_in(ready: Settings) -> Connection:
        return _connect(ready, clock, deadline, scrubs, trace)

    if not settings.auth.method.startswith("oauth-"):
        return log_in(settings)
    from airflow_imap_provider.transport.oauth.source import with_token

    # The token first: no mail server waits for it, with a limit of its own for who has not logged in yet.
    return with_token(settings, clock, deadline, scrubs, trace, log_in)


def _connect(settings: Settings, clock: Clock, deadline: Deadline, scrubber: Scrubber, trace: Trace) -> Connection:
    try:
        return _open(settings, clock, deadline, scrubber, trace)
    except TlsError as error:
        if trace.curious:
            look_again(
                error, settings, lambda: _dial(settings, deadline, scrubber, NO_TRACE), clock, deadline, scrubber, trace
            )
        raise


def _open(settings: Settings, clock: Clock, deadline: Deadline, scrubber: Scrubber, trace: Trace) -> Connection:
    def secure(sock: socket.socket, trace: Trace = trace) -> ssl.SSLSocket:
        explicit = settings.security == "starttls"
        return encrypt(sock, settings.tls, settings.host, deadline, explicit=explicit, trace=trace)

    def connected(trace: Trace = NO_TRACE) -> socket.socket:
        sock = _dial(settings, deadline, scrubber, trace)
        try:
            return secure(sock, trace) if settings.security == "implicit" else sock
        except BaseException:
            sock.close()
            raise

    sock = connected(trace)
    stream = BufferedIMAP4(
        sock,
        settings.host,
        settings.port,
        encrypt=secure,
        clock=clock,
        deadline=deadline,
        timeout=settings.timeout,
        trace=trace,
        identify=(lambda: identify(connected, deadline)) if trace.curious else None,
    )
    try:
        return _log_in(stream, settings, scrubber, trace)
    except BaseException:
        stream.shutdown()
        raise


def _dial(settings: Settings, deadline: Deadline, scrubber: Scrubber, trace: Trace) -> socket.socket:
    if settings.tunnel.type == "none":
        return dial(settings.host, settings.port, deadline, trace=trace)
    return open_tunnel(settings.tunnel, settings.host, settings.port, deadline, scrubber.clean, trace)


def _log_in(stream: BufferedIMAP4, settings: Settings, scrubber: Scrubber, trace: Trace) -> Connection:
    guarded(stream.greet, stream, scrubber)
    greeting = scrubber.clean(stream.welcome.removeprefix(b"* "))
    trace.told("greeting", greeting=words_of(greeting))
    client = StreamClient(stream, implicit=settings.security == "implicit")
    if settings.security == "starttls":
        if stream.state == "AUTH":
            # Somebody on the way could greet like this to keep us from encrypting (CVE-2020-12398).
            raise TlsError(
                "the server greets with PREAUTH, after which STARTTLS is not possible.",
                stage="starttls",
                reply=greeting,
                remedy="Choose Security mode Implicit, if the server offers it.",
            )
        guarded(client.starttls, stream, scrubber, TlsError)
    if stream.state == "AUTH":
        logger.info("%s: the server has let us in without a login (PREAUTH).", settings.host)
    else:
        offered = frozenset(stream.capabilities)
        trace.told("capabilities", offered=offered)
        stream.stage = "authentication"
        name = guarded(lambda: authenticate(stream, settings, offered, scrubber), stream, scrubber, AuthenticationError)
        trace.told("authentication", mechanism=name)
    stream.stage = "capabilities"
    capabilities = _names(guarded(client.capabilities, stream, scrubber))
    trace.told("capabilities", capabilities=capabilities)
    server_name = _exchange_names(client, stream, scrubber) if "ID" in capabilities else ""
    trace.told("ID", server=server_name)
    stream.opened()
    return Connection(stream, client, scrubber, greeting, capabilities, server_name)


@functools.lru_cache(maxsize=KEPT)
def _names(capabilities: tuple[bytes, ...]) -> frozenset[str]:
    """Capabilities to look up; a set of its own for each of a server's mailboxes would take 4 KiB."""
    return frozenset(item.decode("ascii", "replace").upper() for item in capabilities)


def _exchange_names(client: StreamClient, stream: BufferedIMAP4, scrubber: Scrubber) -> str:
    """ID (RFC 2971); some servers (NetEase's) open no folder for clients that do not name themselves."""
    stream.stage = "ID"
    stream.answer = None
    try:
        fields = guarded(
            lambda: client.id_({"name": "airflow-imap-provider", "version": __version__}), stream, scrubber
        )
    except ImapError as exc:
        if stream.failure is not None:
            raise
        # Politeness only: a server that announces ID and refuses it is usable all the same.
        logger.debug("%s", exc)
        return ""
    pairs = fields[0] if fields and isinstance(fields[0], tuple) else ()
    named = {
        key.lower(): value
        for key, value in zip(pairs[::2], pairs[1::2], strict=False)
        if isinstance(key, bytes) and isinstance(value, bytes)
    }
    return scrubber.clean(named.get(b"name", b""))
