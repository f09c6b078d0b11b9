"""ReceiveEmailsOperator in real runs: pages, retries, cleared runs, new, renamed and deleted consumers."""

from __future__ import annotations

from typing import Any

from airflow import __version__ as airflow_version
from packaging.version import Version

from tests.airflow.conftest import NewInbox
from tests.airflow.processes import AirflowUnderTest

FLAKY = """
from airflow.sdk import dag
from airflow.sdk import get_current_context
from airflow_imap_provider.operators.email import ReceiveEmailsOperator
from {name}_asset import inbox

class DiesAfterTheClaim(ReceiveEmailsOperator):
    def execute(self, context):
        emails = super().execute(context)
        if context["ti"].try_number == 1:
            raise RuntimeError("died between claim and return")
        return emails

@dag(dag_id="{name}", schedule=[inbox], catchup=False, default_args={{"retries": 0}})
def take():
    DiesAfterTheClaim(task_id="emails", asset=inbox)

take()
"""


def clear(airflow: AirflowUnderTest, dag_id: str, run_id: str) -> None:
    body: dict[str, Any] = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True}
    if Version(airflow_version) >= Version("3.4.0b1"):
        # Airflow 3.4 throws a cleared task's state away unless it is told to keep it.
        body["keep_task_state"] = True
    airflow.api.request("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)


def subjects(emails: list[dict[str, Any]]) -> list[str]:
    return [email["subject"] for email in emails]


def test_what_is_too_much_for_one_run_wakes_the_dag_again_at_once(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    inbox.open(operator="max_mails=3")
    mails = [f"page {number}" for number in range(8)]
    inbox.deliver(*mails)
    inbox.await_taken(mails)
    assert max(len(emails) for emails in inbox.airflow.results(inbox.name, "emails") if emails) == 3


def test_a_cleared_run_gets_the_same_mails_and_a_run_without_news_is_skipped(
    airflow: AirflowUnderTest, new_inbox: NewInbox
) -> None:
    inbox = new_inbox()
    inbox.open()
    inbox.deliver("first", "second")
    inbox.await_taken(["first", "second"])
    before = airflow.results(inbox.name, "emails")
    for run in airflow.api.runs(inbox.name):
        clear(airflow, inbox.name, run["dag_run_id"])
    airflow.wait_runs(inbox.name)
    assert airflow.results(inbox.name, "emails") == before
    started = airflow.api.run(inbox.name)["dag_run_id"]
    airflow.wait_runs(inbox.name)
    states = {task["task_id"]: task["state"] for task in airflow.api.task_instances(inbox.name, started)}
    assert states == {"emails": "skipped", "note": "skipped"}


def test_an_intake_that_dies_after_its_claim_takes_the_same_mails_at_its_retry(
    airflow: AirflowUnderTest, new_inbox: NewInbox
) -> None:
    inbox = new_inbox()
    inbox.declare()
    airflow.write_dags(inbox.name, FLAKY.format(name=inbox.name))
    airflow.wait_dag(inbox.name)
    inbox.await_connected()
    inbox.deliver("one", "two")
    inbox.await_taken(["one", "two"])
    tries = [task["try_number"] for task in airflow.api.task_instances(inbox.name)]
    assert max(tries) == 2, "default_args with retries=0 do not take the retry away"


def test_a_second_consumer_starts_with_its_first_event_or_with_all_that_was_told(
    airflow: AirflowUnderTest, new_inbox: NewInbox
) -> None:
    inbox = new_inbox()
    inbox.open()
    inbox.deliver("before")
    inbox.await_taken(["before"])
    late = inbox.add_dag(f"{inbox.name}_late")
    everything = inbox.add_dag(f"{inbox.name}_all", operator="history=True")
    inbox.deliver("after")
    inbox.await_taken(["before", "after"])
    inbox.await_taken(["after"], late)
    inbox.await_taken(["before", "after"], everything)
    for dag_id in (late, everything):
        airflow.api.set_paused(dag_id, True)


def test_a_renamed_dag_is_a_new_consumer_and_repeats_nothing_old(
    airflow: AirflowUnderTest, new_inbox: NewInbox
) -> None:
    inbox = new_inbox()
    inbox.open()
    inbox.deliver("for the old name")
    inbox.await_taken(["for the old name"])
    renamed = inbox.add_dag(f"{inbox.name}_renamed")
    airflow.remove_dags(inbox.name)
    airflow.wait(lambda: airflow.api.dag(inbox.name)["is_stale"], "the old name to go", seconds=120)  # type: ignore[index]
    inbox.deliver("for the new name")
    inbox.await_taken(["for the new name"], renamed)
    airflow.api.set_paused(renamed, True)


def test_a_deleted_dag_that_comes_back_starts_over_with_its_start_policy(
    airflow: AirflowUnderTest, new_inbox: NewInbox
) -> None:
    inbox = new_inbox()
    inbox.declare(start="new")
    inbox.add_dag()
    inbox.await_connected()
    inbox.deliver("before the deletion")
    inbox.await_taken(["before the deletion"])
    activated = inbox.place()["activated"]
    airflow.api.set_paused(inbox.name, True)
    airflow.remove_dags(inbox.name)
    airflow.api.delete_dag(inbox.name)
    airflow.wait(lambda: airflow.api.asset(inbox.name) is None, "the asset to go", seconds=120)
    inbox.add_dag()
    airflow.wait(lambda: inbox.place().get("activated", activated) != activated, "a new place", seconds=90)
    inbox.await_connected()
    inbox.deliver("after the deletion")
    inbox.await_taken(["after the deletion"])
