"""Logging in with user name and password: PLAIN (RFC 4616) where offered, else LOGIN.

Any password works: PLAIN sends UTF-8, LOGIN quotes or takes literals. What a server forbids (LOGINDISABLED) is not
tried, and nothing secret is sent before the encryption that the connection demands is there.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Callable, Iterator

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import AuthenticationError, RefusedError, SettingsError, TlsError
from airflow_imap_provider.transport.border import Scrubber, is_temporary
from airflow_imap_provider.transport.remedies import login_remedy, no_mechanism_remedy
from airflow_imap_provider.transport.stream import BufferedIMAP4

__all__ = ["authenticate", "choose_mechanism"]

_QUOTABLE = re.compile(r"[\x20-\x7e]*")

_WRONG = "Check Username (login) and Password (password)."


def choose_mechanism(method: str, capabilities: frozenset[str], *, encrypted: bool = True) -> str:
    """The mechanism to use, ``PLAIN`` or ``LOGIN``.

    :param method: ``auto``, ``plain`` or ``login``, as the connection says.
    :param capabilities: upper-case, as the server gives them on this connection right now.
    :param encrypted: whether the connection is.
    :raises AuthenticationError: the server offers none that the method allows.
    """
    plain = "AUTH=PLAIN" in capabilities
    login = "LOGINDISABLED" not in capabilities
    if plain and method in ("auto", "plain"):
        return "PLAIN"
    if login and method in ("auto", "login"):
        return "LOGIN"
    offered = sorted(item for item in capabilities if item.startswith("AUTH="))
    words = ", ".join(offered) if offered else "no AUTH mechanism"
    if not login:
        words += ", LOGINDISABLED"
    raise AuthenticationError(
        f"the server does not offer {_label(method)} here; it announces {words}.",
        stage="authentication",
        remedy=no_mechanism_remedy(capabilities, encrypted=encrypted),
    )


def _label(method: str) -> str:
    return "a login with user name and password" if method == "auto" else method.upper()


def authenticate(stream: BufferedIMAP4, settings: Settings, capabilities: frozenset[str], scrubber: Scrubber) -> None:
    """Log in.

    :param capabilities: as read on this connection after encryption.
    :raises AuthenticationError: with the server's words.
    :raises RefusedError: the server says that it cannot check credentials right now (RFC 5530).
    """
    login, password = settings.auth.login, settings.auth.password
    encrypted = isinstance(stream.sock, ssl.SSLSocket)
    if settings.security != "none" and not encrypted:
        raise TlsError("no password is sent without the encryption that the connection demands.", stage="tls")
    _check_sendable(login, password)
    mechanism = choose_mechanism(settings.auth.method, capabilities, encrypted=encrypted)
    if mechanism == "PLAIN":
        status, words = _plain(stream, login, password, initial_response="SASL-IR" in capabilities)
    else:
        status, words = _login(stream, login, password)
    if status != "OK":
        reply = scrubber.reply((status, words))
        if is_temporary(reply):
            raise RefusedError("the server cannot check the login now.", stage="authentication", reply=reply)
        raise AuthenticationError(
            f"the server does not accept the login of {login!r} by {mechanism}.",
            stage="authentication",
            reply=reply,
            remedy=login_remedy(settings.host, reply) or _WRONG,
        )
    stream.state = "AUTH"


def _check_sendable(login: str, password: str) -> None:
    for label, key, value in (("Username", "login", login), ("Password", "password", password)):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise SettingsError(
                f"Standard Fields, {label} ({key}) contains a character that IMAP cannot carry (NUL or a lone "
                "surrogate).",
                stage="settings",
            )


def _plain(stream: BufferedIMAP4, login: str, password: str, *, initial_response: bool) -> tuple[str, list[object]]:
    response = base64.b64encode(f"\0{login}\0{password}".encode())
    if initial_response:
        # SASL-IR (RFC 4959) saves a round trip. A challenge after it is an error that wants to be cancelled.
        return _converse(stream, "AUTHENTICATE", "PLAIN", response.decode("ascii"), answers=())
    return _converse(stream, "AUTHENTICATE", "PLAIN", answers=(response,))


def _login(stream: BufferedIMAP4, login: str, password: str) -> tuple[str, list[object]]:
    """LOGIN (RFC 9051 section 6.2.3): quoted strings where they can hold it, else literals in UTF-8."""
    if _QUOTABLE.fullmatch(login) and _QUOTABLE.fullmatch(password):
        return _converse(stream, "LOGIN", _quoted(login), _quoted(password), answers=())
    name, secret = login.encode(), password.encode()
    return _converse(stream, "LOGIN", f"{{{len(name)}}}", answers=(name + b" {%d}" % len(secret), secret))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class _Conversation:
    """Answers the server's continuation requests, one after the other, and cancels what goes beyond."""

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        self._answers: Iterator[bytes] = iter(answers)

    def answer(self, challenge: bytes) -> bytes:  # noqa: ARG002 - neither PLAIN nor a literal depends on it
        return next(self._answers, b"*")


def _converse(
    stream: BufferedIMAP4, command: str, *arguments: str, answers: tuple[bytes, ...]
) -> tuple[str, list[object]]:
    # imaplib asks a bound method in ``literal`` for each line that the server requests.
    answer: Callable[[bytes], bytes] = _Conversation(answers).answer
    stream.literal = answer  # type: ignore[assignment]  # typeshed knows only the other use of it
    try:
        status, words = stream._simple_command(command, *arguments)
    except stream.abort:
        raise
    except stream.error:
        # imaplib raises for BAD what it returns for NO.
        if stream.answer is None:
            raise
        status, words = stream.answer
    return status, words
