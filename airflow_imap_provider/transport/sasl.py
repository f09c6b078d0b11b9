"""The client's side of the small SASL mechanisms, without I/O: PLAIN, CRAM-MD5, EXTERNAL and ANONYMOUS.

A mechanism is asked for bytes and given the server's; how IMAP writes them is not its business. SCRAM has a page of
its own.
"""

from __future__ import annotations

import hmac
from typing import Protocol

__all__ = ["Anonymous", "CramMd5", "External", "Mechanism", "Plain", "SaslError"]


class SaslError(Exception):
    """The exchange cannot go on.

    :param problem: one sentence without a secret and without the server's words.
    :param words: the server's words.
    """

    def __init__(self, problem: str, words: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.words = words


class Mechanism(Protocol):
    """One exchange of one mechanism.

    :ivar name: as the server announces it.
    :ivar initial: what the client says first; ``None`` if the server begins.
    :ivar refusal: the reason for a refusal that the server gave inside the exchange; empty if it gave none.
    """

    @property
    def name(self) -> str: ...

    @property
    def initial(self) -> bytes | None: ...

    @property
    def refusal(self) -> str: ...

    def answer(self, challenge: bytes) -> bytes:
        """What to say to the server's next words.

        :raises SaslError: the exchange must be cancelled.
        """
        ...

    def finish(self) -> None:
        """Called when the server reports success.

        :raises SaslError: it has not done what the mechanism demands of it.
        """
        ...


class _OneMessage:
    """A mechanism that consists of what the client says first."""

    name = ""
    refusal = ""

    def __init__(self, message: str) -> None:
        self.initial: bytes | None = message.encode()

    def answer(self, challenge: bytes) -> bytes:  # noqa: ARG002 - whatever it is, there is nothing more to say
        raise SaslError(f"the server asks for more than {self.name} has to say.")

    def finish(self) -> None:
        """Nothing is owed by the server."""


class Plain(_OneMessage):
    """PLAIN (RFC 4616), in UTF-8.

    :param alias: the authorization identity; empty for the account's own.
    """

    name = "PLAIN"

    def __init__(self, login: str, password: str, alias: str = "") -> None:
        super().__init__(f"{alias}\0{login}\0{password}")


class External(_OneMessage):
    """EXTERNAL (RFC 4422 appendix A): the client's certificate says who it is.

    :param identity: whom to act as; empty for whom the certificate names.
    """

    name = "EXTERNAL"

    def __init__(self, identity: str) -> None:
        super().__init__(identity)


class Anonymous(_OneMessage):
    """ANONYMOUS (RFC 4505).

    :param trace: who is there, for the server's log; may be empty.
    """

    name = "ANONYMOUS"

    def __init__(self, trace: str) -> None:
        super().__init__(trace)


class CramMd5:
    """CRAM-MD5 (RFC 2195): hides the password from who listens, and proves nothing about the server."""

    name = "CRAM-MD5"
    initial: bytes | None = None
    refusal = ""

    def __init__(self, login: str, password: str) -> None:
        self._login = login.encode()
        self._password = password.encode()
        self._answered = False

    def answer(self, challenge: bytes) -> bytes:
        if self._answered:
            raise SaslError("the server asks for more than CRAM-MD5 has to say.")
        if not challenge:
            raise SaslError("the server's challenge is empty.")
        self._answered = True
        try:
            digest = hmac.new(self._password, challenge, "md5").hexdigest()
        except ValueError:
            raise SaslError("this machine's OpenSSL does not allow MD5 (FIPS).") from None
        return self._login + b" " + digest.encode("ascii")

    def finish(self) -> None:
        """The server owes no proof; but one that asked for nothing has checked nothing, which is its own affair."""
