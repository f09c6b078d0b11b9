"""One Airflow for all end-to-end tests: starting it costs about 13 seconds, so that is paid once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.local_airflow import processes_of_home
from tests.airflow.processes import AirflowUnderTest

# Seconds for one test. Real processes on a busy machine are slow now and then; each wait has its own, shorter limit.
TIMEOUT = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and give it time."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.airflow)
            item.add_marker(pytest.mark.timeout(TIMEOUT))


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
