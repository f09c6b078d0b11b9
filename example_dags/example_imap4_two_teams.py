"""Two teams on one mailbox: each has an asset with conditions of its own, and takes its mails at its own speed.

Each asset keeps its own place in the folder, so a team that pauses its DAG for a week loses nothing and holds up
nobody. A mail that concerns both reaches both. All triggers on the folder share one connection to the server. In real
life each team has a file of its own with its asset and its DAGs.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_imap_provider.mail.conditions import Subject
from airflow_imap_provider.mailbox.actions import AddKeyword
from airflow_imap_provider.operators.email import ReceiveEmailsOperator
from airflow_imap_provider.triggers.email import EmailTrigger

# No URI: two assets may not have the same one. And no Move or MarkRead: where several share a folder, keywords tell
# what was taken, and the mail stays for the others.
support_mails = Asset(
    name="support_mails",
    watchers=[
        AssetWatcher(
            name="inbox",
            trigger=EmailTrigger(
                imap4_conn_id="imap4_default",
                folder="INBOX",
                conditions=[Subject.contains("help")],
                on_match=[AddKeyword("Support")],
            ),
        )
    ],
)

buying_mails = Asset(
    name="buying_mails",
    watchers=[
        AssetWatcher(
            name="inbox",
            trigger=EmailTrigger(
                imap4_conn_id="imap4_default",
                folder="INBOX",
                conditions=[Subject.contains("offer")],
                on_match=[AddKeyword("Buying")],
            ),
        )
    ],
)


@task(max_active_tis_per_dag=4)
def work(email: dict[str, Any]) -> str:
    """Do the team's work; here it only returns the subject."""
    return email["subject"]


@dag(schedule=[support_mails], catchup=False, tags=["example", "imap4"])
def example_imap4_two_teams_support():
    work.expand(email=ReceiveEmailsOperator(task_id="emails", asset=support_mails).output)


@dag(schedule=[buying_mails], catchup=False, tags=["example", "imap4"])
def example_imap4_two_teams_buying():
    work.expand(email=ReceiveEmailsOperator(task_id="emails", asset=buying_mails).output)


example_imap4_two_teams_support()
example_imap4_two_teams_buying()
