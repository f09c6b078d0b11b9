"""Names of files: whatever a sender writes, one safe level of a path comes out, also when it is repeated."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mailbox.names import NAME_BYTES, checked_key, numbered, safe_name, same_name, typed_name

HARD = st.text(
    st.one_of(st.characters(), st.sampled_from('/\\.:~-* "{%#\u202e\u200f\u0000\r\nCONprn\ud800é\u0301ß'))
) | st.sampled_from(["CON", "lpt1.txt", ".", "..", "com¹", "~", "-", "a" * 300 + ".csv", "é" * 300])


@given(HARD)
def test_any_name_becomes_a_safe_one(name: str) -> None:
    safe = safe_name(name, "attachment-1.bin")
    assert safe
    assert safe.encode("utf-8")
    assert len(safe.encode("utf-8")) <= NAME_BYTES
    assert not set(safe) & set('/\\:*?"<>|\0\r\n\u202e\u200f')
    assert safe == safe.strip()
    assert not any(mark in safe for mark in ("{{", "{%", "{#"))
    assert safe[0] not in ".-~"
    assert safe[-1] != "."
    assert safe.split(".")[0].rstrip().upper() not in {"CON", "PRN", "NUL", "LPT1", "COM¹"}
    assert safe_name(safe, "x") == safe


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.csv", "report.csv"),
        ("Größe 2026 (final) [1].csv", "Größe 2026 (final) [1].csv"),
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("C:\\Users\\a.txt", "C__Users_a.txt"),
        ("con.txt", "_con.txt"),
        ("console.txt", "console.txt"),
        (".bashrc", "_bashrc"),
        ("-rf", "_rf"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("two\r\n lines\t.txt", "two lines .txt"),
        ("end.  . ", "end"),
        ("{{ conn.x.password }}.csv", "_{ conn.x.password }}.csv"),
        ("{\u200b{{% raw %}{#x#}", "___% raw %}_#x#}"),
        ("{a} {}.csv", "{a} {}.csv"),
        ("...", "attachment-1.bin"),
        ("\u200b\u0000", "attachment-1.bin"),
        ("x" * 300 + ".tar.gz", "x" * (NAME_BYTES - 7) + ".tar.gz"),
    ],
)
def test_what_is_harmless_stays(name: str, safe: str) -> None:
    assert safe_name(name, "attachment-1.bin") == safe


@pytest.mark.parametrize("key", ["mail.imap4_default.INBOX.0123456789abcdef.1700000000.12", "a", "a-b_c.D"])
def test_a_key_as_mails_have_it_names_a_folder(key: str) -> None:
    assert checked_key(key) == key


@pytest.mark.parametrize(
    "key", ["", ".", "..", "../../out", "a/b", "a..b", ".a", "a\\b", "a\n", "a:b", "{{ x }}", "a" * 201, None, 7]
)
def test_what_is_no_key_of_a_mail_names_nothing(key: object) -> None:
    with pytest.raises(SettingsError, match="key="):
        checked_key(key)


def test_numbers_stand_before_the_ending() -> None:
    assert list(islice(numbered("a.tar.gz"), 3)) == ["a.tar.gz", "a (2).tar.gz", "a (3).tar.gz"]
    assert list(islice(numbered("v1. the end"), 2)) == ["v1. the end", "v1. the end (2)"]


def test_names_that_some_file_system_takes_for_one_are_one() -> None:
    assert len({same_name(name) for name in ("É.TXT", "é.txt", "e\u0301.txt", "E\u0301.Txt")}) == 1


def test_what_has_no_name_gets_one_of_its_type() -> None:
    assert typed_name("attachment-2", "application/pdf") == "attachment-2.pdf"
    assert typed_name("attachment-2", "message/rfc822") == "attachment-2.eml"
    assert typed_name("attachment-2", "application/x-unheard-of") == "attachment-2.bin"
