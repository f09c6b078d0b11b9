"""What a token endpoint answers (RFC 6749 sections 5.1 and 5.2), without I/O.

A token, a refusal with a reason, or an error: endpoints are reached over proxies and portals that answer in their
place, so nothing is taken for granted.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from airflow_imap_provider.errors import AuthenticationError, ImapError, ProtocolError, RefusedError
from airflow_imap_provider.transport.oauth.limits import DEFAULT_LIFE, LONGEST_LIFE, MAX_TOKEN_CHARACTERS
from airflow_imap_provider.transport.oauth.remedies import CHECK_ENDPOINT, TOKEN_STAGE, refusal_remedy

__all__ = ["Answer", "Refusal", "Token", "read_answer", "refused"]

_TOKEN = re.compile(r"[\x21-\x7e]+")
_TEMPORARY = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
_RETRY_AFTER = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer.

    :param retry_after: the header of that name.
    :param authenticate: the header ``WWW-Authenticate``.
    :param location: where a redirect would lead.
    """

    status: int
    content_type: str = ""
    retry_after: str = ""
    authenticate: str = ""
    location: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Token:
    """An access token.

    :param lifetime: seconds that it may be used; zero or less: for one login at once.
    :param refresh_token: the one that replaces that of the request; empty if it stays.
    """

    access_token: str = field(repr=False)
    lifetime: float
    refresh_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Refusal:
    """The endpoint's "no".

    :param code: RFC 6749 section 5.2, such as ``invalid_grant``.
    :param words: its description, as it came.
    :param wants_basic: whether it asks the application to prove itself by HTTP Basic (RFC 6749 section 5.2).
    """

    code: str
    words: str = field(repr=False)
    wants_basic: bool = False


def read_answer(answer: Answer, host: str, clean: Callable[[object], str]) -> Token | Refusal:
    """What the answer says.

    :param host: the endpoint's, for the errors.
    :param clean: makes its words fit to be shown.
    :raises RefusedError: it cannot answer right now.
    :raises ProtocolError: this is no token endpoint's answer.
    """
    members = _members(answer.body)
    refusal = _refusal(members)
    if answer.status == 429 or answer.status >= 500 or (refusal is not None and refusal.code in _TEMPORARY):
        raise _later(answer, refusal, host, clean)
    if 300 <= answer.status < 400:
        raise _strange(
            f"redirects to another address ({answer.status}), where no secret is sent", host, clean(answer.location)
        )
    if members is None:
        raise _strange(f"answers {answer.status} with {_kind(answer)} instead of JSON", host, "")
    if refusal is not None:
        basic = refusal.code == "invalid_client" and answer.authenticate.lower().startswith("basic")
        return replace(refusal, wants_basic=basic)
    if answer.status != 200:
        raise _strange(f"answers {answer.status} without saying why", host, "")
    return _token(members, host, clean)


def refused(refusal: Refusal, host: str, method: str, clean: Callable[[object], str]) -> AuthenticationError:
    """The error for a refusal.

    :param method: a stored value of the field ``auth_method``.
    """
    return AuthenticationError(
        f"the token endpoint {host} gives no token.",
        stage=TOKEN_STAGE,
        reply=clean(f"{refusal.code}: {refusal.words}" if refusal.words else refusal.code),
        remedy=refusal_remedy(refusal.code, refusal.words, method),
    )


def _members(body: bytes) -> dict[str, object] | None:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _refusal(members: dict[str, object] | None) -> Refusal | None:
    if not members or not members.get("error"):
        return None  # some write "error": null into a good answer
    error, words = members["error"], members.get("error_description")
    if isinstance(error, dict):
        # Google's other form of an error.
        words = words or error.get("message")
        error = error.get("status") or error.get("code")
    return Refusal(str(error), words if isinstance(words, str) else "")


def _token(members: dict[str, object], host: str, clean: Callable[[object], str]) -> Token:
    access, kind = members.get("access_token"), members.get("token_type", "Bearer")
    if not isinstance(access, str) or not _TOKEN.fullmatch(access) or len(access) > MAX_TOKEN_CHARACTERS:
        raise _strange("answers without a token that could be used", host, "")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise _strange("gives a token that is no bearer token", host, clean(f"token_type {kind}"))
    renewed = members.get("refresh_token")
    if not isinstance(renewed, str) or not renewed.isprintable() or len(renewed) > MAX_TOKEN_CHARACTERS:
        renewed = ""
    return Token(access, _lifetime(members.get("expires_in")), renewed)


def _lifetime(told: object) -> float:
    """Seconds; some endpoints write the number as text, or leave it out."""
    seconds = math.nan
    if isinstance(told, (int, float, str)) and not isinstance(told, bool):
        try:
            seconds = float(told)
        except (ValueError, OverflowError):
            seconds = math.nan
    if math.isnan(seconds):
        return DEFAULT_LIFE
    return min(seconds, LONGEST_LIFE)


def _later(answer: Answer, refusal: Refusal | None, host: str, clean: Callable[[object], str]) -> RefusedError:
    told = _RETRY_AFTER.fullmatch(answer.retry_after)
    wait = f" It asks to wait {answer.retry_after} s." if told else ""
    words = f"{refusal.code}: {refusal.words}" if refusal is not None else ""
    error = RefusedError(
        f"the token endpoint {host} cannot answer now ({answer.status}).{wait}",
        stage=TOKEN_STAGE,
        reply=clean(words),
        remedy="Nothing needs to be changed: try again later.",
    )
    error.retry_after = float(answer.retry_after) if told else 0.0
    return error


def _strange(problem: str, host: str, reply: str) -> ImapError:
    return ProtocolError(f"the token endpoint {host} {problem}.", stage=TOKEN_STAGE, reply=reply, remedy=CHECK_ENDPOINT)


def _kind(answer: Answer) -> str:
    if not answer.body.strip():
        return "nothing"
    return "a web page" if b"<" in answer.body[:200] or "html" in answer.content_type else "something else"
