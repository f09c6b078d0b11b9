"""The limit of open files: a warning first, then an error with a remedy, and Airflow always keeps some."""

from __future__ import annotations

import errno
import json
import logging
import subprocess
import sys

import pytest

from airflow_imap_provider.errors import ExhaustedError
from airflow_imap_provider.transport import descriptors

SCRIPT = """
import json, os, resource, socket
from airflow_imap_provider.transport import descriptors
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Deadline
from airflow_imap_provider.transport.dial import dial

resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
listener = socket.create_server(("127.0.0.1", 0), backlog=300)
sockets, told = [], []
while len(told) < 2:
    try:
        sockets.append(dial("127.0.0.1", listener.getsockname()[1], Deadline(SYSTEM_CLOCK, 10)))
    except Exception as error:
        told.append([type(error).__name__, str(error)])
        if len(told) == 1:
            highest = max(sock.fileno() for sock in sockets)
        while len(told) == 1:  # somebody else takes the reserve
            try:
                sockets.append(socket.socket())
            except OSError:
                break
print(json.dumps({"told": told, "highest": highest}))
"""


def test_the_reserve_is_left_to_airflow_and_running_out_is_an_error_and_no_crash() -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout)
    (first, reserved), (second, none_left) = seen["told"]
    assert first == second == "ExhaustedError"
    assert "of the 200 files that this process may have open are in use; the rest is left to Airflow" in reserved
    assert "this process has as many files open as it may (200)" in none_left
    assert "ulimit -n" in reserved
    assert "ulimit -n" in none_left
    assert seen["highest"] < 200 - 50


def test_a_warning_with_the_numbers_comes_once_and_again_after_it_was_better(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(descriptors, "limit", lambda: 1000)
    caplog.set_level(logging.WARNING)
    for number in (10, 700, 850, 851, 930, 100, 800):
        descriptors.admit(number)
    assert [record.args[:2] for record in caplog.records] == [(850, 1000), (800, 1000)]  # type: ignore[index]
    with pytest.raises(ExhaustedError):
        descriptors.admit(936)


def test_other_errors_are_not_taken_for_it() -> None:
    assert descriptors.exhausted(OSError(errno.ECONNREFUSED, "refused")) is None
    assert isinstance(descriptors.exhausted(OSError(errno.ENFILE, "table overflow")), ExhaustedError)
