"""What Airflow reads of this package: where its parts are, and what the connection form looks like.

Every Airflow process loads this at its start, so it imports the field table and nothing else. The form (``conn-fields``
and ``ui-field-behaviour``) is made from that table.
"""

from __future__ import annotations

from typing import Any

from airflow_imap_provider import __version__
from airflow_imap_provider.connection.field import STANDARD, Field, Kind
from airflow_imap_provider.connection.fields import CONNECTION_TYPE, EXTRA_FIELDS, FIELDS

__all__ = ["get_provider_info"]

_PACKAGE = "airflow_imap_provider"
_INTEGRATION = "Internet Message Access Protocol (IMAP4)"

_JSON_TYPES = {
    Kind.INTEGER: "integer",
    Kind.NUMBER: "number",
    Kind.FLAG: "boolean",
    Kind.CHOICES: "array",
    Kind.PINS: "array",
}
_HIDDEN = ("schema",)  # Airflow's standard field that means nothing to a mail server


def get_provider_info() -> dict[str, Any]:
    """The provider's description, as the entry point ``apache_airflow_provider`` promises."""
    return {
        "package-name": "airflow-imap-provider",
        "name": _INTEGRATION,
        "description": "Start pipelines when mail arrives on an `IMAP4 <https://www.rfc-editor.org/rfc/rfc9051>`__ "
        "server.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://www.rfc-editor.org/rfc/rfc9051",
                "tags": ["protocol"],
            }
        ],
        "hooks": _modules("hooks.imap4"),
        "operators": _modules("operators.email", "operators.email_action"),
        "sensors": _modules("sensors.email"),
        "triggers": _modules("triggers.email"),
        "connection-types": [
            {
                "connection-type": CONNECTION_TYPE,
                "hook-class-name": f"{_PACKAGE}.hooks.imap4.Imap4Hook",
                "hook-name": "IMAP4",
                "conn-fields": {field.key: _form_field(field) for field in EXTRA_FIELDS},
                "ui-field-behaviour": _standard_fields(),
            }
        ],
        "cli": [f"{_PACKAGE}.cli.get_commands"],
        "asset-uris": [
            _asset_uri("imap", factory="create_asset"),
            _asset_uri("imaps", factory="create_imaps_asset"),
        ],
    }


def _modules(*modules: str) -> list[dict[str, Any]]:
    names = [f"{_PACKAGE}.{module}" for module in modules]
    return [{"integration-name": _INTEGRATION, "python-modules": names}]


def _asset_uri(scheme: str, *, factory: str) -> dict[str, Any]:
    module = f"{_PACKAGE}.assets.imap"
    return {
        "schemes": [scheme],
        "handler": f"{module}.sanitize_uri",
        "factory": f"{module}.{factory}",
        "to_openlineage_converter": f"{module}.convert_asset_to_openlineage",
    }


def _standard_fields() -> dict[str, Any]:
    standard = [field for field in FIELDS if field.tab == STANDARD]
    return {
        "hidden-fields": list(_HIDDEN),
        "relabeling": {field.key: field.label for field in standard},
        "placeholders": {field.key: field.example for field in standard if field.example},
    }


def _form_field(field: Field) -> dict[str, Any]:
    # "null" among the types is what makes a field optional in Airflow's form.
    schema: dict[str, Any] = {"type": [_JSON_TYPES.get(field.kind, "string"), "null"], "section": field.tab}
    if field.minimum is not None:
        schema["minimum"] = field.minimum
    if field.maximum is not None:
        schema["maximum"] = field.maximum
    if field.choices:
        # Airflow draws a drop-down from "enum", and a selection of several from "examples".
        schema["examples" if field.kind is Kind.CHOICES else "enum"] = list(field.accepted)
        schema["values_display"] = {choice.value: choice.label for choice in field.choices}
    if schema["type"][0] == "array":
        schema["items"] = {"type": "string"}
    if field.kind is Kind.FLAG:
        schema["default"] = field.default  # a switch without a value looks as if it were off
    if field.secret:
        schema["format"] = "password"
    elif field.kind is Kind.CERTIFICATES:
        schema["format"] = "multiline"
    return {"label": field.label, "description": field.help, "schema": schema}
