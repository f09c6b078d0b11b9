"""Actions as data: checked early, canonical, and removed mails last."""

from __future__ import annotations

import pytest

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mailbox.actions import (
    Action,
    AddKeyword,
    AddLabel,
    Copy,
    Delete,
    Flag,
    Forward,
    MarkRead,
    MarkUnread,
    Move,
    RemoveKeyword,
    RemoveLabel,
    Save,
    Unflag,
    dump_actions,
    load_actions,
    unconditional,
    wanted,
)
from airflow_imap_provider.mailbox.choice import parse_size

EVERY = [
    *[
        MarkRead(),
        MarkUnread(),
        Flag(),
        Unflag(),
        AddKeyword("$A"),
        RemoveKeyword("b"),
        AddLabel("L"),
        RemoveLabel("M"),
    ],
    Save("s3://bucket/a", what="both", larger="1 KB", when="any"),
    Forward(["a@example.com", "mail:cc"], style="inline"),
    *[Copy("C/Größe"), Move("D", create=True)],
]


def test_actions_survive_their_stored_form() -> None:
    text = dump_actions(EVERY)
    assert load_actions(text) == tuple(EVERY)
    assert dump_actions(text) == text
    assert load_actions(dump_actions(Delete(when="any"))) == (Delete(when="any"),)


def test_equal_lists_have_equal_texts() -> None:
    assert (
        dump_actions(
            [
                Move("A"),
            ]
        )
        == dump_actions((Move("A"),))
        == dump_actions(Move("A"))
        == '[{"do":"move","to":"A"}]'
    )
    assert dump_actions(()) == "[]"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Move(""),
        lambda: Copy(""),
        lambda: AddKeyword("two words"),
        lambda: AddKeyword("größe"),
        lambda: AddKeyword("\\Seen"),
        lambda: RemoveKeyword(""),
        lambda: Move("A\nB"),
        lambda: unconditional([MarkRead(), Delete(when="never")]),
        lambda: MarkRead(when="sometimes"),
        lambda: Action("explode"),
        lambda: Action("flag", options=(("create", True),)),
        lambda: AddLabel(" "),
        lambda: AddKeyword("Seen"),
        lambda: RemoveKeyword("flagged"),
        lambda: Save("/data", names=""),
        lambda: Save("/data", names="*.csv|"),
        lambda: Save("/data", names="*.csv,*.txt"),
        lambda: Save("/data", names="*.csv; *.txt"),
        lambda: Save("/data", names="a.csv,b.csv|*.txt"),
        lambda: Save(""),
        lambda: Save("/data", name="*.csv"),
        lambda: load_actions('[{"do": "forward"}]'),
        lambda: load_actions('[{"do": "save", "to": "/data", "options": ["what"]}]'),
        lambda: dump_actions([Move("A"), MarkRead()]),
        lambda: dump_actions([Move("A", when="always"), MarkRead()]),
        lambda: dump_actions([Delete(), Copy("A")]),
        lambda: dump_actions(["mark_read"]),  # type: ignore[list-item]
        lambda: dump_actions("MarkRead"),
        lambda: load_actions('{"do": "move"}'),
        lambda: load_actions('[{"do": "move", "too": "A"}]'),
        lambda: load_actions("[" * 5_000),
        lambda: load_actions("[" * 5_000 + "]" * 5_000),
        lambda: load_actions('[{"do":"save","to":"/d","options":{"what":' + "[" * 500 + "]" * 500 + "}}]"),
        lambda: load_actions("null"),
        lambda: AddLabel("a\r\nb"),
        lambda: AddLabel("{{ ds }}\0"),
        lambda: RemoveLabel("a\x7f"),
        lambda: Copy("a\x7f"),
        lambda: Forward(5),  # type: ignore[arg-type]
        lambda: Forward(None),  # type: ignore[arg-type]
        lambda: Forward(b"ann@example.com"),  # type: ignore[arg-type]
        lambda: Forward({"to": "ann@example.com"}),  # type: ignore[arg-type]
        lambda: Forward("ann@example.com", cc=5),
        lambda: Forward([5]),  # type: ignore[list-item]
        lambda: load_actions('[{"do": "forward", "options": {"to": 5}}]'),
        lambda: Save("/data", larger="9" * 400),
        lambda: Save("/data", smaller=10**400),
        lambda: Save("/data", smaller=10**5_000),
        lambda: Save("/data", larger=-1),
        lambda: Save("/data", larger="9999999 TB"),
        lambda: Save("/data", larger="1.5 bytes"),
        lambda: Forward("ann@example.com", max_size=10**400),
        lambda: Forward("ann@example.com", max_size=-(10**5_000)),
    ],
)
def test_what_cannot_be_done_is_refused_when_it_is_written(make: object) -> None:
    with pytest.raises(SettingsError):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("", None),
        (0, 0),
        (500, 500),
        ("500", 500),
        ("10 KB", 10_000),
        ("1.5 MiB", 1_572_864),
        (" 2gib ", 2 * 1024**3),
        (2**53, 2**53),
        (str(2**53), 2**53),
        ("9007 TB", 9_007 * 10**12),
    ],
)
def test_sizes_are_read_to_the_byte(size: str | int, expected: int | None) -> None:
    assert parse_size(size, "larger") == expected


def test_names_with_a_comma_can_be_written() -> None:
    assert load_actions(dump_actions(Save("/data", names="*[,]*.csv|Smith, John.pdf|a;b"))) != ()


def test_a_list_of_patterns_with_a_wrong_sign_is_answered_with_the_right_one() -> None:
    with pytest.raises(SettingsError, match=r"names cannot use '\*.csv,\*.txt'.*Separate them with \|.*'\[,\]'"):
        Save("/data", names="*.csv,*.txt")
    with pytest.raises(SettingsError, match="For attachments of any name leave it out"):
        Save("/data", names=" ")


def test_removal_comes_last_and_only_once_whatever_list_it_stands_in() -> None:
    due = wanted(frozenset({"all", "any"}), ([Move("Done")], [MarkRead(), Delete()]))
    assert due == (MarkRead(), Move("Done"))


def test_an_action_may_depend_on_the_outcome() -> None:
    lists = ([MarkRead(when="all"), Flag(when="none"), Copy("A", when="always"), Delete(when="never")],)
    assert wanted(frozenset({"all", "any"}), lists) == (MarkRead(when="all"), Copy("A", when="always"))
    assert wanted(frozenset({"none"}), lists) == (Flag(when="none"), Copy("A", when="always"))
