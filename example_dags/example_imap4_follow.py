"""A mail follows its run: from the inbox to Processing, and from there to Done or Failed.

Whoever looks into the mailbox sees how far each order is. Each mail is handled by itself: one that fails goes to
Failed, and the others do not notice.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetWatcher, TriggerRule, dag, task, task_group

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

        worked = work(processing.output)
        done = EmailActionOperator(
            task_id="done",
            emails=processing.output,
            actions=[MarkRead(), Move("Done", create=True)],
            max_active_tis_per_dag=4,
        )
        failed = EmailActionOperator(
            task_id="failed",
            emails=processing.output,
            actions=[Flag(), Move("Failed", create=True)],
            trigger_rule=TriggerRule.ONE_FAILED,
            max_active_tis_per_dag=4,
        )
        worked >> [done, failed]

    handle.expand(email=emails.output)


example_imap4_follow()
