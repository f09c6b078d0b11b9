"""Who it is that does not speak the protocol of Proxy type (tunnel_type): by its first words, or asked by a Test."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Generator

from airflow_imap_provider.errors import ImapError, ProxyError
from airflow_imap_provider.transport.clock import Deadline
from airflow_imap_provider.transport.greetings import TLS, WEB, speaker
from airflow_imap_provider.transport.limits import STRANGER_LIMIT
from airflow_imap_provider.transport.proxy.limits import MAX_GREETING_BYTES
from airflow_imap_provider.transport.proxy.refusals import broken
from airflow_imap_provider.transport.proxy.steps import ReadUntil, Step
from airflow_imap_provider.transport.stranger import client_hello

__all__ = ["ask_proxy", "stranger"]

logger = logging.getLogger(__name__)

_LINE_END = (b"\n",)
# The first two bytes of what speaker() knows and what ends with a line.
_BEGINNINGS = (b"* ", b"22", b"42", b"55", b"+O", b"-E", b"SS", b"HT", b'"I')

_CHOOSE_HTTP = (
    "Choose http as Proxy type (tunnel_type), if this is a proxy. "
    "If it is a web server, check Proxy address (tunnel_host) and Proxy port (tunnel_port)."
)
_NO_TLS = "Use its port without TLS: HTTPS proxies are not supported."
_CHECK_PLACE = "Check Proxy address (tunnel_host) and Proxy port (tunnel_port)."

_HTTP_QUESTION = b"GET / HTTP/1.0\r\n\r\n"
_SOCKS5_QUESTION = b"\x05\x02\x00\x02"  # without a login, or with username and password: what everybody has
_SOCKS5 = b"\x05"


def stranger(first: bytes, wanted: str) -> Generator[Step, bytes, ProxyError]:
    """Read the rest of a line that is no answer to the handshake.

    :param first: what has been read of it.
    :param wanted: the protocol that was expected, as messages call it.
    :returns: the error to raise.
    """
    line = first
    if first.startswith(_BEGINNINGS):
        line += yield ReadUntil(_LINE_END, MAX_GREETING_BYTES)
    who = speaker(line)
    if who == TLS:
        return _tls(repr(first)[2:-1])
    if who == WEB:
        return _web(line)
    if first.startswith(_SOCKS5):
        return _socks5()
    words = line.decode("utf-8", "surrogateescape").strip() if line.startswith(_BEGINNINGS) else repr(first)[2:-1]
    if who:
        return broken(f"this is {who}, no proxy.", words, _CHECK_PLACE)
    return broken(f"the proxy does not speak {wanted}.", words)


def ask_proxy(kind: str, connected: Callable[[], socket.socket], deadline: Deadline) -> None:
    """Ask in other protocols who it is that closes or is silent; without an answer nothing happens.

    :param kind: a stored value of the field ``tunnel_type``.
    :param connected: makes another connection to it.
    :raises ProxyError: it speaks another protocol.
    """
    if kind != "http":
        words = _answer(connected, _HTTP_QUESTION, deadline)
        if speaker(words) == WEB:
            raise _web(words)
    if speaker(_answer(connected, client_hello(), deadline)) == TLS:
        raise _tls("")
    if kind != "socks5" and _answer(connected, _SOCKS5_QUESTION, deadline).startswith(_SOCKS5):
        raise _socks5()


def _tls(words: str) -> ProxyError:
    return broken("the proxy speaks TLS on this port.", words, _NO_TLS)


def _socks5() -> ProxyError:
    return broken("this is a SOCKS5 proxy.", remedy="Choose socks5 as Proxy type (tunnel_type).")


def _web(line: bytes) -> ProxyError:
    words = line.split(b"\n")[0].decode("utf-8", "surrogateescape").strip()
    return broken("this is an HTTP proxy or a web server.", words, _CHOOSE_HTTP)


def _answer(connected: Callable[[], socket.socket], question: bytes, deadline: Deadline) -> bytes:
    try:
        with connected() as sock:
            sock.settimeout(min(STRANGER_LIMIT, deadline.remaining("proxy")))
            sock.sendall(question)
            return sock.recv(MAX_GREETING_BYTES)
    except (ImapError, OSError) as exc:
        # No answer is an answer, too.
        logger.debug("No answer to a question: %s", exc)
        return b""
