"""The world of the matrix, once for a test session."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.matrix.world import World
from tests.servers.daemon import Daemon
from tests.servers.dovecot import Dovecot


@pytest.fixture(scope="session")
def world(
    dovecot: Dovecot, proxies: Callable[[str], Daemon], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"), dovecot, proxies)
    yield made
    made.close()
