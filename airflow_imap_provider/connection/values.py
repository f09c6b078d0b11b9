"""One raw value to one typed value, by the kind of its field.

Values come from a form (``null`` for untouched fields), from JSON, or from a URI, where everything is text and where
Airflow itself turns what looks like JSON into numbers and lists. How the fields go together is decided elsewhere.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from urllib.parse import urlsplit

from airflow_imap_provider.connection.code_pages import usable_codec
from airflow_imap_provider.connection.field import Field, Kind
from airflow_imap_provider.connection.habits import meant, write_instead
from airflow_imap_provider.connection.hosts import host_name
from airflow_imap_provider.connection.limits import LONGEST_URL, SHOWN_CHARACTERS
from airflow_imap_provider.connection.material import certificates, fingerprint, private_key
from airflow_imap_provider.connection.urls import MASK, shown_url
from airflow_imap_provider.errors import SettingsError

__all__ = ["Value", "Values", "read", "wrong"]

Value = str | int | float | bool | tuple[str, ...]

_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_UNITS = {"seconds": re.compile(r"\s*(?:s|secs?|seconds?)\s*\Z", re.IGNORECASE)}
_REMOVED_VERSIONS = frozenset({"ssl2", "ssl3"})


_CORRECT = "Correct this field of the connection, or leave it empty."


def wrong(field: Field, problem: str, *, value: object = None, remedy: str = "") -> SettingsError:
    """The error for one field: tab, label and key first, then the value (never a secret's) and what is wrong."""
    shown = "" if value is None or field.secret else f" is {_shown(value)}"
    return SettingsError(
        f"tab {field.tab}: {field.name}{shown}: {problem}.", stage="settings", remedy=remedy or _CORRECT
    )


def read(field: Field, raw: object) -> Value | None:
    """The typed value of a field.

    :param raw: as it is stored; ``None``, empty text and empty lists mean that the field is not set.
    :returns: ``None`` if the field is not set.
    :raises SettingsError: if the value cannot be used.
    """
    if raw is None or raw in ("", [], ()):
        return None
    if field.secret and raw == MASK:
        raise wrong(
            field, "it is the mask that Airflow shows, not the secret itself", remedy="Enter the secret once more."
        )
    if isinstance(raw, str) and not field.secret and not (raw := raw.strip()):
        return None
    value = _READERS[field.kind](field, raw)
    return None if value == () else value


class Values:
    """The values of all fields of one connection by key, each with the type that its kind promises.

    :param values: what is set.
    :param filled: which of these a preset has filled in.
    """

    def __init__(self, values: Mapping[str, Value], filled: frozenset[str] = frozenset()) -> None:
        self._values = values
        self.filled = filled

    def given(self, key: str) -> bool:
        """Whether the field is set, by the user or by a preset."""
        return key in self._values

    def get(self, key: str) -> Value | None:
        """The value whatever its type, ``None`` if the field is not set."""
        return self._values.get(key)

    def text(self, key: str, default: str = "") -> str:
        value = self._values.get(key, default)
        if not isinstance(value, str):
            raise TypeError(f"{key} is no text")
        return value

    def number(self, key: str, default: float) -> float:
        value = self._values.get(key, default)
        if not isinstance(value, (int, float)):
            raise TypeError(f"{key} is no number")
        return float(value)

    def integer(self, key: str) -> int | None:
        value = self._values.get(key)
        if not (value is None or isinstance(value, int)):
            raise TypeError(f"{key} is no whole number")
        return value

    def flag(self, key: str) -> bool:
        """A switch; every switch of the form is on unless it is switched off."""
        return bool(self._values.get(key, True))

    def items(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        value = self._values.get(key, default)
        if not isinstance(value, tuple):
            raise TypeError(f"{key} is no list")
        return value


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a JSON object"  # such as a service account's, with its key
    if isinstance(value, str) and "PRIVATE KEY" in value:
        return f"'{MASK}'"  # a key in the wrong field
    shown = repr(shown_url(value) if isinstance(value, str) and "://" in value else value)
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:SHOWN_CHARACTERS]}…"


