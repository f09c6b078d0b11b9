"""Lists of conditions, their outcome, and how they are written down."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from copy import deepcopy

import pytest
from hypothesis import given

from airflow_imap_provider.mail import conditions as public
from airflow_imap_provider.mail.conditions import (
    Body,
    Condition,
    Conditions,
    From,
    Header,
    Received,
    Subject,
    To,
)
from airflow_imap_provider.mail.message import Mail
from tests.mail.builders import RECEIVED as NOW
from tests.mail.builders import mail
from tests.mail.strategies import conditions, lists_of, mails


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
    assert eval(repr(made), dict(vars(public))) == made


@given(conditions, mails())
def test_not_not_changes_nothing(made: Condition, of: Mail) -> None:
    assert ~~made == made
    assert (~made).holds(of, NOW) is not made.holds(of, NOW)


@given(conditions, conditions, mails())
def test_de_morgan(one: Condition, other: Condition, of: Mail) -> None:
    assert (~(one & other)).holds(of, NOW) is (~one | ~other).holds(of, NOW)
    assert (~(one | other)).holds(of, NOW) is (~one & ~other).holds(of, NOW)


@given(lists_of(conditions), mails())
def test_a_mail_triggers_by_its_outcome(made: Conditions, of: Mail) -> None:
    held = [condition.holds(of, NOW) for condition in made.conditions]
    expected = {"all": all(held), "any": any(held), "none": not any(held), "always": True}
    assert made.triggers(of, NOW) is expected[made.trigger_on]
    assert made.outcome(of, NOW) == {name for name in ("all", "any", "none") if expected[name]}


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
