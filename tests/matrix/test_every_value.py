"""One row for every value of every field of the form, each against a real counterpart.

A row shows an effect, and that its twin, which differs in this field only, does not show it.
"""

from __future__ import annotations

import pytest

from airflow_imap_provider.connection.field import Field, Kind
from airflow_imap_provider.connection.fields import FIELDS
from tests.matrix.row import EMPTY, FILLED, OFF, ON, Row
from tests.matrix.rows_authentication import AUTHENTICATION
from tests.matrix.rows_encryption import ENCRYPTION
from tests.matrix.rows_main import MAIN_SETTINGS, STANDARD
from tests.matrix.rows_oauth import OAUTH
from tests.matrix.rows_proxy import PROXY
from tests.matrix.world import World

ROWS: list[Row] = [*STANDARD, *MAIN_SETTINGS, *AUTHENTICATION, *OAUTH, *ENCRYPTION, *PROXY]

HOSTS = ("DNS name", "IPv4 address", "IPv6 address", EMPTY)
VALUES = {
    Kind.FLAG: (ON, OFF, EMPTY),
    Kind.HOST: HOSTS,
    Kind.CERTIFICATES: ("path", "PEM text", EMPTY),
    Kind.KEY: ("path", "PEM text", "PKCS#12", EMPTY),
    Kind.APPLICATION_KEY: ("path", "PEM text", "PKCS#12", "JSON", EMPTY),
}
"""What values a field of this kind can have; those of choices are in the table itself."""


def values_of(spec: Field) -> tuple[str, ...]:
    if spec.choices:
        return (*spec.accepted, EMPTY)
    return VALUES.get(spec.kind, (FILLED, EMPTY))


def test_every_value_of_every_field_has_a_row_and_no_row_is_about_anything_else() -> None:
    every = {(spec.key, value) for spec in FIELDS for value in values_of(spec)}
    rows = {(row.field, row.value) for row in ROWS}
    assert every == rows


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=[getattr(pytest.mark, name) for name in row.needs], id=row.name) for row in ROWS]
)
def test_every_value_shows_what_only_it_brings_about(row: Row, world: World) -> None:
    form = row.form(world)
    with world.outcome(form) as came:
        assert row.shows(came), came.error or "it was opened"
    with world.outcome(row.other(form, world)) as twin:
        assert not row.shows(twin), "the twin shows the same"
