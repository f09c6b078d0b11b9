"""Carries out a handshake with a proxy on a socket, within the deadline of the whole opening.

Bytes are looked at before they are taken from the socket: what comes after the handshake stays there, however the
proxy cuts its packets, and the returned socket is like one that was connected without a proxy.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial

from airflow_imap_provider.connection.hosts import LONGEST_NAME, is_address
from airflow_imap_provider.connection.settings import TunnelSettings
from airflow_imap_provider.errors import ConnectError, ImapError, ImapTimeoutError, ProxyAuthenticationError, ProxyError
from airflow_imap_provider.transport.clock import Deadline
from airflow_imap_provider.transport.dial import MAIL_SERVER, PROXY, dial, resolve
from airflow_imap_provider.transport.limits import GREETING_PATIENCE
from airflow_imap_provider.transport.proxy.credentials import Credentials, credentials_of
from airflow_imap_provider.transport.proxy.http_connect import http_connect
from airflow_imap_provider.transport.proxy.refusals import ClosedError, UnreachableError
from airflow_imap_provider.transport.proxy.socks4 import socks4_connect
from airflow_imap_provider.transport.proxy.socks5 import socks5_connect
from airflow_imap_provider.transport.proxy.steps import Handshake, Read, ReadUntil, Reconnect, Send, Step
from airflow_imap_provider.transport.proxy.strangers import ask_proxy
from airflow_imap_provider.transport.trace import NO_TRACE, Trace

__all__ = ["open_tunnel"]

STAGE = "proxy"
_PEEK_BYTES = 4096
"""Bytes looked at in one go; an answer seldom has more."""

_SILENT = (
    "Check Proxy type (tunnel_type) and Proxy port (tunnel_port): the proxy accepts the connection and is silent. "
    "Or it cannot reach the mail server and does not say so."
)


def open_tunnel(
    tunnel: TunnelSettings,
    host: str,
    port: int,
    deadline: Deadline,
    clean: Callable[[object], str] = str,
    trace: Trace = NO_TRACE,
) -> socket.socket:
    """Connect to a host through a proxy.

    :param tunnel: the proxy; its type is not ``none``.
    :param host: DNS name, IPv4 or IPv6 literal of the server behind it.
    :param port: TCP port of that server.
    :param deadline: the budget for everything: resolving, the proxy's connection, and all rounds with it.
    :param clean: makes a proxy's words fit to be shown, without a secret.
    :param trace: who listens.
    :returns: a connected socket, in blocking mode with a timeout; nothing after the handshake has been read from it.
    :raises ConnectError: stage ``proxy``: it cannot be reached; stage ``dns``: a name to be resolved here is not.
    :raises ProxyError: it refuses, or does not speak the protocol of its type.
    :raises ProxyAuthenticationError: it wants a login that it does not get.
    :raises ImapTimeoutError: stage ``proxy``.
    """
    if not host.isascii() or len(host) > LONGEST_NAME:
        raise ConnectError(f"the name {host!r} is not a possible name.", stage="dns", remedy=MAIL_SERVER.unresolved)
    credentials = credentials_of(tunnel)
    hosts = [host] if tunnel.remote_dns or is_address(host) else _addresses(tunnel, host, port, deadline, trace)
    trace.enter(STAGE)
    trace.told(STAGE, kind=tunnel.type, proxy=f"{tunnel.host} port {tunnel.port}")
    refusal: ProxyError | None = None
    for number, destination in enumerate(hosts):
        handshake = _handshake(tunnel, credentials, destination, port)
        left = len(hosts) - number
        try:
            # A share each, so that one address that the proxy waits for in vain leaves time for the others.
            sock, words = _Driver(tunnel, deadline.part(left, STAGE, _SILENT), trace).run(handshake)
        except UnreachableError as exc:
            refusal = exc
        except ProxyError as exc:
            refusal = exc
            if trace.curious and isinstance(exc, ClosedError):
                refusal = _asked(tunnel, deadline) or exc
            break
        except ImapTimeoutError as exc:
            if left == 1:
                raise deadline.missed(exc.stage, exc.remedy) from None
        else:
            trace.told(STAGE, target=f"{destination} port {port}", answer=clean(_printable(words)))
            return sock
    assert refusal is not None
    kinds = (ProxyAuthenticationError, ProxyError)
    kind = next(kind for kind in kinds if isinstance(refusal, kind))
    words = _printable(refusal.reply)
    # A new one, so that nothing is attached that did not go through the cleaning.
    raise kind(refusal.problem, stage=STAGE, reply=clean(words) if words else "", remedy=refusal.remedy)


def _asked(tunnel: TunnelSettings, deadline: Deadline) -> ProxyError | None:
    """Who it is, if it speaks the protocol of another type of proxy."""
    assert tunnel.port is not None  # the parser sets it whenever there is a proxy
    try:
        ask_proxy(tunnel.type, partial(dial, tunnel.host, tunnel.port, deadline, PROXY), deadline)
    except ProxyError as exc:
        return exc
    return None


def _printable(words: str) -> str:
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _addresses(tunnel: TunnelSettings, host: str, port: int, deadline: Deadline, trace: Trace) -> Sequence[str]:
    family = socket.AF_INET if tunnel.type.startswith("socks4") else socket.AF_UNSPEC
    trace.enter(MAIL_SERVER.resolving)
    found = [str(address[0]) for _, address in resolve(host, port, deadline, family=family)]
    trace.told(MAIL_SERVER.resolving, addresses=tuple(found))
    return found


def _handshake(tunnel: TunnelSettings, credentials: Credentials | None, host: str, port: int) -> Handshake:
    if tunnel.type == "http":
        return http_connect(host, port, credentials, method=tunnel.auth, proxy_host=tunnel.host)
    if tunnel.type == "socks5":
        return socks5_connect(host, port, credentials)
    return socks4_connect(host, port, credentials)


class _Driver:
    """Moves the bytes of one handshake."""

    def __init__(self, tunnel: TunnelSettings, deadline: Deadline, trace: Trace) -> None:
        assert tunnel.port is not None  # the parser sets it whenever there is a proxy
        self._host, self._port = tunnel.host, tunnel.port
        self._deadline = deadline
        self._trace = trace
        self._tunnel = tunnel
        self._asking = trace.curious
        self._sock = self._connect()

    def run(self, handshake: Handshake) -> tuple[socket.socket, str]:
        """The socket at the tunnel's beginning, and the proxy's words."""
        try:
            step = next(handshake)
            while True:
                step = handshake.send(self._carry_out(step))
        except StopIteration as end:
            return self._sock, str(end.value)
        except BaseException:
            self._sock.close()
            raise

    def _connect(self) -> socket.socket:
        return dial(self._host, self._port, self._deadline, PROXY, self._trace)

    def _carry_out(self, step: Step) -> bytes:
        if isinstance(step, Send):
            self._send(step.data)
        elif isinstance(step, Reconnect):
            self._sock.close()
            self._sock = self._connect()
        elif isinstance(step, Read):
            return self._read(step.size)
        else:
            return self._read_until(step)
        return b""

    def _send(self, data: bytes) -> None:
        self._patience()
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise self._late() from None
        except OSError:
            # The read that follows finds the proxy's last words, or the end.
            return

    def _read(self, size: int) -> bytes:
        taken = bytearray()
        while len(taken) < size and (chunk := self._receive(min(size - len(taken), _PEEK_BYTES))):
            taken += chunk
        return bytes(taken)

    def _read_until(self, step: ReadUntil) -> bytes:
        taken = bytearray()
        longest = max(map(len, step.ends))
        while len(taken) < step.limit:
            seen = self._receive(min(step.limit - len(taken), _PEEK_BYTES), socket.MSG_PEEK)
            if not seen:
                break
            start = max(0, len(taken) - longest)
            window = bytes(taken[start:]) + seen
            found = [place + len(end) for end in step.ends if (place := window.find(end)) >= 0]
            # Only what belongs to this answer leaves the socket.
            count = min(found) - (len(taken) - start) if found else len(seen)
            taken += self._read(count)
            if found:
                break
        return bytes(taken)

    def _receive(self, size: int, flags: int = 0) -> bytes:
        while True:
            self._patience()
            if self._asking:
                self._sock.settimeout(min(GREETING_PATIENCE, self._deadline.left / 2))
            try:
                seen = self._sock.recv(size, flags)
            except TimeoutError:
                if not self._asking:
                    raise self._late() from None
                self._asking = False
                if stranger := _asked(self._tunnel, self._deadline):
                    raise stranger from None
                continue
            except OSError:
                # Torn down instead of closed: to the handshake both are the end.
                return b""
            # Whoever has answered once is understood, and may take its time to reach the mail server.
            self._asking = False
            return seen

    def _patience(self) -> None:
        self._sock.settimeout(self._deadline.remaining(STAGE, _SILENT))

    def _late(self) -> ImapError:
        return self._deadline.missed(STAGE, _SILENT)
