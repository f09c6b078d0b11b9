"""Attachments of mails go to object storage, and from there they are loaded.

Every CSV file of a mail with "sales" in its subject is saved, in constant memory however large it is, into a folder of
the mail's own. Each file becomes a task instance that reads it.
"""

from __future__ import annotations

import csv
from typing import Any

from airflow.sdk import Asset, AssetWatcher, ObjectStoragePath, dag, task

from airflow_imap_provider.mail.conditions import Subject
from airflow_imap_provider.mailbox.actions import MarkRead
from airflow_imap_provider.operators.email import ReceiveEmailsOperator, SaveEmailOperator
from airflow_imap_provider.triggers.email import EmailTrigger

# Any storage that Airflow has a provider for: s3://aws_default@bucket/sales, gs://..., abfs://...
STORAGE = "file:///tmp/example_imap4_save"

sales = Asset(
    name="sales",
    uri="imap://mail.example.com/Sales",
    watchers=[
        AssetWatcher(
            name="sales",
            trigger=EmailTrigger(
                imap4_conn_id="imap4_default",
                folder="INBOX",
                conditions=[Subject.contains("sales")],
                on_match=[MarkRead()],
            ),
        )
    ],
)


@dag(schedule=[sales], catchup=False, tags=["example", "imap4"])
def example_imap4_save():
    emails = ReceiveEmailsOperator(task_id="emails", asset=sales)
    files = SaveEmailOperator(
        task_id="files", emails=emails.output, path=STORAGE, names="*.csv", smaller="100 MB", on_exists="overwrite"
    )

    @task
    def load(file: dict[str, Any]) -> dict[str, Any]:
        """Load a file into a database; here it only counts its rows."""
        with ObjectStoragePath(file["path"]).open("r") as lines:
            return {"name": file["name"], "rows": sum(1 for _ in csv.DictReader(lines))}

    load.expand(file=files.output)


example_imap4_save()
