from __future__ import annotations

from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from itertools import groupby
from operator import attrgetter

import pytest
from airflow._shared.secrets_masker import should_hide_value_for_key as hidden_by_the_server
from airflow.sdk._shared.secrets_masker import should_hide_value_for_key as hidden_by_the_worker

from airflow_imap_provider.connection.field import STANDARD, TABS, Field, Kind
from airflow_imap_provider.connection.fields import EXTRA_FIELDS, FIELDS, field
from airflow_imap_provider.connection.presets import PRESETS
from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.connection.values import read

from .builders import COMPLETE


def leaves(settings: object, path: str = "") -> dict[str, bool]:
    """Dotted path of every plain value of the settings, and whether it is kept out of repr()."""
    found: dict[str, bool] = {}
    assert is_dataclass(settings)
    for item in dataclass_fields(settings):
        value = getattr(settings, item.name)
        where = f"{path}{item.name}"
        if is_dataclass(value):
            found |= leaves(value, f"{where}.")
        else:
            found[where] = not item.repr
    return found


def test_every_key_stands_for_one_field() -> None:
    keys = [spec.key for spec in FIELDS]
    assert len(keys) == len(set(keys))


def test_the_tabs_come_in_the_order_of_the_form_and_none_is_torn_apart() -> None:
    assert [tab for tab, _ in groupby(FIELDS, attrgetter("tab"))] == list(TABS)


@pytest.mark.parametrize("hidden", [hidden_by_the_server, hidden_by_the_worker])
@pytest.mark.parametrize("spec", FIELDS, ids=attrgetter("key"))
def test_airflow_masks_the_secret_fields_and_no_other(spec: Field, hidden: object) -> None:
    assert callable(hidden)
    assert hidden(spec.key) is spec.secret


def test_every_value_of_the_settings_comes_from_a_field_with_the_same_secrecy() -> None:
    from_fields = {spec.path: spec.secret for spec in FIELDS if spec.path}
    # The issuers that are trusted for signatures are those of the CA bundle.
    from_elsewhere = {"conn_id": False, "security": False, "auth.oauth.keeper": True, "smime.issuers": False}
    assert leaves(Settings(conn_id="", host="")) == from_fields | from_elsewhere


@pytest.mark.parametrize("spec", FIELDS, ids=attrgetter("key"))
def test_every_field_explains_itself_in_a_sentence(spec: Field) -> None:
    assert spec.label
    assert spec.help.endswith(".")


@pytest.mark.parametrize("spec", [spec for spec in FIELDS if spec.choices], ids=attrgetter("key"))
def test_stored_values_are_short_and_stable(spec: Field) -> None:
    for choice in spec.choices:
        assert choice.value == choice.value.strip()
        assert choice.value.islower() or spec.key == "tls_versions"


@pytest.mark.parametrize("spec", [spec for spec in FIELDS if spec.default is not None], ids=attrgetter("key"))
def test_the_default_of_a_field_is_what_the_settings_have_without_it(spec: Field) -> None:
    default = read(spec, spec.default)
    if spec.path:
        assert attrgetter(spec.path)(Settings(conn_id="", host="")) == default


def test_every_switch_is_on_unless_switched_off() -> None:
    assert all(spec.default is True for spec in FIELDS if spec.kind is Kind.FLAG)


def test_every_preset_of_the_form_is_known_and_no_other() -> None:
    assert tuple(PRESETS) == field("preset").accepted


def test_the_complete_connections_of_these_tests_leave_no_field_out() -> None:
    assert {key for extra in COMPLETE.values() for key in extra} == {spec.key for spec in EXTRA_FIELDS}
    assert all(spec.key not in extra for extra in COMPLETE.values() for spec in FIELDS if spec.tab == STANDARD)


def test_the_key_of_oauth_may_be_json_and_no_other_key_may() -> None:
    kinds = {spec.key: spec.kind.value for spec in FIELDS if "private_key" in spec.key and "passphrase" not in spec.key}
    assert {key for key, accepts in kinds.items() if "JSON" in accepts} == {"oauth_private_key"}


def test_what_the_methods_of_oauth_make_of_other_fields_is_said_at_these() -> None:
    assert "OAuth" in field("login").help
    assert "Not used by OAuth 2.0" in field("password").help
    assert "OAuth token" in field("timeout").help
