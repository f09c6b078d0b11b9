"""The one exception family of this package.

Every error says three things: the stage at which something went wrong, what the other side said (if it said
anything), and what a user can do about it. No third-party exception leaves ``transport/``. The children also inherit
``ConnectionError``, ``TimeoutError`` or ``ValueError`` where callers would expect that.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "CertificateError",
    "ConnectError",
    "CutOffError",
    "ExhaustedError",
    "FolderNotFoundError",
    "ImapError",
    "ImapTimeoutError",
    "LoginRefusedError",
    "LostConnectionError",
    "NotTlsError",
    "ProtocolError",
    "ProxyAuthenticationError",
    "ProxyError",
    "RefusedError",
    "SettingsError",
    "TlsError",
]


class ImapError(Exception):
    """Something went wrong between this package and a mailbox.

    :param problem: what happened, one sentence without a secret in it.
    :param stage: where it happened: ``settings``, ``token``, ``dns``, ``tcp``, ``proxy``, ``tls``, ``greeting``,
        ``starttls``, ``capabilities``, ``authentication``, ``folder``, ``idle`` or the IMAP command.
    :param reply: the other side's own words, if any.
    :param remedy: what to change, one sentence.
    """

    def __init__(self, problem: str, *, stage: str = "", reply: str = "", remedy: str = "") -> None:
        self.problem = problem
        self.stage = stage
        self.reply = reply
        self.remedy = remedy
        text = f"{stage}: {problem}" if stage else problem
        if reply:
            text += f" (answer: {reply})"
        if remedy:
            text += f"{'' if text.endswith(('.', ')', '!', '?')) else '.'} {remedy}"
        super().__init__(text)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions travel between Airflow's processes; the default would call __init__ with the joined text.
        return (_rebuild, (type(self), self.problem, self.stage, self.reply, self.remedy))


def _rebuild(kind: type[ImapError], problem: str, stage: str, reply: str, remedy: str) -> ImapError:
    return kind(problem, stage=stage, reply=reply, remedy=remedy)


class SettingsError(ImapError, ValueError):
    """A field of the connection, or a parameter, has a value that cannot be used."""


class ConnectError(ImapError, ConnectionError):
    """The name does not resolve, or no address of it accepts a connection."""


class ExhaustedError(ConnectError):
    """No room for another connection in our process or on our machine; it says nothing about the server."""


class ProxyError(ImapError, ConnectionError):
    """The proxy refused, or did not speak its protocol."""


class TlsError(ImapError, ConnectionError):
    """Encryption could not be established as the connection demands it."""


class CertificateError(TlsError):
    """The server's certificate does not stand up to what the connection demands of it."""


class NotTlsError(TlsError):
    """What answered the beginning of a TLS handshake was something else, or nothing."""


class AuthenticationError(ImapError):
    """The server does not accept the credentials, or no acceptable mechanism is offered."""


class LoginRefusedError(AuthenticationError):
    """The mail server has seen the credentials and does not accept them."""


class ProxyAuthenticationError(ProxyError, AuthenticationError):
    """The proxy wants a login, or does not accept ours; repeated too often, a wrong one may lock the account."""


class ProtocolError(ImapError):
    """The server's answer breaks the protocol or a bound of ours."""


class CutOffError(ProtocolError):
    """The server gives far less of a mail or a part than it has announced, and says that this is all."""


class RefusedError(ImapError):
    """The server understood the command and said NO.

    :ivar retry_after: seconds that it asks to wait; zero if it does not say. Not kept between processes.
    """

    retry_after: float = 0.0


class FolderNotFoundError(RefusedError):
    """The folder is not there, or cannot be opened with these credentials."""


class ImapTimeoutError(ImapError, TimeoutError):
    """An answer did not come within the time that the connection allows."""


class LostConnectionError(ImapError, ConnectionError):
    """An established connection ended."""
