"""Conditions on attachments, sizes, flags, signatures and encryption."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.conditions import (
    AllowedSenders,
    Attachment,
    AuthenticationResults,
    Condition,
    Encrypted,
    Flags,
    Received,
    Sent,
    Signed,
    Size,
    SmimeSignature,
    SmimeSigner,
)
from airflow_imap_provider.mail.message import Attachment as Part
from airflow_imap_provider.mail.smime.outcome import SignatureOutcome, SmimeOutcome
from tests.mail.builders import mail

TWO = mail(
    attachments=(
        Part("Invoice.CSV", "text/csv", 500, "2", "base64"),
        Part("scan.pdf", "application/pdf", 2_000_000, "3", "base64"),
    ),
    size=3_000_000,
    flags=("\\Seen", "Processed"),
)
NONE = mail(attachments=(), flags=())


@pytest.mark.parametrize(
    ("condition", "of_two", "of_none"),
    [
        (Attachment.exists(), True, False),
        (~Attachment.exists(), False, True),
        (Attachment.count.equals(2), True, False),
        (Attachment.count.at_most(1), False, True),
        (Attachment.count.at_least(2), True, False),
        (Attachment.name.glob("*.csv"), True, False),
        (Attachment.name.glob("*.csv", case=True), False, False),
        (Attachment.every.name.glob("*.csv"), False, False),
        (Attachment.every.name.regex(r"\.(csv|pdf)$"), True, False),
        (Attachment.name.not_contains("scan"), False, True),
        (Attachment.name.one_of(["scan.pdf", "x"]), True, False),
        (Attachment.type.equals("application/pdf"), True, False),
        (Attachment.type.starts_with("image/"), False, False),
        (Attachment.every.type.contains("/"), True, False),
        (Attachment.size.larger_than("1 MB"), True, False),
        (Attachment.every.size.larger_than("1 MB"), False, False),
        (Attachment.every.size.at_least(500), True, False),
        (Attachment.size.equals("0.5 kB"), True, False),
        (Attachment.size.not_equals(500), False, True),
        (Size.larger_than(2_999_999), True, False),
        (Size.larger_than("3 MB"), False, False),
        (Size.at_least("3MB"), True, False),
        (Size.smaller_than("1 TB") & Size.smaller_than("1 TiB"), True, True),
        (Size.at_most("2.9 MiB"), True, True),
        (Size.smaller_than("4.3 KiB"), False, True),
        (Size.equals(4321), False, True),
        (Flags.has("\\Seen"), True, False),
        (Flags.has("\\seen"), True, False),
        (Flags.lacks("\\Seen"), False, True),
        (Flags.has("processed"), True, False),
        (Flags.has("Process"), False, False),
    ],
    ids=repr,
)
def test_a_condition_holds_or_not(condition: Condition, of_two: bool, of_none: bool) -> None:
    assert condition.holds(TWO) is of_two
    assert condition.holds(NONE) is of_none


@pytest.mark.parametrize(
    ("condition", "kinds"),
    [
        (Signed(), {"smime-signed", "pgp-signed"}),
        (Signed("smime"), {"smime-signed"}),
        (Signed("pgp"), {"pgp-signed"}),
        (Encrypted(), {"smime-encrypted", "pgp-encrypted"}),
        (Encrypted("smime"), {"smime-encrypted"}),
        (Encrypted("pgp"), {"pgp-encrypted"}),
    ],
    ids=repr,
)
def test_how_a_mail_is_protected_is_told_by_its_structure(condition: Condition, kinds: set[str]) -> None:
    assert not condition.holds(mail())
    for kind in ("smime-signed", "pgp-signed", "smime-encrypted", "pgp-encrypted"):
        assert condition.holds(mail(protection=(kind,))) is (kind in kinds)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Size.larger_than("1 XB"), r"Size.larger_than cannot use '1 XB'.*1.5 MiB"),
        (lambda: Size.larger_than(-1), "cannot use -1"),
        (lambda: Size.larger_than(1.5), "cannot use 1.5"),
        (lambda: Size.larger_than(True), "cannot use True"),
        (lambda: Size.smaller_than(0), "can never hold"),
        (lambda: Size.at_least(2**60), "cannot use"),
        (lambda: Attachment.count.equals("2"), "Attachment.count.equals cannot use '2'"),
        (lambda: Attachment.name.glob(""), "Attachment.name.glob needs a text"),
        (lambda: Attachment.every.name.glob(7), "Attachment.every.name.glob takes text, not int"),
        (lambda: Flags.has("\\Recent"), r"Flags.has cannot use .*Recent"),
        (lambda: Flags.has("two words"), "cannot use 'two words'"),
        (lambda: Flags.has("a\r\nb"), "cannot use"),
        (lambda: Flags.has(7), "cannot use 7"),
        (lambda: Flags.has("x" * 201), "cannot use"),
        (lambda: Signed("gpg"), "Signed cannot use 'gpg'.*'smime' or 'pgp'"),
        (lambda: AllowedSenders([]), "takes 1 to 1000 senders, not 0"),
        (lambda: AllowedSenders("@example.com"), "takes a list, not str"),
        (lambda: AllowedSenders(["example.com"]), "cannot use 'example.com'.*@example.org|@example.com"),
        (lambda: AllowedSenders(["*@example.com"]), "cannot use"),
        (lambda: AllowedSenders(["@"]), "cannot use '@'"),
        (lambda: AllowedSenders([7]), "cannot use 7"),
        (AuthenticationResults("").dmarc.passes, "cannot use the server ''.*mx.google.com"),
        (AuthenticationResults("a b").dmarc.passes, "cannot use the server"),
        (lambda: AuthenticationResults("mx").dmarc.equals("good"), "no result 'good'.*pass"),
        (lambda: AuthenticationResults("mx").dkim.passes("a b"), "cannot use the domain 'a b'"),
        (lambda: Received.older_than("2 fortnights"), "Received.older_than cannot use '2 fortnights'.*'2 days'"),
        (lambda: Received.newer_than("0 days"), "cannot use '0 days'"),
        (lambda: Sent.newer_than(7), "Sent.newer_than cannot use 7"),
        (lambda: Sent.older_than("9999999999 weeks"), "at most 100 years"),
        (lambda: Sent.after("yesterday"), "Sent.after cannot use 'yesterday'"),
    ],
)
def test_a_mistake_is_told_when_the_condition_is_made(make: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"field": "size", "op": "contains", "value": 1}, "'contains' is no operator for size"),
        ({"field": "size", "op": "equals", "value": "x"}, "Size.equals cannot use 'x'"),
        ({"field": "size", "op": "equals", "value": 1, "every": True}, "unknown key 'every'"),
        ({"field": "attachment_size", "op": "equals", "value": 1, "every": 1}, "every is True or False, not 1"),
        ({"field": "attachment_name", "op": "glob", "value": "*", "every": 0}, "every is True or False, not 0"),
        ({"field": "subject", "op": "glob", "value": "*", "every": True}, "unknown key 'every'"),
        ({"field": "flags", "op": "has"}, "Flags.has cannot use None"),
        ({"field": "signed", "op": "equals", "value": ""}, "'' is no kind of signed"),
        ({"field": "signed", "op": "exists", "value": "pgp"}, "unknown key 'value'"),
        ({"field": "senders", "op": "one_of", "value": None}, "takes a list, not NoneType"),
        ({"field": "authentication", "op": "equals", "value": "pass"}, "cannot use the server ''"),
        (
            {"field": "authentication", "op": "equals", "value": "fail", "server": "a", "method": "spf", "domain": "b"},
            "only a result 'pass'",
        ),
        (
            {"field": "authentication", "op": "equals", "value": [], "server": "a", "method": "spf"},
            r"no result \[\]",
        ),
        ({"field": "received", "op": "older_than", "value": 7}, "Received.older_than cannot use 7"),
        ({"field": "sent", "op": "on", "value": None}, "Sent.on cannot use None"),
    ],
)
def test_json_that_means_nothing_is_refused(data: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Condition.from_json(data)


def test_signatures_are_asked_for_their_state_and_their_signer() -> None:
    valid = SignatureOutcome("valid", ("Boss@example.com", "ceo@example.com"))
    other = SignatureOutcome("untrusted", ("thief@example.net",))
    both = mail(protection=("smime-signed",), smime=SmimeOutcome("", (other, valid)))
    bad = mail(protection=("smime-signed",), smime=SmimeOutcome("", (other,)))
    for condition, of_both, of_bad, of_none in (
        (SmimeSignature.is_valid(), True, False, False),
        (SmimeSignature.equals("untrusted"), False, True, False),
        (SmimeSigner.equals("boss@example.com"), True, False, False),
        (SmimeSigner.one_of(["x@example.com", "ceo@example.com"]), True, False, False),
        (SmimeSigner.ends_with("@example.net"), False, False, False),
        (SmimeSigner.not_equals("boss@example.com"), False, True, True),
    ):
        assert [condition.holds(each) for each in (both, bad, mail())] == [of_both, of_bad, of_none]
        assert Condition.from_json(condition.to_json()) == condition
        assert (condition.needs_smime, condition.needs_text) == (True, False)


def test_a_signature_that_nobody_has_looked_at_is_not_decided_about() -> None:
    for condition in (SmimeSignature.is_valid(), SmimeSigner.equals("a@example.com")):
        with pytest.raises(RuntimeError, match="before it was checked"):
            condition.holds(mail(protection=("smime-signed",)))


def test_an_unknown_state_or_an_empty_signer_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match=r"SmimeSignature has no state 'good'\. Choose one of valid, other-sender"):
        SmimeSignature.equals("good")
    with pytest.raises(SettingsError, match=r"SmimeSigner\.equals needs a text"):
        SmimeSigner.equals("")
    with pytest.raises(SettingsError, match="unknown key"):
        Condition.from_json({"field": "smime_signature", "op": "equals", "value": "valid", "x": 1})
