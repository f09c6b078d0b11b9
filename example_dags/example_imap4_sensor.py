"""A DAG that waits in the middle of its work for a mail: the answer of whoever has to approve.

The sensor waits in the triggerer. It counts mails that were received since the DAG run started, marks the one that it
found as read, and is skipped, with everything behind it, if no answer comes within a day.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from airflow_imap_provider.mail.conditions import From, Subject
from airflow_imap_provider.mailbox.actions import MarkRead
from airflow_imap_provider.sensors.email import EmailSensor


@dag(schedule=None, catchup=False, tags=["example", "imap4"])
def example_imap4_sensor():
    approval = EmailSensor(
        task_id="approval",
        imap4_conn_id="imap4_default",
        conditions=[From.equals("boss@example.com"), Subject.contains("approved")],
        on_match=[MarkRead()],
        deferrable=True,
        timeout=timedelta(days=1),
        soft_fail=True,
    )

    @task
    def publish(answers: list[dict[str, Any]]) -> str:
        """Go on with the work; here only who allowed it."""
        return answers[0]["from"]["address"]

    publish(approval.output)


example_imap4_sensor()
