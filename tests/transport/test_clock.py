from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_imap_provider.errors import ImapTimeoutError
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Deadline
from tests.transport.clocks import HandClock


def test_the_remaining_time_shrinks_as_the_clock_goes() -> None:
    clock = HandClock()
    deadline = Deadline(clock, 10)
    clock.forward(4)
    assert deadline.remaining("dns") == 6


def test_a_deadline_that_is_over_names_the_stage_and_the_limit() -> None:
    clock = HandClock()
    deadline = Deadline(clock, 10)
    clock.forward(10)
    with pytest.raises(ImapTimeoutError, match=r"^greeting: .* 10 s\. Look there\.$") as caught:
        deadline.remaining("greeting", "Look there.")
    assert caught.value.stage == "greeting"


def test_an_extended_deadline_ends_later() -> None:
    clock = HandClock()
    deadline = Deadline(clock, 10)
    deadline.extend(5)
    clock.forward(12)
    assert deadline.remaining("FETCH") == 3


def test_attempts_share_the_time_that_is_left() -> None:
    clock = HandClock()
    deadline = Deadline(clock, 10)
    clock.forward(4)
    part = deadline.part(3, "proxy")
    assert part.remaining("proxy") == 2
    clock.forward(2)
    with pytest.raises(ImapTimeoutError):
        part.remaining("proxy")
    assert deadline.part(2, "proxy").remaining("proxy") == 2
    clock.forward(4)
    with pytest.raises(ImapTimeoutError):
        deadline.part(1, "proxy")


def test_the_system_clock_is_aware_and_in_utc() -> None:
    assert SYSTEM_CLOCK.now().utcoffset() == timedelta(0)
    assert SYSTEM_CLOCK.monotonic() <= SYSTEM_CLOCK.monotonic()
