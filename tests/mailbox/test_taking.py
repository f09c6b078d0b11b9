"""Taking what was told: each mail once, whatever repetitions and orders the journals show."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.mailbox.taking import (
    CLAIMS_AT_HAND,
    CLOCKS_APART,
    GENERATIONS,
    Claim,
    Entry,
    Record,
    Taking,
    told_before,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
Told = dict[str, Any]


def told(
    first: int,
    last: int,
    uids: list[int] | None = None,
    *,
    second: float = 0,
    stream: str = "s",
    epoch: int = 0,
    **more: int,
) -> Told:
    mails = range(first, last + 1) if uids is None else uids
    return {
        "stream": stream,
        "epoch": epoch,
        "uidvalidity": 7,
        "first_uid": first,
        "last_uid": last,
        "at": (NOON + timedelta(seconds=second)).isoformat(),
        "emails": [mail(uid, f"<{epoch}.{uid}>") for uid in mails],
        **more,
    }


def mail(uid: int, message_id: str) -> Told:
    return {"uid": uid, "message_id": message_id, "received": NOON.isoformat(), "size": 1000}


class Journal:
    """A journal as it grows."""

    def __init__(self, *payloads: Told) -> None:
        self.payloads = list(payloads)

    def read(self, record: Record) -> list[Entry]:
        start = record.positions.get("j", 0)
        return [Entry("j", number, payload) for number, payload in enumerate(self.payloads)][start:]

    @property
    def all(self) -> list[Entry]:
        return self.read(Record())


def take(record: Record, journal: Journal, most: int = 500) -> list[int]:
    taking = Taking(record, most)
    for entry in journal.read(record):
        taking.feed(entry)
        if taking.enough:
            break
    taking.claim(f"run {record.runs}")
    return [email["uid"] for email in taking.emails]


def stored(record: Record) -> Record:
    return Record.from_json(json.loads(json.dumps(record.to_json())))


def test_a_repetition_is_taken_once() -> None:
    record, journal = Record(), Journal(told(1, 3), told(1, 3))
    assert take(record, journal) == [1, 2, 3]
    journal.payloads += [told(1, 3), told(2, 5)]
    assert take(stored(record), journal) == [4, 5]


def test_the_rest_of_an_entry_is_left_for_the_next_run() -> None:
    record, journal = Record(), Journal(told(1, 4), told(5, 9, [6, 8]))
    assert take(record, journal, most=3) == [1, 2, 3]
    record = stored(record)
    assert take(record, journal, most=2) == [4, 6]
    assert take(record, journal, most=2) == [8]
    assert take(record, journal, most=2) == []
    assert record.ranges["s"]["0.7"].spans == ((1, 9),)


def entry(journal: str, number: int, payload: Told) -> Entry:
    return Entry(journal, number, payload)


def test_one_writers_entries_are_in_order_whatever_its_clock_says() -> None:
    event = entry("a", 3, told(9, 9))
    assert told_before(entry("a", 2, told(8, 8, second=900)), event)
    assert not told_before(entry("a", 3, told(9, 9)), event)
    assert not told_before(entry("a", 4, told(1, 1, second=-9000)), event)


def test_two_writers_of_one_folder_are_in_the_order_of_uids_whatever_their_clocks_say() -> None:
    event = entry("a", 3, told(9, 12))
    assert told_before(entry("b", 7, told(7, 8, second=900)), event)
    assert not told_before(entry("b", 7, told(7, 9, second=-9000)), event)


def test_other_folders_and_generations_are_in_the_order_of_clocks_that_may_be_apart() -> None:
    event, apart = entry("a", 3, told(9, 12)), CLOCKS_APART.total_seconds()
    for other in ({"stream": "t"}, {"epoch": 1}):
        assert told_before(entry("b", 7, told(20, 20, second=-apart - 1, **other)), event)
        assert not told_before(entry("b", 7, told(1, 1, second=-apart, **other)), event)


def test_the_same_uids_of_a_new_generation_are_other_mails() -> None:
    record, journal = Record(), Journal(told(1, 2))
    assert take(record, journal) == [1, 2]
    journal.payloads += [told(1, 2), told(1, 2, epoch=1)]
    assert take(record, journal) == [1, 2]
    journal.payloads += [told(1, 2), told(1, 2, epoch=1)]
    assert take(record, journal) == []


def test_generations_are_forgotten_in_the_end_and_never_taken_again() -> None:
    record, journal = Record(), Journal()
    for epoch in range(GENERATIONS + 3):
        journal.payloads.append(told(1, 1, epoch=epoch))
        assert take(record, journal) == [1]
    assert len(record.ranges["s"]) == GENERATIONS
    journal.payloads.append(told(1, 1, epoch=0))
    assert take(record, journal) == []


def test_two_streams_of_one_asset_do_not_shadow_each_other() -> None:
    assert take(Record(), Journal(told(1, 1), told(1, 1, stream="t"))) == [1, 1]


def test_a_claim_finds_its_mails_again() -> None:
    record, journal = Record(), Journal(told(1, 4), told(3, 8, [5, 8]), told(9, 9))
    assert take(record, journal, most=5) == [1, 2, 3, 4, 5]
    claim = Claim.from_json(json.loads(json.dumps(record.claims["run 0"].to_json())))
    assert list(claim.numbers()) == [("j", 0), ("j", 1)]
    assert [email["uid"] for email in claim.collect(journal.all)] == [1, 2, 3, 4, 5]
    assert len(claim.collect(journal.all[1:])) < claim.count


def test_only_the_newest_claims_stay_in_the_record() -> None:
    record, journal = Record(), Journal()
    for uid in range(1, 30):
        journal.payloads.append(told(uid, uid))
        take(record, journal)
    assert list(record.claims) == [f"run {number}" for number in range(29 - CLAIMS_AT_HAND, 29)]
    assert len(json.dumps(record.to_json())) < 4096


def test_a_claim_leaves_the_record_only_into_safe_hands() -> None:
    record, journal, safe = Record(), Journal(), {}
    for uid in range(1, 30):
        journal.payloads.append(told(uid, uid))
        taking = Taking(record, 500)
        for entry in journal.read(record):
            taking.feed(entry)
        taking.claim(f"run {uid}")
        safe.update(taking.outgoing)
    assert [*safe, *record.claims] == [f"run {uid}" for uid in range(1, 30)]


def test_a_stored_record_tells_what_its_consumer_is_done_with() -> None:
    record, journal = Record(), Journal(told(1, 5))
    take(record, journal)
    data = record.to_json()
    assert Record.covers(data, "s", "0.7", 5)
    assert not Record.covers(data, "s", "0.7", 6)
    assert not Record.covers(data, "s", "1.7", 5)
    assert not Record.covers(data, "t", "0.7", 5)
    assert not Record.covers(None, "s", "0.7", 5)
    journal.payloads.append(told(7, 6, [], nudge=6))
    take(record, journal)
    assert Record.covers(record.to_json(), "s", "0.7", 6)


@st.composite
def histories(draw: st.DrawFn) -> list[Told]:
    """What crashes and fail-overs make of a folder: batches of any borders, repeated, out of order."""
    highest = draw(st.integers(1, 40))
    matching = draw(st.sets(st.integers(1, highest)))
    history: list[Told] = []
    for _ in range(draw(st.integers(1, 3))):
        last = 0
        while last < highest:
            first, last = last + 1, min(draw(st.integers(last + 1, last + 8)), highest)
            uids = sorted(matching & set(range(first, last + 1)))
            if uids:
                history.append(told(first, last, uids))
    return draw(st.permutations(history))


@given(histories(), st.integers(1, 7), st.lists(st.integers(0, 60), max_size=6))
def test_every_mail_is_taken_exactly_once(history: list[Told], most: int, cuts: list[int]) -> None:
    record, taken = Record(), []
    for visible in [*sorted(cuts), *[len(history)] * (len(history) * 8 + 1)]:
        record = stored(record)
        taken += take(record, Journal(*history[:visible]), most)
    everything = {email["uid"] for payload in history for email in payload["emails"]}
    assert sorted(taken) == sorted(everything)


def test_a_mail_that_was_told_again_under_another_uid_is_known_when_the_folder_was_made_anew() -> None:
    record = Record()
    before, after = told(1, 2), told(1, 3, epoch=1)
    after["emails"] = [mail(1, "<0.1>"), mail(2, "<0.2>"), mail(3, "<new>")]
    assert take(record, Journal(before, after)) == [1, 2, 3]
    assert take(Record.from_json(record.to_json()), Journal(before, after)) == []


def test_the_same_mail_delivered_twice_into_one_folder_is_two_mails() -> None:
    payload = told(1, 2)
    payload["emails"] = [mail(1, "<same>"), mail(2, "<same>")]
    assert take(Record(), Journal(payload)) == [1, 2]


def test_a_nudge_of_before_a_new_folder_says_nothing_of_the_same_uid_after_it() -> None:
    record = Record()
    take(record, Journal(told(6, 5, nudge=5), told(1, 4, epoch=1)))
    stored = record.to_json()
    assert Record.covers(stored, "s", "0.7", 5)
    assert not Record.covers(stored, "s", "1.7", 5)


def test_a_record_of_many_folders_stays_small() -> None:
    record = Record()
    streams = [f"mailbox/Folder {number}/default" for number in range(60)]
    for run in range(20):
        taking = Taking(record, 1000)
        for number, stream in enumerate(streams):
            payload = told(run * 15 + 1, run * 15 + 15, stream=stream)
            for email in payload["emails"]:
                email["message_id"] += stream
            taking.feed(Entry(f"journal {number}", run, payload))
        taking.claim(f"run {run}")
    stored = json.dumps(record.to_json())
    assert len(stored) < 64 * 1024
    again = Record.from_json(json.loads(stored))
    assert again.recent == record.recent
    assert all(len(marks) == 1024 // len(streams) for marks in again.recent.values())
