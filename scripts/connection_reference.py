"""Writes the field reference in docs/connection.md, between its two markers, from the field table of the package.

``python -m scripts.connection_reference`` brings the page up to date; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path

from airflow_imap_provider import __version__
from airflow_imap_provider.connection.field import TABS, Choice, Field, Kind
from airflow_imap_provider.connection.fields import FIELDS

PAGE = Path(__file__).parent.parent / "docs" / "connection.md"
BEGIN = "<!-- field reference: written by python -m scripts.connection_reference -->"
END = "<!-- end of the field reference -->"

_ACCEPTED = {
    Kind.TEXT: "text",
    Kind.HOST: "host name, IPv4 or IPv6 address",
    Kind.URL: "https address",
    Kind.CODE_PAGE: "a character set that Python knows",
    Kind.CERTIFICATES: "path, or PEM text",
    Kind.KEY: "path, PEM text, or PKCS#12 as base64",
    Kind.APPLICATION_KEY: "path, PEM text, PKCS#12 as base64, or a service account's JSON",
    Kind.INTEGER: "whole number",
    Kind.NUMBER: "number",
    Kind.FLAG: "`true`, `false`",
    Kind.PINS: "list, or text with commas between",
}


def reference() -> str:
    """The reference: a table for each tab of the form."""
    return "\n".join(_tab(tab) for tab in TABS)


def updated(page: str) -> str:
    """The page with the reference of today.

    :raises ValueError: if the page has lost a marker.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} must contain {BEGIN!r} and, after it, {END!r}")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def _tab(tab: str) -> str:
    rows = [_row(field) for field in FIELDS if field.tab == tab]
    return "\n".join([f"### {tab}", "", "| Field | Key | Accepts | |", "| --- | --- | --- | --- |", *rows, ""])


def _row(field: Field) -> str:
    help_text = f"{field.help} Secret." if field.secret else field.help
    return f"| {field.label} | `{field.key}` | {_accepts(field)} | {help_text} |"


def _accepts(field: Field) -> str:
    if field.choices:
        several = "any of " if field.kind is Kind.CHOICES else ""
        return several + ", ".join(_choice(choice) for choice in field.choices)
    if field.minimum is not None:
        return f"{_ACCEPTED[field.kind]} from {field.minimum} to {field.maximum}"
    return _ACCEPTED[field.kind]


def _choice(choice: Choice) -> str:
    return f"`{choice.value}` {choice.label}"


def main() -> None:
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{PAGE} describes the fields of version {__version__}")


if __name__ == "__main__":
    main()