def _text(field: Field, raw: object) -> str:
    if isinstance(raw, bool):
        raw = str(raw).lower()  # Airflow read the text "true" of a URI as JSON
    elif isinstance(raw, int):
        raw = str(raw)  # and 123456
    elif isinstance(raw, float):
        raise wrong(
            field,
            "Airflow has read it as a number and its exact text is lost",
            value=raw,
            remedy="Write it in quotation marks in JSON, or in a URI as __extra__={…}.",
        )
    if not isinstance(raw, str):
        raise wrong(field, "it must be text", value=raw)
    if raw.rstrip("\r\n") != raw:
        raise wrong(
            field,
            "it ends with a line break",
            remedy="Remove the line break: often a file's last one is copied along, as by echo instead of printf.",
        )
    if any(character in raw for character in "\r\n\0"):
        raise wrong(
            field,
            "it contains a line break or a NUL character",
            value=None if field.secret else raw,
            remedy="Enter it once more, on one line.",
        )
    return _whole(field, raw)


def _whole(field: Field, text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        # No value to show: neither can this.
        raise wrong(field, "it contains half a character (a lone surrogate)", remedy="Enter it once more.")
    return text


def _host(field: Field, raw: object) -> str:
    text = _text(field, raw)
    try:
        return host_name(text)
    except ValueError as error:
        raise wrong(
            field,
            str(error),
            value=shown_url(text),
            remedy=write_instead(field, text) or "Accepted are a DNS name, an IPv4 address and an IPv6 address.",
        ) from None


def _url(field: Field, raw: object) -> str:
    text = _text(field, raw)
    problem = ""
    if len(text) > LONGEST_URL:
        raise _no_url(field, text, f"it is longer than {LONGEST_URL} characters")
    if any(character <= " " or "\x7f" <= character <= "\xa0" for character in text):
        raise _no_url(field, text, "it contains a blank or a control character")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # which quotes what may be a part of a password
        raise _no_url(field, text, "it cannot be read as a web address") from None
    try:
        host = host_name(f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "")
        if "@" in text or parts.fragment or port == 0:
            problem = "@, port 0 and #… have no place in it"
        elif parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(host)):
            problem = "secrets are sent there, so it must begin with https://"
    except ValueError as error:
        problem = str(error)
    if problem:
        raise _no_url(field, text, problem)
    return text


def _no_url(field: Field, text: str, problem: str) -> SettingsError:
    return wrong(
        field,
        problem,
        value=shown_url(text),
        remedy="Accepted is an address such as https://login.example.com/token.",
    )


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _code_page(field: Field, raw: object) -> str:
    name = _text(field, raw)
    found = usable_codec(name)
    if found is None:
        raise wrong(
            field,
            "Python knows no character set of that name that mail is written in",
            value=name,
            remedy="Accepted are names such as cp1252, iso-8859-2, koi8-r, gb18030, shift_jis.",
        )
    return found


def _certificates(field: Field, raw: object) -> str:
    return _material(field, raw, certificates)


def _key(field: Field, raw: object) -> str:
    # A service account's key is JSON and often pasted as an object.
    return _material(field, json.dumps(raw) if isinstance(raw, Mapping) else raw, private_key)


def _material(field: Field, raw: object, reader: Callable[[str], str]) -> str:
    if not isinstance(raw, str):
        raise wrong(field, f"it must be text, not {type(raw).__name__}")
    try:
        return reader(_whole(field, raw))
    except SettingsError:
        raise
    except ValueError as error:
        raise wrong(field, str(error), remedy=f"Accepted is: {field.kind.value}.") from None


def _number(field: Field, raw: object) -> float:
    number = math.nan
    if field.unit and isinstance(raw, str):
        raw = _UNITS[field.unit].sub("", raw)
    if isinstance(raw, (str, int, float)) and not isinstance(raw, bool):
        try:
            number = float(raw)
        except (ValueError, OverflowError):
            number = math.nan
    whole = field.kind is Kind.INTEGER
    lowest = -math.inf if field.minimum is None else field.minimum
    highest = math.inf if field.maximum is None else field.maximum
    if not lowest <= number <= highest or (whole and not number.is_integer()):
        kind = f"{field.kind.value} of {field.unit}" if field.unit else field.kind.value
        raise wrong(field, f"it must be a {kind} from {field.minimum} to {field.maximum}", value=raw)
    return int(number) if whole else number


