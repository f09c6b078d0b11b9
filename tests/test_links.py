"""The documentation leads where it says, and from the first page to how to log in at each provider."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from airflow_imap_provider.connection.fields import FIELDS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def links(page: Path) -> Iterator[tuple[Path, str]]:
    for name, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        yield (page.parent / name if name else page), anchor


def anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, blanks as hyphens, without punctuation."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_to_a_page_and_a_heading_that_are_there() -> None:
    found = [(page.name, target, anchor) for page in PAGES for target, anchor in links(page)]
    assert len(found) > 20
    assert [link for link in found if not link[1].exists()] == []
    assert [link for link in found if link[2] and link[2] not in anchors(link[1])] == []


def test_the_first_page_leads_to_each_way_of_oauth() -> None:
    page = ROOT / "docs" / "connection.md"
    oauth = page.read_text(encoding="utf-8").partition("\n## OAuth 2.0\n")[2].partition("\n## ")[0]
    ways = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(oauth)}
    assert len(ways) >= 5
    assert {anchor for target, anchor in links(PAGES[0]) if target == page} >= ways - {"refresh-tokens-that-change"}


def test_a_row_about_the_connection_names_the_fields_whose_rows_of_the_matrix_show_it() -> None:
    """That every field has a row for each of its values is a test of the matrix."""
    page = (ROOT / "docs" / "visualcron.md").read_text(encoding="utf-8")
    catch_all = "`test_every_value_shows_what_only_it_brings_about`"
    rows = [line.partition(catch_all)[2] for line in page.splitlines() if catch_all in line]
    named = [re.findall(r"`(\w+)`", row) for row in rows]
    assert len(rows) > 9
    assert all(named)
    assert {field for fields in named for field in fields} <= {field.key for field in FIELDS}


def test_every_test_that_a_page_names_is_there() -> None:
    page = (ROOT / "docs" / "visualcron.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    written = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 25
    assert named - written == set()
