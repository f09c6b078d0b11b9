"""Address lists as mail has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.mail.addresses import ADDRESSES_LIMIT, parse_addresses
from tests.mail.strategies import header_values


def parsed(value: bytes, code_page: str = "windows-1252") -> list[tuple[str, str]]:
    return [(address.name, address.address) for address in parse_addresses(value, code_page, [])]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b" a@b.example", [("", "a@b.example")], id="bare address"),
        pytest.param(b'"Doe, John" <j@x.example>', [("Doe, John", "j@x.example")], id="quoted comma"),
        pytest.param(b"Doe, John <j@x.example>, b@c", [("Doe, John", "j@x.example"), ("", "b@c")], id="unquoted comma"),
        pytest.param(b"root, <j@x>", [("", "root"), ("", "j@x")], id="local user before an address without name"),
        pytest.param(b"undisclosed-recipients:;", [], id="empty group"),
        pytest.param(
            b"Team: a@b, C <c@d>; e@f", [("", "a@b"), ("C", "c@d"), ("", "e@f")], id="members of a group and others"
        ),
        pytest.param(b"=?utf-8?Q?Doe,_J=C3=B6rg?= <j@x>", [("Doe, Jörg", "j@x")], id="comma in an encoded word"),
        pytest.param(b'"=?utf-8?B?SsO2cmc=?=" <j@x>', [("Jörg", "j@x")], id="encoded word in quotes"),
        pytest.param(b"=?utf-8?Q?J?=\r\n =?utf-8?Q?=C3=B6?= <j@x>", [("Jö", "j@x")], id="folded encoded words"),
        pytest.param(b"J\xc3\xb6rg <j@x>", [("Jörg", "j@x")], id="raw UTF-8"),
        pytest.param(b"J\xf6rg <j@x>", [("Jörg", "j@x")], id="raw code page"),
        pytest.param(b"John <j@x, Jane <k@x>", [("John", "j@x"), ("Jane", "k@x")], id="missing closing bracket"),
        pytest.param(b"A <a@x> B <b@x>", [("A", "a@x"), ("B", "b@x")], id="missing comma"),
        pytest.param(b'"John <j@x>', [("John", "j@x")], id="missing closing quote"),
        pytest.param(b"invoice>billing@x", [("invoice", "billing@x")], id="closing bracket that closes nothing"),
        pytest.param(b"j@x (John (the) Doe)", [("John (the) Doe", "j@x")], id="comment as name"),
        pytest.param(b"John Doe j@x", [("John Doe", "j@x")], id="missing brackets"),
        pytest.param(b"user @ host . example", [("", "user@host.example")], id="blanks within an address"),
        pytest.param(b"<@a,@b:u@c>", [("", "u@c")], id="source route"),
        pytest.param(b"root", [("", "root")], id="without domain"),
        pytest.param(b"Mail Delivery System", [("Mail Delivery System", "")], id="only a name"),
        pytest.param(b"<mailto:a@b>", [("", "a@b")], id="mailto"),
        pytest.param(b"mailto:a@b", [("", "a@b")], id="mailto without brackets"),
        pytest.param(b'"john doe"@x.example', [("", '"john doe"@x.example')], id="quoted local part"),
        pytest.param(b"a@[IPv6:::1]", [("", "a@[IPv6:::1]")], id="address literal"),
        pytest.param(b"a@b;c@d", [("", "a@b"), ("", "c@d")], id="semicolons"),
        pytest.param(b"<>", [], id="null address"),
        pytest.param(b" ,, ,", [], id="nothing between commas"),
        pytest.param(b"", [], id="empty"),
        pytest.param(b"a@b.example <c@d>", [("a@b.example", "c@d")], id="address as a name"),
        pytest.param(b"a@b c@d", [("", "a@b"), ("", "c@d")], id="bare addresses without a comma"),
        pytest.param(b"<a@b> c@d x", [("c@d x", "a@b"), ("", "c@d")], id="a bare address behind brackets"),
        pytest.param(b"a@b A@B <a@b>", [("a@b A@B", "a@b")], id="the address as a name, twice"),
        pytest.param(b"a@b A@B", [("", "a@b")], id="one address twice"),
        pytest.param(b'a@b "c@d"', [('"c@d"', "a@b")], id="an address in quotes behind another"),
        pytest.param(b'z "p "@" q"', [("", 'z "p "@" q"')], id="an @ between quotes"),
        pytest.param("Jö <jö@exämple.de>".encode(), [("Jö", "jö@exämple.de")], id="internationalised address"),
    ],
)
def test_an_address_list_is_read(value: bytes, expected: list[tuple[str, str]]) -> None:
    assert parsed(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"=?utf-8?Q?Boss_=3Cboss=40example.com=3E?=",
        b"=?utf-8?Q?boss=40example.com?= <>",
        b"<=?utf-8?Q?boss=40example.com?=>",
        b"=?utf-8?Q?boss?=@example.com",
    ],
)
def test_an_encoded_word_never_becomes_an_address(value: bytes) -> None:
    assert [address for _, address in parsed(value)] == [""]
    assert "boss@example.com" in parsed(value)[0][0]


def test_an_encoded_word_that_holds_brackets_hides_what_looks_like_an_address() -> None:
    assert parsed(b'"=?utf-8?B?" <boss@example.com> "?="') == parsed(b"=?utf-8?B?bossexamplecom?=")


def test_an_address_without_a_domain_is_told_as_a_defect() -> None:
    problems: list[str] = []
    parse_addresses(b"root", "", problems)
    assert problems == ["an address without @"]


def test_an_address_without_a_comma_before_it_is_told_as_a_defect() -> None:
    problems: list[str] = []
    parse_addresses(b"a@b c@d", "", problems)
    assert problems == ["addresses without a comma between"]


@pytest.mark.parametrize("between", [",", " ", ", <a@b> "])
def test_only_so_many_addresses_are_looked_at(between: str) -> None:
    problems: list[str] = []
    found = parse_addresses(between.join(f"a@b{n}" for n in range(ADDRESSES_LIMIT + 10)).encode(), "", problems)
    assert len(found) == ADDRESSES_LIMIT
    assert problems[-1] == f"only the first {ADDRESSES_LIMIT} addresses are looked at"


@given(st.binary(max_size=200) | header_values)
def test_any_bytes_give_addresses_that_can_be_stored(value: bytes) -> None:
    for address in parse_addresses(value, "windows-1252", []):
        assert address.name or address.address
        for text in (address.name, address.address):
            text.encode("utf-8")
            assert "\n" not in text
            assert "\0" not in text


@pytest.mark.parametrize(
    "piece",
    [
        b'"',
        b"(",
        b'\\"',
        b"[",
        b"<",
        b"=?a?Q?",
        b"a@b,",
        b"a,",
        b"(\\",
        b"=?",
        b":",
        b"@",
        b" @ ",
        b'"\\',
        b"<@a,",
        b"a@b ",
        b"<> a@b",
    ],
)
@pytest.mark.timeout(60)  # a quadratic parser would need hours
def test_time_is_linear_in_the_length(piece: bytes) -> None:
    parse_addresses(piece * (1_000_000 // len(piece)), "", [])
