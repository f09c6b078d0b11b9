"""Fixtures that several rooms share: the real servers, and a mailbox of its own for each test."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.daemon import Daemon
from tests.servers.dovecot import Dovecot, MissingServerError, User
from tests.servers.proxies import Proxies

# Whoever imports Airflow makes its home: not in the user's, please. None of the imports above does.
os.environ["AIRFLOW_HOME"] = str(Path(__file__).resolve().parent.parent / ".cache" / "airflow")

# A shell makes what it starts in the background deaf to Ctrl-C, and servers would be left behind.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of the machine, and what else runs on it, than of the code.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def not_covered(missing: MissingServerError) -> NoReturn:
    """Leave out a test whose server is not there; a failure where all servers are required."""
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(f"REQUIRE_SERVERS=1, but {missing}", pytrace=False)
    pytest.skip(f"NOT COVERED: {missing}")


@pytest.fixture(scope="session")
def proxies() -> Iterator[Callable[[str], Daemon]]:
    """Starts real proxies by their names in :class:`Proxies`, once in a test session."""
    running = Proxies()

    def start(name: str) -> Daemon:
        try:
            return running[name]
        except MissingServerError as missing:
            not_covered(missing)

    try:
        yield start
    finally:
        running.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a real server by what it asks for, so that nothing is forgotten."""
    for item in items:
        if "dovecot" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.dovecot)


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """A real Dovecot for the whole test session; without one the tests that need it are skipped, loudly."""
    try:
        server = Dovecot()
    except MissingServerError as missing:
        not_covered(missing)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def user(dovecot: Dovecot) -> User:
    """A user that no other test has, with an empty INBOX."""
    return dovecot.new_user()
