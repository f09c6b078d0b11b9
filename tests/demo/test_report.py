"""The demo's judgement: it passes for mails taken exactly once, and for nothing else."""

from __future__ import annotations

import dataclasses
import email
import email.policy

import pytest

from scripts.demo.letters import burst_letters, invoice, single_letters
from scripts.demo.report import Taking, judge

DELIVERED = 1_000.0

wanted = invoice(1, positions=2)
unwanted = next(letter for letter in single_letters() if not letter.expected)
taking = Taking(run=1, started=DELIVERED + 1.5, rows=list(wanted.rows), state="success")


def test_a_mail_taken_once_with_its_rows_and_marked_as_read_is_good() -> None:
    verdict = judge(wanted, DELIVERED, [taking], read=True)
    assert (verdict.good, verdict.run) == (True, "run 1")
    assert verdict.outcome == "taken after 1.5 s, 2 CSV rows read, marked as read"


@pytest.mark.parametrize(
    ("takings", "read"),
    [
        ([], False),
        ([dataclasses.replace(taking, rows=None, state="running")], True),
        ([taking], False),
    ],
    ids=["not taken", "not yet worked through", "not marked"],
)
def test_what_may_still_come_is_neither_good_nor_final(takings: list[Taking], read: bool) -> None:
    verdict = judge(wanted, DELIVERED, takings, read=read)
    assert (verdict.good, verdict.final) == (False, False)


@pytest.mark.parametrize(
    "takings",
    [
        [taking, dataclasses.replace(taking, run=2)],
        [dataclasses.replace(taking, rows=None, state="failed")],
        [dataclasses.replace(taking, rows=[])],
    ],
    ids=["twice", "failed", "other rows"],
)
def test_what_waiting_cannot_mend_is_final(takings: list[Taking]) -> None:
    verdict = judge(wanted, DELIVERED, takings, read=True)
    assert (verdict.good, verdict.final) == (False, True)


def test_a_mail_that_does_not_match_is_good_as_long_as_nobody_touches_it() -> None:
    assert judge(unwanted, DELIVERED, [], read=False).good
    assert judge(unwanted, DELIVERED, [taking], read=False).final
    assert judge(unwanted, DELIVERED, [], read=True).final


def test_every_invoice_carries_its_rows_as_a_csv_file() -> None:
    for letter in burst_letters():
        message = email.message_from_bytes(letter.as_bytes(), policy=email.policy.default)
        [attachment] = message.iter_attachments()
        assert attachment.get_content_type() == "text/csv"
        assert letter.rows[0]["invoice"] in attachment.get_content()
