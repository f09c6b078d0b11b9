"""What ``ImapAttachmentSensor`` and ``ImapAttachmentToS3Operator`` did, done by this package.

It was::

    wait = ImapAttachmentSensor(
        task_id="wait",
        conn_id="imap_default",
        attachment_name="report.csv",
        mail_filter='(FROM "reports@example.com")',
    )
    to_storage = ImapAttachmentToS3Operator(
        task_id="to_storage",
        imap_conn_id="imap_default",
        imap_attachment_name="report.csv",
        s3_bucket="bucket",
        s3_key="reports/report.csv",
    )
    wait >> to_storage

The sensor now waits without occupying a worker, and what is stored is the attachment of the mail that it found, not of
whatever mail a second search finds. Only mail received since the run started counts, and so no report of yesterday.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from airflow_imap_provider.mail.conditions import Attachment, From
from airflow_imap_provider.operators.email import SaveEmailOperator
from airflow_imap_provider.sensors.email import EmailSensor

# Any storage that Airflow has a provider for: s3://aws_default@bucket/reports, gs://..., abfs://...
STORAGE = "file:///tmp/example_imap4_migration"


@dag(schedule=None, catchup=False, tags=["example", "imap4"])
def example_imap4_migration():
    wait = EmailSensor(
        task_id="wait",
        imap4_conn_id="imap4_default",
        conditions=[From.equals("reports@example.com"), Attachment.name.equals("report.csv")],
        deferrable=True,
        timeout=timedelta(hours=12),
    )
    to_storage = SaveEmailOperator(
        task_id="to_storage",
        emails=wait.output,
        path=STORAGE,
        names="report.csv",
        folder_per_mail=False,
        on_exists="overwrite",
    )

    @task
    def loaded(files: list[dict[str, Any]]) -> str:
        """Go on with the work; here only where the report stands now."""
        return files[0]["path"]

    loaded(to_storage.output)


example_imap4_migration()
