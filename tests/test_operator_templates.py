"""What operators render as Jinja templates, and what not: a mail is written by anybody."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_imap_provider.mailbox.actions import MarkRead
from airflow_imap_provider.operators.email import EmailActionOperator, ForwardEmailOperator, SaveEmailOperator

EMAIL = {
    "key": "mail.c.INBOX.0.1.2",
    "folder": "INBOX",
    "uid": 2,
    "uidvalidity": 1,
    "subject": "{{ conn.smtp_default.password }}",
    "attachments": [{"name": "{{ 6 * 7 }}.csv"}],
}


@pytest.mark.parametrize("emails", [EMAIL, [EMAIL], [[EMAIL]]], ids=["one", "several", "nested"])
@pytest.mark.parametrize(
    ("kind", "arguments", "field", "rendered"),
    [
        (SaveEmailOperator, {"path": "/data/{{ 6 * 7 }}"}, "path", "/data/42"),
        (EmailActionOperator, {"actions": [MarkRead()], "look_in": ["Done {{ 6 * 7 }}"]}, "look_in", ["Done 42"]),
        (ForwardEmailOperator, {"to": ["team{{ 6 * 7 }}@example.com"]}, "to", ["team42@example.com"]),
    ],
)
def test_templates_of_the_dags_author_are_rendered_and_what_a_mail_says_is_not(
    kind: Any, arguments: dict[str, Any], field: str, rendered: object, emails: Any
) -> None:
    operator = kind(task_id="task", emails=emails, **arguments)
    operator.render_template_fields({})
    assert operator.emails == emails
    assert getattr(operator, field) == rendered
