"""UID ranges: a set of integers, whatever order and overlap its pieces come in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.mailbox.ranges import UidRanges

spans = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=12)


def members(pieces: list[tuple[int, int]]) -> set[int]:
    return {uid for first, last in pieces for uid in range(first, last + 1)}


@given(spans)
def test_the_ranges_hold_exactly_what_their_pieces_hold(pieces: list[tuple[int, int]]) -> None:
    ranges = UidRanges.of(pieces)
    assert {uid for uid in range(1, 62) if uid in ranges} == members(pieces)


@given(spans, spans)
def test_a_union_holds_what_either_holds(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    union = UidRanges.of(left).union(UidRanges.of(right))
    assert {uid for uid in range(1, 62) if uid in union} == members(left) | members(right)


@given(spans)
def test_the_stored_form_is_minimal_and_comes_back(pieces: list[tuple[int, int]]) -> None:
    ranges = UidRanges.of(pieces)
    assert UidRanges.of(ranges.dumps()) == ranges
    assert all(left[1] + 1 < right[0] for left, right in zip(ranges.spans, ranges.spans[1:], strict=False))


def test_consecutive_events_leave_one_range() -> None:
    ranges = UidRanges()
    for first in range(1, 1000, 10):
        ranges = ranges.union(UidRanges.of([(first, first + 9)]))
    assert ranges.spans == ((1, 1000),)
