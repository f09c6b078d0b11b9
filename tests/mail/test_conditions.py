"""What conditions hold for which mails, and how they are written down."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from copy import deepcopy
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import pytest
from hypothesis import given

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.charsets import fold
from airflow_imap_provider.mail.condition import DEPTH_LIMIT
from airflow_imap_provider.mail.conditions import (
    Body,
    Cc,
    Condition,
    Conditions,
    From,
    Header,
    Received,
    ReplyTo,
    Subject,
    To,
)
from airflow_imap_provider.mail.message import Address, Mail
from tests.mail.builders import mail
from tests.mail.strategies import conditions, lists_of, mails

BILLING = mail(from_=(Address("Billing Team", "billing@example.com"),))


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (From.equals("billing@example.com"), True),
        (From.equals("BILLING@EXAMPLE.COM"), True),
        (From.equals("BILLING@EXAMPLE.COM", case=True), False),
        (From.equals("Billing Team"), True),
        (From.equals("Billing Team <billing@example.com>"), True),
        (From.equals("example.com"), False),
        (From.equals(" billing@example.com\n"), True),
        (From.starts_with(" billing@"), True),
        (From.ends_with("@example.com "), True),
        (From.one_of([" billing@example.com"]), True),
        (From.not_equals("billing@example.com"), False),
        (From.not_equals("other@example.com"), True),
        (From.contains("@example.com"), True),
        (From.contains("Team <billing"), True),
        (From.contains("other"), False),
        (From.not_contains("other"), True),
        (From.starts_with("billing@"), True),
        (From.starts_with("Bill"), True),
        (From.starts_with("Bill", case=True), True),
        (From.starts_with("example"), False),
        (From.ends_with("@example.com"), True),
        (From.ends_with("@EXAMPLE.com", case=True), False),
        (From.one_of(["a@b", "billing@example.com"]), True),
        (From.one_of({"a@b"}), False),
        (From.glob("*@example.com"), True),
        (From.glob("billing@*.com"), True),
        (From.glob("example.com"), False),
        (From.regex(r"^billing@example\.(com|org)$"), True),
        (From.regex(r"^BILLING@"), True),
        (From.regex(r"^BILLING@", case=True), False),
        (To.contains("example.org"), True),
        (Cc.contains("example.org"), False),
        (Cc.not_contains("example.org"), True),
        (ReplyTo.equals("x"), False),
        (Subject.equals("your INVOICE 4711"), True),
        (Subject.equals("your invoice"), False),
        (Subject.contains("invoice"), True),
        (Subject.regex(r"\d{4}"), True),
        (Subject.regex(r"^\d{4}"), False),
        (Subject.glob("*invoice*"), True),
        (Subject.glob("invoice"), False),
        (Subject.contains("invoice "), True),
        (Subject.starts_with("your "), True),
        (Subject.glob("your invoice [0-9]???"), True),
        (Subject.one_of(("x", "y")), False),
        (Body.contains("customer"), True),
        (Body.equals("dear customer"), True),
        (Header("Subject").contains("invoice"), False),
    ],
    ids=repr,
)
def test_a_condition_holds_or_not(condition: Condition, holds: bool) -> None:
    assert condition.holds(BILLING) is holds
    assert (~condition).holds(BILLING) is not holds


def test_of_several_addresses_one_is_enough_and_not_means_none() -> None:
    both = mail(to=(Address("", "a@example.org"), Address("", "b@example.org")))
    assert To.equals("b@example.org").holds(both)
    assert not To.not_equals("b@example.org").holds(both)
    assert To.not_equals("c@example.org").holds(both)
    assert not (To.equals("a@example.org") & To.equals("c@example.org")).holds(both)


@pytest.mark.parametrize(
    "condition",
    [
        From.equals("boss@example.com"),
        From.contains("boss@example.com"),
        From.starts_with("boss@example.com"),
        From.glob("*@example.com*"),
        From.regex(r"@example\.com"),
        From.one_of(["boss@example.com"]),
    ],
    ids=repr,
)
def test_a_display_name_cannot_pretend_to_be_an_address(condition: Condition) -> None:
    assert not condition.holds(mail(from_=(Address("boss@example.com", "thief@example.net"),)))
    assert condition.holds(mail(from_=(Address("boss@example.com", "boss@example.com"),)))


def test_a_name_without_address_can_be_compared() -> None:
    assert From.equals("Mail Delivery System").holds(mail(from_=(Address("Mail Delivery System", ""),)))


def test_comparison_ignores_how_letters_were_typed() -> None:
    assert Subject.contains("STRASSE").holds(mail(subject="Lange Straße"))
    assert Subject.contains("é").holds(mail(subject="cafe\u0301"))
    assert Subject.regex("caf\u00e9$").holds(mail(subject="cafe\u0301"))
    assert Subject.equals("e\u0301", case=True).holds(mail(subject="é"))
    assert not Subject.contains("ss", case=True).holds(mail(subject="ß"))


def test_regular_expressions_and_globs_are_read_as_written() -> None:
    assert Subject.regex("^re\u0301sume\u0301$").holds(mail(subject="Résumé"))
    assert Subject.glob("[[]JIRA] *").holds(mail(subject="[JIRA] new issue"))


def test_a_body_is_prepared_once_for_all_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = []

    def noted(text: str, *, case: bool) -> str:
        prepared.append(case)
        return fold(text, case=case)

    monkeypatch.setattr("airflow_imap_provider.mail.text_condition.fold", noted)
    asked = mail(text="A body that no other test has.")
    for number in range(20):
        assert not Body.contains(f"word {number}").holds(asked)
        assert not Body.equals(f"word {number}", case=True).holds(asked)
        assert not Body.regex(f"word {number}", case=number % 2 == 0).holds(asked)
    assert sorted(prepared) == [False, True, True]


def test_line_breaks_of_a_body_are_blanks_except_for_regular_expressions() -> None:
    wrapped = mail(text="Your invoice\n  number is\r\n\r\n4711")
    assert Body.contains("invoice number").holds(wrapped)
    assert Body.contains("number\nis  4711").holds(wrapped)
    assert Body.glob("your*4711").holds(wrapped)
    assert Body.regex(r"(?m)^  number is").holds(wrapped)


def test_a_body_that_was_not_fetched_is_an_error_and_not_an_empty_body() -> None:
    with pytest.raises(RuntimeError, match="before the mail's text was fetched"):
        Body.not_contains("x").holds(mail(text=None))
    assert Body.not_contains("x").holds(mail(text=None, text_parts=()))


def test_headers_are_compared_value_by_value() -> None:
    twice = mail(headers={"x-tag": ("one", "two")})
    assert Header("X-Tag").equals("two").holds(twice)
    assert Header("x-tag").exists().holds(twice)
    assert not Header("X-Tag").not_equals("two").holds(twice)
    assert not Header("X-Other").exists().holds(twice)
    assert Header("X-Other").not_contains("two").holds(twice)
    assert not Header("X-Other").equals("").holds(twice)
    assert Subject.equals("").holds(mail(subject=""))


NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
PARIS = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("condition", "first", "last"),
    [
        (Received.before("2026-01-31"), None, "2026-01-30T23:59:59"),
        (Received.at_or_before(date(2026, 1, 31)), None, "2026-01-31T23:59:59"),
        (Received.after("2026-01-31"), "2026-02-01T00:00:00", None),
        (Received.at_or_after("2026-01-31"), "2026-01-31T00:00:00", None),
        (Received.on("2026-01-31"), "2026-01-31T00:00:00", "2026-01-31T23:59:59"),
        (Received.equals(date(2026, 1, 31)), "2026-01-31T00:00:00", "2026-01-31T23:59:59"),
        (Received.before(NOON), None, "2026-01-31T11:59:59"),
        (Received.at_or_before(NOON), None, "2026-01-31T12:00:00"),
        (Received.after(NOON), "2026-01-31T12:00:01", None),
        (Received.at_or_after(NOON), "2026-01-31T12:00:00", None),
        (Received.equals(NOON + timedelta(microseconds=7)), "2026-01-31T12:00:00", "2026-01-31T12:00:00"),
        (Received.at_or_after("2026-01-31T13:00:00+01:00"), "2026-01-31T12:00:00", None),
        (Received.at_or_after("2026-01-31T12:00:00Z"), "2026-01-31T12:00:00", None),
        (Received.at_or_after("2026-01-31 12:00"), "2026-01-31T12:00:00", None),
        (Received.at_or_after("2026-01-31T12:00z"), "2026-01-31T12:00:00", None),
        (Received.equals("2026-01-31T12:00:00.125-00:00"), "2026-01-31T12:00:00", "2026-01-31T12:00:00"),
        (Received.at_or_after(datetime(2026, 1, 31, 12)), "2026-01-31T12:00:00", None),  # noqa: DTZ001
        (Received.at_or_after(pendulum.datetime(2026, 1, 31, 13, tz="Europe/Paris")), "2026-01-31T12:00:00", None),
        (Received.on(datetime(2026, 1, 31, 5, tzinfo=PARIS)), "2026-01-30T23:00:00", "2026-01-31T22:59:59"),
        (Received.on(NOON), "2026-01-31T00:00:00", "2026-01-31T23:59:59"),
        (
            # The day on which summer time begins has 23 hours.
            Received.on(datetime(2026, 3, 29, 12, tzinfo=ZoneInfo("Europe/Paris"))),
            "2026-03-28T23:00:00",
            "2026-03-29T21:59:59",
        ),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_dates_have_exact_bounds(condition: Condition, first: str | None, last: str | None) -> None:
    second = timedelta(seconds=1)
    for bound, step in ((first, -second), (last, second)):
        if bound is not None:
            moment = datetime.fromisoformat(bound).replace(tzinfo=timezone.utc)
            assert condition.holds(mail(received=moment))
            assert condition.holds(mail(received=moment.astimezone(PARIS)))
            assert not condition.holds(mail(received=moment + step))
    assert condition.holds(mail(received=datetime(1970, 1, 1, tzinfo=timezone.utc))) is (first is None)
    assert condition.holds(mail(received=datetime(9000, 1, 1, tzinfo=timezone.utc))) is (last is None)


def test_pendulum_dates_are_stored_as_plain_ones() -> None:
    paris = pendulum.datetime(2026, 1, 31, 13, tz="Europe/Paris")
    assert repr(Received.after(paris)) == "Received.after('2026-01-31T12:00:00+00:00')"
    assert Received.after(pendulum.date(2026, 1, 31)) == Received.after("2026-01-31")


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
    ("held", "outcome"),
    [
        ([], {"all", "any"}),
        ([True], {"all", "any"}),
        ([False], {"none"}),
        ([True, True], {"all", "any"}),
        ([True, False], {"any"}),
        ([False, False], {"none"}),
    ],
)
def test_the_outcome_of_a_list(held: list[bool], outcome: set[str]) -> None:
    conditions = [Subject.contains("invoice") if each else Subject.contains("nothing") for each in held]
    assert Conditions(conditions).outcome(mail()) == outcome
    for trigger_on in ("all", "any", "none", "always"):
        if held or trigger_on != "none":
            expected = trigger_on in outcome or trigger_on == "always"
            assert Conditions(conditions, trigger_on).triggers(mail()) is expected


def test_a_single_condition_may_be_given_instead_of_a_list() -> None:
    assert Conditions(Subject.contains("x")) == Conditions([Subject.contains("x")])


def test_what_must_be_fetched_is_known() -> None:
    wanted = Conditions(
        [~(Subject.contains("x") | Header("X-A").exists()), Header("x-b").equals("1") & From.equals("a@b")]
    )
    assert wanted.headers == {"x-a", "x-b"}
    assert not wanted.needs_text
    assert Conditions([~(Body.contains("x") & To.equals("a@b"))]).needs_text


def test_the_json_is_canonical_and_the_same_in_every_release() -> None:
    made = Conditions(
        [
            From.one_of(["b@x", "a@x", "b@x"]),
            Subject.contains("é", case=True) | ~Header("X-Tag").exists(),
            Received.after("2026-01-31"),
            Body.not_contains("x"),
        ],
        "any",
    )
    assert made.dumps() == (
        '{"conditions":[{"field":"from","op":"one_of","value":["a@x","b@x"]},'
        '{"any":[{"case":true,"field":"subject","op":"contains","value":"\\u00e9"},'
        '{"not":{"field":"header","name":"x-tag","op":"exists"}}]},'
        '{"field":"received","op":"after","value":"2026-01-31"},'
        '{"not":{"field":"body","op":"contains","value":"x"}}],"trigger_on":"any","version":1}'
    )


def test_the_json_is_the_same_in_every_process() -> None:
    source = (
        "from airflow_imap_provider.mail.conditions import Conditions, From\n"
        "print(Conditions([From.one_of({'a@x', 'b@x', 'c@x', 'd@x'})]).dumps())"
    )
    written = {
        subprocess.run(
            [sys.executable, "-c", source], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(written) == 1


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


@given(lists_of(conditions))
def test_what_is_written_is_read_back_equal(made: Conditions) -> None:
    text = made.dumps()
    again = Conditions.loads(text)
    assert again == made
    assert hash(again) == hash(made)
    assert again.dumps() == text
    assert text.isascii()


@given(conditions)
def test_a_condition_is_data(made: Condition) -> None:
    assert Condition.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert deepcopy(made) == made
    names = {"From": From, "To": To, "Cc": Cc, "ReplyTo": ReplyTo, "Subject": Subject, "Body": Body}
    assert eval(repr(made), {**names, "Received": Received, "Header": Header}) == made


@given(conditions, mails())
def test_not_not_changes_nothing(made: Condition, of: Mail) -> None:
    assert ~~made == made
    assert (~made).holds(of) is not made.holds(of)


@given(conditions, conditions, mails())
def test_de_morgan(one: Condition, other: Condition, of: Mail) -> None:
    assert (~(one & other)).holds(of) is (~one | ~other).holds(of)
    assert (~(one | other)).holds(of) is (~one & ~other).holds(of)


@given(lists_of(conditions), mails())
def test_a_mail_triggers_by_its_outcome(made: Conditions, of: Mail) -> None:
    held = [condition.holds(of) for condition in made.conditions]
    expected = {"all": all(held), "any": any(held), "none": not any(held), "always": True}
    assert made.triggers(of) is expected[made.trigger_on]
    assert made.outcome(of) == {name for name in ("all", "any", "none") if expected[name]}


def test_importing_conditions_is_light() -> None:
    source = (
        "import sys; before = set(sys.modules)\n"
        "from airflow_imap_provider.mail.conditions import Subject\n"
        "Subject.contains('x')\n"
        "print(sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True).stdout
    for heavy in ("'re2'", "'imapclient'", "'email'", "'airflow'", "'html'", "'cryptography'", "'socket'", "'ssl'"):
        assert heavy not in loaded