def _flag(field: Field, raw: object) -> bool:
    text = str(raw).strip().lower()
    if text not in _YES + _NO:
        raise wrong(field, "accepted are true and false", value=raw)
    return text in _YES


def _choice(field: Field, raw: object) -> str:
    text = str(raw).strip().lower().replace("_", "-")
    for choice in field.choices:
        # The label too: it is what the form shows.
        if text in (choice.value.lower(), choice.label.lower()):
            return choice.value
    remedy = meant(field, text) or _suggestion(text, field.accepted)
    raise wrong(field, f"accepted are {', '.join(field.accepted)}", value=raw, remedy=remedy)


def _choices(field: Field, raw: object) -> tuple[str, ...]:
    return tuple(sorted({_tls_version(field, item) for item in _items(field, raw)}, key=field.accepted.index))


def _tls_version(field: Field, item: str) -> str:
    version = item.lower().replace(" ", "").replace("_", ".")
    if version.replace("v", "").removesuffix(".0") in _REMOVED_VERSIONS:
        raise wrong(
            field,
            "no current OpenSSL has it: SSL 2.0 was removed in OpenSSL 1.1.0, SSL 3.0 is not compiled in any more, "
            "and both are broken (RFC 6176, RFC 7568)",
            value=item,
            remedy="Leave this empty: 1.2 and 1.3 are right for every current server, Gmail's too. For one that knows "
            "nothing newer, allow TLSv1, or put a TLS proxy before it.",
        )
    version = version.removeprefix("tls").removeprefix("v").removesuffix(".0")
    for value in field.accepted:
        if version == value.removeprefix("TLSv"):
            return value
    raise wrong(field, f"accepted are {', '.join(field.accepted)}", value=item)


def _pins(field: Field, raw: object) -> tuple[str, ...]:
    if isinstance(raw, str):
        raw = raw.replace(";", ",")  # as RFC 7469 and curl part them; no fingerprint has one in it
    return tuple(dict.fromkeys(_pin(field, item) for item in _items(field, raw)))


def _pin(field: Field, item: str) -> str:
    try:
        return fingerprint(item)
    except ValueError as error:
        raise wrong(field, str(error), value=item, remedy="Take openssl x509 -fingerprint -sha256.") from None


def _items(field: Field, raw: object) -> list[str]:
    if isinstance(raw, str):
        try:
            parsed = json.loads(raw)  # a list in the query of a URI
        except (ValueError, RecursionError):
            parsed = None
        raw = parsed if isinstance(parsed, list) else re.split(r"[,\n]", raw)
    items = list(raw) if isinstance(raw, (list, tuple)) else [raw]
    if not all(item is None or (isinstance(item, (str, int, float)) and not isinstance(item, bool)) for item in items):
        accepted = f"Accepted are {', '.join(field.accepted)}." if field.choices else ""
        raise wrong(field, "it must be a list of texts, or text with commas between", value=raw, remedy=accepted)
    return [text for item in items if item is not None and (text := str(item).strip())]


def _suggestion(text: str, accepted: tuple[str, ...]) -> str:
    # "none" switches encryption or a check off: nobody is talked into that by a slip of the pen.
    close = get_close_matches(text, [value for value in accepted if value != "none"], n=1)
    return f"Did you mean {close[0]}?" if close else ""


_READERS: Mapping[Kind, Callable[[Field, object], Value | None]] = {
    Kind.TEXT: _text,
    Kind.HOST: _host,
    Kind.URL: _url,
    Kind.CODE_PAGE: _code_page,
    Kind.CERTIFICATES: _certificates,
    Kind.KEY: _key,
    Kind.APPLICATION_KEY: _key,
    Kind.INTEGER: _number,
    Kind.NUMBER: _number,
    Kind.FLAG: _flag,
    Kind.CHOICE: _choice,
    Kind.CHOICES: _choices,
    Kind.PINS: _pins,
}
