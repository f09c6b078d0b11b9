"""Logging in: IMAP's AUTHENTICATE with a SASL mechanism, or its own LOGIN (RFC 9051 sections 6.2.2 and 6.2.3).

Any password works: SASL sends UTF-8, LOGIN quotes or takes literals. What a server forbids (LOGINDISABLED) is not
tried, and nothing secret is sent before the encryption that the connection demands is there.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
import ssl
from collections.abc import Callable

from airflow_imap_provider.connection.settings import AuthSettings, Settings
from airflow_imap_provider.errors import AuthenticationError, LoginRefusedError, RefusedError, SettingsError, TlsError
from airflow_imap_provider.transport.bearer import BEARER_METHODS
from airflow_imap_provider.transport.border import Scrubber
from airflow_imap_provider.transport.channel_binding import UNIQUE, binding_of
from airflow_imap_provider.transport.limits import MAX_COMMAND_BYTES
from airflow_imap_provider.transport.mechanisms import choose_mechanism, make_mechanism
from airflow_imap_provider.transport.remedies import ASK_OPERATOR, BROKEN_EXCHANGE, login_remedy, token_remedy
from airflow_imap_provider.transport.sasl import Mechanism, SaslError
from airflow_imap_provider.transport.scram import Scram
from airflow_imap_provider.transport.stream import BufferedIMAP4
from airflow_imap_provider.transport.throttling import recognise

__all__ = ["authenticate"]

logger = logging.getLogger(__name__)

_QUOTABLE = re.compile(r"[\x20-\x7e]*")
_CANCEL = b"*"  # RFC 9051 section 6.2.2
_WITHOUT_SECRET = frozenset({"EXTERNAL", "ANONYMOUS"})
_OTHER_REASON = re.compile(
    r"\[(?:AUTHORIZATIONFAILED|EXPIRED|PRIVACYREQUIRED|CONTACTADMIN|WEBALERT|LIMIT|REFERRAL|ALERT)\b",
    re.IGNORECASE,
)
"""Response codes that say what a refusal was about (RFC 5530, RFC 2221). Not AUTHENTICATIONFAILED: it is also what
servers put before every refusal of theirs, and so before that of a binding that they do not know."""
_COMMAND_WORDS = 64  # bytes for tag, AUTHENTICATE, the longest mechanism's name and the line's end


def authenticate(stream: BufferedIMAP4, settings: Settings, capabilities: frozenset[str], scrubber: Scrubber) -> str:
    """Log in.

    :param capabilities: as read on this connection after encryption.
    :param settings: with a token in the password's place if the method is one of OAuth's.
    :returns: the mechanism by which it was done.
    :raises AuthenticationError: with the server's words; or the server has not proved what the mechanism demands.
    :raises RefusedError: the server says that it cannot check credentials right now (RFC 5530).
    """
    auth = settings.auth
    encrypted = isinstance(stream.sock, ssl.SSLSocket)
    if settings.security != "none" and not encrypted:
        raise TlsError(
            "no password is sent without the encryption that the connection demands.", stage="tls", remedy=ASK_OPERATOR
        )
    _check_sendable(auth)
    scrubber.begin_login(auth.password)
    binding = binding_of(stream.sock)
    name = choose_mechanism(auth, capabilities, encrypted=encrypted, can_bind=binding is not None)
    if name == "LOGIN":
        _require_ok(_login(stream, auth.login, auth.password), name, settings, scrubber)
    else:
        mechanism = make_mechanism(name, auth, capabilities, binding, host=settings.host, port=settings.port)
        talk = _Conversation(stream, mechanism, scrubber)
        answer = talk.hold(initial_response="SASL-IR" in capabilities)
        if (
            answer[0] != "OK"
            and binding is not None
            and binding.name != UNIQUE
            and _was_about_binding(talk, scrubber.reply(answer))
        ):
            # TLS 1.3, and a server that binds only to what Python's ssl does not give (tls-exporter). It has not seen
            # a proof, so no attempt is lost; without -PLUS it sees what it sees of every client that cannot bind.
            name = name.removesuffix("-PLUS")
            if f"AUTH={name}" in capabilities:
                logger.debug("%s does not bind to %s; going on with %s.", settings.host, binding.name, name)
                talk = _Conversation(stream, make_mechanism(name, auth, capabilities, binding), scrubber)
                answer = talk.hold(initial_response="SASL-IR" in capabilities)
        talk.check(answer)
        _require_ok(answer, name, settings, scrubber, talk.refusal)
    stream.state = "AUTH"
    scrubber.end_login()
    return name


def _was_about_binding(talk: _Conversation, reply: str) -> bool:
    """Whether an exchange with channel binding failed before the password came into play, for no other known reason.

    A server that says why it refuses (a limit, an account that is locked) does not mean the binding, and another
    attempt would count twice.
    """
    mechanism = talk.mechanism
    if _OTHER_REASON.search(reply) or recognise(reply):
        return False
    return (
        isinstance(mechanism, Scram)
        and mechanism.name.endswith("-PLUS")
        and not mechanism.proved
        and talk.problem is None
    )


# -- refusals ---------------------------------------------------------------------------------------------------------


def _require_ok(
    answer: tuple[str, list[object]], mechanism: str, settings: Settings, scrubber: Scrubber, refusal: str = ""
) -> None:
    if answer[0] == "OK":
        return
    reply = scrubber.reply(answer)
    if refusal:
        reply = f"{reply}; {scrubber.clean(refusal)}"
    if limit := recognise(reply):
        raise RefusedError(
            "the server cannot check the login now.", stage="authentication", reply=reply, remedy=limit.remedy
        )
    auth = settings.auth
    whose = f" of {auth.login!r}" if auth.login else ""
    whom = f" as {auth.alias!r}" if auth.alias else ""
    raise LoginRefusedError(
        f"the server does not accept the login{whose}{whom} by {mechanism}.",
        stage="authentication",
        reply=reply,
        remedy=_remedy(settings, mechanism, reply),
    )


def _remedy(settings: Settings, mechanism: str, reply: str) -> str:
    if mechanism == "ANONYMOUS":
        return "Ask the server's operator whether anybody may log in without an account."
    if mechanism == "EXTERNAL":
        return (
            "Check that the server knows the client certificate and its name. "
            "Check that this name may act as Username (login) or Alias (alias)."
        )
    if settings.auth.method in BEARER_METHODS:
        return token_remedy(settings.host, settings.auth.method, reply)
    if found := login_remedy(settings.host, reply):
        return found
    # Sentences: the Test's line shows as many as it has room for.
    remedy = "Check Username (login) and Password (password)."
    if settings.auth.alias:
        remedy += " Check that this account may open the mailbox named in Alias (alias)."
    if mechanism not in ("PLAIN", "LOGIN"):
        remedy += (
            " If they are right, choose plain as Method (auth_method). "
            f"The server may not keep the password in the form that {mechanism} needs."
        )
    return remedy


def _check_sendable(auth: AuthSettings) -> None:
    for tab, label, key, value in (
        ("Standard Fields", "Username", "login", auth.login),
        ("Standard Fields", "Password", "password", auth.password),
        ("Authentication", "Alias", "alias", auth.alias),
    ):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise SettingsError(
                f"{tab}, {label} ({key}) contains a character that IMAP cannot carry (NUL or a lone surrogate).",
                stage="settings",
                remedy="Enter it once more.",
            )
        if "\x01" in value and auth.method in BEARER_METHODS:
            # It parts the fields of XOAUTH2 and OAUTHBEARER, which know no escape for it.
            raise SettingsError(
                f"{tab}, {label} ({key}) contains a control character.", stage="settings", remedy="Enter it once more."
            )


# -- LOGIN ------------------------------------------------------------------------------------------------------------


def _login(stream: BufferedIMAP4, login: str, password: str) -> tuple[str, list[object]]:
    """LOGIN (RFC 9051 section 6.2.3): quoted strings where they can hold it, else literals in UTF-8."""
    if _QUOTABLE.fullmatch(login) and _QUOTABLE.fullmatch(password):
        return _converse(stream, _Literals().answer, "LOGIN", _quoted(login), _quoted(password))
    name, secret = login.encode(), password.encode()
    literals = _Literals(name + b" {%d}" % len(secret), secret)
    return _converse(stream, literals.answer, "LOGIN", f"{{{len(name)}}}")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class _Literals:
    """Sends a command's literals one after the other, and cancels what goes beyond."""

    def __init__(self, *literals: bytes) -> None:
        self._literals = iter(literals)

    def answer(self, _: bytes) -> bytes:
        return next(self._literals, _CANCEL)


