"""What conditions on dates and ages hold for which mails."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pendulum
import pytest

from airflow_imap_provider.mail.conditions import (
    Condition,
    Received,
    Sent,
)
from tests.mail.builders import mail

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
PARIS = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("condition", "first", "last"),
    [
        (Received.before("2026-01-31"), None, "2026-01-30T23:59:59"),
        (Received.at_or_before(date(2026, 1, 31)), None, "2026-01-31T23:59:59"),
        (Received.after("2026-01-31"), "2026-02-01T00:00:00", None),
        (Received.at_or_after("2026-01-31"), "2026-01-31T00:00:00", None),
        (Received.on("2026-01-31"), "2026-01-31T00:00:00", "2026-01-31T23:59:59"),
        (Received.equals(date(2026, 1, 31)), "2026-01-31T00:00:00", "2026-01-31T23:59:59"),
        (Received.before(NOON), None, "2026-01-31T11:59:59"),
        (Received.at_or_before(NOON), None, "2026-01-31T12:00:00"),
        (Received.after(NOON), "2026-01-31T12:00:01", None),
        (Received.at_or_after(NOON), "2026-01-31T12:00:00", None),
        (Received.equals(NOON + timedelta(microseconds=7)), "2026-01-31T12:00:00", "2026-01-31T12:00:00"),
        (Received.at_or_after("2026-01-31T13:00:00+01:00"), "2026-01-31T12:00:00", None),
        (Received.at_or_after("2026-01-31T12:00:00Z"), "2026-01-31T12:00:00", None),
        (Received.at_or_after("2026-01-31 12:00"), "2026-01-31T12:00:00", None),
        (Received.at_or_after("2026-01-31T12:00z"), "2026-01-31T12:00:00", None),
        (Received.equals("2026-01-31T12:00:00.125-00:00"), "2026-01-31T12:00:00", "2026-01-31T12:00:00"),
        (Received.at_or_after(datetime(2026, 1, 31, 12)), "2026-01-31T12:00:00", None),  # noqa: DTZ001
        (Received.at_or_after(pendulum.datetime(2026, 1, 31, 13, tz="Europe/Paris")), "2026-01-31T12:00:00", None),
        (Received.on(datetime(2026, 1, 31, 5, tzinfo=PARIS)), "2026-01-30T23:00:00", "2026-01-31T22:59:59"),
        (Received.on(NOON), "2026-01-31T00:00:00", "2026-01-31T23:59:59"),
        (
            # The day on which summer time begins has 23 hours.
            Received.on(datetime(2026, 3, 29, 12, tzinfo=ZoneInfo("Europe/Paris"))),
            "2026-03-28T23:00:00",
            "2026-03-29T21:59:59",
        ),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_dates_have_exact_bounds(condition: Condition, first: str | None, last: str | None) -> None:
    second = timedelta(seconds=1)
    for bound, step in ((first, -second), (last, second)):
        if bound is not None:
            moment = datetime.fromisoformat(bound).replace(tzinfo=timezone.utc)
            assert condition.holds(mail(received=moment))
            assert condition.holds(mail(received=moment.astimezone(PARIS)))
            assert not condition.holds(mail(received=moment + step))
    assert condition.holds(mail(received=datetime(1970, 1, 1, tzinfo=timezone.utc))) is (first is None)
    assert condition.holds(mail(received=datetime(9000, 1, 1, tzinfo=timezone.utc))) is (last is None)


def test_pendulum_dates_are_stored_as_plain_ones() -> None:
    paris = pendulum.datetime(2026, 1, 31, 13, tz="Europe/Paris")
    assert repr(Received.after(paris)) == "Received.after('2026-01-31T12:00:00+00:00')"
    assert Received.after(pendulum.date(2026, 1, 31)) == Received.after("2026-01-31")


@pytest.mark.parametrize(
    ("condition", "hours", "holds"),
    [
        (Received.older_than("2 days"), 49, True),
        (Received.older_than("2 days"), 48, False),
        (Received.newer_than("2 days"), 48, True),
        (Received.newer_than("2 days"), 49, False),
        (Received.newer_than(timedelta(hours=1)), -5, True),
        (Received.older_than("1 second"), 0, False),
        (Sent.older_than("36 hours"), 37, True),
        (Sent.newer_than("1 week"), 169, False),
        (~Sent.newer_than("1 week"), 169, True),
    ],
    ids=repr,
)
def test_an_age_is_counted_from_the_moment_that_is_given(condition: Condition, hours: int, holds: bool) -> None:
    moment = NOON - timedelta(hours=hours)
    of = mail(received=moment, date=moment.astimezone(PARIS))
    assert condition.holds(of, NOON) is holds
    assert condition.holds(of, NOON.astimezone(PARIS)) is holds


def test_an_age_without_a_clock_is_an_error_and_not_a_guess() -> None:
    with pytest.raises(RuntimeError, match="what time it is"):
        Received.older_than("1 day").holds(mail())


def test_ages_are_written_in_the_largest_unit_that_fits() -> None:
    assert repr(Received.older_than(timedelta(hours=48))) == "Received.older_than('2 days')"
    assert Sent.newer_than("60 minutes") == Sent.newer_than("1 hour") == Sent.newer_than(timedelta(hours=1))
    assert Received.newer_than("90 Minutes").to_json()["value"] == "90 minutes"


def test_a_mail_without_a_date_was_sent_at_no_time() -> None:
    undated = mail(date=None)
    for condition in (Sent.before("9000-01-01"), Sent.after("1990-01-01"), Sent.older_than("1 day"), Sent.on(NOON)):
        assert not condition.holds(undated, NOON)
        assert (~condition).holds(undated, NOON)


def test_the_date_sent_is_compared_like_the_date_received() -> None:
    of = mail(date=datetime(2026, 1, 31, 0, 30, tzinfo=PARIS))
    assert Sent.on("2026-01-30").holds(of)
    assert Sent.equals("2026-01-31T00:30:00+01:00").holds(of)
    assert not Sent.after("2026-01-30").holds(of)
    assert Sent.on(datetime(2026, 1, 31, 5, tzinfo=PARIS)).holds(of)
