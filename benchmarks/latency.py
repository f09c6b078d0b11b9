"""How long from a mail's delivery to the task that has it, beside the same way with the most trivial event trigger.

Run it with ``python -m benchmarks.latency`` (``--rounds N``). It starts a real Airflow (SQLite, LocalExecutor) and a
real Dovecot on this machine, takes both ways in turn, and prints medians and their difference: what this package adds
to what Airflow needs by itself. Dovecot holds a notification back for 0 to 0.5 s; that is part of the figure.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.airflow.floor import ring
from tests.airflow.inbox import Inbox
from tests.airflow.processes import AirflowUnderTest
from tests.servers.dovecot import Dovecot

FLOOR = """
import time
from airflow.sdk import Asset, AssetWatcher, dag, task
from tests.airflow.floor import FloorTrigger

bell = Asset("floor", uri="floor://floor", watchers=[AssetWatcher(name="bell", trigger=FloorTrigger(bell={bell!r}))])

@dag(dag_id="floor", schedule=[bell], catchup=False)
def take():
    @task
    def emails():
        return [{{"subject": "floor"}}]

    @task
    def note(emails):
        return {{"at": time.time()}}

    note(emails())

take()
"""


def arrival(airflow: AirflowUnderTest, dag_id: str, runs: int) -> float:
    """Wait for the next run and return when its second task had the mail."""
    airflow.wait(lambda: len(airflow.api.runs(dag_id)) > runs, f"a run of {dag_id}")
    airflow.wait_runs(dag_id, runs + 1)
    noted: list[dict[str, Any]] = airflow.results(dag_id, "note")
    return float(noted[-1]["at"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="mails, and events of the trivial trigger")
    rounds = parser.parse_args().rounds
    floor, mail = [], []
    with tempfile.TemporaryDirectory() as folder:
        bell = Path(folder) / "bell"
        bell.touch()
        airflow, dovecot = AirflowUnderTest(Path(folder) / "airflow"), Dovecot()
        try:
            dovecot.start()
            airflow.prepare()
            airflow.start()
            airflow.write_dags("floor", FLOOR.format(bell=str(bell)))
            airflow.wait_dag("floor")
            airflow.wait(Path(f"{bell}.listening").exists, "the trivial trigger to listen")
            inbox = Inbox(airflow, dovecot, dovecot.new_user(), "mail")
            inbox.open()
            for number in range(rounds):
                began = time.time()
                ring(bell, str(number))
                floor.append(arrival(airflow, "floor", number) - began)
                began = time.time()
                inbox.deliver(f"mail {number}")
                mail.append(arrival(airflow, "mail", number) - began)
        finally:
            airflow.shut_down()
            dovecot.remove()
    print(f"{rounds} rounds, seconds from the event to the code of the second task:")
    for name, figures in (("trivial event trigger", floor), ("mail on Dovecot", mail)):
        print(f"  {name:22} min {min(figures):5.2f}  median {statistics.median(figures):5.2f}  max {max(figures):5.2f}")
    print(f"  difference of medians  {statistics.median(mail) - statistics.median(floor):+.2f}")


if __name__ == "__main__":
    main()
