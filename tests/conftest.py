"""Fixtures that several rooms share: the real servers, and a mailbox of its own for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.servers.dovecot import Dovecot, MissingServerError, User


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
        if os.environ.get("REQUIRE_SERVERS") == "1":
            pytest.fail(f"REQUIRE_SERVERS=1, but {missing}", pytrace=False)
        pytest.skip(f"NOT COVERED: {missing}")
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def user(dovecot: Dovecot) -> User:
    """A user that no other test has, with an empty INBOX."""
    return dovecot.new_user()
