"""A mistake in a condition, or in its JSON, is told at once and in words that help."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.condition import DEPTH_LIMIT
from airflow_imap_provider.mail.conditions import (
    Attachment,
    Body,
    Conditions,
    Flags,
    From,
    Header,
    Received,
    Subject,
)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Subject.regex("inv(oice"), r"'inv\(oice' is no regular expression .*missing \).*RE2"),
        (lambda: Subject.regex("(?=x)"), r"invalid perl operator: \(\?="),
        (lambda: Subject.contains(""), "Subject.contains needs a text that is not empty"),
        (lambda: From.equals(""), "From.equals needs a text"),
        (lambda: From.equals(" "), "From.equals needs a text"),
        (lambda: Subject.starts_with(" "), "Subject.starts_with needs a text"),
        (lambda: Body.contains(" \n"), "Body.contains needs a text"),
        (lambda: Subject.contains(7), "Subject.contains takes text, not int"),
        (lambda: Subject.contains(b"x"), "takes text, not bytes"),
        (lambda: Subject.contains("\ud800"), "has a character that no mail's text can hold"),
        (lambda: Subject.contains("x" * 5000), "at most 4000 characters, not 5000"),
        (lambda: Subject.contains("x", case="no"), "case is True or False, not 'no'"),
        (lambda: From.one_of("a@b"), "From.one_of takes a list of texts, not str.*use equals"),
        (lambda: From.one_of([]), "takes 1 to 1000 texts, not 0"),
        (lambda: From.one_of(["a@b", 7]), "takes text, not int"),
        (lambda: From.one_of(7), "takes a list of texts, not int"),
        (lambda: Header("X Y"), "'X Y' is no name of a mail header"),
        (lambda: Header("X-A\r\nB: c"), "is no name of a mail header"),
        (lambda: Header(7), "7 is no name of a mail header"),
        (lambda: Received.after("yesterday"), "Received.after cannot use 'yesterday'.*2026-01-31"),
        (lambda: Received.after("2026-02-30"), "cannot use '2026-02-30'"),
        (lambda: Received.after("2026-W05-6"), "cannot use '2026-W05-6'"),
        (lambda: Received.after("20260131"), "cannot use '20260131'"),
        (lambda: Received.after("20260131T120000Z"), "cannot use"),
        (lambda: Received.after("2026-01-31T12"), "cannot use"),
        (lambda: Received.after("2026-01-31T24:00"), "cannot use"),
        (lambda: Received.after("2026-01-31T12:00:00,5"), "cannot use"),
        (lambda: Received.after("2026-01-31T12:00:00.5"), "cannot use"),
        (lambda: Received.after("2026-01-31T12:00+01"), "cannot use"),
        (lambda: Received.after("2026-01-31T12:00+01:00:30"), "cannot use"),
        (lambda: Received.after("٢٠٢٦-01-31"), "cannot use"),
        (lambda: Received.after(7), "cannot use 7"),
        (lambda: Received.after(date.max), "cannot use datetime.date"),
        (lambda: Subject.contains("x") & "y", "'y' is not a condition"),
        (lambda: "y" | Subject.contains("x"), "'y' is not a condition"),
        (lambda: Conditions("from=x"), "'from=x' is not a condition.*Subject.contains"),
        (lambda: Conditions(["from=x"]), "'from=x' is not a condition"),
        (lambda: Conditions([Subject]), "is not a condition"),
        (lambda: Conditions({"field": "from"}), "Conditions.loads"),
        (lambda: Conditions(7), "7 is not a condition"),
        (lambda: Conditions(None), "None is not a condition. Where every mail is wanted leave it out"),
        (lambda: Flags.has("Seen"), r"'Seen', which is the name of a system flag.* Write '.*Seen'"),
        (lambda: Flags.lacks(" seen "), r"a system flag without its backslash. Write '.*Seen'"),
        (lambda: Flags.has("recent"), "No flag tells it: use Received.newer_than"),
        (lambda: Attachment.name.glob("*.csv|*.txt"), r"is one pattern, of names with '\|' in them. Join conditions"),
        (lambda: Attachment.every.name.glob("*.csv, *.txt"), r"',' in them.*If ',' is meant .* write it as '\[,\]'"),
        (lambda: Conditions([], "some"), "trigger_on is 'some'. Choose one of all, any, none, always"),
        (lambda: Conditions([], "none"), "can never trigger"),
    ],
)
def test_a_mistake_is_told_when_the_condition_is_made(make: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make()


def test_conditions_cannot_be_joined_with_python_words() -> None:
    with pytest.raises(TypeError, match=r"& \| ~ instead of and, or, not"):
        bool(Subject.contains("a"))


def test_conditions_are_nested_only_so_deep() -> None:
    deep = Subject.contains("x")
    for _ in range((DEPTH_LIMIT - 1) // 2):
        deep = ~(deep & Subject.contains("y"))
    with pytest.raises(SettingsError, match=f"more than {DEPTH_LIMIT} conditions"):
        ~(deep & Subject.contains("y"))
    flat = Subject.contains("x")
    for _ in range(DEPTH_LIMIT * 10):
        flat &= Subject.contains("y")
    assert flat.depth == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version 2 cannot be read, only of version 1"),
        ({"extra": 1}, "not what Conditions.dumps wrote"),
        ({"conditions": {}}, "cannot be read"),
        ({"conditions": [7]}, "a condition is a JSON object, not int"),
        ({"conditions": [{}]}, "one of the keys all, any, not, field; this one has none"),
        ({"conditions": [{"all": [], "any": []}]}, "one of the keys"),
        ({"conditions": [{"all": []}]}, "'all' holds a list of conditions"),
        (
            {"conditions": [{"not": {"field": "weight", "op": "equals", "value": 1}}]},
            "'weight' is no field: accepted are attachment_count",
        ),
        ({"conditions": [{"field": "from", "op": "like", "value": "x"}]}, "'like' is no operator for from"),
        ({"conditions": [{"field": "from", "op": "exists"}]}, "'exists' is no operator for from"),
        ({"conditions": [{"field": "from", "op": ["equals"], "value": "x"}]}, "is no operator for from"),
        ({"conditions": [{"field": "from", "op": "equals"}]}, "From.equals takes text, not NoneType"),
        ({"conditions": [{"field": "from", "op": "equals", "value": "x", "fuzzy": 1}]}, "unknown key 'fuzzy'"),
        ({"conditions": [{"field": "header", "op": "exists"}]}, "None is no name of a mail header"),
        ({"conditions": [{"field": "received", "op": "contains", "value": "x"}]}, "no operator for received"),
        ({"conditions": [{"field": "received", "op": "on", "value": None}]}, "cannot use None"),
        ({"conditions": [{"field": "subject", "op": "regex", "value": "("}]}, "no regular expression"),
        ({"trigger_on": "never"}, "trigger_on is 'never'"),
    ],
)
def test_json_that_this_version_does_not_know_is_refused(change: dict[str, Any], words: str) -> None:
    data = {"conditions": [], "trigger_on": "all", "version": 1, **change}
    with pytest.raises(SettingsError, match=words):
        Conditions.loads(json.dumps(data))


@pytest.mark.parametrize("text", ["", "[]", "{", "7", '"x"', "[" * 100_000, "{}"])
def test_text_that_is_no_json_of_conditions_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"not conditions in JSON|conditions are not"):
        Conditions.loads(text)


def test_json_nested_too_deep_is_refused() -> None:
    inner = '{"not":' * 200 + "{}" + "}" * 200
    with pytest.raises(SettingsError, match="one within the other"):
        Conditions.loads(f'{{"conditions":[{inner}],"trigger_on":"all","version":1}}')


@pytest.mark.parametrize(
    ("test", "meant"),
    [
        ("glob", "Attachment.name.glob or Attachment.type.glob"),
        ("larger_than", "Attachment.size.larger_than or Attachment.count.larger_than"),
    ],
)
def test_a_test_of_attachments_that_leaves_out_what_of_them_is_told_where_it_is(test: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"Attachment has no '{test}'. Did you mean {meant}") as caught:
        getattr(Attachment, test)
    assert caught.value.name == test
    with pytest.raises(AttributeError, match=r"Attachment has no 'colour'$"):
        Attachment.colour  # noqa: B018
    assert not hasattr(Attachment, "__deepcopy__")
