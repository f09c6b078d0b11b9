"""ReceiveEmailsOperator as it is declared; what it does in runs is tested in ``tests/airflow``."""

from __future__ import annotations

from airflow.sdk import DAG, Asset, AssetAlias

from airflow_imap_provider.operators.email import ReceiveEmailsOperator


def aliases(*operators: ReceiveEmailsOperator) -> list[str]:
    return [outlet.name for operator in operators for outlet in operator.outlets if isinstance(outlet, AssetAlias)]


def test_no_two_consumers_of_an_asset_share_the_alias_by_which_they_wake_it() -> None:
    """Airflow fails a task whose success meets another one's that links the same alias for the first time."""
    inbox, other = Asset("inbox"), Asset("other")
    with DAG("first", schedule=[inbox]):
        here = ReceiveEmailsOperator(task_id="emails", asset=inbox)
        beside = ReceiveEmailsOperator(task_id="more", asset=inbox, outlets=[other])
    with DAG("second", schedule=[inbox]):
        there = ReceiveEmailsOperator(task_id="emails", asset=inbox)
    found = aliases(here, beside, there)
    assert len(found) == len(set(found)) == 3
    assert other in beside.outlets
    again = ReceiveEmailsOperator(task_id="emails", asset=inbox, dag=DAG("first", schedule=[inbox]))
    assert aliases(again) == aliases(here), "a worker that parses the file again means the same alias"
