"""Addresses as people write them, and the header lines made of them: ASCII, short, and nothing else in them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.addresses import parse_addresses
from airflow_imap_provider.mailbox.actions import Forward
from airflow_imap_provider.mailbox.recipients import Person, one_person, people_line


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("ann@example.com", "", "ann@example.com"),
        ("Ann <ann@example.com>", "Ann", "ann@example.com"),
        ('"Doe, Ann" <ann@example.com>', "Doe, Ann", "ann@example.com"),
        ("ann@example.com (Ann)", "Ann", "ann@example.com"),
        ("a..b@docomo.ne.jp", "", '"a..b"@docomo.ne.jp'),
        (".a@example.com", "", '".a"@example.com'),
        ("Ann <a.@docomo.ne.jp>", "Ann", '"a."@docomo.ne.jp'),
        ('"a..b"@docomo.ne.jp', "", '"a..b"@docomo.ne.jp'),
        ('"ann"@example.com', "", "ann@example.com"),
        ("ann+x=y/z@mail_1.example.com", "", "ann+x=y/z@mail_1.example.com"),
        ("ann@[192.0.2.1]", "", "ann@[192.0.2.1]"),
        ("ann@[IPv6:2001:db8::1]", "", "ann@[IPv6:2001:db8::1]"),
        ("Ann <ann@[192.0.2.1]>", "Ann", "ann@[192.0.2.1]"),
        ("root@localhost", "", "root@localhost"),
        ("Ann (Sales)  Doe <ann@example.com>", "Ann (Sales) Doe", "ann@example.com"),
        ("Ann <ann@example.com> (Sales)", "Ann", "ann@example.com"),
        ('"A \\"b\\" (c)" < ann@example.com >', 'A "b" (c)', "ann@example.com"),
        ("<ann@example.com>", "", "ann@example.com"),
    ],
)
def test_an_address_is_taken_as_it_exists_and_written_as_smtp_has_it(text: str, name: str, address: str) -> None:
    assert one_person(text, "to") == Person(name, address)
    assert Forward(text).options == (("to", (text,)),)


@pytest.mark.parametrize(
    "text",
    [
        "ann",
        "@example.com",
        "ann@",
        "a@x.",
        "a@-x..y",
        "a@]",
        "a@x]y",
        "a b@example.com",
        '"a b"@example.com',
        '"x@example.com"@example.org',
        '"a\\"b"@example.com',
        "grüße@example.com",
        "ann@bücher.example",
        "ann@example.com, bob@example.com",
        "Ann <ann@example.com>, Bob <bob@example.com>",
        "Ann <ann@example.com> Bob <bob@example.com>",
        "Doe, Ann <ann@example.com>",
        "bob@example.com <ann@example.com>",
        "team: ann@example.com;",
        '"Ann <ann@example.com>',
        f"{chr(34) * 50_001}<",
        f"ann@example.com{'(' * 50_000}",
        f"ann@example.com{' ' * 50_000}x",
        "ann@example.com\r\nBcc: bob@example.com",
        "Ann\n<ann@example.com>",
        "ann@example.com\0",
        "Ann\x85 <ann@example.com>",
        "Ann\u2028 <ann@example.com>",
        "Ann\udc80 <ann@example.com>",
        f"{'a' * 250}@example.com",
    ],
)
def test_what_is_no_address_is_an_error_of_the_option(text: str) -> None:
    for option in ("to", "cc", "bcc", "reply_to", "sender"):
        with pytest.raises(SettingsError, match=f"{option}=.*(one address is accepted, in ASCII|a text on one line)"):
            Forward(**cast("dict[str, Any]", {"to": "team@example.com"} | {option: text}))


NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs"), include_characters=" "), max_size=300)


ADDRESSES = ["ann@example.com", '"a..b"@docomo.ne.jp', f"{'a' * 64}@{'b' * 63}.example.com"]
PEOPLE = st.builds(
    lambda name, address: Person(" ".join(name.split()), address),
    NAMES | st.text(st.sampled_from('ab"\\<>(),;:@.=?_ é'), max_size=80),
    st.sampled_from(ADDRESSES),
)


@given(st.lists(PEOPLE, min_size=1, max_size=5))
def test_any_name_makes_a_header_that_is_read_as_it_was_meant(people: list[Person]) -> None:
    line = people_line("Reply-To", people)
    assert line.isascii()
    assert b"\0" not in line
    *physical, end = line.split(b"\r\n")
    assert end == b""
    assert all(len(each) <= 998 and b"\r" not in each and b"\n" not in each for each in physical)
    assert all(each.startswith(b" ") and each.strip() for each in physical[1:])
    problems: list[str] = []
    read = parse_addresses(line.partition(b":")[2], "", problems)
    assert [(each.name, each.address) for each in read] == [(each.name, each.address) for each in people]
    assert problems == []
