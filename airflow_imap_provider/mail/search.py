"""What a server may be asked so that it leaves out mails which conditions would not take: a superset, never less.

The decision is always made here; the search only saves looking at mails of a backlog one by one. So a criterion is
given only where it provably keeps every mail that the decision would take:

- *Dates*: SINCE and BEFORE compare INTERNALDATE's day in whatever time zone the server keeps it. With a day of margin
  on both sides no zone matters.
- *Addresses* (only with ``text=True``): a needle with an @ in it can only be found in an address, for names with an @
  are not compared, and an address is taken literally from the header, never from an encoded word. So its letters stand
  in the header as they are and a server that finds substrings, decoding or not, finds them. What may differ is cut
  out: everything but letters, digits, ``-`` and ``_`` (blanks around dots are dropped, case folding makes ``;`` of a
  Greek question mark), and letters that case folding can make of others (``k`` of the Kelvin sign, ``fi`` of a
  ligature).
- *Ages* are spans of dates at the moment of asking. Only those of the date received: a Date header is what a sender
  wrote, and servers read broken ones otherwise than we do.
- *Flags* as they are. *Keywords* and the *size* of the mail only with ``text=True``: Exchange tells an estimated
  RFC822.SIZE and searches by another one.
- *A header's existence* (only with ``text=True``): HEADER with an empty text (RFC 9051, section 6.4.4).
- *Subjects, names, other headers*: never. Mail breaks the rules for encoded words, and servers then read them otherwise
  than we do, or not at all: Dovecot 2.3 finds nothing in a word whose charset it does not know, not even its ASCII.
- *Bodies*: never. A server looks into HTML source, we into its text.
- *Attachments, signatures and their signers, encryption, trust*: never. No server searches for them.
- *Regular expressions, globs, and negations of text*: never. Negations of dates, sizes and flags are such themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta

from airflow_imap_provider.mail.charsets import fold
from airflow_imap_provider.mail.condition import AllOf, AnyOf, Condition, Not
from airflow_imap_provider.mail.conditions import Conditions
from airflow_imap_provider.mail.date_condition import AgeCondition, DateCondition
from airflow_imap_provider.mail.mark_condition import FlagCondition
from airflow_imap_provider.mail.number_condition import NumberCondition
from airflow_imap_provider.mail.text_condition import ADDRESS_FIELDS, TextCondition

__all__ = ["EARLIEST", "LATEST", "criteria_for", "search_criteria"]

MARGIN = timedelta(days=1)
"""A day: time zones reach from UTC-12 to UTC+14."""

EARLIEST = date(1970, 1, 3)
"""BEFORE is not asked for earlier days: servers keep seconds since 1970, and the grammar wants years of four digits."""

LATEST = date(2037, 12, 31)
"""SINCE is not asked for later days: some servers' seconds end in January 2038."""

NUMBER_LIMIT = 2**32 - 1
"""The largest number of IMAP (RFC 3501, section 9)."""

ALTERNATIVES_LIMIT = 16
"""Terms of one OR. The server compares each with each mail; from there on it is no faster than we are."""

CRITERIA_LIMIT = 100
"""Words and texts in all of a search. Long commands are refused by some servers (Dovecot takes 64 KiB)."""

RUN_MINIMUM = 3
"""Characters that a text must have to be asked for; a shorter one is in nearly every header."""

RUNS_LIMIT = 2
"""Texts asked for of one needle: local part and domain."""

_HEADERS = {"from": "From", "to": "To", "cc": "Cc", "reply_to": "Reply-To"}

_PLAIN_KEYWORD = re.compile(r"[A-Za-z$_][A-Za-z0-9$_-]*")

_RUN = re.compile(r"[A-Za-z0-9_-]+")

FOLDS_TO_ASCII = (
    *("ss", "s", "k", "ff", "fi", "fl", "ffi", "ffl", "st"),
    *("i\u0307", "\u02bcn", "j\u030c", "h\u0331", "t\u0308", "w\u030a", "y\u030a", "a\u02be"),
)
"""What case folding makes of a single character that is not ASCII, where the result has an ASCII letter in it."""

COMPOSES_TO_ASCII = ("K",)
"""What composing (NFC) makes of such a character: of the Kelvin sign."""


def search_criteria(conditions: Conditions, *, text: bool, now: datetime | None = None) -> list[object] | None:
    """Return criteria for UID SEARCH that hold for every mail which triggers, and for others too.

    All texts in it are ASCII, so no CHARSET is needed. It presumes that the server gives the INTERNALDATE that it
    searches by.

    :param conditions: with ``trigger_on``.
    :param text: whether the server is known to search as RFC 9051 (section 6.4.4) asks: to find substrings in headers,
        and to compare sizes with the one that it tells. Gmail and Exchange do not.
    :param now: the moment that ages are counted from; without it they are not asked for.
    :returns: criteria in IMAPClient's form, or ``None`` if any mail may trigger.
    """
    if not conditions.conditions or conditions.trigger_on == "always":
        return None
    if conditions.trigger_on == "none":
        found = _every(_superset(condition, False, text, now) for condition in conditions.conditions)
    elif conditions.trigger_on == "any":
        found = _some(_superset(condition, True, text, now) for condition in conditions.conditions)
    else:
        found = _every(_superset(condition, True, text, now) for condition in conditions.conditions)
    return found if found and _count(found) <= CRITERIA_LIMIT else None


