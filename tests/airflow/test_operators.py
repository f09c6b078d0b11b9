"""The operators and the sensor's further options in real runs, on a real mailbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.conftest import NewInbox
from tests.airflow.inbox import Inbox
from tests.hooks.test_saving import mail, tree
from tests.servers.smtp import Outbox

HEAD = """
from airflow.sdk import dag, task
from airflow_imap_provider.mail.conditions import *
from airflow_imap_provider.mailbox.actions import *
from airflow_imap_provider.operators.email import *
from airflow_imap_provider.sensors.email import EmailSensor

@dag(dag_id="{dag_id}", schedule=None, catchup=False, default_args={{"retries": 0}})
def work():
{body}

work()
"""


def run(inbox: Inbox, body: str, **conf: Any) -> str:
    """Run a DAG with this body once; returns its id."""
    dag_id = f"{inbox.name}_work"
    indented = "\n".join(f"    {line}" for line in body.format(name=inbox.name, **conf).strip().splitlines())
    inbox.airflow.write_dags(dag_id, HEAD.format(dag_id=dag_id, body=indented))
    inbox.airflow.wait_dag(dag_id)
    inbox.airflow.api.run(dag_id)
    [done] = inbox.airflow.wait_runs(dag_id)
    assert done["state"] == "success", inbox.airflow.api.task_instances(dag_id)
    return dag_id


def messages(inbox: Inbox, folder: str, key: str = "ALL") -> int:
    """Count the mails in a folder; none are in one that is not there."""
    with inbox.dovecot.connection(inbox.user) as client:
        word, answer = client.select(f'"{folder}"', readonly=True)
        if word != "OK":
            assert b"doesn't exist" in (answer[0] or b"")
            return 0
        return len(client.uid("SEARCH", key)[1][0].split())


def test_mails_that_a_sensor_finds_in_several_folders_are_saved_moved_and_forwarded(
    new_inbox: NewInbox, tmp_path: Path
) -> None:
    inbox = new_inbox()
    inbox.dovecot.create_folder(inbox.user, "Second")
    inbox.dovecot.deliver(inbox.user, mail(("a.csv", b"1"), subject="invoice 1"))
    inbox.dovecot.deliver(inbox.user, mail(("b.csv", b"2"), subject="invoice 2"), "Second")
    with Outbox() as outbox:
        extra = json.dumps(json.loads(outbox.connection())["extra"])
        inbox.airflow.api.set_connection(f"{inbox.name}_smtp", "smtp", host="127.0.0.1", port=outbox.port, extra=extra)
        dag_id = run(
            inbox,
            """
found = EmailSensor(
    task_id="wait", imap4_conn_id="{name}", folder=["Second", "inbox"], min_count=2, start="{{{{ '2026' }}}}-01-01",
    conditions=[Subject.contains("{{{{ 'invoice' }}}}")], on_match=[MarkRead(), Save("{path}/{{{{ dag.dag_id }}}}")],
    deferrable=True, poke_interval=1, timeout=60,
)
processing = EmailActionOperator(
    task_id="processing", emails=found.output, actions=[Move("Processing/{{{{ dag.dag_id }}}}", create=True)]
)
saved = SaveEmailOperator(task_id="save", emails=found.output, path="{path}/again", what="both", names="*.csv")
sent = ForwardEmailOperator(
    task_id="forward", emails=processing.output, to="{{{{ 'ann' }}}}@example.com", smtp_conn_id="{name}_smtp"
)
done = EmailActionOperator(task_id="done", emails=processing.output, actions=[Flag(), Move("Done", create=True)])
processing >> saved >> sent >> done
""",
            path=tmp_path,
        )
        assert sorted(message["Subject"] for message in outbox.messages) == ["Fwd: invoice 1", "Fwd: invoice 2"]
    [emails] = inbox.airflow.results(dag_id, "wait")
    assert {email["folder"] for email in emails} == {"INBOX", "Second"}
    keys = {email["key"] for email in emails}
    assert {name.split("/")[1] for name in tree(tmp_path / dag_id) | tree(tmp_path / "again")} <= {
        "a.csv",
        "b.csv",
        "message.eml",
    }
    assert len(tree(tmp_path / dag_id)) == 2
    assert len(tree(tmp_path / "again")) == 4
    [done] = inbox.airflow.results(dag_id, "done")
    assert {email["key"] for email in done} == keys, "a mail keeps its identity"
    assert {email["folder"] for email in done} == {"Done"}
    assert messages(inbox, "Done", "SEEN FLAGGED") == 2
    assert messages(inbox, f"Processing/{dag_id}") == messages(inbox, "INBOX") == messages(inbox, "Second") == 0


def test_sensors_are_mapped_over_folders_and_share_the_triggerer(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    folders = ["A", "B", "C"]
    for folder in folders:
        inbox.dovecot.create_folder(inbox.user, folder)
        inbox.dovecot.deliver(inbox.user, mail(subject=f"in {folder}"), folder)
    dag_id = run(
        inbox,
        """
EmailSensor.partial(
    task_id="wait", imap4_conn_id="{name}", start="all", deferrable=True, poke_interval=1, timeout=60
).expand(folder=["A", "B", "C"])
""",
    )
    found = [
        inbox.airflow.api.xcom(dag_id, inbox.airflow.api.runs(dag_id)[0]["dag_run_id"], "wait", map_index=index)
        for index in range(3)
    ]
    assert sorted(emails[0]["folder"] for emails in found) == folders


@pytest.mark.parametrize("missing", ["fail", "ignore"])
def test_a_mail_that_is_nowhere_any_more_fails_the_task_or_is_passed_over(new_inbox: NewInbox, missing: str) -> None:
    inbox = new_inbox()
    inbox.dovecot.deliver(inbox.user, mail(subject="gone"))
    body = """
found = EmailSensor(task_id="wait", imap4_conn_id="{name}", start="all", on_match=[Delete()], deferrable=False)
EmailActionOperator(task_id="act", emails=found.output, actions=Flag(), missing="{missing}")
"""
    if missing == "ignore":
        run(inbox, body, missing=missing)
    else:
        with pytest.raises(AssertionError, match="failed"):
            run(inbox, body, missing=missing)
