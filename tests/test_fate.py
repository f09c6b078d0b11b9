"""What ``airflow imap4 explain --asset`` says of a mail that matches: told, not told, not read yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from airflow_imap_provider.commands.fate import fate_of
from airflow_imap_provider.mail.conditions import Conditions
from airflow_imap_provider.mail.explain import explain_mail
from airflow_imap_provider.mailbox.place import RECENT, Place, first_place, rebase
from airflow_imap_provider.transport.folders import FolderStatus
from tests.mail.builders import RECEIVED, mail

STATUS = FolderStatus("INBOX", uidvalidity=1, uidnext=8, exists=7, readonly=True)
BEFORE = "it was in the folder when the watching began"
AGAIN = "'airflow imap4 reset --asset 'the invoices' --to 2026-01-31' takes it, and all since then"


def place(start: str = "new", *, began: timedelta, read: int = 0, told: bool = False) -> Place:
    """A place that began so long after the mail, in a folder of seven mails, and has looked up to a UID."""
    at = RECEIVED + began
    opened = rebase(first_place(start, at), 1, 7 if began > timedelta(0) else 0)
    return opened.after(read, [mail()] if told else [], now=at) if read else opened


EARLY, LATE = timedelta(hours=-1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("stored", "word", "reason"),
    [
        (place(began=EARLY, read=7, told=True), "told", ""),
        (place(began=LATE, read=7), "not told", f"{BEFORE} (2026-01-31 12:30:00 UTC, start='new'); {AGAIN}"),
        (place(began=LATE), "not told", BEFORE),
        (place((RECEIVED + EARLY).isoformat(), began=LATE, read=7, told=True), "told", ""),
        (place((RECEIVED + LATE).isoformat(), began=LATE, read=7), "not told", BEFORE),
        (place("all", began=LATE), "not read yet", "has looked up to UID 0"),
        (place(began=EARLY, read=6), "not read yet", "has looked up to UID 6"),
        (place(began=EARLY, read=9), "not told", "the conditions, or the mail's flags, were other ones then"),
        (first_place("new", RECEIVED), "not read yet", "has not opened the folder yet"),
        (replace(place(began=EARLY, read=7), uidvalidity=2), "not read yet", "the folder was made anew"),
    ],
)
def test_what_became_of_a_mail_that_matches(stored: Place, word: str, reason: str) -> None:
    fate = fate_of(stored, "the invoices", STATUS, mail())
    assert fate is not None
    assert fate.word == word
    assert reason in fate.reason


def test_what_a_place_does_not_remember_is_not_claimed() -> None:
    others = [mail(message_id=f"<other-{number}@example.com>") for number in range(RECENT)]
    early = place(began=EARLY).after(400, others, now=RECEIVED)
    assert fate_of(early, "a", STATUS, mail()) is None
    late = place(began=LATE).after(400, others, now=RECEIVED + LATE)
    fate = fate_of(late, "a", STATUS, mail())
    assert fate is not None
    assert fate.word == "probably not told"


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (place(began=EARLY, read=7, told=True), ["mail 7 triggers, told: 'Your invoice 4711'"]),
        (place(began=LATE, read=7), ["mail 7 would trigger, not told: 'Your invoice", f"\n  not told: {BEFORE}"]),
    ],
)
def test_the_line_of_a_mail_says_it(stored: Place, words: list[str]) -> None:
    now: datetime = RECEIVED + LATE
    told = replace(explain_mail(Conditions([]), mail(), now), fate=fate_of(stored, "invoices", STATUS, mail()))
    assert all(each in "\n".join(told.lines()) for each in words)
    assert told.to_json()["fate"] in words[0]
