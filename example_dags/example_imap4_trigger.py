"""Invoices that arrive by mail start this DAG, and it reads the CSV files attached to them.

A mail from billing@example.com with "invoice" in its subject is marked as read and handed to the DAG; all others stay
as they are. Each mail becomes a task instance of its own.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mail.conditions import From, Subject
from airflow_imap_provider.mailbox.actions import MarkRead
from airflow_imap_provider.operators.email import ReceiveEmailsOperator
from airflow_imap_provider.triggers.email import EmailTrigger

# If a second DAG file needs this asset, move it to a module of its own and import it from there in both: of two
# declarations of one asset, Airflow takes the watchers of whichever file it parsed last.
invoices = Asset(
    name="invoices",
    uri="imap://mail.example.com/INBOX",
    watchers=[
        AssetWatcher(
            name="inbox",
            trigger=EmailTrigger(
                imap4_conn_id="imap4_default",
                folder="INBOX",
                conditions=[From.equals("billing@example.com"), Subject.contains("invoice")],
                on_match=[MarkRead()],
            ),
        )
    ],
)


@dag(schedule=[invoices], catchup=False, tags=["example", "imap4"])
def example_imap4_trigger():
    emails = ReceiveEmailsOperator(task_id="emails", asset=invoices)

    # Mail servers limit how many connections an account may have; four tasks at a time are below every limit we know.
    @task(max_active_tis_per_dag=4)
    def rows(email: dict[str, Any]) -> list[dict[str, str]]:
        """Return the rows of all CSV files attached to this mail."""
        with Imap4Hook(email["conn_id"]) as hook:
            tables = [part.content for part in hook.attachments(email) if part.name.lower().endswith(".csv")]
        return [row for table in tables for row in csv.DictReader(io.StringIO(table.decode("utf-8-sig")))]

    rows.expand(email=emails.output)


example_imap4_trigger()
