"""The house in which the scenarios play: a real Airflow, its database, a mail server, and a clock that can be moved.

It is started once; scenarios come and go in it with a mailbox and DAGs of their own. Whatever a fault has ended is
started again, as a process manager would in production.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx

from scripts.airflow_api import AirflowApi, Row
from scripts.local_airflow import COMMANDS, SECOND_TRIGGERER, processes_of_home, wait_until
from tests.airflow.processes import AirflowUnderTest
from tests.servers.daemon import find_program
from tests.servers.dovecot import Dovecot
from tests.servers.postgresql import PostgreSql

__all__ = ["House", "PatientApi", "building", "moved_clock"]

log = logging.getLogger(__name__)
T = TypeVar("T")

GLANCE = 0.5
"""Seconds between looks: many rooms look at once, at an API server that has work to do."""
PATIENCE = 300.0
"""Seconds for anything that Airflow does by itself, on a machine that is busy and in the middle of a fault."""
RETRY = 1.0
"""Seconds between attempts at the API while the database is away."""
LONGEST_SHIFT = timedelta(days=24)
"""The certificates of the mail server are valid for 30 days."""

SETTINGS: Mapping[tuple[str, str], str] = {
    # What died or was lost is noticed within seconds instead of minutes; the same happens in production, only later.
    ("scheduler", "task_instance_heartbeat_timeout"): "40",
    ("scheduler", "task_instance_heartbeat_timeout_detection_interval"): "5",
    ("scheduler", "orphaned_tasks_check_interval"): "10",
    ("scheduler", "scheduler_health_check_threshold"): "15",
}

CLOCK = Path(__file__).parent / "clock.c"


def moved_clock(folder: Path, shift: timedelta) -> dict[str, str]:
    """Return the environment of a process whose wall clock is moved, and build what that takes.

    :param folder: where to.
    :raises MissingServerError: there is no C compiler.
    """
    compiler = find_program("cc", "gcc libc6-dev")
    library = folder / "clock.so"
    if not library.exists():
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(CLOCK)], check=True)
        folder.chmod(0o755)  # the database runs as somebody else
    return {"LD_PRELOAD": str(library), "CLOCK_SHIFT": f"{shift.total_seconds():.0f}"}


class PatientApi(AirflowApi):
    """An API client that does not mind if the API server or its database is away for a while."""

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request; errors of the server and of the line are tried again until :data:`PATIENCE` is over."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return super().request(method, path, **options)
            except httpx.HTTPStatusError as error:
                if error.response.status_code == httpx.codes.UNAUTHORIZED:
                    self._logged_in = False  # the clock was moved, and the login has expired
                elif not error.response.is_server_error:
                    raise
                failure: Exception = error
            except httpx.TransportError as error:
                failure = error
            if time.monotonic() > end:
                raise failure
            time.sleep(RETRY)


class House:
    """See the module.

    :param airflow: a running Airflow.
    :param dovecot: the mail server that most mailboxes are on.
    :param postgresql: Airflow's database, if it is one that can be restarted.

    :ivar ledger_folder: where the consumers' tasks note down what they took.
    """

    def __init__(
        self, airflow: AirflowUnderTest, dovecot: Dovecot, ledger_folder: Path, postgresql: PostgreSql | None = None
    ) -> None:
        self.airflow, self.dovecot, self.postgresql = airflow, dovecot, postgresql
        self.ledger_folder = ledger_folder
        self.api = PatientApi(airflow.url)
        self.departure = ExitStack()  # whoever opens a room leaves its key here
        self.offset = timedelta()
        # Not in Airflow's home, which only its own account can enter.
        self._tools = Path(self.departure.enter_context(tempfile.TemporaryDirectory(prefix="clock-")))
        self.revived: list[str] = []
        self._down: set[str] = set()
        self._lock = threading.RLock()

    def leave(self) -> None:
        """Close what this has opened; Airflow and the servers are those of whoever gave them."""
        self.departure.close()
        self.api.disconnect()

    # -- the clock ------------------------------------------------------------------------------------------------

    @property
    def clock_can_move(self) -> bool:
        """Whether Airflow can be restarted some days later."""
        return shutil.which("cc") is not None and self.offset < LONGEST_SHIFT

    def restart_later(self, days: float) -> None:
        """Stop all of Airflow, and start it with its database so many days later."""
        with self.held(*COMMANDS):
            self.airflow.stop(*(name for name in list(COMMANDS)[1:] if self.airflow.running(name)))
            self.airflow.stop(next(iter(COMMANDS)))
            self.offset += timedelta(days=days)
            moved = moved_clock(self._tools, self.offset)
            if self.postgresql is not None:
                # The scheduler compares dates with those of its database.
                self.postgresql.environment = moved
                self.postgresql.down()
                self.postgresql.up()
            self.airflow.environment |= moved
            self.airflow.start()

    # -- components -----------------------------------------------------------------------------------------------

    @contextmanager
    def held(self, *names: str) -> Iterator[None]:
        """Nobody starts these components meanwhile but who holds them."""
        with self._lock:
            self._down |= set(names)
        try:
            yield
        finally:
            with self._lock:
                self._down -= set(names)

    def revive(self) -> None:
        """Start what has ended and is not held down, as a process manager would."""
        with self._lock:
            dead = [name for name in COMMANDS if name not in self._down and not self.airflow.running(name)]
            for name in dead:
                log.warning("%s has ended and is started again:\n%s", name, self.airflow.tail(name, lines=5))
                self.revived.append(name)
                self.airflow.launch(name)

    def dismiss_second(self) -> None:
        """End the second triggerer, if it runs."""
        if self.airflow.running(SECOND_TRIGGERER):
            self.airflow.stop(SECOND_TRIGGERER)

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait(self, look: Callable[[], T | None], what: str, seconds: float = PATIENCE, every: float = GLANCE) -> T:
        """Wait until ``look`` returns something true, and return that."""
        return wait_until(look, what, seconds=seconds, every=every)

    def wait_dag(self, dag_id: str) -> Row:
        """Wait until the DAG has been parsed and stored."""

        def stored() -> Row | None:
            if dag := self.api.dag(dag_id):
                return dag
            errors = [error for error in self.api.import_errors() if dag_id in Path(error["filename"]).stem]
            assert not errors, errors[0]["stack_trace"]
            return None

        return self.wait(stored, f"DAG {dag_id} to be parsed")

    def reparse(self, dag_id: str) -> None:
        """Have the DAG's file parsed again and wait until that is done: then its watchers are up to date."""
        before = self.wait_dag(dag_id)["last_parsed_time"]
        self.api.reparse(dag_id)
        self.wait(lambda: self.wait_dag(dag_id)["last_parsed_time"] != before, f"DAG {dag_id} to be parsed again")

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Pause or unpause a DAG, and wait until its watchers have followed."""
        self.api.set_paused(dag_id, paused)
        self.reparse(dag_id)


@contextmanager
def building(home: Path) -> Iterator[House]:
    """Start a house with PostgreSQL; everything is ended afterwards, and ``home`` is left for whoever wants the logs.

    :raises MissingServerError: a server is not installed.
    """
    dovecot = Dovecot()
    try:
        dovecot.start()
        with PostgreSql() as postgresql:
            airflow = AirflowUnderTest(home, settings=SETTINGS, database=postgresql.url)
            try:
                airflow.prepare()
                airflow.start()
                ledgers = home / "ledgers"
                ledgers.mkdir()
                house = House(airflow, dovecot, ledgers, postgresql)
                try:
                    yield house
                finally:
                    house.leave()
            finally:
                airflow.shut_down()
                left = processes_of_home(airflow.home)
                assert not left, f"left behind: {left}"
    finally:
        dovecot.remove()
