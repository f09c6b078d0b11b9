"""Airflow's API is away: ten thousand streams do not say so ten thousand times."""

from __future__ import annotations

import pytest

from airflow_imap_provider.triggers.complaints import MINUTE, MOST, Complaints
from tests.mailbox.test_poison import Clock


def test_the_first_lines_of_a_minute_say_it_and_the_next_minute_how_many_more_there_were(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    complaints = Complaints(clock)
    for number in range(MOST + 5):
        clock.seconds += 1
        complaints.warn(f"stream {number}", OSError("connection refused\nand many lines more"))
    assert caplog.messages == [f"stream {number}: OSError: connection refused" for number in range(MOST)]
    caplog.clear()
    clock.seconds += MINUTE
    complaints.warn("one more", OSError())
    assert caplog.messages == ["5 more lines like the ones before were left out", "one more: OSError: "]
    caplog.clear()
    clock.seconds += MINUTE
    complaints.warn("later", OSError("x"))
    assert caplog.messages == ["later: OSError: x"]
