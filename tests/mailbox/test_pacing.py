"""Thousands of mailboxes that were activated together do not do the same in the same second."""

from __future__ import annotations

from collections import Counter

from airflow_imap_provider.mailbox import pacing


def busiest_second(pauses: list[float]) -> int:
    return max(Counter(int(pause) for pause in pauses).values())


def test_ten_thousand_mailboxes_do_not_poll_in_the_same_second() -> None:
    first = [pacing.poll_pause(60, idle=True, first=True, folders=10_000) for _ in range(10_000)]
    later = [pause + pacing.poll_pause(60, idle=True, first=False, folders=10_000) for pause in first]
    assert busiest_second(first) < 100
    assert busiest_second(later) < 100


def test_idle_is_renewed_at_least_every_nine_minutes_however_many_there_are() -> None:
    for folders in (1, 10_000, 1_000_000):
        for wanted in (1.0, 60.0, 3600.0):
            assert pacing.poll_pause(wanted, idle=True, first=False, folders=folders) <= 540


def test_without_idle_a_poll_comes_as_often_as_it_is_asked_for() -> None:
    assert 8.5 <= pacing.poll_pause(10, idle=False, first=False, folders=10_000) <= 10


def test_a_few_mailboxes_are_polled_as_often_as_asked_for_beside_idle() -> None:
    assert 51 <= pacing.poll_pause(60, idle=True, first=False, folders=1_000) <= 60


def test_looks_at_the_settings_stay_few_for_all_and_within_ten_minutes_for_each() -> None:
    assert pacing.glance(30, folders=1) == 10
    assert pacing.glance(900, folders=1) == 90
    assert pacing.glance(30, folders=2_000) == 100
    assert pacing.glance(4_680, folders=1_000_000) <= 600
