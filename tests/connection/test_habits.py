"""What people bring along from other programs: taken where it can mean one thing only, else told what to write."""

from __future__ import annotations

import pytest

from airflow_imap_provider.connection.field import Field
from airflow_imap_provider.connection.fields import FIELDS, field
from airflow_imap_provider.connection.habits import _SCHEMES, _WORDS
from airflow_imap_provider.connection.values import read
from airflow_imap_provider.errors import SettingsError

from .builders import CERTIFICATE, PIN, connect


def refusal(key: str, raw: object) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        read(field(key), raw)
    return caught.value


@pytest.mark.parametrize(
    ("key", "written", "remedy"),
    [
        ("host", "imap.example.com:993", "Write imap.example.com here and 993 into Port (port)."),
        ("host", "[2001:db8::1]:993", "Write 2001:db8::1 here and 993 into Port (port)."),
        ("host", "imap://IMAP.example.com/INBOX", "Write imap.example.com here."),
        (
            "host",
            "imaps://joe:s3cret@imap.example.com:993/",
            "Write imap.example.com here, 993 into Port (port) and choose ssl as Cryptographic protocol (encryption).",
        ),
        ("host", "joe@imap.example.com", "Write imap.example.com here."),
        ("host", "imap.example.com/INBOX", "Write imap.example.com here."),
        ("server_name", "imap.example.com:993", "Write imap.example.com here."),
        (
            "tunnel_host",
            "http://proxy.example.com:3128",
            "Write proxy.example.com here, 3128 into Proxy port (tunnel_port) and choose http as Proxy type "
            "(tunnel_type).",
        ),
        (
            "tunnel_host",
            "socks5h://joe:s3cret@proxy.example.com",
            "Write proxy.example.com here and choose socks5 as Proxy type (tunnel_type).",
        ),
    ],
)
def test_an_address_with_more_around_it_is_told_apart(key: str, written: str, remedy: str) -> None:
    error = refusal(key, written)
    assert error.remedy == remedy
    assert "s3cret" not in str(error)


@pytest.mark.parametrize("written", ["two words", "joe:s3cret", "imap://", "a:1:2", "imap.example.com:imap"])
def test_nothing_is_suggested_where_no_address_can_be_made_out(written: str) -> None:
    assert refusal("host", written).remedy == "Accepted are a DNS name, an IPv4 address and an IPv6 address."


@pytest.mark.parametrize(("key", "word"), _WORDS)
def test_a_word_that_is_no_choice_is_answered_with_one(key: str, word: str) -> None:
    spec = field(key)
    assert word not in spec.accepted
    error = refusal(key, word.upper())
    assert any(choice in error.remedy for choice in spec.accepted)


def test_what_schemes_ask_for_can_be_chosen() -> None:
    for remedy in _SCHEMES.values():
        value, _, name = remedy.removeprefix("choose ").partition(" as ")
        key = name.partition("(")[2].removesuffix(")")
        assert value in field(key).accepted
        assert name == field(key).name


@pytest.mark.parametrize("spec", [spec for spec in FIELDS if spec.choices and spec.key != "tls_versions"])
def test_a_choice_may_be_named_as_the_form_names_it(spec: Field) -> None:
    for choice in spec.choices:
        assert read(spec, choice.label) == read(spec, choice.value) == choice.value


@pytest.mark.parametrize("written", ["30s", "30 S", "30 sec", " 30 seconds "])
def test_seconds_may_be_called_so(written: str) -> None:
    assert read(field("timeout"), written) == 30


@pytest.mark.parametrize("written", ["1m", "30 min", "s", "30ss"])
def test_other_units_are_refused_with_the_one_that_counts(written: str) -> None:
    assert "a number of seconds from 1 to 3600" in str(refusal("timeout", written))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_a_line_break_that_was_copied_along_with_a_secret_is_said(end: str) -> None:
    error = refusal("password", f"s3cret{end}")
    assert "Password (password): it ends with a line break" in str(error)
    assert error.remedy.startswith("Remove the line break")
    assert "s3cret" not in str(error)


@pytest.mark.parametrize("end", ["\r\n", "\\n", "\r"])
def test_certificates_come_with_the_line_ends_of_any_system(end: str) -> None:
    assert connect(ca_bundle=CERTIFICATE.replace("\n", end)).tls.ca_bundle == CERTIFICATE


def test_fingerprints_come_as_tools_print_them() -> None:
    written = ["sha256:" + PIN, "SHA256 Fingerprint=" + ":".join(["AB"] * 32), " ".join(["ab"] * 32)]
    assert connect(pins=written).tls.pins == (PIN,)
    assert connect(pins="\r\n".join(written)).tls.pins == (PIN,)


def test_port_143_with_ssl_begins_with_starttls() -> None:
    settings = connect(port=143, encryption="ssl")
    assert (settings.security, settings.port) == ("starttls", 143)
