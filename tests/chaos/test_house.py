"""The house's own parts: a database that comes back with its data, and a clock that moves."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.chaos.house import MENDED, House
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


@pytest.mark.faketime
def test_the_clock_of_a_process_moves_and_its_stopwatch_does_not() -> None:
    library = House.faketime()
    if library is None:
        not_covered(MissingServerError("faketime is not installed (Debian: apt-get install faketime)"))
    moved = {"LD_PRELOAD": str(library), "FAKETIME": "+172800", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    mended = {"PYTHONPATH": str(MENDED)}
    code = "import time; begun = time.monotonic(); time.sleep(0.1); print(time.time(), begun, time.monotonic() - begun)"
    everything = {**os.environ, **moved, **mended}
    shown = subprocess.run([sys.executable, "-c", code], env=everything, capture_output=True, check=True)
    wall, stopwatch, slept = map(float, shown.stdout.split())
    assert slept >= 0.1
    assert wall - time.time() == pytest.approx(172800, abs=60)
    assert stopwatch == pytest.approx(time.monotonic(), abs=60)
