"""Where a demo keeps its files: ``.demo/1`` in the checkout, or the next number if a demo runs there already.

A lock tells which folders are in use. It goes with the process that holds it, however that ends, so a folder without
one is what a killed demo left behind: its processes are ended, its files removed.
"""

from __future__ import annotations

import fcntl
import itertools
import shutil
from pathlib import Path
from types import TracebackType
from typing import TextIO

from scripts.local_airflow import ROOT, kill_processes, processes_of_home

DEMOS = ROOT / ".demo"


class DemoFolder:
    """A folder for one demo, from its beginning to its end."""

    def __init__(self) -> None:
        DEMOS.mkdir(exist_ok=True)
        for number in itertools.count(1):
            self.path = DEMOS / str(number)
            if lock := _lock(self.path):
                self._lock = lock
                break
        for abandoned in sorted(DEMOS.glob("*.lock")):
            other = abandoned.with_suffix("")
            if other != self.path and (lock := _lock(other)):
                _clear(other)
                lock.close()
        _clear(self.path)
        self.path.mkdir()

    @property
    def home(self) -> Path:
        """Airflow's home; every process of the demo has it in its environment."""
        return _home(self.path)

    def __enter__(self) -> DemoFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        kill_processes(processes_of_home(self.home))
        self._lock.close()


def _home(folder: Path) -> Path:
    return folder / "airflow"


def _lock(folder: Path) -> TextIO | None:
    """Return a held lock on this folder, or None if somebody else holds it."""
    # The file stays when the demo is over: removing it would let two processes lock two files of the same name.
    lock = Path(f"{folder}.lock").open("w")  # noqa: SIM115 - open as long as the folder is in use
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _clear(folder: Path) -> None:
    kill_processes(processes_of_home(_home(folder)))
    if folder.exists():
        shutil.rmtree(folder)
