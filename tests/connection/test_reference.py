from __future__ import annotations

import json
import re

import pytest

from airflow_imap_provider.connection.fields import FIELDS
from airflow_imap_provider.connection.parsing import parse
from scripts.connection_reference import PAGE, reference, updated


def test_the_page_describes_the_fields_of_today() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == updated(page), "run: python -m scripts.connection_reference"


def test_every_field_and_every_choice_is_in_the_reference() -> None:
    text = reference()
    for field in FIELDS:
        assert f"`{field.key}`" in text
        assert all(f"`{choice.value}` {choice.label}" in text for choice in field.choices)


def test_every_row_has_the_four_cells_of_its_table() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="must contain"):
        updated("# Another page")


EXAMPLES = re.findall(r'```json\n(\{"conn_type".*?)```', PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_connection_on_the_page_is_one_that_works(example: str) -> None:
    given = json.loads(example)
    standard = {name: given.get(name) for name in ("host", "port", "login", "password")}
    assert parse("mail", extra=given.get("extra", {}), **standard).host
