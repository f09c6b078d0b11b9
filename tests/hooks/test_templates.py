"""Templates inside of conditions and actions: a value is a text, whatever it looks like."""

from __future__ import annotations

from airflow_imap_provider.hooks.templates import render_json
from airflow_imap_provider.mail.conditions import Conditions, Subject
from airflow_imap_provider.mailbox.actions import Move, Save, dump_actions, load_actions


def test_a_value_with_quotes_and_brackets_stays_within_its_condition() -> None:
    text = Conditions([Subject.contains("[{{ run_id }}]"), Subject.regex("^a{2}$")]).dumps()
    nasty = '"}],"x":[{"'
    rendered = render_json(text, lambda template: template.replace("{{ run_id }}", nasty))
    assert (
        Conditions.loads(rendered).dumps()
        == Conditions([Subject.contains(f"[{nasty}]"), Subject.regex("^a{2}$")]).dumps()
    )


def test_options_of_actions_are_rendered_too() -> None:
    text = dump_actions([Save("/data/{{ ds }}", names="{{ ds }}.csv"), Move("Done/{{ ds }}", create=True)])
    rendered = render_json(text, lambda template: template.replace("{{ ds }}", "2026-11-01"))
    assert load_actions(rendered) == (
        Save("/data/2026-11-01", names="2026-11-01.csv"),
        Move("Done/2026-11-01", create=True),
    )


def test_what_has_no_template_is_left_alone() -> None:
    assert render_json("not even JSON", str.upper) == "not even JSON"
