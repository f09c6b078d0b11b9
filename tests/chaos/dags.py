"""What the scenarios' assets and DAGs look like as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Dag", "module"]

MODULE = """
from airflow.sdk import Asset, AssetWatcher
from airflow_imap_provider.mail.conditions import *
from airflow_imap_provider.mailbox.actions import *
from airflow_imap_provider.triggers.email import EmailTrigger
"""

ASSET = """
{name} = Asset("{name}", watchers=[
{watchers}
])
"""

WATCHER = '    AssetWatcher(name="watcher{number}", trigger=EmailTrigger(imap4_conn_id="{conn_id}", {arguments})),'

DAG = """
import json
import os
import signal
import time
from pathlib import Path

from airflow.sdk import dag, task
from airflow_imap_provider.operators.email import ReceiveEmailsOperator
from {module} import {asset} as inbox


class Intake(ReceiveEmailsOperator):
    def execute(self, context):
        emails = super().execute(context)
        {after_the_claim}
        return emails


@dag(
    dag_id="{dag_id}",
    schedule=[inbox],
    catchup=False,
    max_active_runs={active},
    default_args={{"retries": {retries}, "retry_delay": 2}},
)
def take():
    @task
    def note(emails, run_id=None):
        {before_the_note}
        found = [[email["subject"], email["message_id"]] for email in emails]
        line = {{"dag_id": "{dag_id}", "run_id": run_id, "mails": found, "at": time.monotonic()}}
        with open({ledger!r}, "a") as ledger:
            ledger.write(json.dumps(line) + "\\n")

    note(Intake(task_id="emails", asset=inbox, {operator}).output)


take()
"""


@dataclass
class Dag:
    """How a consumer is written.

    :param before_the_note: a statement of the noting task, before it notes.
    :param after_the_claim: a statement of the intake, after it has claimed.
    """

    asset: str
    operator: str = ""
    active: int = 16
    retries: int = 5
    before_the_note: str = "pass"
    after_the_claim: str = "pass"

    def source(self, dag_id: str, module: str, ledger: Path) -> str:
        """Return the DAG's file.

        :param module: where the asset is declared.
        :param ledger: the file in which it notes down what it takes.
        """
        return DAG.format(module=module, dag_id=dag_id, ledger=str(ledger), **asdict(self))


def module(conn_id: str, assets: Mapping[str, Sequence[str]]) -> str:
    """Return a module that declares assets.

    :param assets: by the asset's name, the arguments of its triggers.
    """
    text = MODULE
    for name, triggers in assets.items():
        lines = [
            WATCHER.format(number=number, conn_id=conn_id, arguments=arguments)
            for number, arguments in enumerate(triggers)
        ]
        text += ASSET.format(name=name, watchers="\n".join(lines))
    return text
