"""One DAG run per mail, and never two: the run's id is the mail's key.

The first DAG takes the mails and triggers the second one for each of them. The key stays the same for a mail, so
whoever triggers again (a retry, a cleared run, another DAG) is answered "already exists", and the task is skipped. In
Airflow's grid of the second DAG each column is one mail, which can be looked at, repeated and marked by itself.
"""

from __future__ import annotations

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_imap_provider.mail.conditions import Subject
from airflow_imap_provider.mailbox.actions import MarkRead
from airflow_imap_provider.operators.email import ReceiveEmailsOperator
from airflow_imap_provider.triggers.email import EmailTrigger

tickets = Asset(
    name="tickets",
    uri="imap://mail.example.com/Tickets",
    watchers=[
        AssetWatcher(
            name="tickets",
            trigger=EmailTrigger(
                imap4_conn_id="imap4_default",
                folder="INBOX",
                conditions=[Subject.starts_with("ticket")],
                on_match=[MarkRead()],
            ),
        )
    ],
)


@dag(schedule=[tickets], catchup=False, tags=["example", "imap4"])
def example_imap4_run_per_mail():
    emails = ReceiveEmailsOperator(task_id="emails", asset=tickets)
    # expand, and not expand_kwargs: what that hands on, Airflow 3.3 renders as templates, and a stranger who writes
    # {{ conn.x.password }} into a subject would have the password filled in.
    TriggerDagRunOperator.partial(
        task_id="start",
        trigger_dag_id="example_imap4_run_per_mail_handle",
        trigger_run_id="{{ task.conf['key'] }}",  # conf is the mail, see below
        skip_when_already_exists=True,
        logical_date=None,  # the default is now, and of two runs with the same logical date Airflow refuses one
    ).expand(conf=emails.output)


@dag(schedule=None, catchup=False, max_active_runs=4, tags=["example", "imap4"])
def example_imap4_run_per_mail_handle():
    @task
    def handle(dag_run=None) -> str:
        """Do what the mail asks for; here it only returns the subject."""
        return dag_run.conf["subject"]

    handle()


example_imap4_run_per_mail()
example_imap4_run_per_mail_handle()
