"""A question by mail, and a DAG that goes on when it is answered: approval without a login.

The question carries the run's id in its subject, and so does the answer; a sensor waits for it in the triggerer. Only
an answer of the person asked counts, proven by what the mailbox's own server has found out by DMARC: From alone is a
claim that anybody can make. What a program answers, such as a note that the person is out of office, does not count
either. And only "yes", alone in the first line, lets the run go on.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from airflow_imap_provider.mail.conditions import AllowedSenders, AuthenticationResults, Header, Subject
from airflow_imap_provider.mailbox.actions import MarkRead, Move
from airflow_imap_provider.sensors.email import EmailSensor

BOSS = "boss@example.com"

# The name with which the header Authentication-Results of your own server begins.
SERVER = "mx.example.com"

# The boss, and nobody besides; and the boss's own domain vouches for it.
by_the_boss = AllowedSenders([BOSS]) & AuthenticationResults(SERVER).dmarc.passes()

# RFC 3834: a person's own mail has no such header, or says "no".
by_a_person = ~Header("Auto-Submitted").exists() | Header("Auto-Submitted").equals("no")


@dag(schedule=None, catchup=False, tags=["example", "imap4"])
def example_imap4_approval():
    @task
    def ask(run_id=None) -> None:
        """Send the question; answers must reach the folder that the sensor looks into."""
        from airflow.providers.smtp.hooks.smtp import SmtpHook

        with SmtpHook(smtp_conn_id="smtp_default") as smtp:
            smtp.send_email_smtp(
                to=BOSS,
                subject=f"May it be published? [{run_id}]",
                html_content="Answer this mail with <b>yes</b> or <b>no</b> alone in its first line.",
            )

    answer = EmailSensor(
        task_id="answer",
        imap4_conn_id="imap4_default",
        conditions=[by_the_boss, by_a_person, Subject.contains("[{{ run_id }}]")],
        on_match=[MarkRead(), Move("Answered", create=True)],
        text=True,
        deferrable=True,
        timeout=timedelta(days=1),
        soft_fail=True,  # no answer within a day: what follows is skipped
    )

    @task.short_circuit
    def approved(answers: list[dict[str, Any]]) -> bool:
        """Tell whether the first line of the answer is yes, and nothing else: "Yes, but not today" is none."""
        lines = [line.strip(" \t.,;:!*\"'") for line in answers[0].get("text", "").splitlines()]
        return next((line for line in lines if line), "").casefold() == "yes"

    @task
    def publish() -> str:
        """Go on with the work."""
        return "published"

    ask() >> answer
    approved(answer.output) >> publish()


example_imap4_approval()
