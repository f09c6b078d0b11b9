from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.connection.hosts import host_name, is_address


@pytest.mark.parametrize(
    ("written", "host"),
    [
        (" Imap.Example.COM ", "imap.example.com"),
        ("imap.example.com.", "imap.example.com"),
        ("localhost", "localhost"),
        ("mail_relay.internal", "mail_relay.internal"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[fe80::1%25eth0]", "fe80::1%eth0"),
        ("fe80::1%25", "fe80::1%25"),
        ("::FFFF:c000:207", "::ffff:192.0.2.7"),
        ("::ffff:192.0.2.7%eth0", "::ffff:192.0.2.7%eth0"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
    ],
)
def test_one_host_has_one_form(written: str, host: str) -> None:
    assert host_name(written) == host


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "empty"),
        ("imap://imap.example.com", "leave out the part up to ://"),
        ("imap.example.com:993", "leave out :993"),
        ("[2001:db8::1]:993", "leave out :993"),
        ("joe@imap.example.com", "leave out the part up to @"),
        ("imap.example.com/INBOX", "leave out the part from / on"),
        ("imap example.com", "blank"),
        ("[2001:db8::1", "an IPv6 address looks like"),
        ("2001:db8::zz", "an IPv6 address looks like"),
        ("300.0.0.1", "four numbers from 0 to 255"),
        ("imap..example.com", "not a host name"),
        ("imap.example.com\x00", "letters, digits, dots and hyphens"),
        ("-imap.example.com", "letters, digits, dots and hyphens"),
        ("a" * 64 + ".example", "not a host name"),
        (".".join(["a" * 60] * 5), "letters, digits, dots and hyphens"),
    ],
)
def test_what_is_no_host_is_refused_with_what_to_write_instead(written: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        host_name(written)
    assert said in str(caught.value)


@given(st.text())
def test_a_host_in_its_form_stays_in_it(text: str) -> None:
    try:
        host = host_name(text)
    except ValueError:
        return
    assert host_name(host) == host
    assert host.isascii() or is_address(host)
