"""What conditions on text hold for which mails: addresses, subject, body, headers."""

from __future__ import annotations

import pytest

from airflow_imap_provider.mail.charsets import fold
from airflow_imap_provider.mail.conditions import (
    Body,
    Cc,
    Condition,
    From,
    Header,
    ReplyTo,
    Subject,
    To,
)
from airflow_imap_provider.mail.message import Address
from tests.mail.builders import mail

BILLING = mail(from_=(Address("Billing Team", "billing@example.com"),))


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (From.equals("billing@example.com"), True),
        (From.equals("BILLING@EXAMPLE.COM"), True),
        (From.equals("BILLING@EXAMPLE.COM", case=True), False),
        (From.equals("Billing Team"), True),
        (From.equals("Billing Team <billing@example.com>"), True),
        (From.equals("example.com"), False),
        (From.equals(" billing@example.com\n"), True),
        (From.starts_with(" billing@"), True),
        (From.ends_with("@example.com "), True),
        (From.one_of([" billing@example.com"]), True),
        (From.not_equals("billing@example.com"), False),
        (From.not_equals("other@example.com"), True),
        (From.contains("@example.com"), True),
        (From.contains("Team <billing"), True),
        (From.contains("other"), False),
        (From.not_contains("other"), True),
        (From.starts_with("billing@"), True),
        (From.starts_with("Bill"), True),
        (From.starts_with("Bill", case=True), True),
        (From.starts_with("example"), False),
        (From.ends_with("@example.com"), True),
        (From.ends_with("@EXAMPLE.com", case=True), False),
        (From.one_of(["a@b", "billing@example.com"]), True),
        (From.one_of({"a@b"}), False),
        (From.glob("*@example.com"), True),
        (From.glob("billing@*.com"), True),
        (From.glob("example.com"), False),
        (From.regex(r"^billing@example\.(com|org)$"), True),
        (From.regex(r"^BILLING@"), True),
        (From.regex(r"^BILLING@", case=True), False),
        (To.contains("example.org"), True),
        (Cc.contains("example.org"), False),
        (Cc.not_contains("example.org"), True),
        (ReplyTo.equals("x"), False),
        (Subject.equals("your INVOICE 4711"), True),
        (Subject.equals("your invoice"), False),
        (Subject.contains("invoice"), True),
        (Subject.regex(r"\d{4}"), True),
        (Subject.regex(r"^\d{4}"), False),
        (Subject.glob("*invoice*"), True),
        (Subject.glob("invoice"), False),
        (Subject.contains("invoice "), True),
        (Subject.starts_with("your "), True),
        (Subject.glob("your invoice [0-9]???"), True),
        (Subject.one_of(("x", "y")), False),
        (Body.contains("customer"), True),
        (Body.equals("dear customer"), True),
        (Header("Subject").contains("invoice"), False),
    ],
    ids=repr,
)
def test_a_condition_holds_or_not(condition: Condition, holds: bool) -> None:
    assert condition.holds(BILLING) is holds
    assert (~condition).holds(BILLING) is not holds


def test_of_several_addresses_one_is_enough_and_not_means_none() -> None:
    both = mail(to=(Address("", "a@example.org"), Address("", "b@example.org")))
    assert To.equals("b@example.org").holds(both)
    assert not To.not_equals("b@example.org").holds(both)
    assert To.not_equals("c@example.org").holds(both)
    assert not (To.equals("a@example.org") & To.equals("c@example.org")).holds(both)


@pytest.mark.parametrize(
    "condition",
    [
        From.equals("boss@example.com"),
        From.contains("boss@example.com"),
        From.starts_with("boss@example.com"),
        From.glob("*@example.com*"),
        From.regex(r"@example\.com"),
        From.one_of(["boss@example.com"]),
    ],
    ids=repr,
)
def test_a_display_name_cannot_pretend_to_be_an_address(condition: Condition) -> None:
    assert not condition.holds(mail(from_=(Address("boss@example.com", "thief@example.net"),)))
    assert condition.holds(mail(from_=(Address("boss@example.com", "boss@example.com"),)))