# -- AUTHENTICATE -----------------------------------------------------------------------------------------------------


class _Conversation:
    """One AUTHENTICATE command: a mechanism's bytes in the form of IMAP.

    :ivar problem: why this side has cancelled.
    """

    def __init__(self, stream: BufferedIMAP4, mechanism: Mechanism, scrubber: Scrubber) -> None:
        self.mechanism = mechanism
        self.problem: SaslError | None = None
        self._stream = stream
        self._scrubber = scrubber
        self._unsent = mechanism.initial

    @property
    def refusal(self) -> str:
        """The reason that the server gave inside the exchange."""
        return self.mechanism.refusal

    def hold(self, *, initial_response: bool) -> tuple[str, list[object]]:
        """Run the exchange to the tagged answer.

        :param initial_response: whether the server takes the first words with the command (SASL-IR, RFC 4959).
        """
        arguments = [self.mechanism.name]
        if initial_response and self._unsent is not None:
            # "=" stands for an empty response, which would be no argument at all.
            encoded = self._encoded(self._unsent).decode("ascii") or "="
            # A token may be too long for a command; after the server's "+" it is a line of its own.
            if len(encoded) < MAX_COMMAND_BYTES - _COMMAND_WORDS:
                arguments.append(encoded)
                self._unsent = None
        return _converse(self._stream, self.answer, "AUTHENTICATE", *arguments)

    def answer(self, challenge: bytes) -> bytes:
        """The next line to send: base64, or the sign to cancel."""
        if self._unsent is not None:
            # The first challenge is empty; some servers put words for people there.
            first, self._unsent = self._unsent, None
            return self._encoded(first)
        if self.problem is not None:
            return _CANCEL
        try:
            return self._encoded(self.mechanism.answer(_decoded(challenge)))
        except SaslError as exc:
            self.problem = exc
            return _CANCEL

    def check(self, answer: tuple[str, list[object]]) -> None:
        """Whether the exchange went as the mechanism demands, whatever the server says about it.

        :raises AuthenticationError: it did not.
        """
        problem = self.problem
        if problem is None and answer[0] == "OK":
            try:
                self.mechanism.finish()
            except SaslError as exc:
                problem = exc
        if problem is not None:
            words = self._scrubber.clean(problem.words) or self._scrubber.reply(answer)
            raise AuthenticationError(
                problem.problem,
                stage="authentication",
                reply=words,
                remedy=BROKEN_EXCHANGE,
            )

    def _encoded(self, response: bytes) -> bytes:
        encoded = base64.b64encode(response)
        if self.mechanism.name not in _WITHOUT_SECRET:
            # A server that echoes what it got must not bring it into a message.
            self._scrubber.hide(encoded.decode("ascii"), response.decode("utf-8", "replace"))
            self._scrubber.sent(encoded.decode("ascii"))
        return encoded


def _decoded(challenge: bytes) -> bytes:
    try:
        return base64.b64decode(challenge.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise SaslError("the server's challenge is no base64: damaged or cut off.") from None


def _converse(
    stream: BufferedIMAP4, answer: Callable[[bytes], bytes], command: str, *arguments: str
) -> tuple[str, list[object]]:
    # imaplib asks a bound method in ``literal`` for each line that the server requests.
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
