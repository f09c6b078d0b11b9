"""A real Airflow for the end-to-end tests: the processes of ``scripts.local_airflow`` plus what only tests need.

That is: DAG files and modules written by the test, waiting for what Airflow does with them, and violence. Every wait
has a deadline and, when it is over, shows the ends of Airflow's logs.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from scripts.airflow_api import Row
from scripts.local_airflow import DAG_PROCESSOR, GLANCE, ROOT, TRIGGERER, LocalAirflow, wait_until

T = TypeVar("T")

# Seconds for a changed DAG file to be noticed (1 s) and parsed (1 to 3 s), on a machine that is busy with other tests.
PARSE_DEADLINE = 60.0
# Seconds for an event to become a finished run; 2 to 4 on an idle machine.
RUN_DEADLINE = 60.0
# Seconds for a command of Airflow's command line, whose start alone takes some five.
COMMAND_DEADLINE = 180.0

FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class AirflowUnderTest(LocalAirflow):
    """An Airflow whose DAG files come from the tests.

    :param home: an empty temporary folder.
    :param settings: by (section, option), for tests that need other ones than the shared Airflow has.
    :param database: SQLAlchemy URL, to run on something else than SQLite.
    """

    def __init__(
        self, home: Path, *, settings: Mapping[tuple[str, str], str] | None = None, database: str | None = None
    ) -> None:
        self.modules = home.resolve() / "modules"
        super().__init__(home, settings=settings, database=database, python_path=[self.modules, ROOT])

    def prepare(self) -> None:
        """Make the home with an empty database."""
        self.modules.mkdir(parents=True)
        super().prepare()

    # What the test writes

    def write_module(self, name: str, source: str) -> None:
        """Write a module that DAG files, triggers and tasks can import, such as one that holds a shared asset.

        A triggerer imports a module once: use a new name, or restart it, to have a change seen.
        """
        (self.modules / f"{name}.py").write_text(textwrap.dedent(source))

    def write_dags(self, name: str, source: str) -> Path:
        """Write a DAG file, new or changed; its DAGs are not paused unless they were."""
        file = self.dags_folder / f"{name}.py"
        # Never half a file: the DAG processor looks once a second.
        draft = file.with_suffix(".draft")
        draft.write_text(textwrap.dedent(source))
        draft.replace(file)
        return file

    def remove_dags(self, name: str) -> None:
        """Delete a DAG file."""
        (self.dags_folder / f"{name}.py").unlink()

    # What Airflow makes of it

    def wait(
        self, look: Callable[[], T | None], what: str, *, seconds: float = RUN_DEADLINE, every: float = GLANCE
    ) -> T:
        """Wait until ``look`` returns something true, and return that; on failure show the ends of the logs."""
        return wait_until(look, what, seconds=seconds, every=every, details=self.tail)

    def wait_dag(self, dag_id: str, *, seconds: float = PARSE_DEADLINE) -> Row:
        """Wait until the DAG has been parsed and stored.

        :raises AssertionError: if its file cannot be imported.
        """

        def stored() -> Row | None:
            if dag := self.api.dag(dag_id):
                return dag
            errors = [error for error in self.api.import_errors() if dag_id in Path(error["filename"]).stem]
            assert not errors, errors[0]["stack_trace"]
            return None

        return self.wait(stored, f"DAG {dag_id} to be parsed", seconds=seconds)

    def reparse(self, dag_id: str, *, seconds: float = PARSE_DEADLINE) -> None:
        """Have the DAG's file parsed again and wait until that is done: then its watchers are up to date."""
        before = self.wait_dag(dag_id)["last_parsed_time"]
        self.api.reparse(dag_id)
        self.wait(
            lambda: self.wait_dag(dag_id)["last_parsed_time"] != before,
            f"DAG {dag_id} to be parsed again",
            seconds=seconds,
        )

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Pause or unpause a DAG, and wait until its watchers have followed."""
        self.api.set_paused(dag_id, paused)
        self.reparse(dag_id)

    def wait_runs(self, dag_id: str, count: int = 1, *, seconds: float = RUN_DEADLINE) -> list[Row]:
        """Wait until the DAG has at least so many runs and all are finished; return them, oldest first."""

        def finished() -> list[Row]:
            runs = self.api.runs(dag_id)
            done = all(run["state"] in FINISHED for run in runs)
            return runs if done and len(runs) >= count else []

        return self.wait(finished, f"{count} finished runs of {dag_id}", seconds=seconds)

    def results(self, dag_id: str, task_id: str) -> list[Any]:
        """Return what this task returned, in each run so far, oldest run first; None where it returned nothing."""
        return [self.api.xcom(dag_id, run["dag_run_id"], task_id) for run in self.api.runs(dag_id)]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Airflow's command line on this Airflow, with nobody at the keyboard."""
        return subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE,
            check=False,
        )

    # Violence

    def restart(self, *names: str) -> None:
        """Start these components again, whether they were stopped, killed or still run."""
        self.stop(*(name for name in names if self.running(name)))
        self.start(*names)

    def log_of(self, names: Iterable[str] = (TRIGGERER, DAG_PROCESSOR)) -> str:
        """Return everything that these components have written so far."""
        return "\n".join(self.log_file(name).read_text(errors="replace") for name in names)
