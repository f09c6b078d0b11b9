"""Authentication-Results: which are believed, what they say, and conditions about that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.mail.authentication import FIELD_LIMIT, MethodResult, read_authentication
from airflow_imap_provider.mail.conditions import AllowedSenders, AuthenticationResults, Condition
from airflow_imap_provider.mail.message import Address, Mail
from airflow_imap_provider.mail.payload import payload
from tests.mail.builders import mail, read

MX = "mx.example.org"
TRUSTED = AuthenticationResults(MX)
WANTED = ("authentication-results", "received")


def results(*fields: bytes) -> tuple[str, ...]:
    """What the server MX is believed to have found, of these values of Authentication-Results; ``-`` is a Received."""
    named = [("received" if field == b"-" else "authentication-results", field) for field in fields]
    return tuple(map(str, read_authentication(named).get(MX, ())))


GOOGLE = (
    b" mx.example.org;\r\n       dkim=pass header.i=@example.com header.s=20230601 header.b=AbC/d+==;\r\n"
    b"       spf=pass (google.com: domain of a@bounces.example.com designates 192.0.2.1 as permitted sender)"
    b" smtp.mailfrom=a@bounces.example.com;\r\n"
    b"       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=example.com"
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (GOOGLE, ("dkim=pass (example.com)", "spf=pass (bounces.example.com)", "dmarc=pass (example.com)")),
        (b"mx.example.org; none", ()),
        (b"mx.example.org 1; dmarc=fail", ("dmarc=fail",)),
        (b'"mx.example.org"; dkim=pass header.d="Example.COM."', ("dkim=pass (example.com)",)),
        (
            b"MX.Example.Org (its name); (a) dkim (b) = (c) PASS (d (e)) header.d = example.com ;",
            ("dkim=pass (example.com)",),
        ),
        (b'mx.example.org; dkim=fail reason="bad; dkim=pass" header.d=a.org', ("dkim=fail (a.org)",)),
        (
            b"mx.example.org; dkim/1=pass header.d=a.org; dkim=neutral header.d=b.org",
            ("dkim=pass (a.org)", "dkim=neutral (b.org)"),
        ),
        (b"mx.example.org; spf=pass smtp.helo=mail.example.com", ("spf=pass (mail.example.com)",)),
        (b"mx.example.org; spf=pass smtp.mailfrom=<>", ("spf=pass",)),
        (b"mx.example.org; dmarc=bestguesspass header.from=a.org", ("dmarc=unknown (a.org)",)),
        (b"mx.example.org; x-own=pass; arc=pass (i=1); dmarc=none", ("dmarc=none",)),
        (b"mx.example.org; iprev; compauth=pass reason=109; dmarc=none", ("dmarc=none",)),
    ],
)
def test_results_are_read_as_servers_write_them(value: bytes, expected: tuple[str, ...]) -> None:
    assert results(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b";",
        b"dmarc=pass header.from=example.com",
        b"spf=pass smtp.mailfrom=x; dmarc=pass",
        b"mx.example.org.evil.example; dmarc=pass",
        b"evil.example (mx.example.org); dmarc=pass",
        b"evil.example mx.example.org; dmarc=pass",
        b"evil.example; mx.example.org; dmarc=pass",
        b"mx.example.org/evil; dmarc=pass",
        b"mx.example.org; dmarc=pass (never closed",
        b'mx.example.org; dmarc=pass; dkim=pass "never closed',
        b"mx.example.org; dmarc; dkim=pass",
        b"mx.example.org; dmarc==pass",
        b"mx.example.org; dmarc=pass " + b"x" * FIELD_LIMIT,
    ],
    ids=lambda value: value[:50],
)
def test_what_cannot_be_read_or_names_another_server_says_nothing(value: bytes) -> None:
    assert results(value) == ()


FAILED = b"mx.example.org; dmarc=fail header.from=example.com"
FORGED = b"mx.example.org; dmarc=pass header.from=example.com"


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((FAILED, FORGED), id="directly below"),
        pytest.param((FAILED, b"-", FORGED), id="below a Received"),
        pytest.param((FAILED, b"other.example; dmarc=pass", FORGED), id="below another server's"),
        pytest.param((b"-", b"-", FAILED, b"-", FORGED), id="the server's own Received stands above"),
        pytest.param((b"other.example; dmarc=pass", FAILED, b"-", FORGED), id="another server's stands above"),
    ],
)
def test_what_a_sender_wrote_below_does_not_count(fields: tuple[bytes, ...]) -> None:
    assert results(*fields) == ("dmarc=fail (example.com)",)


def test_several_headers_of_one_server_count_together_and_nothing_behind_them() -> None:
    dkim, spf = b"mx.example.org; dkim=pass header.d=a.org", b"mx.example.org; spf=fail smtp.mailfrom=b.org"
    assert results(dkim, spf) == ("dkim=pass (a.org)", "spf=fail (b.org)")
    assert results(dkim, b"-", spf) == ("dkim=pass (a.org)",)
    assert results(b"mx.example.org; dkim=pass (", spf) == (), "a malformed one ends what is believed"


PIECES = (
    *(b"mx.example.org", b";", b"dmarc", b"=", b"pass", b"(", b")", b'"', b"\\", b" ", b"\xff", b"header.from", b"@"),
    *(b"1", b"none", b"\x00", b"\r\n\t"),
)


@given(st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_any_bytes_can_be_read(value: bytes) -> None:
    for result in read_authentication([("authentication-results", value)]).values():
        assert all(isinstance(each, MethodResult) for each in result)


BY_THE_BOSS = b"From: boss@example.com\r\n\r\n"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b'spf=pass smtp.mailfrom="x@example.com"@evil.com', "spf=pass (evil.com)"),
        (b'spf=pass smtp.mailfrom=<"x@example.com"@evil.com>', "spf=pass (evil.com)"),
        (b'spf=pass smtp.mailfrom="\\"x@example.com\\"@evil.com"', "spf=pass (evil.com)"),
        (b'spf=pass smtp.mailfrom="a".x@example.com@evil.com', "spf=pass (evil.com)"),
        (b"spf=pass smtp.mailfrom=x+d=example.com@evil.com", "spf=pass (evil.com)"),
        (b"spf=pass smtp.mailfrom=x@example.com=evil.com", "spf=pass (?)"),
        (b'spf=pass smtp.mailfrom="x@example.com" @evil.com', "spf=pass (?)"),
        (b"spf=pass smtp.mailfrom=x@example.com(a)@evil.com", "spf=pass (?)"),
        (b'spf=pass smtp.mailfrom=x@example.com"a"@evil.com', "spf=pass (evil.com)"),
        (b"spf=pass smtp.mailfrom=x@example.com smtp.mailfrom=y@evil.com", "spf=pass (?)"),
        (b"spf=pass smtp.mailfrom= smtp.helo=example.com", "spf=pass (?)"),
        (b"spf=pass smtp.mailfrom=x@[example.com]", "spf=pass (?)"),
        (b"spf=pass example.com smtp.mailfrom=x@example.com", "spf=pass (?)"),
        (b'dkim=pass header.i="x@example.com"@evil.com', "dkim=pass (evil.com)"),
        (b"dkim=pass header.i=@evil.com header.d=example.com header.d=evil.com", "dkim=pass (?)"),
        (b'dmarc=pass header.from="x@example.com"@evil.com', "dmarc=pass (evil.com)"),
        (b"dmarc=pass header.from=boss@example.com @evil.com", "dmarc=pass (?)"),
        (b"dmarc=pass header.from=", "dmarc=pass (?)"),
    ],
)
def test_a_domain_that_a_sender_chose_as_a_part_of_his_address_does_not_pass(value: bytes, told: str) -> None:
    """A local part may be quoted, and have anything in it (RFC 5321, section 4.1.2)."""
    found = read(b"Authentication-Results: mx.example.org; " + value + b"\r\n" + BY_THE_BOSS, headers=WANTED)
    assert [str(each) for each in found.authentication[MX]] == [told]
    for method in (TRUSTED.spf, TRUSTED.dkim, TRUSTED.dmarc):
        assert not method.passes().holds(found)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b'spf=pass smtp.mailfrom="x y"@example.com', "spf=pass (example.com)"),
        (b'spf=pass smtp.mailfrom="x@example.com"', "spf=pass (example.com)"),
        (b"spf=pass smtp.mailfrom=prvs=0123ab=x@example.com", "spf=pass (example.com)"),
        (b'spf=pass reason="a = b" (c) smtp.mailfrom = x@example.com', "spf=pass (example.com)"),
        (b"dkim=pass (2048-bit key) header.d=example.com header.b=AbC/d+==", "dkim=pass (example.com)"),
    ],
)
def test_addresses_are_read_as_servers_quote_them(value: bytes, told: str) -> None:
    assert results(b"mx.example.org; " + value) == (told,)


def test_an_address_that_a_server_did_not_quote_makes_the_header_unreadable() -> None:
    assert results(b"mx.example.org; spf=pass smtp.mailfrom=x@example.com; y@evil.com") == ()


def checked(*found: tuple[str, str, str], sender: str = "billing@example.com", server: str = MX) -> bool:
    return TRUSTED.dmarc.passes().holds(with_results(*found, sender=sender, server=server))


def with_results(*found: tuple[str, str, str], sender: str = "billing@example.com", server: str = MX) -> Mail:
    return mail(
        from_=tuple(Address("", each) for each in sender.split()),
        authentication={server: tuple(MethodResult(*each) for each in found)},
    )


def test_dmarc_passes_for_the_domain_of_from_alone() -> None:
    assert checked(("dmarc", "pass", "example.com"))
    assert checked(("dmarc", "pass", ""))
    assert not checked(("dmarc", "pass", "example.net"))
    assert not checked(("dmarc", "fail", "example.com"))
    assert not checked(("dmarc", "pass", "example.com"), server="mx.evil.example")
    assert not checked(("dmarc", "pass", ""), ("dmarc", "fail", ""))
    assert not checked(("dmarc", "pass", ""), sender="billing@example.com thief@example.net")
    assert not checked(("dmarc", "pass", ""), sender="billing")
    assert not checked()


@pytest.mark.parametrize(
    ("condition", "method", "domain", "holds"),
    [
        (TRUSTED.dkim.passes(), "dkim", "example.com", True),
        (TRUSTED.dkim.passes(), "dkim", "sub.example.com", False),
        (TRUSTED.dkim.passes(), "dkim", "com", False),
        (TRUSTED.dkim.passes(), "dkim", "ample.com", False),
        (TRUSTED.dkim.passes(), "dkim", "", False),
        (TRUSTED.dkim.passes("Bulk.Example.NET"), "dkim", "bulk.example.net", True),
        (TRUSTED.dkim.passes("bulk.example.net"), "dkim", "example.com", False),
        (TRUSTED.spf.passes(), "spf", "example.com", True),
        (TRUSTED.spf.passes(), "dkim", "example.com", False),
        (TRUSTED.dkim.equals("pass"), "dkim", "example.com", True),
    ],
    ids=repr,
)
def test_a_pass_counts_for_a_domain_that_belongs_to_the_sender(
    condition: Condition, method: str, domain: str, holds: bool
) -> None:
    assert condition.holds(with_results((method, "pass", domain))) is holds


def test_a_parents_signature_is_good_for_the_domains_below_it() -> None:
    signed = with_results(("dkim", "pass", "example.com"), sender="a@mail.example.com")
    assert TRUSTED.dkim.passes().holds(signed)


def test_another_result_can_be_asked_for() -> None:
    soft = with_results(("spf", "softfail", "example.net"))
    assert TRUSTED.spf.equals("softfail").holds(soft)
    assert not TRUSTED.spf.equals("fail").holds(soft)
    assert TRUSTED.spf.equals("softfail").values(soft) == ("spf=softfail (example.net)",)


@pytest.mark.parametrize(
    ("senders", "holds"),
    [
        ("billing@example.com", True),
        ("BILLING@EXAMPLE.COM", True),
        ("other@example.com", False),
        ("any@example.org", True),
        ("any@sub.example.org", False),
        ("any@a.b.example.net", True),
        ("any@example.net", False),
        ("any@notexample.org", False),
        ("billing@example.com any@example.org", True),
        ("billing@example.com thief@evil.example", False),
        ("billing@example.com@evil.example", False),
        ("@example.org", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_every_author_must_be_on_the_list(senders: str, holds: bool) -> None:
    allowed = AllowedSenders(["Billing@example.com", "@example.org", "@*.example.net"])
    assert allowed.holds(mail(from_=tuple(Address("", each) for each in senders.split()))) is holds


def test_an_address_in_a_name_is_not_on_the_list() -> None:
    assert not AllowedSenders(["@example.com"]).holds(mail(from_=(Address("boss@example.com", "thief@evil.example"),)))


def test_the_results_are_read_with_the_mail_and_told_in_the_payload() -> None:
    header = (
        b"Received: by mx.example.org\r\nAuthentication-Results:" + GOOGLE + b"\r\n"
        b"Received: from evil\r\nAuthentication-Results: mx.example.org; spf=fail\r\nFrom: a@example.com\r\n\r\n"
    )
    found = read(header, headers=WANTED)
    assert TRUSTED.dmarc.passes().holds(found)
    told = payload(found, servers=["other.example", MX])["trust"]
    expected = {"dkim": "pass", "dmarc": "pass", "spf": "pass (bounces.example.com)"}
    assert told == {"authentication": {MX: expected, "other.example": {}}}
    assert read(header).authentication == {}, "it takes both headers"
    assert payload(found)["trust"] == {}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"dkim=pass header.d=evil.com", "pass (evil.com)"),
        (b"dkim=pass header.d=example.com", "pass"),
        (b"dkim=pass header.d=evil.com; dkim=pass header.d=example.com", "pass"),
        (b"dkim=fail header.d=example.com; dkim=pass header.d=evil.com", "pass (evil.com)"),
        (b"dkim=pass header.d=evil.com; dkim=fail header.d=example.com", "pass (evil.com)"),
        (b"dkim=fail header.d=example.com; dkim=none", "fail"),
        (b"dkim=pass", "pass (?)"),
        (b"spf=pass smtp.mailfrom=x@evil.com", "pass (evil.com)"),
        (b'spf=pass smtp.mailfrom="boss@example.com"@evil.com', "pass (evil.com)"),
        (b"spf=softfail smtp.mailfrom=x@evil.com", "softfail"),
        (b"dmarc=pass header.from=example.com", "pass"),
        (b"dmarc=pass", "pass"),
        (b"dmarc=pass header.from=evil.com", "pass (evil.com)"),
        (b"dmarc=pass header.from=example.com; dmarc=fail header.from=example.com", "pass (example.com)"),
        ("dkim=pass header.d=évil.com".encode(), "pass (?)"),
        (b"dkim=pass header.d=" + b"x" * 200 + b".com", f"pass ({'x' * 31}…)"),
    ],
)
def test_in_the_payload_pass_alone_means_what_the_condition_means(value: bytes, told: str) -> None:
    """Whoever looks at the payload is not taken in by a domain that passes for itself."""
    found = read(b"Authentication-Results: mx.example.org; " + value + b"\r\n" + BY_THE_BOSS, headers=WANTED)
    shown: Any = payload(found, servers=[MX])["trust"]
    [(method, result)] = shown["authentication"][MX].items()
    assert result == told
    assert getattr(TRUSTED, method).passes().holds(found) is (result == "pass")


def test_the_headers_that_trust_needs_are_fetched() -> None:
    condition = TRUSTED.dmarc.passes() & ~AuthenticationResults("MX2.example.org").spf.equals("fail")
    assert condition.headers == frozenset(WANTED)
    assert condition.servers == {MX, "mx2.example.org"}


BOSS, THIEF = b"From: boss@example.com\r\n", b"From: thief@evil.com\r\n"
LISTED = AllowedSenders(["boss@example.com", "@example.com"])


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"From: " + b"boss@example.com, " * 3_000 + b"thief@evil.com\r\n", id="behind many addresses"),
        pytest.param(BOSS * 60 + THIEF, id="behind many fields"),
        pytest.param(b"From:\r\n" * 60 + BOSS + THIEF, id="behind empty fields"),
        pytest.param(BOSS + b"Cc: a@example.com\r\n" * 600 + THIEF, id="behind other fields"),
        pytest.param(BOSS + b"Subject: " + b"x" * 200_000 + b"\r\n" + THIEF, id="behind a long field"),
        pytest.param(b"From: <thief@evil.com boss@example.com>\r\n", id="two in brackets"),
        pytest.param(b"From: <thief@evil.com@example.com>\r\n", id="two signs"),
        pytest.param(b"From: <thief@evil.com(@example.com)\r\n", id="in a comment"),
    ],
)
def test_a_stranger_is_not_overlooked_among_the_authors(header: bytes) -> None:
    """Not even with a server that does not say whose DMARC has passed."""
    found = read(b"Authentication-Results: mx.example.org; dmarc=pass\r\n" + header + b"\r\n", headers=WANTED)
    gate = LISTED & TRUSTED.dmarc.passes()
    assert not gate.holds(found)


@pytest.mark.parametrize(
    "author",
    [
        b"boss@example.com",
        b'"a b"@example.com',
        b'"a@evil.com"@example.com',
        b"Boss <Boss@Example.com>",
        b"b+c@example.com",
    ],
)
def test_an_author_is_known_by_the_domain_of_the_address(author: bytes) -> None:
    found = read(b"Authentication-Results: mx.example.org; dmarc=pass\r\nFrom: " + author + b"\r\n\r\n", headers=WANTED)
    assert LISTED.holds(found)
    assert TRUSTED.dmarc.passes().holds(found)
