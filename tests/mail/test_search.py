"""What servers are asked for: always a superset of what the decision takes."""

from __future__ import annotations

import binascii
import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imapclient.imapclient import _normalise_search_criteria

from airflow_imap_provider.mail.conditions import (
    Attachment,
    Body,
    Cc,
    Condition,
    Conditions,
    Encrypted,
    Flags,
    From,
    Header,
    Received,
    ReplyTo,
    Sent,
    Size,
    Subject,
    To,
)
from airflow_imap_provider.mail.search import ALTERNATIVES_LIMIT, COMPOSES_TO_ASCII, FOLDS_TO_ASCII, search_criteria
from tests.mail.builders import RECEIVED, read
from tests.mail.strategies import (
    age_tests,
    date_tests,
    flag_tests,
    header_values,
    lists_of,
    near_moments,
    number_tests,
    plausible_headers,
    text_tests,
    trees,
    trust_tests,
)


def criteria(*conditions: Condition, text: bool = True, trigger_on: str = "all") -> list[object] | None:
    return search_criteria(Conditions(conditions, trigger_on), text=text, now=NOW)


NOW = RECEIVED


JANUARY_31 = "2026-01-31"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Received.at_or_after(JANUARY_31), ["SINCE", date(2026, 1, 30)]),
        (Received.after(JANUARY_31), ["SINCE", date(2026, 1, 31)]),
        (Received.before(JANUARY_31), ["BEFORE", date(2026, 2, 2)]),
        (Received.at_or_before(JANUARY_31), ["BEFORE", date(2026, 2, 3)]),
        (Received.on(JANUARY_31), ["SINCE", date(2026, 1, 30), "BEFORE", date(2026, 2, 3)]),
        (~Received.at_or_after(JANUARY_31), ["BEFORE", date(2026, 2, 2)]),
        (Received.not_equals(JANUARY_31), ["OR", ["BEFORE", date(2026, 2, 2)], ["SINCE", date(2026, 1, 31)]]),
        (Received.after("1960-01-01"), None),
        (Received.before("1960-01-01"), ["BEFORE", date(1970, 1, 3)]),
        (Received.after("9000-01-01"), ["SINCE", date(2037, 12, 31)]),
        (Received.before("9000-01-01"), None),
        (From.equals("billing@example.com"), ["HEADER", "From", "billing", "HEADER", "From", "example"]),
        (ReplyTo.ends_with("@example.com"), ["HEADER", "Reply-To", "example", "HEADER", "Reply-To", "com"]),
        (Cc.contains("@EXAMPLE", case=True), ["HEADER", "Cc", "EXAMPLE"]),
        (
            To.one_of(["a@example.com", "b@domain.org"]),
            [
                "OR",
                ["HEADER", "To", "example", "HEADER", "To", "com"],
                ["HEADER", "To", "domain", "HEADER", "To", "org"],
            ],
        ),
        (Received.older_than("2 days"), ["BEFORE", date(2026, 1, 31)]),
        (Received.newer_than("36 hours"), ["SINCE", date(2026, 1, 28)]),
        (~Received.newer_than("36 hours"), ["BEFORE", date(2026, 1, 31)]),
        (Sent.after(JANUARY_31), None),
        (Sent.newer_than("1 day"), None),
        (Size.larger_than("1 MB"), ["LARGER", 1_000_000]),
        (Size.at_least(100), ["LARGER", 99]),
        (Size.at_least(0), None),
        (Size.smaller_than(100), ["SMALLER", 100]),
        (Size.equals(7), ["LARGER", 6, "SMALLER", 8]),
        (~Size.equals(7), ["OR", ["SMALLER", 7], ["LARGER", 7]]),
        (Size.larger_than(2**40), ["LARGER", 2**32 - 1]),
        (Size.smaller_than(2**40), None),
        (Flags.has("\\seen"), ["SEEN"]),
        (Flags.lacks("\\Flagged"), ["UNFLAGGED"]),
        (Flags.has("$Invoice"), ["KEYWORD", "$Invoice"]),
        (Flags.lacks("Done"), ["UNKEYWORD", "Done"]),
        (Flags.has("a.b"), None),
        (Attachment.name.glob("*.csv"), None),
        (Attachment.exists(), None),
        (Encrypted(), None),
        (Header("X-Tag").exists(), ["HEADER", "x-tag", ""]),
        (~Header("X-Tag").exists(), None),
        (From.contains("Billing"), None),
        (From.equals("Billing <billing@example.com>"), None),
        (From.not_equals("billing@example.com"), None),
        (From.glob("*@example.com"), None),
        (From.regex("@example"), None),
        (Subject.equals("invoice"), None),
        (Body.contains("invoice"), None),
        (Header("X-Tag").equals("invoice"), None),
        (From.contains("a@b"), None),
        (From.equals("kiss@kiss.de"), None),
    ],
    ids=repr,
)
def test_what_is_asked_for_a_condition(condition: Condition, expected: list[object] | None) -> None:
    assert criteria(condition) == expected


