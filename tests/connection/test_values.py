from __future__ import annotations

from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.connection.field import Field, Kind
from airflow_imap_provider.connection.fields import FIELDS, field
from airflow_imap_provider.connection.values import Value, Values, read
from airflow_imap_provider.errors import SettingsError

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
every_field = pytest.mark.parametrize("spec", FIELDS, ids=attrgetter("key"))


def read_or_refusal(spec: Field, raw: Any) -> tuple[Value | None, str | None]:
    try:
        return read(spec, raw), None
    except SettingsError as error:
        return None, str(error)


TYPES = {
    Kind.INTEGER: int,
    Kind.NUMBER: float,
    Kind.FLAG: bool,
    Kind.CHOICES: tuple,
    Kind.PINS: tuple,
}


@every_field
@given(raw=json_values)
def test_any_value_is_either_read_with_the_type_of_its_kind_or_refused_by_name(spec: Field, raw: Any) -> None:
    value, refusal = read_or_refusal(spec, raw)
    assert value is None or type(value) is TYPES.get(spec.kind, str)
    assert refusal is None or (spec.name in refusal and spec.tab in refusal)
    assert value is None or read(spec, value) == value, "what was read is read again as the same"


@every_field
@given(raw=st.text(alphabet="abcdefgh\n", min_size=8))
def test_no_error_shows_a_secret(spec: Field, raw: str) -> None:
    _, refusal = read_or_refusal(spec, raw)
    assert refusal is None or not spec.secret or raw not in refusal


@every_field
@pytest.mark.parametrize("raw", [None, "", [], ()])
def test_nothing_means_not_set(spec: Field, raw: object) -> None:
    assert read(spec, raw) is None


@pytest.mark.parametrize("spec", [spec for spec in FIELDS if not spec.secret], ids=attrgetter("key"))
def test_blanks_alone_mean_not_set(spec: Field) -> None:
    assert read(spec, "  ") is None


def test_a_password_may_begin_and_end_with_blanks() -> None:
    assert read(field("password"), "  two  ") == "  two  "


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("port", "993", 993),
        ("port", 993.0, 993),
        ("timeout", "12.5", 12.5),
        ("timeout", 60, 60.0),
        ("strict_x509", "False", False),
        ("strict_x509", 0, False),
        ("strict_x509", "on", True),
        ("encryption", "SSL", "ssl"),
        ("auth_method", "CRAM_MD5", "cram-md5"),
        ("tls_versions", "TLSv1.3, TLSv1.2", ("TLSv1.2", "TLSv1.3")),
        ("tls_versions", ["TLS 1.0", "tlsv1.1", "TLSv1"], ("TLSv1", "TLSv1.1")),
        ("tls_versions", '["TLSv1.2"]', ("TLSv1.2",)),
        ("tls_versions", 1.2, ("TLSv1.2",)),
        ("tls_versions", ["", None, "TLSv1.3"], ("TLSv1.3",)),
        ("code_page", "windows-1252", "cp1252"),
        ("code_page", 1250, "cp1250"),
        ("code_page", "UTF8", "utf-8"),
        ("login", 12345, "12345"),
        ("password", True, "true"),
        ("oauth_endpoint", "http://127.0.0.1:8080/token", "http://127.0.0.1:8080/token"),
        ("pins", ["ab" * 32, "AB:" * 31 + "AB", ""], ("ab" * 32,)),
    ],
)
def test_values_are_understood_as_forms_json_uris_and_people_write_them(key: str, raw: object, value: Value) -> None:
    assert read(field(key), raw) == value


