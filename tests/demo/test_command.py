"""The command that a demo prints for a second terminal."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from scripts.local_airflow import LocalAirflow


def test_the_command_runs_airflow_with_the_demos_own_settings(tmp_path: Path) -> None:
    airflow = LocalAirflow(tmp_path / "it's a home")
    command = tmp_path / "airflow"
    airflow.write_command(command)
    airflow.write_command(command)  # as the next demo in this folder does
    assert stat.S_IMODE(command.stat().st_mode) == 0o700, "the key of its database is in it"
    for section, option in (("database", "sql_alchemy_conn"), ("core", "fernet_key")):
        told = subprocess.run(
            [command, "config", "get-value", section, option],
            env={name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        assert told.splitlines()[-1] == airflow.environment[f"AIRFLOW__{section}__{option}".upper()]
