from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import jsonschema
import pytest
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.providers_manager import (
    ProvidersManager,
    _create_customized_form_field_behaviours_schema_validator,
    _create_provider_info_schema_validator,
)
from airflow.sdk import Asset
from airflow.sdk.lineage import HookLineageCollector
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from airflow_imap_provider import __version__
from airflow_imap_provider.assets import imap
from airflow_imap_provider.connection.field import STANDARD, TABS
from airflow_imap_provider.connection.fields import EXTRA_FIELDS
from airflow_imap_provider.provider_info import get_provider_info


@pytest.fixture(scope="module")
def form() -> dict[str, Any]:
    """What the API sends to the browser for the connection type."""
    (found,) = [hook for hook in HookMetaService.hook_meta_data() if hook.connection_type == "imap4"]
    return found.model_dump()


def test_airflow_finds_the_provider_by_its_entry_point() -> None:
    (entry,) = [
        entry
        for entry in entry_points(group="apache_airflow_provider")
        if entry.value.startswith("airflow_imap_provider.")
    ]
    assert entry.load() is get_provider_info


def test_the_description_keeps_to_airflows_schema() -> None:
    info = get_provider_info()
    _create_provider_info_schema_validator().validate(info)
    (behaviour,) = [kind["ui-field-behaviour"] for kind in info["connection-types"]]
    _create_customized_form_field_behaviours_schema_validator().validate(
        {"hidden_fields": behaviour["hidden-fields"], "relabeling": behaviour["relabeling"]}
    )
    json.dumps(info)


def test_the_schema_of_every_form_field_is_one() -> None:
    for field in get_provider_info()["connection-types"][0]["conn-fields"].values():
        jsonschema.Draft202012Validator.check_schema(field["schema"])


def test_loading_the_description_loads_nothing_heavy() -> None:
    program = (
        "import sys; from airflow_imap_provider.provider_info import get_provider_info; get_provider_info(); "
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('airflow', 'imapclient', 'imaplib', 'ssl', 'cryptography', 'socks', 're2', 'email', 'httpx', 'jwt')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_airflow_lists_this_version() -> None:
    provider = ProvidersManager().providers["airflow-imap-provider"]
    assert provider.version == __version__
    assert provider.data["versions"] == [__version__]


def test_the_form_has_the_standard_fields_under_our_names(form: dict[str, Any]) -> None:
    standard = form["standard_fields"]
    assert (standard["host"]["title"], standard["login"]["title"]) == ("Address", "Username")
    assert standard["host"]["placeholder"] == "imap.example.com; empty with a Server preset"
    assert standard["url_schema"]["hidden"]
    assert form["hook_name"] == "IMAP4"


def test_the_form_has_every_field_in_order_on_its_tab_and_none_is_required(form: dict[str, Any]) -> None:
    fields = form["extra_fields"]
    assert list(fields) == [field.key for field in EXTRA_FIELDS]
    assert list(dict.fromkeys(field["schema"]["section"] for field in fields.values())) == list(TABS[1:])
    assert TABS[0] == STANDARD
    for field in fields.values():
        assert field["schema"]["title"]
        assert field["description"].endswith((".", ".)"))
        assert field["schema"]["type"][1:] == ["null"]


def test_every_field_has_the_widget_of_its_kind(form: dict[str, Any]) -> None:
    schemas = {key: field["schema"] for key, field in form["extra_fields"].items()}
    assert schemas["preset"]["enum"][0] == "custom"
    assert schemas["preset"]["values_display"]["office365"] == "Office 365"
    assert schemas["tls_versions"]["examples"] == ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
    assert (schemas["timeout"]["type"][0], schemas["timeout"]["minimum"]) == ("number", 1)
    assert (schemas["tunnel_port"]["type"][0], schemas["tunnel_port"]["maximum"]) == ("integer", 65535)
    assert schemas["ca_bundle"]["format"] == "multiline"
    assert (schemas["pins"]["type"][0], "examples" in schemas["pins"]) == ("array", False)
    assert schemas["strict_x509"]["type"][0] == "boolean"
    assert {key for key, schema in schemas.items() if schema.get("format") == "password"} == {
        field.key for field in EXTRA_FIELDS if field.secret
    }


def test_only_switches_come_filled_in(form: dict[str, Any]) -> None:
    filled = {key: field["value"] for key, field in form["extra_fields"].items() if field["value"] is not None}
    assert filled == {"strict_x509": True, "tunnel_use_credentials": True, "tunnel_remote_dns": True}


def test_airflow_finds_the_asset_functions() -> None:
    providers = ProvidersManagerTaskRuntime()
    for scheme, factory in (("imap", imap.create_asset), ("imaps", imap.create_imaps_asset)):
        assert providers.asset_uri_handlers[scheme] is imap.sanitize_uri
        assert providers.asset_factories[scheme] is factory
        assert providers.asset_to_openlineage_converters[scheme] is imap.convert_asset_to_openlineage


def test_a_hooks_lineage_gets_an_asset_of_the_scheme_that_it_asked_for() -> None:
    for scheme in ("imap", "imaps"):
        asset = HookLineageCollector().create_asset(scheme=scheme, asset_kwargs={"host": "mail.example.com"})
        assert isinstance(asset, Asset)
        assert asset.uri == f"{scheme}://mail.example.com/INBOX"
