"""Any value made strict JSON.

Airflow stores what a trigger tells as JSON. Bytes or a datetime in it end the triggerer, a lone surrogate (common in
broken mail) does too, PostgreSQL refuses NUL, and NaN is no JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any, TypeAlias

from airflow_imap_provider.mail.charsets import clean

__all__ = ["JsonValue", "json_safe"]

JsonValue: TypeAlias = Any
"""``None``, a bool, an int, a finite float, a str, or lists and dicts (by str) of these. mypy has no good name for it
that can be indexed without casts."""

DEPTH_LIMIT = 20
"""Values within values; deeper ones are written as text. Ours have four."""

INT_LIMIT = 2**63
"""Numbers from here on are written as text: databases keep 64 bits."""


def json_safe(value: object, depth: int = 0) -> JsonValue:
    """Return the value as strict JSON; never raises for values whose ``str`` works.

    Text loses NUL, other control characters and lone surrogates; bytes are read as UTF-8; dates are ISO 8601; NaN and
    infinities are ``None``; sets are sorted by their text; keys are texts; other objects are their ``str``.

    :param value: anything.
    :param depth: how deep the value is in others.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(str(value))
    if isinstance(value, int):
        return int(value) if abs(value) < INT_LIMIT else f"{value:#x}"
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return clean(bytes(value).decode("utf-8", "replace"))
    if isinstance(value, date):
        return value.isoformat()
    if depth >= DEPTH_LIMIT:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        return {_key(key): json_safe(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((json_safe(item, depth + 1) for item in value), key=str)
    if isinstance(value, (list, tuple)):
        return [json_safe(item, depth + 1) for item in value]
    return clean(str(value))


def _key(key: object) -> str:
    safe = json_safe(key, DEPTH_LIMIT)
    return safe if isinstance(safe, str) else str(safe)
