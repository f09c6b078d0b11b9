"""Taking from the event log: each mail once, whatever repetitions and orders the log shows."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.mailbox.taking import CLAIMS_AT_HAND, GENERATIONS, Claim, Event, Record, Taking

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


def event(
    first: int,
    last: int,
    uids: list[int] | None = None,
    *,
    second: float = 0,
    stream: str = "s",
    epoch: int = 0,
    **more: int,
) -> Event:
    mails = range(first, last + 1) if uids is None else uids
    payload = {
        "stream": stream,
        "epoch": epoch,
        "uidvalidity": 7,
        "first_uid": first,
        "last_uid": last,
        "emails": [{"uid": uid} for uid in mails],
        **more,
    }
    return Event(NOON + timedelta(seconds=second), payload)


def take(record: Record, events: list[Event], most: int = 500) -> list[int]:
    taking = Taking(record, most)
    for item in events:
        taking.feed(item)
        if taking.enough:
            break
    taking.claim(f"run {record.runs}")
    return [email["uid"] for email in taking.emails]


def stored(record: Record) -> Record:
    return Record.from_json(json.loads(json.dumps(record.to_json())))


def test_a_repeated_event_is_taken_once() -> None:
    record = Record()
    assert take(record, [event(1, 3), event(1, 3)]) == [1, 2, 3]
    assert take(stored(record), [event(1, 3), event(2, 5)]) == [4, 5]


def test_the_rest_of_an_event_is_left_for_the_next_run() -> None:
    record = Record()
    events = [event(1, 4), event(5, 9, [6, 8], second=1)]
    assert take(record, events, most=3) == [1, 2, 3]
    record = stored(record)
    assert take(record, events, most=2) == [4, 6]
    assert take(record, events, most=2) == [8]
    assert take(record, events, most=2) == []
    assert record.ranges == {"s": {"0.7": record.ranges["s"]["0.7"]}}
    assert record.ranges["s"]["0.7"].spans == ((1, 9),)


def test_events_before_the_first_one_of_a_new_consumer_are_not_its_own() -> None:
    record = Record(begin=NOON + timedelta(seconds=5))
    assert take(record, [event(1, 2), event(3, 4, second=5), event(5, 5, second=6)]) == [3, 4, 5]


def test_the_same_uids_of_a_new_generation_are_other_mails() -> None:
    record = Record()
    assert take(record, [event(1, 2)]) == [1, 2]
    assert take(record, [event(1, 2), event(1, 2, epoch=1)]) == [1, 2]
    assert take(record, [event(1, 2), event(1, 2, epoch=1)]) == []


def test_generations_are_forgotten_in_the_end_and_never_taken_again() -> None:
    record = Record()
    for epoch in range(GENERATIONS + 3):
        assert take(record, [event(1, 1, epoch=epoch)]) == [1]
    assert len(record.ranges["s"]) == GENERATIONS
    assert take(record, [event(1, 1, epoch=0)]) == []


def test_two_streams_of_one_asset_do_not_shadow_each_other() -> None:
    record = Record()
    assert take(record, [event(1, 1), event(1, 1, stream="t")]) == [1, 1]


def test_a_claim_finds_its_mails_again() -> None:
    record = Record()
    events = [event(1, 4), event(3, 8, [5, 8], second=1), event(9, 9, second=2)]
    assert take(record, events, most=5) == [1, 2, 3, 4, 5]
    claim = Claim.from_json(json.loads(json.dumps(record.claims["run 0"].to_json())))
    assert [email["uid"] for email in claim.collect(events)] == [1, 2, 3, 4, 5]
    assert len(claim.collect(events[1:])) < claim.count


def test_only_the_newest_claims_stay_in_the_record() -> None:
    record = Record()
    for uid in range(1, 30):
        take(record, [event(uid, uid)])
    assert list(record.claims) == [f"run {number}" for number in range(29 - CLAIMS_AT_HAND, 29)]
    assert len(json.dumps(record.to_json())) < 4096


def test_a_stored_record_tells_what_its_consumer_is_done_with() -> None:
    record = Record()
    take(record, [event(1, 5)])
    data = record.to_json()
    assert Record.covers(data, "s", "0.7", 5)
    assert not Record.covers(data, "s", "0.7", 6)
    assert not Record.covers(data, "s", "1.7", 5)
    assert not Record.covers(data, "t", "0.7", 5)
    assert not Record.covers(None, "s", "0.7", 5)
    take(record, [event(7, 6, [], nudge=6)])
    assert Record.covers(record.to_json(), "s", "0.7", 6)


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """A log as crashes and fail-overs make it: batches of any borders, repeated, out of order."""
    highest = draw(st.integers(1, 40))
    matching = draw(st.sets(st.integers(1, highest)))
    events: list[Event] = []
    for _ in range(draw(st.integers(1, 3))):
        last = 0
        while last < highest:
            first, last = last + 1, min(draw(st.integers(last + 1, last + 8)), highest)
            uids = sorted(matching & set(range(first, last + 1)))
            if uids:
                events.append(event(first, last, uids, second=len(events)))
    return draw(st.permutations(events))


@given(logs(), st.integers(1, 7), st.lists(st.integers(0, 60), max_size=6))
def test_every_mail_of_the_log_is_taken_exactly_once(log: list[Event], most: int, cuts: list[int]) -> None:
    record, taken = Record(), []
    for visible in [*sorted(cuts), *[len(log)] * (len(log) * 8 + 1)]:
        record = stored(record)
        taken += take(record, log[:visible], most)
    told = {email["uid"] for item in log for email in item.payload["emails"]}
    assert sorted(taken) == sorted(told)
