"""The house's own parts: a database that comes back with its data, and a clock that moves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.chaos.house import moved_clock
from tests.conftest import not_covered
from tests.servers.dovecot import MissingServerError
from tests.servers.postgresql import PostgreSql


@pytest.mark.postgresql
def test_a_database_that_was_restarted_or_has_crashed_has_its_data() -> None:
    try:
        database = PostgreSql()
    except MissingServerError as missing:
        not_covered(missing)
    with database:
        database.execute("CREATE TABLE kept (number integer)")
        for number, crash in enumerate((False, True)):
            database.execute(f"INSERT INTO kept VALUES ({number})")
            database.down(crash=crash)
            assert not database.answers()
            database.up()
        assert database.execute("SELECT number FROM kept ORDER BY number") == [(0,), (1,)]
    assert not database.folder.exists()


@pytest.mark.cc
def test_the_clock_of_a_process_moves_and_its_stopwatch_does_not(tmp_path: Path) -> None:
    try:
        moved = moved_clock(tmp_path, timedelta(days=2))
    except MissingServerError as missing:
        not_covered(missing)
    code = "import time, datetime; print(time.time(), datetime.datetime.now().timestamp(), time.monotonic())"
    shown = subprocess.run([sys.executable, "-c", code], env={**os.environ, **moved}, capture_output=True, check=True)
    wall, date, stopwatch = map(float, shown.stdout.split())
    assert wall - time.time() == pytest.approx(172800, abs=60)
    assert date == pytest.approx(wall, abs=60)
    assert stopwatch == pytest.approx(time.monotonic(), abs=60)
