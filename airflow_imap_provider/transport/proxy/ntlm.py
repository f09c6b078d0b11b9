"""NTLM (MS-NLMP, in HTTP as RFC 4559 does it): three messages on one connection, made by pyspnego."""

from __future__ import annotations

import base64
import logging
import struct
from typing import TYPE_CHECKING

from airflow_imap_provider.errors import ProxyAuthenticationError
from airflow_imap_provider.transport.proxy.challenges import Challenge
from airflow_imap_provider.transport.proxy.credentials import LOGIN_REMEDY, Credentials

if TYPE_CHECKING:
    from spnego import ContextProxy

__all__ = ["NtlmLogin"]


class NtlmLogin:
    """Answers NTLM challenges.

    :param proxy_host: the proxy's name, part of what is proved.
    """

    name = "NTLM"

    def __init__(self, credentials: Credentials, proxy_host: str) -> None:
        self._credentials = credentials
        self._proxy_host = proxy_host
        self._context: ContextProxy | None = None

    def answer(self, challenges: list[Challenge]) -> str | None:
        """The value of Proxy-Authorization; ``None`` if our last answer was refused."""
        offered = next((one for one in challenges if one.scheme == "ntlm"), None)
        if offered is None or (self._context is not None and not offered.token):
            return None
        if self._context is not None and self._context.complete:
            return None
        return self._step(offered.token)

    @property
    def repeatable(self) -> bool:
        """Only the first message: the last one answers what the proxy said on its connection."""
        return self._context is None or not self._context.complete

    def _step(self, token: str) -> str:
        from spnego.exceptions import SpnegoError

        try:
            if self._context is None:
                self._context = _new_context(self._credentials, self._proxy_host)
                message = self._context.step()
            else:
                message = self._context.step(base64.b64decode(token, validate=True))
        # What its parser raises on a message that nobody thought of, besides its own errors.
        except (SpnegoError, struct.error, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as exc:
            problem = type(exc).__name__
        else:
            return f"NTLM {base64.b64encode(message or b'').decode('ascii')}"
        # Outside of the handler, so that an exception that may hold what was proved is not attached.
        raise ProxyAuthenticationError(
            "a message of NTLM cannot be read or made.", stage="proxy", reply=problem, remedy=LOGIN_REMEDY
        )


def _new_context(credentials: Credentials, proxy_host: str) -> ContextProxy:
    import spnego

    # It logs each message in full at DEBUG. From the third one a password can be guessed offline.
    logging.getLogger("spnego._ntlm").setLevel(logging.INFO)
    return spnego.client(
        credentials.qualified_login,
        credentials.password,
        hostname=proxy_host,
        service="HTTP",
        protocol="ntlm",
        # Its own implementation: a GSSAPI library that happens to be installed would decide otherwise by its own files.
        options=spnego.NegotiateOptions.use_ntlm,
    )
