"""Runs a real Airflow on this machine: its four processes, with a home, a database and ports of their own.

The demo shows it to people and the end-to-end tests break it on purpose; both want quick reactions rather than
Airflow's production defaults. It is no part of the package.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import psutil  # type: ignore[import-untyped,unused-ignore]

from scripts.airflow_api import AirflowApi

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent

# Seconds. A cold start of all four processes takes 10 to 25 on two cores; a machine that is busy may need much more.
START_DEADLINE = 180.0
# Seconds for a process to end by itself after SIGTERM, before it is killed. Airflow's take 0.2 to 2.5, but for the
# triggerer: it waits 10 s for its runner. Nothing is lost by killing that, as the tests show.
STOP_DEADLINE = 4.0
# Seconds for the kernel to take a killed process away.
KILL_DEADLINE = 15.0
# Seconds between looks at something that is waited for.
GLANCE = 0.1
# Lines of each log that are worth showing when something failed.
TAIL_LINES = 40
# Characters of such a line; Airflow puts a whole traceback into one.
TAIL_WIDTH = 600

API_SERVER = "api-server"
SCHEDULER = "scheduler"
DAG_PROCESSOR = "dag-processor"
TRIGGERER = "triggerer"
# Not started with the others: a second one is for fail-over.
SECOND_TRIGGERER = "second-triggerer"

# Which job a component reports its heartbeats under; the API server has none and is asked directly.
JOB_TYPES = {
    SCHEDULER: "SchedulerJob",
    DAG_PROCESSOR: "DagProcessorJob",
    TRIGGERER: "TriggererJob",
    SECOND_TRIGGERER: "TriggererJob",
}
COMMANDS = {
    API_SERVER: ["api-server"],
    # The servers for logs of other machines are not needed: all logs lie in one folder.
    SCHEDULER: ["scheduler", "--skip-serve-logs"],
    DAG_PROCESSOR: ["dag-processor"],
    TRIGGERER: ["triggerer", "--skip-serve-logs"],
}
MORE_COMMANDS = {SECOND_TRIGGERER: COMMANDS[TRIGGERER]}

# (section, option): value, and why it is not Airflow's default.
SETTINGS: dict[tuple[str, str], str] = {
    ("core", "load_examples"): "False",  # hundreds of DAGs that nobody asked for
    ("core", "simple_auth_manager_all_admins"): "True",  # it listens on loopback only
    ("core", "dags_are_paused_at_creation"): "False",  # a DAG that is there is meant to run
    ("core", "test_connection"): "Enabled",  # the Test button of the connection form
    ("core", "executor"): "LocalExecutor",
    ("core", "parallelism"): "8",  # each worker is a process of about 100 MiB; 32 would be too many for a laptop
    ("core", "hostname_callable"): "socket.gethostname",  # the default asks DNS, which may be slow or absent
    ("core", "min_serialized_dag_update_interval"): "0",  # an edited DAG counts at once, not after 30 s
    ("api", "host"): "127.0.0.1",
    ("api", "expose_config"): "True",  # a demo may show what it is made of
    ("dag_processor", "refresh_interval"): "1",  # a new or changed file is seen after 1 s, not after 300
    ("dag_processor", "bundle_refresh_check_interval"): "1",
    ("dag_processor", "print_stats_interval"): "0",  # tables in the log that hide what matters
    ("logging", "namespace_levels"): "http.access=WARNING",  # a line for each request of ours hides what matters
    ("scheduler", "scheduler_idle_sleep_time"): "0.5",  # less delay between event and run, at little cost
    ("triggerer", "job_heartbeat_sec"): "1",
    # After a kill -9 another triggerer takes over when this is up. Not less: a busy triggerer would count as dead.
    ("triggerer", "triggerer_health_check_threshold"): "10",
}


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(
    look: Callable[[], T | None], what: str, *, seconds: float, every: float = GLANCE, details: Callable[[], str] = str
) -> T:
    """Look again and again until there is something, and return it.

    :param look: returns a true value once what is waited for is there.
    :param what: completes the sentence "waited N s in vain for …".
    :param seconds: the longest time to wait.
    :param details: called for more to say when the time is over.
    :raises TimeoutError: when the time is over; says what the last look returned.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}; last seen: {seen!r}\n{details()}")
        time.sleep(every)