def test_a_name_without_address_can_be_compared() -> None:
    assert From.equals("Mail Delivery System").holds(mail(from_=(Address("Mail Delivery System", ""),)))


def test_comparison_ignores_how_letters_were_typed() -> None:
    assert Subject.contains("STRASSE").holds(mail(subject="Lange Straße"))
    assert Subject.contains("é").holds(mail(subject="cafe\u0301"))
    assert Subject.regex("caf\u00e9$").holds(mail(subject="cafe\u0301"))
    assert Subject.equals("e\u0301", case=True).holds(mail(subject="é"))
    assert not Subject.contains("ss", case=True).holds(mail(subject="ß"))


@pytest.mark.parametrize(
    ("pattern", "fits", "fails"),
    [
        ("[A-_]*", ["_ab", "Qab", "qab", "^ab"], ["1ab", "{ab"]),
        ("[!A-Z]x", ["1x", "_x"], ["ax", "Ax"]),
        ("[À-Þ]1", ["à1", "Þ1"], ["a1"]),
        ("[]A-C]1", ["]1", "b1"], ["-1", "d1"]),
        ("[A-C!-]1", ["!1", "-1", "c1"], ["]1"]),
        ("[+--]", ["+", ",", "-"], ["."]),
        ("[A-Z", ["[a-z"], ["a"]),
        ("[]", ["[]"], ["["]),
        ("[\\A]", ["\\", "a"], ["b"]),
    ],
)
def test_a_range_in_brackets_means_what_it_means_with_case(pattern: str, fits: list[str], fails: list[str]) -> None:
    assert [text for text in fits if not Subject.glob(pattern).holds(mail(subject=text))] == []
    assert [text for text in fails if Subject.glob(pattern).holds(mail(subject=text))] == []


def test_regular_expressions_and_globs_are_read_as_written() -> None:
    assert Subject.regex("^re\u0301sume\u0301$").holds(mail(subject="Résumé"))
    assert Subject.glob("[[]JIRA] *").holds(mail(subject="[JIRA] new issue"))


def test_a_body_is_prepared_once_for_all_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = []

    def noted(text: str, *, case: bool) -> str:
        prepared.append(case)
        return fold(text, case=case)

    monkeypatch.setattr("airflow_imap_provider.mail.text_condition.fold", noted)
    asked = mail(text="A body that no other test has.")
    for number in range(20):
        assert not Body.contains(f"word {number}").holds(asked)
        assert not Body.equals(f"word {number}", case=True).holds(asked)
        assert not Body.regex(f"word {number}", case=number % 2 == 0).holds(asked)
    assert sorted(prepared) == [False, True, True]


def test_line_breaks_of_a_body_are_blanks_except_for_regular_expressions() -> None:
    wrapped = mail(text="Your invoice\n  number is\r\n\r\n4711")
    assert Body.contains("invoice number").holds(wrapped)
    assert Body.contains("number\nis  4711").holds(wrapped)
    assert Body.glob("your*4711").holds(wrapped)
    assert Body.regex(r"(?m)^  number is").holds(wrapped)


def test_a_body_that_was_not_fetched_is_an_error_and_not_an_empty_body() -> None:
    with pytest.raises(RuntimeError, match="before the mail's text was fetched"):
        Body.not_contains("x").holds(mail(text=None))
    assert Body.not_contains("x").holds(mail(text=None, text_parts=()))


def test_headers_are_compared_value_by_value() -> None:
    twice = mail(headers={"x-tag": ("one", "two")})
    assert Header("X-Tag").equals("two").holds(twice)
    assert Header("x-tag").exists().holds(twice)
    assert not Header("X-Tag").not_equals("two").holds(twice)
    assert not Header("X-Other").exists().holds(twice)
    assert Header("X-Other").not_contains("two").holds(twice)
    assert not Header("X-Other").equals("").holds(twice)
    assert Subject.equals("").holds(mail(subject=""))
