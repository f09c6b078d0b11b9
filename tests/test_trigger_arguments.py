"""Arguments of the Email Trigger and the sensor: what would fail open, or never match, is refused with what to do."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.executors.workloads import RunTrigger
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.models.trigger import Trigger

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.conditions import (
    AllowedSenders,
    Attachment,
    AuthenticationResults,
    Conditions,
    Flags,
    From,
    Header,
    Received,
    Signed,
    Size,
    Subject,
)
from airflow_imap_provider.mailbox.actions import AddKeyword, Copy, Forward, MarkRead, Move, Save
from airflow_imap_provider.sensors.email import EmailSensor
from airflow_imap_provider.triggers.email import PARAMETERS, EmailTrigger

INVOICE = Subject.contains("invoice")


def make(**arguments: Any) -> EmailTrigger:
    return EmailTrigger(**arguments)


def sensor(**arguments: Any) -> EmailSensor:
    return EmailSensor(task_id="wait", **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"condition": [INVOICE]},
            r"EmailTrigger has no argument 'condition'; accepted are .*Did you mean 'conditions'",
        ),
        ({"on_macth": [MarkRead()]}, "no argument 'on_macth'.*Did you mean 'on_match'"),
        (
            {"mailbox": "X"},
            "no argument 'mailbox'; accepted are imap4_conn_id, folder.* Did you mean 'folder'\\?$",
        ),
        ({"actions": [MarkRead()]}, "Did you mean 'on_match'"),
        ({"quota": 5}, "server_search. Leave it out, or take one of these.$"),
        ({"conditions": None}, "None is not a condition. Where every mail is wanted leave it out"),
        ({"conditions": [Attachment.exists]}, "Are brackets missing. Write Attachment"),
        ({"conditions": [Signed]}, "Are brackets missing"),
        ({"conditions": [Subject == "x"]}, "== and in compare nothing of a mail: write Subject.equals"),
        ({"conditions": [Header("X-A")]}, r"Header\(.x-a.\) is not a condition"),
        ({"on_match": "MarkRead"}, r"'MarkRead' is no list of actions. Write \[MarkRead"),
        ({"conditions": {}}, r"\{\} is not a condition"),
        ({"conditions": Subject}, "settings: Subject is not a condition. Write a condition such as Subject.contains"),
        ({"conditions": [INVOICE], "trigger_on": "some"}, "trigger_on is 'some'. Choose one of all, any, none, always"),
        (
            {"conditions": Conditions([INVOICE], "any"), "trigger_on": "none"},
            "trigger_on='none', but these conditions have trigger_on='any' already",
        ),
        ({"headers": "X-A"}, r"headers='X-A'; a list of header names is accepted. Write headers=\['X-A'\]"),
        ({"headers": ["X A"]}, "'X A' is no name of a mail header"),
        ({"headers": 7}, "headers=7; a list of header names"),
        ({"text": "False"}, "text='False'; True or False is accepted"),
        ({"idle": 0}, "idle=0; True or False is accepted"),
        ({"folder": ["A", "B"]}, "Add one AssetWatcher per folder"),
        ({"on_match": [Copy("inbox")]}, "'copy' leads to 'inbox', which is the folder 'INBOX' .*Name another folder"),
        ({"folder": "Team/Größe", "always": [Move("Team/Gro\u0308\u00dfe/")]}, "leads to .*without end"),
        ({"folder": "Team.A", "on_no_match": [Move("Team.A.")]}, "without end"),
    ],
)
def test_what_nobody_can_mean_is_refused_when_the_dag_file_is_parsed(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make(**arguments)


def test_conditions_may_be_given_in_every_form() -> None:
    forms: list[Any] = [
        INVOICE,
        [INVOICE],
        (INVOICE,),
        iter([INVOICE]),
        Conditions([INVOICE]),
        Conditions(INVOICE).dumps(),
    ]
    assert len({make(conditions=form).conditions for form in forms}) == 1
    either = Conditions([INVOICE, From.contains("x")], "any")
    assert make(conditions=either).conditions == either.dumps() == make(conditions=either, trigger_on="any").conditions
    assert json.loads(sensor(conditions=either).conditions)["trigger_on"] == "any"


def test_a_copy_into_a_folder_within_the_watched_one_is_no_copy_into_it() -> None:
    assert make(folder="INBOX", on_match=[Copy("INBOX/Done"), Move("Inbox.Done")]).on_match


@pytest.mark.parametrize(
    "arguments",
    [
        {"folder": "{{ var.value.folder }}"},
        {"imap4_conn_id": "{{ params.conn }}"},
        {"start": "{{ ds }}"},
        {"place": "{% if x %}a{% endif %}"},
        {"conditions": [Subject.contains("{{ run_id }}")]},
        {"conditions": ~(INVOICE & Received.after("{{ ds }}"))},
        {"conditions": [From.one_of(["a@example.com", "{{ var.value.b }}"])]},
        {"on_match": [Save("{{ var.value.bucket }}/x")]},
        {"on_match": [Save("/data", names="{% raw %}")]},
        {"always": [Forward(["{{ params.to }}"])]},
        {"on_no_match": [Move("{{ ds }}")]},
    ],
)
def test_templates_are_refused_by_the_trigger_which_nobody_renders(arguments: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"has the template .*Airflow renders nothing in a trigger. Give the value"):
        make(**arguments)


def test_braces_that_a_mail_has_can_be_written() -> None:
    assert make(conditions=[Subject.regex(r"\{\{ticket"), Subject.regex("^a{2}$"), Subject.contains("{x}")])


RENDERED = {"ds": "2026-11-01", "mib": "2 MiB", "who": "a@example.com", "to": "team@example.com", "flag": "\\Seen"}


def test_templates_are_accepted_by_the_sensor_and_checked_when_they_are_rendered() -> None:
    def written(of: Callable[[str], str]) -> EmailSensor:
        gate = AuthenticationResults(of("server"))
        return sensor(
            conditions=[
                *(Received.after(of("ds")), ~Received.on(of("ds")), Received.newer_than(of("age"))),
                *(Size.larger_than(of("mib")), AllowedSenders(["@example.org", of("who")]), Flags.lacks(of("flag"))),
                *(gate.dkim.passes(of("domain")), gate.spf.equals(of("result"))),
                *(Subject.regex(of("regex")), Header("X-A").one_of([of("who")])),
            ],
            on_match=[
                *(Save(of("path"), larger=of("mib"), names=of("names")), AddKeyword(of("keyword"))),
                *(Forward([of("to")], sender=of("to")), Move(of("ds"))),
            ],
            start=of("ds"),
            folder=of("folder"),
        )

    values = {
        **RENDERED,
        "server": "mx.example.org",
        "domain": "example.org",
        "result": "fail",
        "regex": "^a{2}$",
        "age": "2 days",
        "path": "s3://bucket/x",
        "names": "*.csv|*.txt",
        "keyword": "Done",
        "folder": "Answers",
    }
    waiting = written(lambda name: f"{{{{ {name} }}}}")
    waiting.render_template_fields(values)  # type: ignore[arg-type]
    plain = written(lambda name: values[name])
    assert waiting.conditions == plain.conditions
    assert waiting.on_match == plain.on_match
    statement = sensor(conditions=[Received.after("{% if x %}2026-01-31{% else %}2026-01-30{% endif %}")])
    statement.render_template_fields({"x": 1})  # type: ignore[typeddict-unknown-key]
    assert statement.conditions == Conditions([Received.after("2026-01-31")]).dumps()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"conditions": [Received.after("{{ x }}")]}, "Received.after cannot use 'nonsense'"),
        ({"conditions": [Subject.regex("({{ x }}")]}, "is no regular expression"),
        ({"on_match": [Save("{{ x }}")]}, "path='nonsense'; a URL or an absolute path"),
        ({"on_match": [Save("/data", smaller="{{ x }}")]}, "smaller='nonsense'; a size"),
        ({"on_match": [AddKeyword("{{ x }} {{ x }}")]}, "cannot be an IMAP keyword"),
        ({"on_match": [Move("{{ target }}")], "folder": "{{ folder }}"}, "leads to 'Done', which is the folder"),
        ({"conditions": [Received.after("{{ braces }}")]}, "has a template, which is not rendered here"),
    ],
)
def test_what_a_template_gives_is_checked_before_the_sensor_waits(arguments: dict[str, Any], words: str) -> None:
    waiting = sensor(**arguments)
    values = {"x": "nonsense", "folder": "Done", "target": "Done", "braces": "{{ conn.x.password }}"}
    with pytest.raises(SettingsError, match=words):
        waiting.render_template_fields(values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"headers": "X-A"}, "a list of header names is accepted"),
        ({"headers": ["X A"]}, "no name of a mail header"),
        ({"conditions": None}, "None is not a condition"),
        ({"text": 1}, "text=1; True or False"),
        ({"folder": None}, "folder=None; a name or several are accepted"),
        ({"folder": []}, r"folder=\[\]; a name or several"),
        ({"folder": "inbox", "on_match": [Move("INBOX")]}, "leads to 'INBOX'"),
        ({"folder": ["Answers"], "on_match": [Copy("Answers")]}, "leads to 'Answers'"),
    ],
)
def test_the_sensor_refuses_mistakes_as_the_trigger_does(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        sensor(**arguments)


def test_of_several_folders_one_may_collect_the_mails_of_the_others() -> None:
    assert sensor(folder=["INBOX", "Answers"], on_match=[Move("Answers")]).on_match


def test_every_argument_is_stored_and_nothing_else() -> None:
    stored = make().serialize()[1]
    assert {*stored, "trigger_on"} == set(PARAMETERS) == set(inspect.signature(EmailTrigger).parameters) - {"unknown"}


async def test_a_stored_trigger_that_cannot_be_built_is_said_and_the_triggerer_goes_on() -> None:
    """As another version has stored it: with an argument, or a condition, that this one does not know."""
    path, good = make(imap4_conn_id="mailbox", conditions=[INVOICE]).serialize()
    newer = json.loads(good["conditions"])
    newer["conditions"] = [{"field": "weight", "op": "equals", "value": 1}]
    bad = [{**good, "quota": 5}, {**good, "conditions": json.dumps(newer)}, {**good, "on_match": '[{"do":"explode"}]'}]
    runner = TriggerRunner()
    for number, arguments in enumerate([*bad, good], 1):
        runner.to_create.append(
            RunTrigger(id=number, classpath=path, encrypted_kwargs=Trigger.encrypt_kwargs(arguments))
        )
    await runner.create_triggers()
    told = {number: str(problem) for number, problem in runner.failed_triggers}
    assert list(told) == [1, 2, 3]
    assert "no argument 'quota'" in told[1]
    assert "Install the same version of this package in the DAG processor and in the triggerer" in told[1]
    assert "'weight' is no field" in told[2]
    assert "unknown action 'explode'" in told[3]
    assert list(runner.triggers) == [4]
    runner.triggers[4]["task"].cancel()
