"""EmailSensor in real runs: on a worker and deferred, with its actions, its time limit and its retries."""

from __future__ import annotations

import pytest

from tests.airflow.conftest import NewInbox
from tests.airflow.inbox import Inbox
from tests.airflow.processes import AirflowUnderTest
from tests.airflow.test_receive_emails import clear

SENSOR = """
from airflow.sdk import dag
from airflow_imap_provider.mail.conditions import *
from airflow_imap_provider.mailbox.actions import *
from airflow_imap_provider.sensors.email import EmailSensor

@dag(dag_id="{dag_id}", schedule=None, catchup=False)
def sensing():
    EmailSensor(task_id="wait", imap4_conn_id="{name}", poke_interval=1, {arguments})

sensing()
"""


def start(inbox: Inbox, arguments: str) -> str:
    dag_id = f"{inbox.name}_sensor"
    inbox.airflow.write_dags(dag_id, SENSOR.format(name=inbox.name, dag_id=dag_id, arguments=arguments))
    inbox.airflow.wait_dag(dag_id)
    inbox.airflow.api.run(dag_id)
    return dag_id


def state(airflow: AirflowUnderTest, dag_id: str) -> str:
    return str(next((task["state"] for task in airflow.api.task_instances(dag_id)), None))


@pytest.mark.parametrize("deferrable", [False, True], ids=["on a worker", "deferred"])
def test_the_sensor_returns_the_mails_and_acts_on_them_also_when_it_is_cleared(
    airflow: AirflowUnderTest, new_inbox: NewInbox, deferrable: bool
) -> None:
    inbox = new_inbox()
    inbox.dovecot.create_folder(inbox.user, "Done")
    inbox.deliver("an answer of before the run")
    arguments = "conditions=[Subject.contains('answer')], min_count=2, on_match=[MarkRead(), Move('Done')]"
    dag_id = start(inbox, f"{arguments}, deferrable={deferrable}, start='2026-01-01', timeout=120")
    waiting = "deferred" if deferrable else "running"
    airflow.wait(lambda: state(airflow, dag_id) == waiting, f"the task to be {waiting}")
    inbox.deliver("something else", "the second answer")
    airflow.wait_runs(dag_id)
    [emails] = airflow.results(dag_id, "wait")
    assert [email["subject"] for email in emails] == ["an answer of before the run", "the second answer"]
    with inbox.dovecot.connection(inbox.user) as client:
        assert client.select("Done", readonly=True)[1] == [b"2"]
        assert client.uid("SEARCH", "UNSEEN")[1] == [b""]
    clear(airflow, dag_id, airflow.api.runs(dag_id)[0]["dag_run_id"])
    airflow.wait_runs(dag_id)
    assert airflow.results(dag_id, "wait") == [emails]
    assert {run["state"] for run in airflow.api.runs(dag_id)} == {"success"}


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        ("deferrable=True, timeout=3, soft_fail=True", "skipped"),
        ("deferrable=False, timeout=3, soft_fail=True", "skipped"),
        ("deferrable=True, timeout=3", "failed"),
    ],
)
def test_the_time_limit_is_airflows_own(
    airflow: AirflowUnderTest, new_inbox: NewInbox, arguments: str, end: str
) -> None:
    inbox = new_inbox()
    inbox.deliver("of before the run, which does not count")
    inbox.dovecot.expunge(inbox.user, [1])
    dag_id = start(inbox, arguments)
    airflow.wait(lambda: state(airflow, dag_id) == end, f"the task to be {end}", seconds=90)
    airflow.wait_runs(dag_id)


def test_a_wrong_password_fails_a_sensor_with_a_clear_error(airflow: AirflowUnderTest, new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    inbox.connect(password="wrong-and-secret")
    dag_id = start(inbox, "deferrable=False, retries=0")
    airflow.wait(lambda: state(airflow, dag_id) == "failed", "the task to fail")
    [run] = airflow.wait_runs(dag_id)
    log = airflow.api.request("GET", f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances/wait/logs/1")
    assert "Check Username (login) and Password (password)" in str(log)
    assert "wrong-and-secret" not in str(log)
