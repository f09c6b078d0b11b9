"""Places: what counts as new at the first start, afterwards, and when UIDs suddenly mean other mails."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import pytest

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mailbox.actions import Move
from airflow_imap_provider.mailbox.place import RECENT, Place, Todo, first_place, parse_start, rebase
from airflow_imap_provider.mailbox.ranges import UidRanges
from airflow_imap_provider.mailbox.searching import received_before, received_since

NOON = datetime(2026, 11, 23, 12, 0, 0, 345678, tzinfo=timezone.utc)
LATER = NOON + timedelta(days=300)


def mail(uid: int, received: datetime = NOON, *flags: str, size: int = 1000) -> Mail:
    return Mail(
        conn_id="c",
        folder="INBOX",
        uid=uid,
        uidvalidity=7,
        message_id=f"<{size}@example.com>",
        subject="s",
        from_=(),
        to=(),
        cc=(),
        reply_to=(),
        date=None,
        received=received,
        size=size,
        flags=flags,
        headers={},
        attachments=(),
        text_parts=(),
        text=None,
        defects=(),
    )


def opened(start: str, highest: int = 10) -> Place:
    return rebase(first_place(parse_start(start), NOON), 7, highest)


def test_new_counts_from_the_second_of_the_activation_on() -> None:
    place = opened("new")
    assert not place.counts(mail(9, NOON - timedelta(seconds=2)))
    assert place.counts(mail(9, NOON.replace(microsecond=0)))
    assert place.counts(mail(11, NOON - timedelta(days=9))), "a mail moved here later is new, whatever its date"


def test_unread_counts_what_was_unread_and_everything_that_comes() -> None:
    place = opened("unread")
    assert place.counts(mail(9))
    assert not place.counts(mail(9, NOON, "\\Seen"))
    assert place.counts(mail(11, NOON, "\\Seen"))


def test_all_and_a_date_count_what_they_say() -> None:
    assert opened("all").counts(mail(1, NOON - timedelta(days=900)))
    place = opened("2026-11-20")
    assert place.counts(mail(1, datetime(2026, 11, 20, tzinfo=timezone.utc)))
    assert not place.counts(mail(1, datetime(2026, 11, 19, 23, 59, 59, tzinfo=timezone.utc)))


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (date(2026, 1, 2), "2026-01-02T00:00:00+00:00"),
        (datetime(2026, 1, 2, 3), "2026-01-02T03:00:00+00:00"),  # noqa: DTZ001 - that is the case
        ("2026-01-02T03:00:00Z", "2026-01-02T03:00:00+00:00"),
        ("2026-01-02T03:00:00+01:00", "2026-01-02T03:00:00+01:00"),
        ("new", "new"),
    ],
)
def test_a_start_policy_is_stored_in_one_form(given: str, stored: str) -> None:
    assert parse_start(given) == stored
    assert parse_start(parse_start(given)) == stored


@pytest.mark.parametrize("wrong", ["", "NEW", "yesterday", "2026-13-01", 5, None])
def test_a_wrong_start_policy_says_what_is_accepted(wrong: object) -> None:
    with pytest.raises(SettingsError, match="'new', 'unread', 'all'"):
        parse_start(wrong)  # type: ignore[arg-type]


def test_a_place_survives_its_stored_form() -> None:
    place = opened("new").after(5, [mail(4)], [Todo(UidRanges.of([(4, 4)]), (Move("A"),), 2)], now=LATER)
    assert Place.from_json(json.loads(json.dumps(place.to_json()))) == place
    assert Place.from_json(json.loads(json.dumps(first_place("all", NOON).to_json()))) == first_place(
        "all", NOON.replace(microsecond=0)
    )


def test_a_uidvalidity_of_zero_is_one_and_no_folder_that_was_not_opened() -> None:
    opened_with_zero = replace(rebase(first_place("all", NOON), 0, 0), account="mine")
    assert Place.from_json(json.loads(json.dumps(opened_with_zero.to_json()))).uidvalidity == 0
    told = opened_with_zero.after(3, [mail(3)], now=LATER)
    assert Place.from_json(json.loads(json.dumps(told.to_json()))) == told
    of_an_earlier_version = {**first_place("all", NOON).to_json(), "uidvalidity": 0}
    assert Place.from_json(of_an_earlier_version).uidvalidity is None


@pytest.mark.parametrize("day", [date.min, date.max], ids=["first", "last"])
def test_a_mail_with_the_first_or_the_last_date_there_is_does_no_harm(day: date) -> None:
    """Who appends a mail chooses it."""
    odd = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
    place = opened("all", 0).after(2, [mail(1, odd), mail(2, odd)], now=LATER)
    changed = rebase(place, 8, 5)
    assert not changed.counts(mail(4, odd))
    assert changed.counts(mail(5, LATER, size=77))


@pytest.mark.parametrize("start", ["0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_start_at_the_end_of_the_calendar_can_be_searched_for(start: str) -> None:
    floor = opened(parse_start(start)).floor
    assert floor is not None
    assert floor.since is not None
    first = start.startswith("0001")
    assert bool(received_since(floor.since)) is not first
    assert (received_before(floor.since) is None) is first
    assert opened(parse_start(start)).counts(mail(1, NOON)) is first


def test_the_floor_is_gone_once_the_place_has_passed_it() -> None:
    place = opened("new").after(9, [], now=LATER)
    assert place.floor is not None
    assert place.after(10, [], now=LATER).floor is None


def test_after_a_change_of_uidvalidity_only_mails_that_were_not_told_count() -> None:
    told = [mail(uid, NOON + timedelta(minutes=uid), size=uid) for uid in range(1, 11)]
    place = opened("all", 0).after(10, told, [Todo(UidRanges.of([(3, 3)]), (Move("A"),))], now=LATER)
    changed = rebase(place, 8, 12)
    assert (changed.uidvalidity, changed.epoch, changed.last_uid, changed.covered) == (8, 1, 0, 0)
    assert changed.todo == (), "the UID means another mail now"
    for item in told:
        assert not changed.counts(replace(item, uid=item.uid + 1))
    assert changed.counts(mail(12, NOON + timedelta(minutes=10), size=99))
    assert not changed.counts(mail(1, NOON - timedelta(days=3), size=98)), "long before the watching began"
    assert changed.counts(mail(13, NOON - timedelta(days=3), size=97)), "came after the change"
    assert rebase(changed, 8, 50) == changed


def test_a_mail_dated_in_the_future_hides_nothing_that_comes_meanwhile() -> None:
    place = opened("all", 0).after(1, [mail(1, NOON + timedelta(days=9999))], now=NOON)
    assert rebase(place, 8, 5).counts(mail(5, NOON, size=77))


def test_a_change_of_uidvalidity_before_any_mail_was_told_repeats_the_start_policy() -> None:
    changed = rebase(opened("new"), 8, 4)
    assert changed.epoch == 1
    assert not changed.counts(mail(4, NOON - timedelta(days=1)))
    assert changed.counts(mail(4, NOON + timedelta(seconds=1)))


def test_fingerprints_stay_few_and_nothing_beyond_them_is_repeated() -> None:
    told = [mail(uid, NOON + timedelta(seconds=uid), size=uid) for uid in range(1, RECENT * 2)]
    place = opened("all", 0).after(RECENT * 2, told, now=LATER)
    assert len(place.recent) == RECENT
    changed = rebase(place, 8, RECENT * 2)
    assert not any(changed.counts(item) for item in told)
