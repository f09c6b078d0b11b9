"""Where a demo keeps its files: beside a running one, in place of a killed one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from scripts.demo import folder
from scripts.demo.folder import DemoFolder


@pytest.fixture(autouse=True)
def demos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for the demos of one test."""
    place = tmp_path / "demos"
    monkeypatch.setattr(folder, "DEMOS", place)
    return place


def test_two_demos_at_a_time_have_folders_of_their_own(demos: Path) -> None:
    with DemoFolder() as first, DemoFolder() as second:
        assert (first.path, second.path) == (demos / "1", demos / "2")
        assert first.path.is_dir()
        assert second.path.is_dir()


def test_what_a_killed_demo_left_is_cleared_away(demos: Path) -> None:
    with DemoFolder():
        pass
    left_file = demos / "1" / "airflow" / "airflow.db"
    left_file.parent.mkdir()
    left_file.touch()
    environment = {**os.environ, "AIRFLOW_HOME": str(left_file.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as left_process:
        assert left_process.stdout is not None
        left_process.stdout.readline()
        with DemoFolder() as again:
            assert again.path == demos / "1"
            assert not left_file.exists()
            assert not psutil.pid_exists(left_process.pid)
