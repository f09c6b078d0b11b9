"""A short part of the fault suite with a fixed seed; ``make chaos`` plays all of it (``docs/reliability.md``)."""

from __future__ import annotations

from pathlib import Path

from tests.airflow.processes import AirflowUnderTest
from tests.chaos.house import House
from tests.chaos.registry import SCENARIOS
from tests.chaos.rounds import play
from tests.servers.dovecot import Dovecot

SEED = 4
PART = ("triggerer_killed_in_a_burst", "rough_line", "mail_at_every_moment_of_idle")


def test_nothing_is_lost_and_nothing_taken_twice_in_a_short_storm(
    airflow: AirflowUnderTest, dovecot: Dovecot, tmp_path: Path
) -> None:
    house = House(airflow, dovecot, tmp_path)
    try:
        played = play(house, [SCENARIOS[name] for name in PART], SEED)
    finally:
        house.leave()
    for room, verdict in played:
        again = room.verdict()
        assert verdict.good, verdict
        assert not again.twice, again
    assert sum(verdict.sent for _, verdict in played) > 60
    assert house.revived == [], "no fault of this part ends a process that the suite does not start again itself"
