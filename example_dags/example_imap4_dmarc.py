"""Only mail whose sender is proven starts the work; what pretends to be such mail is put aside, and somebody looks.

The proof is what the mailbox's own server has found out by DMARC and written into the mail, under its name. Results
under other names count for nothing, since anybody can write them. A mail either passes or it does not, also if nothing
was found out, so one of the two triggers takes every payment mail, and neither touches any other mail.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_imap_provider.mail.conditions import AllowedSenders, AuthenticationResults, Subject
from airflow_imap_provider.mailbox.actions import Flag, MarkRead, Move
from airflow_imap_provider.operators.email import ReceiveEmailsOperator
from airflow_imap_provider.triggers.email import EmailTrigger

# The name with which the header Authentication-Results of your own server begins.
SERVER = "mx.example.com"

# DMARC proves that the mail comes from the domain in From. Whether that domain may order payments is another question.
proven = AuthenticationResults(SERVER).dmarc.passes() & AllowedSenders(["@example.com"])

payments = Asset(
    name="payments",
    watchers=[
        AssetWatcher(
            name="payments",
            trigger=EmailTrigger(
                imap4_conn_id="imap4_default",
                folder="INBOX",
                conditions=[Subject.starts_with("payment"), proven],
                on_match=[MarkRead()],
            ),
        )
    ],
)

doubtful_payments = Asset(
    name="doubtful_payments",
    watchers=[
        AssetWatcher(
            name="doubtful_payments",
            trigger=EmailTrigger(
                imap4_conn_id="imap4_default",
                folder="INBOX",
                conditions=[Subject.starts_with("payment"), ~proven],
                on_match=[Flag(), Move("Quarantine", create=True)],
            ),
        )
    ],
)


@dag(schedule=[payments], catchup=False, tags=["example", "imap4"])
def example_imap4_dmarc():
    emails = ReceiveEmailsOperator(task_id="emails", asset=payments)

    @task(max_active_tis_per_dag=4)
    def pay(email: dict[str, Any]) -> str:
        """Pay; here it only returns the subject."""
        return email["subject"]

    pay.expand(email=emails.output)


@dag(schedule=[doubtful_payments], catchup=False, tags=["example", "imap4"])
def example_imap4_dmarc_doubtful():
    emails = ReceiveEmailsOperator(task_id="emails", asset=doubtful_payments)

    @task
    def warn(mails: list[dict[str, Any]]) -> list[str]:
        """Tell somebody; here it returns what there is to tell."""
        return [f"{mail['subject']}: {mail['trust'].get('authentication', {}).get(SERVER, {})}" for mail in mails]

    warn(emails.output)


example_imap4_dmarc()
example_imap4_dmarc_doubtful()
