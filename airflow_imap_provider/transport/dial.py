"""From a host name to a connected TCP socket, within one deadline.

Resolving counts against the deadline too, and every address of the name is tried before giving up. No TLS here, and a
proxy is a host like any other.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_imap_provider.connection.hosts import is_address
from airflow_imap_provider.errors import ConnectError, ExhaustedError
from airflow_imap_provider.transport.clock import Deadline
from airflow_imap_provider.transport.descriptors import admit, exhausted
from airflow_imap_provider.transport.trace import NO_TRACE, Trace

__all__ = ["MAIL_SERVER", "PROXY", "Party", "dial", "resolve"]

Address = tuple[socket.AddressFamily, Any]

KEEPALIVE_IDLE = 60
"""Seconds of silence before the first probe: below the five minutes after which common NAT boxes forget a flow."""
KEEPALIVE_INTERVAL = 15
"""Seconds between probes."""
KEEPALIVE_PROBES = 4
"""Unanswered probes until the connection counts as dead: a vanished server is noticed within two minutes."""
UNACKNOWLEDGED_LIMIT = 120
"""Seconds that sent bytes may stay unacknowledged; without it Linux retransmits for a quarter of an hour."""
MAX_ADDRESSES = 16
"""Addresses of one name that are tried: more only serves to use up the time of each."""


@dataclass(frozen=True)
class Party:
    """Who is dialled, for the errors.

    :param resolving: the stage while its name is resolved.
    :param connecting: the stage while a connection is made.
    :param unresolved: what to do about a name that does not resolve.
    :param silent: what to do about a machine that does not answer.
    :param refused: what to do about a connection that is refused.
    """

    resolving: str
    connecting: str
    unresolved: str
    silent: str
    refused: str


MAIL_SERVER = Party(
    "dns",
    "tcp",
    "Check Address (host) and the DNS of this machine.",
    "Check Address (host) and Port (port), firewalls and routes: the server's machine does not answer.",
    "Check Address (host) and Port (port), and that the server runs and no firewall is between.",
)
PROXY = Party(
    "proxy",
    "proxy",
    "Check Proxy address (tunnel_host) and the DNS of this machine.",
    "Check Proxy address (tunnel_host) and Proxy port (tunnel_port), firewalls and routes.",
    "Check Proxy address (tunnel_host) and Proxy port (tunnel_port), and that the proxy runs.",
)


def dial(
    host: str, port: int, deadline: Deadline, party: Party = MAIL_SERVER, trace: Trace = NO_TRACE
) -> socket.socket:
    """Connect to a host.

    :param host: DNS name, IPv4 or IPv6 literal.
    :param port: TCP port.
    :param deadline: the budget for resolving and connecting.
    :param party: whose host it is.
    :param trace: who listens.
    :returns: a connected socket, in blocking mode with a timeout.
    :raises ConnectError: the name does not resolve, or no address accepts a connection.
    :raises ImapTimeoutError: stage ``dns`` or ``tcp``; with a proxy ``proxy``.
    """
    if not is_address(host):
        trace.enter(party.resolving)
    addresses = resolve(host, port, deadline, party)
    trace.told(party.resolving, addresses=tuple(str(address[0]) for _, address in addresses))
    trace.enter(party.connecting)
    failures: list[str] = []
    timed_out = 0
    for number, (family, address) in enumerate(addresses):
        # A share each, so that one address that swallows packets leaves time for the others.
        share = deadline.remaining(party.connecting, party.silent) / (len(addresses) - number)
        try:
            sock = _connect(family, address, share)
        except TimeoutError:
            timed_out += 1
            failures.append(f"{address[0]}: no answer within {share:.3g} s")
        except OSError as exc:
            if isinstance(exc, ExhaustedError):
                raise
            if full := exhausted(exc):
                raise full from None
            failures.append(f"{address[0]}: {_words(exc)}")
        else:
            trace.told(party.connecting, connected=f"{address[0]} port {address[1]}", failed=tuple(failures))
            return sock
    if timed_out == len(addresses):
        raise deadline.missed(party.connecting, party.silent)
    raise ConnectError(
        f"cannot connect to {host} port {port} ({'; '.join(failures)}).",
        stage=party.connecting,
        remedy=party.refused,
    )


def resolve(
    host: str,
    port: int,
    deadline: Deadline,
    party: Party = MAIL_SERVER,
    *,
    family: socket.AddressFamily = socket.AF_UNSPEC,
) -> Sequence[Address]:
    """All addresses of a name, in the resolver's order (RFC 6724).

    ``getaddrinfo`` knows no timeout, so it runs in a thread of its own, which is left behind when it takes too long;
    a shared pool would let one broken resolver hold up everybody.

    :param family: only addresses of this family.
    :raises ConnectError: there is none.
    :raises ImapTimeoutError: the resolver does not answer.
    """
    answers: queue.SimpleQueue[list[Address] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as exc:  # ValueError: no possible DNS name (a label too long, a NUL in it)
            answers.put(exc)
        else:
            answers.put([(kind, address) for kind, _, _, _, address in found])

    threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.remaining(party.resolving, party.unresolved))
    except queue.Empty:
        raise deadline.missed(party.resolving, party.unresolved) from None
    if isinstance(answer, Exception):
        if full := exhausted(answer):
            raise full from None
        words = _words(answer) if isinstance(answer, OSError) else "not a possible name"
        raise ConnectError(
            f"the name {host!r} does not resolve ({words}).", stage=party.resolving, remedy=party.unresolved
        )
    if not answer:
        raise ConnectError(f"the name {host!r} has no address.", stage=party.resolving, remedy=party.unresolved)
    return answer[:MAX_ADDRESSES]


def _connect(family: socket.AddressFamily, address: Any, seconds: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        admit(sock.fileno())
        sock.settimeout(seconds)
        sock.connect(address)
        _tune(sock)
    except OSError:
        sock.close()
        raise
    return sock


def _tune(sock: socket.socket) -> None:
    """Send small commands at once, and notice a peer that vanished; the options differ between systems."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE),
        ("TCP_KEEPALIVE", KEEPALIVE_IDLE),  # macOS's name for it
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_LIMIT * 1000),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _words(exc: OSError) -> str:
    return exc.strerror or str(exc) or type(exc).__name__
