"""The harness itself: a real Airflow starts, an event becomes a run, a killed triggerer leaves nothing behind."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil  # type: ignore[import-untyped,unused-ignore]

from scripts.local_airflow import COMMANDS, TRIGGERER, process_tree, processes_of_home
from tests.airflow.floor import ring
from tests.airflow.processes import AirflowUnderTest

DAG_FILE = """
    import time

    from airflow.sdk import Asset, AssetWatcher, dag, task

    from tests.airflow.floor import FloorTrigger

    bell = Asset(
        "{name}", uri="floor://{name}", watchers=[AssetWatcher(name="bell", trigger=FloorTrigger(bell={path!r}))]
    )

    @dag(schedule=[bell], catchup=False)
    def {name}():
        @task
        def hear(triggering_asset_events=None):
            heard = time.time()
            events = [event.extra["payload"] for events in triggering_asset_events.values() for event in events]
            return [{{**event, "heard": heard}} for event in events]

        hear()

    {name}()
"""


def hang_up_a_bell(airflow: AirflowUnderTest, name: str, folder: Path) -> Path:
    """Write a DAG of that name that runs when its bell rings, and wait until its trigger listens."""
    bell = folder / "bell"
    bell.touch()
    airflow.write_dags(name, DAG_FILE.format(name=name, path=str(bell)))
    airflow.wait_dag(name)
    await_listener(airflow, bell)
    return bell


def await_listener(airflow: AirflowUnderTest, bell: Path) -> None:
    """Wait until a trigger listens that was not there at the last call."""
    listening = Path(f"{bell}.listening")
    airflow.wait(listening.exists, "the trigger to listen")
    listening.unlink()


def test_an_event_starts_a_run_whose_task_has_it(airflow: AirflowUnderTest, tmp_path: Path) -> None:
    bell = hang_up_a_bell(airflow, "floor_once", tmp_path)
    ring(bell, "one")
    [run] = airflow.wait_runs("floor_once")
    [[event]] = airflow.results("floor_once", "hear")
    assert (run["state"], event["name"]) == ("success", "one")
    assert event["heard"] - event["yielded"] < 30, "far above what Airflow needs"


def test_a_killed_triggerer_leaves_nothing_behind_and_its_successor_takes_over(
    airflow: AirflowUnderTest, tmp_path: Path
) -> None:
    bell = hang_up_a_bell(airflow, "floor_kill", tmp_path)
    tree = process_tree(psutil.Process(airflow.pid(TRIGGERER)))
    airflow.kill(TRIGGERER, signal.SIGKILL)
    assert len(tree) == 2, "the triggerer and its runner"
    assert not any(process.is_running() for process in tree)
    airflow.restart(TRIGGERER)
    await_listener(airflow, bell)
    ring(bell, "two")
    airflow.wait_runs("floor_kill")
    assert [event["name"] for [event] in airflow.results("floor_kill", "hear")] == ["two"]


def test_a_paused_dag_stops_listening_and_listens_again_when_unpaused(
    airflow: AirflowUnderTest, tmp_path: Path
) -> None:
    bell = hang_up_a_bell(airflow, "floor_pause", tmp_path)
    airflow.set_paused("floor_pause", True)
    airflow.wait(lambda: not airflow.api.asset("floor_pause")["watchers"], "the watcher to go")
    airflow.set_paused("floor_pause", False)
    await_listener(airflow, bell)
    ring(bell, "three")
    airflow.wait_runs("floor_pause")
    assert [event["name"] for [event] in airflow.results("floor_pause", "hear")] == ["three"]


def test_every_process_can_be_found_by_its_home(airflow: AirflowUnderTest) -> None:
    found = {process.pid for process in processes_of_home(airflow.home)}
    assert {airflow.pid(name) for name in COMMANDS} <= found


def test_connections_and_assets_can_be_looked_at(airflow: AirflowUnderTest) -> None:
    airflow.api.set_connection("harness", "generic", host="mail.example.com", login="ann", password="tell no one")
    airflow.api.set_connection("harness", "generic", host="imap.example.com", login="ann", password="tell no one")
    assert airflow.api.connection("harness")["host"] == "imap.example.com"
    assert airflow.api.connection("no such") is None
    assert airflow.api.asset_events("no such") == []