def test_without_text_only_dates_and_system_flags_are_asked_for() -> None:
    assert criteria(Size.larger_than(7), Flags.has("Done"), text=False) is None
    assert criteria(Flags.lacks("\\Seen"), text=False) == ["UNSEEN"]
    assert criteria(From.equals("billing@example.com"), Received.after(JANUARY_31), text=False) == [
        "SINCE",
        date(2026, 1, 31),
    ]
    assert criteria(Header("X-Tag").exists(), text=False) is None


def test_ages_are_not_asked_for_without_saying_what_time_it_is() -> None:
    assert search_criteria(Conditions([Received.older_than("1 day")]), text=True) is None


def test_conditions_are_joined_as_the_list_says() -> None:
    since, sender = Received.after(JANUARY_31), From.equals("x@domain.org")
    asked_since, asked_sender = criteria(since), criteria(sender)
    assert asked_since is not None
    assert asked_sender is not None
    assert criteria(since, sender, Subject.contains("x")) == asked_since + asked_sender
    assert criteria(since, sender, trigger_on="any") == ["OR", asked_since, asked_sender]
    assert criteria(since, Subject.contains("x"), trigger_on="any") is None
    assert criteria(~since, sender, trigger_on="none") == asked_since
    assert criteria(since, trigger_on="always") is None
    assert criteria() is None
    assert criteria(~(since & ~sender)) == ["OR", ["BEFORE", date(2026, 2, 3)], asked_sender]


def test_long_alternatives_are_not_asked_for() -> None:
    senders = [f"sender{number}@domain.org" for number in range(ALTERNATIVES_LIMIT + 1)]
    assert criteria(From.one_of(senders)) is None
    assert criteria(From.one_of(senders[:3])) is not None


