"""A connected, encrypted socket to a token endpoint, through the connection's proxy, within one deadline.

The endpoint is another server than the mail server, and gets secrets: its certificate is always checked in full.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from airflow_imap_provider.connection.hosts import without_zone
from airflow_imap_provider.connection.material import is_pem
from airflow_imap_provider.connection.settings import Settings, TunnelSettings
from airflow_imap_provider.errors import ImapError, TlsError
from airflow_imap_provider.transport.authorities import bundle_stamp, load_bundle
from airflow_imap_provider.transport.clock import Deadline
from airflow_imap_provider.transport.contexts import Contexts
from airflow_imap_provider.transport.dial import Party, dial
from airflow_imap_provider.transport.oauth.remedies import CHECK_ENDPOINT, SILENT, TOKEN_STAGE, UNREACHED
from airflow_imap_provider.transport.proxy.tunnel import open_tunnel

__all__ = ["Route", "open_channel", "route_of"]

HTTPS_PORT, HTTP_PORT = 443, 80

ENDPOINT = Party(TOKEN_STAGE, TOKEN_STAGE, UNREACHED, SILENT, UNREACHED)

CACHED_CONTEXTS = 16
"""Contexts kept; more different CA bundles in one process are not expected, and each costs 0.9 MiB."""

_FIELD = "OAuth: endpoint (oauth_endpoint)"
_SERVER = ("mail server", "token endpoint")
_EXPIRED, _NOT_YET = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED and _NOT_YET_VALID
_NAMES = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH
_STRICT = range(79, 96)  # what VERIFY_X509_STRICT adds

_contexts = Contexts(CACHED_CONTEXTS)


@dataclass(frozen=True)
class Route:
    """How endpoints are reached, and whom to trust on the way.

    :param ca_bundle: path or PEM text of issuers to trust besides the system's; empty for none.
    :param strict_x509: whether certificates must keep to RFC 5280 in full.
    """

    tunnel: TunnelSettings
    ca_bundle: str
    strict_x509: bool


def route_of(settings: Settings) -> Route:
    """The way that a connection's token requests take."""
    return Route(settings.tunnel, settings.tls.ca_bundle, settings.tls.strict_x509)


def open_channel(url: str, route: Route, deadline: Deadline, clean: Callable[[object], str]) -> socket.socket:
    """Connect to an endpoint.

    :param url: https, or http on this machine.
    :param deadline: limits resolving, the proxy, connecting and the handshake together.
    :param clean: makes a proxy's words fit to be shown.
    :raises ImapError: stage ``token``; ``proxy`` for what the proxy refuses.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    encrypted = parts.scheme == "https"
    port = parts.port or (HTTPS_PORT if encrypted else HTTP_PORT)
    context = _context_for(route, deadline) if encrypted else None
    sock = _connect(host, port, route, deadline, clean, encrypted=encrypted)
    return sock if context is None else _encrypt(sock, context, host, deadline)


def _connect(
    host: str, port: int, route: Route, deadline: Deadline, clean: Callable[[object], str], *, encrypted: bool
) -> socket.socket:
    # Without encryption it can only be this machine, which a proxy takes for itself.
    if route.tunnel.type == "none" or not encrypted:
        return dial(host, port, deadline, ENDPOINT)
    try:
        return open_tunnel(route.tunnel, host, port, deadline, clean)
    except ImapError as exc:
        error = _on_the_way(exc, host, port)
    raise error


def _on_the_way(exc: ImapError, host: str, port: int) -> ImapError:
    """The tunnel's error, which speaks of the mail server, for this destination."""
    remedy = exc.remedy.replace(" and Port (port)", "").replace("Address (host)", _FIELD).replace(*_SERVER)
    problem = f"on the way to the token endpoint {host} port {port}: {exc.problem}"
    return type(exc)(problem, stage=exc.stage, reply=exc.reply, remedy=remedy)


# -- TLS --------------------------------------------------------------------------------------------------------------


def _encrypt(sock: socket.socket, context: ssl.SSLContext, host: str, deadline: Deadline) -> ssl.SSLSocket:
    wrapped = sock
    try:
        wrapped = context.wrap_socket(sock, server_hostname=without_zone(host), do_handshake_on_connect=False)
        wrapped.settimeout(deadline.remaining(TOKEN_STAGE, SILENT))
        wrapped.do_handshake()
    except TimeoutError:
        wrapped.close()
        raise deadline.missed(TOKEN_STAGE, SILENT) from None
    except (OSError, ValueError) as exc:
        wrapped.close()
        raise _explain(exc, host) from None
    return wrapped


def _explain(exc: Exception, host: str) -> TlsError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        words = exc.verify_message
        problem = f"the certificate of the token endpoint {host} is not accepted."
        if exc.verify_code in (_EXPIRED, _NOT_YET):
            remedy = "Ask its operator to renew it; check the clock of this machine too."
        elif exc.verify_code in _NAMES:
            remedy = CHECK_ENDPOINT
        elif exc.verify_code in _STRICT:
            remedy = "Switch Strict certificate checks (strict_x509) off, if this is an old private CA."
        else:
            remedy = (
                "Put the certificate of its authority into CA bundle (ca_bundle), which counts here besides the "
                "system's. A proxy that opens encrypted connections has an authority of its own."
            )
        return TlsError(problem, stage=TOKEN_STAGE, reply=words, remedy=remedy)
    reason = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or type(exc).__name__
    return TlsError(
        f"no encrypted connection with the token endpoint {host}.",
        stage=TOKEN_STAGE,
        reply=reason,
        remedy=CHECK_ENDPOINT,
    )


def _context_for(route: Route, deadline: Deadline) -> ssl.SSLContext:
    path = "" if not route.ca_bundle or is_pem(route.ca_bundle) else route.ca_bundle
    return _contexts.get(
        (route.ca_bundle, route.strict_x509),
        partial(_new_context, route),
        deadline,
        names=("CA bundle (ca_bundle)",) if path else (),
        stamps=partial(bundle_stamp, path) if path else tuple,
    )


def _new_context(route: Route) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if route.strict_x509:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    else:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if route.ca_bundle:
        load_bundle(context, route.ca_bundle)
    return context
