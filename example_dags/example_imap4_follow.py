"""A mail follows its run: from the inbox to Processing, and from there to Done or Failed.

Whoever looks into the mailbox sees how far each order is. Each mail is handled by itself: one that fails goes to
Failed, and the others do not notice.

The end is one task for both outcomes, not one for each. In a mapped task group Airflow (3.3.2) makes the instances of a
task with the trigger rule "one failed" only when something has failed, and may end the run in that very moment, before
they have started: the mail would stay in Processing.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetWatcher, TriggerRule, dag, task, task_group
from airflow.sdk.exceptions import AirflowFailException

from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mail.conditions import Subject
from airflow_imap_provider.mailbox.actions import Flag, MarkRead, Move
from airflow_imap_provider.operators.email import EmailActionOperator, ReceiveEmailsOperator
from airflow_imap_provider.triggers.email import EmailTrigger

orders = Asset(
    name="orders",
    uri="imap://mail.example.com/Orders",
    watchers=[
        AssetWatcher(
            name="orders",
            trigger=EmailTrigger(
                imap4_conn_id="imap4_default", folder="INBOX", conditions=[Subject.starts_with("order")]
            ),
        )
    ],
)


@dag(schedule=[orders], catchup=False, tags=["example", "imap4"])
def example_imap4_follow():
    emails = ReceiveEmailsOperator(task_id="emails", asset=orders)

    @task_group
    def handle(email):
        processing = EmailActionOperator(
            task_id="processing", emails=email, actions=[Move("Processing", create=True)], max_active_tis_per_dag=4
        )

        @task(retries=0)
        def work(mails: list[dict[str, Any]]) -> str:
            """Do what the mail asks for; here it fails if the subject says so."""
            [mail] = mails
            if "broken" in mail["subject"]:
                raise ValueError("this order cannot be understood")
            return mail["subject"]

        @task(trigger_rule=TriggerRule.ALL_DONE)
        def settle(mails: list[dict[str, Any]] | None, result: str | None) -> None:
            """Show in the mailbox how it ended, and fail the run if the work has failed."""
            if mails is None:
                raise AirflowFailException("the mail could not be moved to Processing")
            worked = result is not None
            actions = [MarkRead(), Move("Done", create=True)] if worked else [Flag(), Move("Failed", create=True)]
            with Imap4Hook("imap4_default") as hook:
                hook.follow(mails, actions)
            if not worked:
                raise AirflowFailException("the work has failed; the mail is in the folder Failed")

        settle(processing.output, work(processing.output))

    handle.expand(email=emails.output)


example_imap4_follow()
