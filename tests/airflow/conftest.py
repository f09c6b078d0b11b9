"""One Airflow for all end-to-end tests: starting it costs about 13 seconds, so that is paid once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.local_airflow import COMMANDS, processes_of_home
from tests.airflow.inbox import Inbox
from tests.airflow.processes import AirflowUnderTest
from tests.servers.dovecot import Dovecot

NewInbox = Callable[[], Inbox]
_numbers = itertools.count(1)

# Seconds for one test. Real processes on a busy machine are slow now and then; each wait has its own, shorter limit.
TIMEOUT = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, give it time, and run it last: the others are quicker to tell a mistake."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.airflow)
            item.add_marker(pytest.mark.timeout(TIMEOUT))
    items.sort(key=lambda item: here in item.path.parents)


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowUnderTest]:
    """A running Airflow, shared by all tests: use DAG and asset names of your own, and restart what you kill."""
    under_test = AirflowUnderTest(tmp_path_factory.mktemp("airflow"))
    try:
        under_test.prepare()
        under_test.start()
        yield under_test
    finally:
        under_test.shut_down()
        assert processes_of_home(under_test.home) == [], "left behind"


@pytest.fixture(autouse=True)
def all_components(airflow: AirflowUnderTest) -> None:
    """Start again what a test that failed has left dead."""
    dead = [name for name in COMMANDS if not airflow.running(name)]
    if dead:
        airflow.start(*dead)


@pytest.fixture
def new_inbox(airflow: AirflowUnderTest, dovecot: Dovecot, request: pytest.FixtureRequest) -> NewInbox:
    """Make a mailbox with a connection of its own; its DAG is paused afterwards."""

    def make() -> Inbox:
        inbox = Inbox(airflow, dovecot, dovecot.new_user(), f"inbox{next(_numbers)}")
        request.addfinalizer(lambda: airflow.api.dag(inbox.name) and airflow.api.set_paused(inbox.name, True))
        return inbox

    return make
