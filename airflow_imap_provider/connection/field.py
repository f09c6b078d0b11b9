"""What one field of the connection form is.

The types of the field table, apart from the table itself. A field knows how the form shows it, how its value is read
and where the value goes in :class:`~airflow_imap_provider.connection.settings.Settings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["AUTHENTICATION", "ENCRYPTION", "MAIN", "PROXY", "STANDARD", "TABS", "Choice", "Field", "Kind"]

STANDARD = "Standard Fields"  # Airflow's own name for this pane, which a provider cannot change
MAIN = "Main settings"
AUTHENTICATION = "Authentication"
ENCRYPTION = "Encryption"
PROXY = "Proxy"
TABS = (STANDARD, MAIN, AUTHENTICATION, ENCRYPTION, PROXY)


class Kind(Enum):
    """How a value is read, and which widget the form shows for it."""

    TEXT = "text"
    HOST = "host name or IP address"
    URL = "web address"
    CODE_PAGE = "character set"
    CERTIFICATES = "path, or certificates as PEM text"
    KEY = "path, PEM text, or PKCS#12 as base64"
    APPLICATION_KEY = "path, PEM text, PKCS#12 as base64, or a service account's JSON"
    INTEGER = "whole number"
    NUMBER = "number"
    FLAG = "yes or no"
    CHOICE = "one of"
    CHOICES = "any of"
    PINS = "list of SHA-256 fingerprints"


@dataclass(frozen=True)
class Choice:
    """One entry of a drop-down.

    :param value: what is stored: lower case and stable, part of the public interface.
    :param label: what the form shows.
    """

    value: str
    label: str


@dataclass(frozen=True)
class Field:
    """One field of the connection form.

    :param key: its name in the connection's extra, or the attribute of the connection on the tab Standard Fields.
    :param path: where its value is found in the parsed settings, dotted; empty if it only steers other settings.
    :param help: one or two sentences under the field; says what an empty field means.
    :param default: the value that an empty field has, as stored; ``None`` if that depends on other fields or is
        nothing at all.
    :param example: shown in an empty standard field.
    :param secret: never shown, neither in errors nor by Airflow, which masks by key.
    :param minimum: smallest number accepted.
    :param maximum: largest number accepted.
    :param unit: of the number, in the plural; empty if it has none.
    """

    key: str
    label: str
    tab: str
    kind: Kind
    path: str
    help: str
    choices: tuple[Choice, ...] = ()
    default: str | float | bool | None = None
    example: str = ""
    secret: bool = False
    minimum: int | None = None
    maximum: int | None = None
    unit: str = ""

    @property
    def name(self) -> str:
        """The label first, the key second, as every message writes it."""
        return f"{self.label} ({self.key})"

    @property
    def accepted(self) -> tuple[str, ...]:
        """The stored values of the choices."""
        return tuple(choice.value for choice in self.choices)

    def choice(self, value: str) -> Choice | None:
        """The choice that is stored as this value."""
        return next((choice for choice in self.choices if choice.value == value), None)