@pytest.mark.parametrize(
    ("key", "raw", "said"),
    [
        ("port", 0, "a whole number from 1 to 65535"),
        ("port", "imap", "is 'imap'"),
        ("port", 993.5, "is 993.5"),
        ("port", True, "is True"),
        ("timeout", "nan", "a number of seconds from 1 to 3600"),
        ("timeout", "60m", "is '60m'"),
        ("timeout", 10**400, "a number of seconds from 1 to 3600"),
        ("strict_x509", "maybe", "accepted are true and false"),
        ("verify", "ful", "Did you mean full?"),
        ("verify", ["full"], "accepted are full, chain, pinned, none"),
        ("tls_versions", "TLSv1.4", "accepted are TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"),
        ("tls_versions", {"TLSv1.2": True}, "Accepted are TLSv1,"),
        ("tls_versions", [["TLSv1.2"]], "a list of texts"),
        ("code_page", "klingon", "is 'klingon'"),
        ("code_page", "base64", "no character set"),
        ("code_page", "unicode_escape", "no character set"),
        ("password", 1e5, "its exact text is lost"),
        ("password", "***", "Enter the secret once more"),
        ("password", "secret\n", "ends with a line break"),
        ("password", "sec\nret", "contains a line break"),
        ("login", {"a": 1}, "it must be text"),
        ("oauth_endpoint", "http://login.example.com/token", "must begin with https://"),
        ("oauth_endpoint", "https://joe:secret@login.example.com/", "'https://***@login.example.com/'"),
        ("oauth_endpoint", "https://login.example.com:0x50/", "cannot be read as a web address"),
        (
            "oauth_endpoint",
            "http://login.example.com/token?code=k",
            "'http://login.example.com/token?***': secrets are",
        ),
        ("oauth_endpoint", "http://login.example.com/?code=k@x", "(oauth_endpoint) is 'http://***': @, port 0"),
        ("oauth_endpoint", "https://joe/s3cret@login.example.com/", "'https://***@login.example.com/': @, port 0"),
        ("oauth_endpoint", "https://login.example.com/\x01", "a blank or a control character"),
        ("oauth_endpoint", "https://login.example.com/a\tb", "a blank or a control character"),
        ("oauth_endpoint", "https://login.example.com/a b", "a blank or a control character"),
        ("oauth_endpoint", "https://login.example.com/" + "x" * 8000, "longer than 8000 characters"),
        ("oauth_endpoint", "https://login.example.com/\ud800", "half a character"),
        ("ca_bundle", 5, "it must be text, not int"),
        ("code_page", "cp037", "no character set"),
        ("tls_versions", "[" * 100_000, "accepted are TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_accepted(key: str, raw: object, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(field(key), raw)
    assert said in str(caught.value)
    assert field(key).name in str(caught.value)


HALF = [spec for spec in FIELDS if spec.kind in (Kind.TEXT, Kind.HOST, Kind.URL, Kind.KEY, Kind.CERTIFICATES)]


@pytest.mark.parametrize("spec", HALF, ids=attrgetter("key"))
def test_half_a_character_is_refused_in_every_text_and_the_error_can_be_written(spec: Field) -> None:
    with pytest.raises(SettingsError, match="half a character") as caught:
        read(spec, "s3cret\udc80")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None
    str(caught.value).encode()


@pytest.mark.parametrize("version", ["SSLv2", "SSLv3", "sslv3", "SSL 3.0".replace(".0", "")])
def test_the_ssl_versions_that_no_openssl_has_are_refused_with_the_reason(version: str) -> None:
    with pytest.raises(SettingsError, match=r"no current OpenSSL has it.*Leave this empty"):
        read(field("tls_versions"), [version, "TLSv1.2"])


def test_a_long_wrong_value_is_shown_in_part() -> None:
    with pytest.raises(SettingsError) as caught:
        read(field("verify"), "x" * 10_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        ("host", "joe:s3c/ret@imap.example.com"),
        ("host", "joe:s3c ret@word@imap.example.com"),
        ("host", "imap://joe:s3c/r@et@imap.example.com"),
        ("host", "joe:s3c://ret@imap.example.com"),
        ("oauth_endpoint", "https://joe:s3c/ret@login.example.com/"),
        ("oauth_endpoint", "https://joe:s3c?ret@login.example.com/"),
        ("oauth_endpoint", "http://login.example.com/token?code=s3cret"),
        ("oauth_endpoint", "http://login.example.com/token?code=s3c@ret"),
        ("oauth_endpoint", "login.example.com/token?code=s3cret"),
        ("oauth_endpoint", "https://login.example.com/token?code=s3c ret"),
        ("oauth_endpoint", "https://login.example.com/token?code=s3cret#ret"),
        ("oauth_endpoint", "https://login.example.com/token#code=s3cret"),
        ("oauth_endpoint", "https://login.example.com:0x50/token?code=s3cret"),
        ("oauth_endpoint", "https://login.example.com/" + "x" * 8000 + "?code=s3cret"),
        ("oauth_client_id", {"token_uri": "https://login.example.com/token?code=s3cret"}),
        ("timeout", "https://login.example.com/token?code=s3cret"),
        ("client_certificate", {"type": "service_account", "private_key": "s3c"}),
        ("oauth_client_id", {"type": "service_account", "private_key": "s3c"}),
        ("oauth_client_id", "-----BEGIN PRIVATE KEY-----\ns3c\n-----END PRIVATE KEY-----"),
    ],
)
def test_no_part_of_a_secret_in_the_wrong_field_is_shown(key: str, raw: object) -> None:
    with pytest.raises(SettingsError) as caught:
        read(field(key), raw)
    assert "s3c" not in str(caught.value)
    assert "ret" not in str(caught.value).replace("secret", "")


def test_asking_a_value_for_the_wrong_type_is_a_mistake_of_ours() -> None:
    values = Values({"timeout": 5.0, "login": "joe"})
    with pytest.raises(TypeError):
        values.text("timeout")
    with pytest.raises(TypeError):
        values.integer("login")
    with pytest.raises(TypeError):
        values.number("login", 1.0)
    with pytest.raises(TypeError):
        values.items("login")


@pytest.mark.parametrize(("key", "raw"), [("encryption", "nope"), ("encryption", "nane"), ("verify", "non")])
def test_nobody_is_talked_into_switching_encryption_or_checks_off(key: str, raw: str) -> None:
    with pytest.raises(SettingsError, match="accepted are") as caught:
        read(field(key), raw)
    assert "none" not in caught.value.remedy