def criteria_for(condition: Condition, *, text: bool, now: datetime | None = None) -> list[object] | None:
    """Return criteria for the mails that meet one condition, and others too; see :func:`search_criteria`."""
    return _superset(condition, True, text, now)


def _superset(condition: Condition, wanted: bool, text: bool, now: datetime | None) -> list[object] | None:
    """Return criteria for the mails that meet a condition, or that do not.

    :param wanted: whether they meet it.
    """
    if isinstance(condition, Not):
        return _superset(condition.condition, not wanted, text, now)
    if isinstance(condition, (AllOf, AnyOf)):
        inner = (_superset(each, wanted, text, now) for each in condition.conditions)
        return _every(inner) if isinstance(condition, AllOf) == wanted else _some(inner)
    if isinstance(condition, DateCondition) and condition.field == "received":
        return _dates(condition.span, wanted)
    if isinstance(condition, AgeCondition) and condition.field == "received" and now is not None:
        return _dates(condition.span(now), wanted)
    if isinstance(condition, FlagCondition):
        return _flag(condition.flag, wanted, text)
    if isinstance(condition, NumberCondition) and condition.field == "size" and text:
        return _size(condition.bounds, wanted)
    if isinstance(condition, TextCondition) and wanted and text:
        return _text(condition)
    return None


def _dates(span: tuple[datetime | None, datetime | None], wanted: bool) -> list[object] | None:
    since, until = span
    if wanted:
        return _every([_since(since), _before(until)])
    outside = [_before(since)] if since else []
    outside += [_since(until)] if until else []
    return _some(outside)


def _size(bounds: tuple[int, int | None], wanted: bool) -> list[object] | None:
    smallest, largest = bounds
    if wanted:
        return _every([_larger(smallest - 1), _smaller(largest + 1) if largest is not None else None])
    outside = [_smaller(smallest)] if smallest > 0 else []
    outside += [_larger(largest)] if largest is not None else []
    return _some(outside)


def _larger(number: int) -> list[object] | None:
    return ["LARGER", min(number, NUMBER_LIMIT)] if number >= 0 else None


def _smaller(number: int) -> list[object] | None:
    return ["SMALLER", number] if number <= NUMBER_LIMIT else None


def _flag(flag: str, wanted: bool, text: bool) -> list[object] | None:
    if flag.startswith("\\"):
        return [f"{'' if wanted else 'UN'}{flag[1:].upper()}"]
    # What other characters of an atom do in a search, not every server agrees on.
    if not text or not _PLAIN_KEYWORD.fullmatch(flag):
        return None
    return ["KEYWORD" if wanted else "UNKEYWORD", flag]


def _every(parts: Iterable[list[object] | None]) -> list[object] | None:
    return [word for part in parts if part is not None for word in part] or None


def _some(parts: Iterable[list[object] | None]) -> list[object] | None:
    alternatives: list[list[object]] = []
    for part in parts:
        if part is None or len(alternatives) == ALTERNATIVES_LIMIT:
            return None
        if part not in alternatives:
            alternatives.append(part)
    if not alternatives:
        return None
    *others, found = alternatives
    for other in reversed(others):
        found = ["OR", other, found]
    return found


def _since(moment: datetime | None) -> list[object] | None:
    if moment is None or moment.date() <= EARLIEST:
        return None
    return ["SINCE", min(moment.date() - MARGIN, LATEST)]


def _before(moment: datetime | None) -> list[object] | None:
    if moment is None or moment.date() >= LATEST:
        return None
    # BEFORE does not include its day, on which the moment is.
    return ["BEFORE", max(moment.date() + 2 * MARGIN, EARLIEST)]


def _text(test: TextCondition) -> list[object] | None:
    if test.op == "exists":
        return ["HEADER", test.name, ""]
    if test.field not in ADDRESS_FIELDS or test.op in ("glob", "regex"):
        return None
    needles = test.value if isinstance(test.value, tuple) else (str(test.value),)
    header = _HEADERS[test.field]
    return _some(_every(["HEADER", header, run] for run in _certain_runs(needle, case=test.case)) for needle in needles)


def _certain_runs(needle: str, *, case: bool) -> list[str]:
    """Return the longest pieces of a needle that stand in the header of every mail which the needle matches."""
    # With a < the needle may reach into the name; without an @ it may be found in the name alone.
    if "@" not in needle or "<" in needle:
        return []
    folded = fold(needle, case=case)
    doubtful: set[int] = set()
    for made in COMPOSES_TO_ASCII if case else FOLDS_TO_ASCII:
        # A match may begin or end within what one character was folded to.
        for start in range(1 - len(made), len(folded)):
            covered = range(max(start, 0), min(start + len(made), len(folded)))
            if all(folded[position] == made[position - start] for position in covered):
                doubtful.update(covered)
    certain = "".join(" " if position in doubtful else letter for position, letter in enumerate(folded))
    runs = [run for run in _RUN.findall(certain) if len(run) >= RUN_MINIMUM]
    return sorted(dict.fromkeys(runs), key=len, reverse=True)[:RUNS_LIMIT]


def _count(criteria: Iterable[object]) -> int:
    return sum(_count(word) if isinstance(word, list) else 1 for word in criteria)
