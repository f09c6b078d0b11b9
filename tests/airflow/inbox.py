"""DAGs on a mailbox for the end-to-end tests: one connection, one watched asset, one DAG, all of the test's name."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from tests.airflow.processes import AirflowUnderTest
from tests.servers.dovecot import Dovecot, User

MODULE = """
from airflow.sdk import Asset, AssetWatcher
from airflow_imap_provider.mail.conditions import *
from airflow_imap_provider.mailbox.actions import *
from airflow_imap_provider.triggers.email import EmailTrigger

inbox = Asset(
    "{name}",
    uri="imap://mail.example.com/{name}",
    watchers=[AssetWatcher(name="inbox", trigger=EmailTrigger(imap4_conn_id="{name}", start="{start}", {trigger}))],
)
"""

DAG = """
import time

from airflow.sdk import dag, task
from airflow_imap_provider.operators.email import ReceiveEmailsOperator
from {module} import inbox

@dag(dag_id="{dag_id}", schedule=[inbox], catchup=False, default_args={{"retries": 0}})
def take():
    @task
    def note(emails):
        return {{"at": time.time(), "subjects": [email["subject"] for email in emails]}}

    note(ReceiveEmailsOperator(task_id="emails", asset=inbox, {operator}).output)

take()
"""


def message(subject: str, sender: str = "billing@example.com", body: str = "Hello.") -> bytes:
    lines = [f"From: {sender}", "To: me@example.com", f"Subject: {subject}", f"Message-ID: <{subject}@example.com>"]
    return "\r\n".join([*lines, "", body, ""]).encode()


class Inbox:
    """A mailbox on Dovecot, the connection that leads to it, and the DAGs that wait for its mail."""

    def __init__(self, airflow: AirflowUnderTest, dovecot: Dovecot, user: User, name: str) -> None:
        self.airflow, self.dovecot, self.user, self.name = airflow, dovecot, user, name
        self.connect()

    def connect(self, **changes: Any) -> None:
        """Store the connection, anew with changes."""
        extra = {"encryption": "ssl", "ca_bundle": self.dovecot.authority.pem, "timeout": 10}
        fields: dict[str, Any] = {
            "host": self.dovecot.host,
            "port": self.dovecot.tls_port,
            "login": self.user.login,
            "password": self.user.password,
            "extra": json.dumps(extra),
        }
        self.airflow.api.set_connection(self.name, "imap4", **{**fields, **changes})

    def declare(self, trigger: str = "", *, start: str = "all") -> None:
        """Write the module with the asset, once for a test; an edited trigger needs a new module."""
        self.airflow.write_module(f"{self.name}_asset", MODULE.format(name=self.name, trigger=trigger, start=start))

    def add_dag(self, dag_id: str = "", operator: str = "") -> str:
        """Write a DAG that takes the mails, and wait until Airflow has it."""
        dag_id = dag_id or self.name
        self.airflow.write_dags(dag_id, DAG.format(dag_id=dag_id, module=f"{self.name}_asset", operator=operator))
        self.airflow.wait_dag(dag_id)
        return dag_id

    def add_task(self, dag_id: str, source: str) -> None:
        """Write a DAG that is started by hand, with one task of this source."""
        head = "from airflow.sdk import dag, task\n\n@dag(schedule=None, catchup=False)\ndef {0}():\n{1}\n\n{0}()\n"
        self.airflow.write_dags(dag_id, head.format(dag_id, textwrap.indent(textwrap.dedent(source), "    ")))
        self.airflow.wait_dag(dag_id)

    def open(self, trigger: str = "", operator: str = "") -> None:
        """Asset, DAG, and a trigger that is connected."""
        self.declare(trigger)
        self.add_dag(operator=operator)
        self.await_connected()

    def await_connected(self) -> None:
        """Wait until the trigger has opened the folder at least once."""
        self.airflow.wait(lambda: self.place().get("uidvalidity"), "the trigger to open the folder", seconds=90)

    def place(self) -> dict[str, Any]:
        """The stored place of the trigger."""
        found: dict[str, Any] = self.state("place")
        return found

    def state(self, what: str) -> Any:
        """An entry of the trigger in the asset's state store."""
        for key, value in self.airflow.api.asset_state(self.name).items():
            if key.startswith(f"imap4:{what}:{self.name}/"):
                return json.loads(value) if isinstance(value, str) else value
        return {}

    def told(self) -> int:
        """How many events the trigger has told so far."""
        return sum(key.startswith("imap4:journal:") for key in self.airflow.api.asset_state(self.name))

    def deliver(self, *subjects: str, sender: str = "billing@example.com") -> None:
        self.dovecot.deliver_all(self.user, [message(subject, sender) for subject in subjects])

    def taken(self, dag_id: str = "") -> list[str]:
        """The subjects that the DAG's first task has returned, over all runs."""
        results = self.airflow.results(dag_id or self.name, "emails")
        return [email["subject"] for emails in results if emails for email in emails]

    def await_taken(self, subjects: list[str], dag_id: str = "", seconds: float = 120) -> None:
        """Wait until the DAG has taken these mails, each once, and no others."""
        wanted = sorted(subjects)
        self.airflow.wait(
            lambda: set(wanted) <= set(self.taken(dag_id)), f"{len(wanted)} mails to be taken", seconds=seconds
        )
        self.airflow.wait_runs(dag_id or self.name)
        assert sorted(self.taken(dag_id)) == wanted
