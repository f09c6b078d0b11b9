"""The client's side of SCRAM (RFC 5802, RFC 7677), without I/O.

The password does not travel, and the server proves that it knows it. With a channel binding (the mechanisms ``-PLUS``)
both sides also prove that they are the ends of the same TLS connection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from airflow_imap_provider.transport.sasl import SaslError
from airflow_imap_provider.transport.saslprep import saslprep

__all__ = ["MAX_ITERATIONS", "MIN_ITERATIONS", "ChannelBinding", "Scram"]

MIN_ITERATIONS = 4096
"""What RFC 5802 section 5.1 demands at least: with fewer, somebody who poses as the server guesses passwords faster."""
MAX_ITERATIONS = 5_000_000
"""Some two seconds of computing, which no deadline can interrupt; OWASP recommends 1.4 million at most (SHA-1)."""
NONCE_BYTES = 24
"""192 random bits: no two exchanges have the same."""

_HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}
_NONCE = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
_ITERATIONS = re.compile(r"[1-9][0-9]{0,9}")


@dataclass(frozen=True)
class ChannelBinding:
    """What identifies a TLS connection (RFC 5929).

    :param name: ``tls-unique`` or ``tls-server-end-point``.
    """

    name: str
    data: bytes


class Scram:
    """One exchange.

    :param name: ``SCRAM-SHA-1``, ``SCRAM-SHA-256``, or one of these with ``-PLUS``.
    :param alias: the authorization identity; empty for the account's own.
    :param binding: what this side could bind to; needed for ``-PLUS``.
    :param plus_offered: whether the server announced any ``-PLUS``. If it did not although this side could bind, the
        exchange says so, and a server whose offer was removed on the way refuses.
    :param nonce: for tests with known answers.

    :ivar proved: whether something was sent that depends on the password.
    :ivar refusal: the server's reason, if it gave one (RFC 5802 section 7, ``server-error-value``).
    """

    def __init__(
        self,
        name: str,
        login: str,
        password: str,
        alias: str = "",
        *,
        binding: ChannelBinding | None = None,
        plus_offered: bool = False,
        nonce: str = "",
    ) -> None:
        self.name = name
        self.proved = False
        self.refusal = ""
        self._hash = _HASHES[name.removesuffix("-PLUS")]
        self._password = saslprep(password).encode()
        self._nonce = nonce or secrets.token_urlsafe(NONCE_BYTES)
        self._binding_data = b""
        if name.endswith("-PLUS"):
            if binding is None:
                raise ValueError(f"{name} needs a channel binding")
            flag = f"p={binding.name}"
            self._binding_data = binding.data
        else:
            flag = "y" if binding is not None and not plus_offered else "n"
        self._header = f"{flag},{f'a={_escaped(alias)}' if alias else ''},"
        self._first = f"n={_escaped(saslprep(login))},r={self._nonce}"
        self._signature: bytes | None = None
        self._verified = False

    @property
    def initial(self) -> bytes | None:
        """The client's first message."""
        return f"{self._header}{self._first}".encode()

    def answer(self, challenge: bytes) -> bytes:
        """What to say to the server's first or final message.

        :raises SaslError: it breaks the protocol, or does not prove that the server knows the password.
        """
        try:
            message = challenge.decode()
        except UnicodeDecodeError:
            raise SaslError("the server's message is not UTF-8.") from None
        if self.refusal or self._verified:
            raise SaslError(f"the server asks for more than {self.name} has to say.")
        if message.startswith("e="):
            # The tagged NO follows, with more words.
            self.refusal = message[2:].partition(",")[0]
            return b""
        if self._signature is None:
            return self._final(message)
        self._verify(message)
        return b""

    def finish(self) -> None:
        """Insist on the server's proof."""
        if not self._verified:
            raise SaslError("the server reports success without having proved that it knows the password.")

    def _final(self, message: str) -> bytes:
        nonce, salt, iterations = self._server_first(message)
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, iterations)
        client_key = self._hmac(salted, b"Client Key")
        stored_key = hashlib.new(self._hash, client_key).digest()
        bound = base64.b64encode(self._header.encode() + self._binding_data).decode("ascii")
        without_proof = f"c={bound},r={nonce}"
        everything = f"{self._first},{message},{without_proof}".encode()
        proof = bytes(left ^ right for left, right in zip(client_key, self._hmac(stored_key, everything), strict=True))
        self._signature = self._hmac(self._hmac(salted, b"Server Key"), everything)
        self.proved = True
        return f"{without_proof},p={base64.b64encode(proof).decode('ascii')}".encode()

    def _server_first(self, message: str) -> tuple[str, bytes, int]:
        parts = message.split(",")
        if parts[0].startswith("m="):
            raise SaslError("the server demands an extension of SCRAM that is not known here.", message)
        if len(parts) < 3 or [part[:2] for part in parts[:3]] != ["r=", "s=", "i="]:
            raise SaslError("the server's first message is not SCRAM's.", message)
        nonce, salt, count = (part[2:] for part in parts[:3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce or not _NONCE.fullmatch(nonce):
            raise SaslError("the server's nonce does not continue ours: the answer belongs to another exchange.")
        if not _ITERATIONS.fullmatch(count) or not MIN_ITERATIONS <= int(count) <= MAX_ITERATIONS:
            raise SaslError(
                f"the server wants {count[:20]!r} iterations; accepted are {MIN_ITERATIONS} to {MAX_ITERATIONS}."
            )
        if not (decoded := _decoded(salt)):
            raise SaslError("the server's salt cannot be read.", message)
        return nonce, decoded, int(count)

    def _verify(self, message: str) -> None:
        assert self._signature is not None
        if not message.startswith("v="):
            raise SaslError("the server's final message is not SCRAM's.", message)
        if not hmac.compare_digest(_decoded(message[2:].partition(",")[0]), self._signature):
            raise SaslError(
                "the server does not know the password: its signature is wrong. It is not the server that it should be."
            )
        self._verified = True

    def _hmac(self, key: bytes, message: bytes) -> bytes:
        return hmac.new(key, message, self._hash).digest()


def _escaped(name: str) -> str:
    return name.replace("=", "=3D").replace(",", "=2C")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
