"""Who may write over a stored place: nobody who has not heard of the beginning that it goes back to."""

from __future__ import annotations

import pytest

from airflow_imap_provider.triggers.stored_place import _supersedes


@pytest.mark.parametrize(
    ("stored", "mine", "superseded"),
    [
        ((1, ""), (1, ""), False),
        ((2, ""), (1, ""), True),
        ((1, "first"), (1, "first"), False),
        ((1, "first"), (2, "first"), False),
        # The folder was made anew, and who found that out first did not know of the reset.
        ((1, "first"), (1, ""), True),
        ((1, "first"), (3, ""), True),
        ((1, ""), (2, "first"), False),
        ((1, "first"), (2, "second"), False),
        ((2, "second"), (2, "first"), True),
    ],
)
def test_a_place_gives_way_to_one_of_a_later_beginning(
    stored: tuple[int, str], mine: tuple[int, str], superseded: bool
) -> None:
    record, place = ({"epoch": epoch, "reset": reset} for epoch, reset in (stored, mine))
    assert _supersedes(record, place) is superseded