def test_the_table_of_foldings_is_complete() -> None:
    letters = [chr(code) for code in range(0x80, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    letters = [letter for letter in letters if letter.casefold() != letter or unicodedata.decomposition(letter)]
    folded = {letter.casefold() for letter in letters} | {
        unicodedata.normalize("NFC", unicodedata.normalize("NFC", letter).casefold()) for letter in letters
    }
    with_ascii = {text for text in folded if re.search("[A-Za-z0-9_-]", text)}
    assert with_ascii <= set(FOLDS_TO_ASCII)
    composed = {unicodedata.normalize("NFC", letter) for letter in letters}
    assert {text for text in composed if re.search("[A-Za-z0-9_-]", text)} <= set(COMPOSES_TO_ASCII)


# --- a small model of SEARCH ----------------------------------------------------------------------------------------

WORD = re.compile(rb"=\?([^?]*)\?([BbQq])[^?]*\?([^?]*)\?=")


def undecoded(header: bytes) -> bytes:
    """A server that searches headers as they are."""
    return header


def decoded(header: bytes) -> bytes:
    """A server that decodes what keeps to RFC 2047."""

    def content(match: re.Match[bytes]) -> bytes:
        if match[2] in b"Bb":
            try:
                return binascii.a2b_base64(match[3], strict_mode=True) if sys.version_info >= (3, 11) else match[0]
            except binascii.Error:
                return match[0]
        return binascii.a2b_qp(match[3], header=True)

    return WORD.sub(content, re.sub(rb"(\?=)\s+(=\?)", rb"\1\2", header))


def destroyed(header: bytes) -> bytes:
    """The worst server for us: what looks like an encoded word is gone."""
    return WORD.sub(b"", header)


@dataclass(frozen=True)
class Stored:
    """A mail on the model server."""

    headers: Sequence[tuple[str, bytes]]
    internaldate: datetime
    size: int = 4321
    flags: Sequence[str] = ()

    def found(self, wanted: Sequence[Any], reading: Callable[[bytes], bytes]) -> bool:
        """Whether SEARCH with these criteria finds the mail (RFC 9051, section 6.4.4)."""
        rest = list(wanted)
        while rest:
            if not self._next(rest, reading):
                return False
        return True

    def _has(self, flag: str) -> bool:
        return flag.lower() in (each.lower() for each in self.flags)

    def _next(self, rest: list[Any], reading: Callable[[bytes], bytes]) -> bool:
        key = rest.pop(0)
        day = self.internaldate.date()  # without time and zone
        if key == "SINCE":
            return bool(day >= rest.pop(0))
        if key == "BEFORE":
            return bool(day < rest.pop(0))
        if key in ("LARGER", "SMALLER"):
            number = rest.pop(0)
            return self.size > number if key == "LARGER" else self.size < number
        if key in ("KEYWORD", "UNKEYWORD"):
            return self._has(rest.pop(0)) is (key == "KEYWORD")
        if str(key).removeprefix("UN") in ("SEEN", "FLAGGED", "ANSWERED"):
            return self._has(f"\\{str(key).removeprefix('UN')}") is not str(key).startswith("UN")
        if key == "OR":
            return self.found(rest.pop(0), reading) | self.found(rest.pop(0), reading)
        assert key == "HEADER"
        name, needle = rest.pop(0), rest.pop(0)
        texts = [value for header, value in self.headers if header.lower() == name.lower()]
        return any(needle.encode("ascii").lower() in reading(text).lower() for text in texts)


stored = st.builds(
    lambda names, values, *rest: Stored(tuple(zip(names, values, strict=False)), *rest),
    st.lists(st.sampled_from(("From", "To", "Cc", "Reply-To", "X-Priority", "Subject")), max_size=5),
    st.lists(header_values | plausible_headers, min_size=5, max_size=5),
    near_moments,
    st.integers(1, 400),
    st.lists(st.sampled_from(("\\Seen", "\\Flagged", "Processed", "$Invoice")), max_size=3),
)

askable = trees(
    st.one_of(
        text_tests(fields=(From, To, Cc, ReplyTo)),
        date_tests(),
        st.just(Header("X-Priority").exists()),
        text_tests(),
        age_tests,
        number_tests(),
        flag_tests,
        trust_tests,
    )
)


@settings(max_examples=500)
@given(stored, lists_of(askable), st.booleans())
def test_the_search_leaves_out_nothing_that_the_decision_takes(of: Stored, made: Conditions, text: bool) -> None:
    asked = search_criteria(made, text=text, now=NOW)
    if asked is None:
        return
    block = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in of.headers)
    date_line = of.internaldate.strftime('"%d-%b-%Y %H:%M:%S %z"').encode()
    taken = made.triggers(replace(with_text_of(block, date_line), size=of.size, flags=tuple(of.flags)), NOW)
    if taken:
        for reading in (undecoded, decoded, destroyed):
            assert of.found(asked, reading)


def with_text_of(block: bytes, date_line: bytes) -> Any:
    return replace(read(block, date=date_line, headers=["x-priority"]), text="invoice 4711")


@given(lists_of(askable), st.booleans())
def test_the_search_is_plain_ascii_that_imapclient_can_send(made: Conditions, text: bool) -> None:
    asked = search_criteria(made, text=text, now=NOW)
    if asked is not None:
        line = b" ".join(_normalise_search_criteria(asked))
        assert re.fullmatch(rb'[A-Za-z0-9_ ()"$-]+', line)


@given(st.integers(-12, 14), st.integers(-72, 72), date_tests())
def test_no_time_zone_of_a_server_matters(zone: int, hours: int, condition: Condition) -> None:
    moment = (RECEIVED + timedelta(hours=hours)).astimezone(timezone(timedelta(hours=zone)))
    of = Stored((), moment)
    asked = criteria(condition)
    taken = condition.holds(with_text_of(b"", moment.strftime('"%d-%b-%Y %H:%M:%S %z"').encode()))
    assert not taken or asked is None or of.found(asked, undecoded)
