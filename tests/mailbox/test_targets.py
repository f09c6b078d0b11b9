"""Ways on which mails come back to their folder by the actions of several triggers."""

from __future__ import annotations

import pytest

from airflow_imap_provider.mailbox.actions import Copy, MarkRead, Move
from airflow_imap_provider.mailbox.targets import Routes, same_folder


def test_ways_that_come_back_are_found_when_the_last_trigger_of_them_starts() -> None:
    routes = Routes()
    assert routes.add(1, "c", "INBOX", [MarkRead(), Move("A")]) == []
    assert routes.add(2, "c", "A", [Move("B"), Copy("Archive"), Move("inbox", when="never")]) == []
    assert routes.add(3, "elsewhere", "B", [Move("INBOX")]) == []
    assert routes.add(4, "c", "B", [Move("Inbox")]) == [("B", "Inbox", "A", "B")]
    assert routes.add(5, "c", "Archive", [Move("C")]) == []
    routes.discard(4, "c", "B")
    routes.discard(4, "c", "B")
    assert routes.add(6, "c", "C", [Move("D")]) == []
    assert routes.add(7, "c", "D", [Move("C")]) == [("D", "C", "D")]
    assert sorted(routes.add(8, "c", "B", [Copy("INBOX"), Move("A")])) == [("B", "A", "B"), ("B", "INBOX", "A", "B")]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("INBOX", "inbox", True),
        ("Team", "team", False),
        ("Gro\u0308ße/", "Größe", True),
        ("INBOX/inbox", "INBOX/INBOX", False),
        ("A.", "A", True),
    ],
)
def test_names_that_mean_one_folder_on_any_server(one: str, other: str, same: bool) -> None:
    assert same_folder(one, other) is same