def process_tree(process: psutil.Process) -> list[psutil.Process]:
    """Return the process and all its descendants, itself first; nothing if it has gone."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def send(process: psutil.Process, sent: signal.Signals) -> None:
    """Send a signal to a process, which may have gone already."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(sent)


def kill_processes(processes: Iterable[psutil.Process]) -> None:
    """Kill these processes, each by its id, and wait until they have gone."""
    processes = list(processes)
    for process in processes:
        send(process, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=KILL_DEADLINE)


def processes_of_home(home: Path) -> list[psutil.Process]:
    """Return the running processes of the Airflow with this home, found by their environment.

    This finds what a killed demo or test run left behind. Two runs never share a home, so nobody else's is found.
    """
    roots = [process for process in psutil.process_iter() if _home_of(process) == str(home)]
    return list(dict.fromkeys(member for root in roots for member in process_tree(root)))


def _home_of(process: psutil.Process) -> str | None:
    try:
        home: str | None = process.environ().get("AIRFLOW_HOME")
    except psutil.Error:  # it has gone, or is somebody else's
        return None
    return home


class LocalAirflow:
    """One Airflow: database, API server, scheduler, DAG processor and triggerer.

    :param home: folder for everything that Airflow writes; made if it is not there.
    :param dags_folder: where the DAG files are; by default ``dags`` in the home.
    :param settings: by (section, option), over :data:`SETTINGS`.
    :param database: SQLAlchemy URL; by default SQLite in the home (Airflow itself switches it to WAL).
    :param python_path: more folders from which DAG files and triggers can import.
    """

    def __init__(
        self,
        home: Path,
        *,
        dags_folder: Path | None = None,
        settings: Mapping[tuple[str, str], str] | None = None,
        database: str | None = None,
        python_path: Iterable[Path] = (),
    ) -> None:
        self.home = home.resolve()
        self.dags_folder = (dags_folder or self.home / "dags").resolve()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = AirflowApi(self.url)
        self._processes: dict[str, psutil.Popen] = {}
        self._output = self.home / "output"
        configured = {
            **SETTINGS,
            ("core", "dags_folder"): str(self.dags_folder),
            # All processes must agree on these, and there is no airflow.cfg yet when they start.
            ("core", "fernet_key"): urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            ("core", "execution_api_server_url"): f"{self.url}/execution/",
            ("api", "port"): str(self.port),
            ("api", "base_url"): self.url,
            ("api", "secret_key"): secrets.token_hex(16),
            ("api_auth", "jwt_secret"): secrets.token_hex(32),
            ("database", "sql_alchemy_conn"): database or f"sqlite:///{self.home / 'airflow.db'}",
            **(settings or {}),
        }
        # Airflow settings of the user's own shell would make this another Airflow than the one described here.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self.environment |= {
            "AIRFLOW_HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join(str(path) for path in python_path),
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            # Some of them write a title over their command line, which would take the environment with it: see
            # processes_of_home.
            "SPT_NOENV": "1",
            **{f"AIRFLOW__{section}__{option}".upper(): value for (section, option), value in configured.items()},
        }

    def write_command(self, file: Path) -> None:
        """Write a script that runs ``airflow`` with this one's settings, from any terminal."""
        mine = {name: self.environment[name] for name in self.environment if name.startswith("AIRFLOW")}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(mine.items())]
        file.touch(mode=0o700)  # the keys of its database are in it
        file.write_text("\n".join(["#!/bin/sh", *lines, f'exec {shlex.quote(sys.executable)} -m airflow "$@"', ""]))

    # Starting

    def prepare(self) -> None:
        """Make the home with an empty database."""
        self._output.mkdir(parents=True, exist_ok=True)
        self.dags_folder.mkdir(parents=True, exist_ok=True)
        finished = subprocess.run(  # noqa: PLW1510 (its output is shown below, which check=True would hide)
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_DEADLINE,
        )
        if finished.returncode:
            raise RuntimeError(f"airflow db migrate failed:\n{finished.stdout}")

    def start(self, *names: str) -> None:
        """Start these components, or all, and wait until each is at work."""
        names = names or tuple(COMMANDS)
        for name in names:
            self.launch(name)
        for name in names:
            self.wait_ready(name)

    def launch(self, name: str) -> None:
        """Start one component without waiting for it."""
        if name in self._processes and self._processes[name].is_running():
            raise RuntimeError(f"{name} is running already")
        with self.log_file(name).open("ab") as output:
            self._processes[name] = psutil.Popen(
                [sys.executable, "-m", "airflow", *{**COMMANDS, **MORE_COMMANDS}[name]],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C on the terminal is for the one who started this, who then stops the processes in order.
                start_new_session=True,
            )

    def wait_ready(self, name: str, seconds: float = START_DEADLINE) -> None:
        """Wait until the component that was launched last under this name is at work.

        :raises RuntimeError: if it ended instead.
        """

        def ready() -> bool:
            if (code := self._processes[name].poll()) is not None:
                raise RuntimeError(f"{name} ended with status {code}\n{self.tail(name)}")
            if name == API_SERVER:
                return self.api.answers()
            started = self._processes[name].create_time()
            # A predecessor that was killed counts as alive for a while: only a job begun since then is this one.
            return any(_seconds(job["start_date"]) >= started for job in self.api.living_jobs(JOB_TYPES[name]))

        wait_until(ready, f"{name} to be ready", seconds=seconds, details=lambda: self.tail(name))

    # Looking

    def log_file(self, name: str) -> Path:
        """Return the file that the component's output goes to."""
        return self._output / f"{name}.log"

    def tail(self, *names: str, lines: int = TAIL_LINES) -> str:
        """Return the last lines that these components, or all, have written."""
        parts = []
        for name in names or COMMANDS:
            file = self.log_file(name)
            text = file.read_text(errors="replace") if file.exists() else ""
            parts.append(f"--- {name} ({file})\n" + "\n".join(line[:TAIL_WIDTH] for line in text.splitlines()[-lines:]))
        return "\n".join(parts)

    def pid(self, name: str) -> int:
        """Return the id of the component's main process."""
        pid: int = self._processes[name].pid
        return pid

    def tree(self, name: str) -> list[psutil.Process]:
        """Return the component's main process and its descendants."""
        return process_tree(self._processes[name])

    def running(self, name: str) -> bool:
        """Return whether the component's process runs."""
        return name in self._processes and self._processes[name].poll() is None

    # Ending

    def kill(self, name: str, sent: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the component's main process and all its descendants, and wait until they have gone.

        :raises TimeoutError: if one of them still runs after :data:`KILL_DEADLINE`.
        """
        tree = process_tree(self._processes.pop(name))
        for member in tree:
            send(member, sent)
        _, left = psutil.wait_procs(tree, timeout=KILL_DEADLINE)
        if left:
            kill_processes(left)
            raise TimeoutError(f"{name} did not end on {sent.name}: {left}")

    def stop(self, *names: str) -> None:
        """End these components, politely where possible."""
        stopping = [self._processes.pop(name) for name in names]
        trees = [member for process in stopping for member in process_tree(process)]
        for process in stopping:
            if process.poll() is None:
                process.terminate()
        if API_SERVER in names:
            self.api.disconnect()
        _, left = psutil.wait_procs(trees, timeout=STOP_DEADLINE)
        kill_processes(left)

    def shut_down(self) -> None:
        """End everything, and leave no process behind."""
        # Running tasks report to the API server, so it goes last.
        self.stop(*(name for name in self._processes if name != API_SERVER))
        self.stop(*self._processes)
        self.api.disconnect()
        kill_processes(processes_of_home(self.home))

    def remove(self) -> None:
        """Delete the home."""
        shutil.rmtree(self.home)


def _seconds(timestamp: str) -> float:
    # Python 3.10 does not read the Z.
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()
