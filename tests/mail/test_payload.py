"""The payload: exactly its fields, strict JSON, within its size."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.authentication import MethodResult
from airflow_imap_provider.mail.message import Address, Attachment
from airflow_imap_provider.mail.payload import (
    _STEPS,
    IDENTITY_LIMIT,
    PAYLOAD_LIMIT,
    SMIME_LIMIT,
    TEXT_LIMIT,
    _cut_smime,
    json_safe,
    payload,
)
from airflow_imap_provider.mail.smime.outcome import SignatureOutcome, SmimeOutcome
from tests.mail.builders import RECEIVED, mail

FIELDS = (
    *("key", "conn_id", "folder", "uid", "uidvalidity", "message_id", "subject", "from", "to", "cc", "reply_to"),
    *("date", "received", "size", "flags", "headers", "attachments", "trust", "defects"),
)
PERSONAL = ("subject", "from", "to", "cc", "reply_to")


def assert_is_a_payload(value: dict[str, Any]) -> None:
    text = value.get("text", "")
    rest = {name: field for name, field in value.items() if name != "text"}
    dumped = json.dumps(rest, allow_nan=False)
    assert len(dumped) <= PAYLOAD_LIMIT + (SMIME_LIMIT if "smime" in value else 0)
    assert len(json.dumps(text)) <= TEXT_LIMIT
    assert json.loads(dumped) == rest
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    assert "\\u0000" not in dumped
    assert "\\ud8" not in json.dumps(json.loads(dumped), ensure_ascii=False)
    assert set(value) - {"text", "smime"} in ({*FIELDS}, {*FIELDS} - {*PERSONAL})


def test_an_ordinary_mail_is_told_whole() -> None:
    told = payload(
        mail(
            from_=(Address("Billing", "billing@example.com"), Address("", "second@example.com")),
            cc=(Address("", "c@example.org"),),
            flags=(r"\Seen",),
            headers={"x-priority": ("1",), "subject": ("x",)},
            text=None,
            defects=("date: not a date",),
        ),
        headers=["X-Priority", "X-Absent"],
    )
    assert tuple(told) == FIELDS
    assert told == {
        "key": mail().key,
        "conn_id": "imap4_default",
        "folder": "INBOX",
        "uid": 7,
        "uidvalidity": 1,
        "message_id": "<1@example.com>",
        "subject": "Your invoice 4711",
        "from": {"name": "Billing", "address": "billing@example.com"},
        "to": [{"name": "", "address": "us@example.org"}],
        "cc": [{"name": "", "address": "c@example.org"}],
        "reply_to": [],
        "date": "2026-01-31T11:30:00+00:00",
        "received": "2026-01-31T11:30:00+00:00",
        "size": 4321,
        "flags": [r"\Seen"],
        "headers": {"x-priority": ["1"]},
        "attachments": [{"name": "invoice.csv", "content_type": "text/csv", "size": 100, "part": "2"}],
        "trust": {},
        "defects": ["date: not a date"],
    }


def test_what_is_missing_is_null_or_empty() -> None:
    told = payload(mail(from_=(), to=(), date=None, subject="", attachments=(), text=None))
    assert (told["from"], told["to"], told["date"], told["subject"], told["attachments"]) == (None, [], None, "", [])


def test_the_minimal_style_leaves_out_subject_and_addresses() -> None:
    assert tuple(payload(mail(text=None), style="minimal")) == tuple(name for name in FIELDS if name not in PERSONAL)


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(SettingsError, match="full, minimal"):
        payload(mail(), style="short")


def test_text_is_told_only_if_the_mail_has_it_and_is_cut() -> None:
    assert "text" not in payload(mail(text=None))
    assert payload(mail(text="x"))["text"] == "x"
    assert payload(mail(text=""))["text"] == ""
    long = payload(mail(text="日本語" * 10_000))["text"]
    assert long.endswith(("本…", "日…", "語…"))
    assert TEXT_LIMIT - 12 <= len(json.dumps(long)) <= TEXT_LIMIT


def test_a_mail_to_many_keeps_its_subject_and_attachments_and_says_what_is_missing() -> None:
    many = tuple(Address(f"Member {number}", f"member{number}@example.org") for number in range(500))
    told = payload(mail(to=many, cc=many, text=None))
    assert_is_a_payload(told)
    assert told["subject"] == "Your invoice 4711"
    assert told["attachments"][0]["name"] == "invoice.csv"
    assert told["to"][0] == {"name": "Member 0", "address": "member0@example.org"}
    assert 0 < len(told["to"]) < 500
    assert told["defects"] == ["payload: shortened cc, to"]


def test_a_long_file_name_keeps_its_ending() -> None:
    attachment = Attachment("Statement " * 40 + ".csv", "text/csv", 100, "2", "base64")
    name = payload(mail(attachments=(attachment,), text=None))["attachments"][0]["name"]
    assert name.startswith("Statement ")
    assert name.endswith("….csv")


def test_a_part_number_is_never_cut() -> None:
    deep = Attachment("a.csv", "text/csv", 100, ".".join("1" * 60), "base64")
    told = payload(mail(attachments=(deep,), text=None))
    assert told["attachments"] == []
    assert told["defects"] == ["payload: shortened attachments"]


@pytest.mark.parametrize("letter", ["x", "日", "😀", "\\", '"', "\N{REPLACEMENT CHARACTER}"])
def test_the_worst_mail_fits(letter: str) -> None:
    """Everything that a sender controls is as long as it can be, and so is the identity within its budget."""
    text = letter * 2_000
    address = Address(text, text)
    worst = mail(
        conn_id="c" * 60,
        folder="F" * 120,
        uid=2**32 - 1,
        uidvalidity=2**32 - 1,
        message_id=text,
        subject=text,
        from_=(address,) * 2_000,
        to=(address,) * 2_000,
        cc=(address,) * 2_000,
        reply_to=(address,) * 2_000,
        date=datetime(9998, 12, 31, 23, 59, 59, tzinfo=timezone.utc),
        size=2**63 - 1,
        flags=(text,) * 200,
        headers={f"x-{number}": (text,) * 50 for number in range(20)},
        attachments=tuple(Attachment(text, "application/" + "x" * 80, 2**60, "1.2.3", "base64") for _ in range(900)),
        defects=(text,) * 20,
        text=None,
    )
    told = payload(worst, headers=[f"x-{number}" for number in range(20)])
    assert_is_a_payload(told)
    assert (told["conn_id"], told["folder"]) == ("c" * 60, "F" * 120)
    assert told["defects"][-1].startswith("payload: shortened defects, cc, to, reply_to, flags, headers")


@pytest.mark.parametrize("letter", ["x", "😀", "\\"])
def test_the_worst_signature_fits(letter: str) -> None:
    text = letter * 300
    at = datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)
    signature = SignatureOutcome("other-sender", (text,) * 50, text, text, at, text)
    worst = mail(subject=text, smime=SmimeOutcome("unsupported", (signature,) * 8, text), text=None, cc=CROWD, to=CROWD)
    told = payload(worst)
    assert len(json.dumps(told)) <= PAYLOAD_LIMIT + SMIME_LIMIT
    assert (told["smime"]["signature"], told["smime"]["encryption"]) == ("other-sender", "unsupported")
    shortest = _cut_smime(told["smime"], *_STEPS[-1])
    assert len(json.dumps({"smime": shortest})) <= 350


CROWD = (Address("日" * 100, "x" * 100 + "@example.com"),) * 100


def test_a_longer_folder_name_is_never_cut_but_makes_the_payload_longer_by_as_much() -> None:
    folder = "日本語/" * 100
    told = payload(mail(folder=folder, subject="x" * 2_000, text=None))
    assert told["folder"] == folder
    identity = {name: told[name] for name in ("key", "conn_id", "folder", "uid", "uidvalidity")}
    assert len(json.dumps(told)) <= PAYLOAD_LIMIT - IDENTITY_LIMIT + len(json.dumps(identity))


def test_what_a_sender_lets_a_server_find_makes_the_payload_little_longer() -> None:
    results = tuple(MethodResult(method, "pass", "x" * 250 + ".com") for method in ("dkim", "dmarc", "spf"))
    told = payload(mail(authentication={"mx.example.org": results}, cc=CROWD, to=CROWD), servers=["mx.example.org"])
    assert len(json.dumps(told)) <= PAYLOAD_LIMIT + 3 * 40


class _Odd:
    def __str__(self) -> str:
        return "odd \ud800"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (float("nan"), None),
        (float("-inf"), None),
        (2**63, "0x8000000000000000"),
        pytest.param(16**5000, "0x1" + "0" * 5000, id="thousands of digits"),
        ("a\0b\ud800c", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"),
        (b"caf\xc3\xa9\xff", "café\N{REPLACEMENT CHARACTER}"),
        (RECEIVED, "2026-01-31T11:30:00+00:00"),
        (RECEIVED.date(), "2026-01-31"),
        ({b"k": {1: (2, {3})}}, {"k": {"1": [2, [3]]}}),
        ({"b", "a"}, ["a", "b"]),
        (_Odd(), "odd \N{REPLACEMENT CHARACTER}"),
    ],
)
def test_any_value_is_made_strict_json(value: object, expected: object) -> None:
    assert json_safe(value) == expected


def test_values_without_end_are_cut() -> None:
    endless: list[Any] = []
    endless.append(endless)
    json.dumps(json_safe(endless))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner) | st.tuples(inner),
    max_leaves=10,
)


@given(anything)
def test_random_values_are_made_strict_json(value: object) -> None:
    safe = json_safe(value)
    assert json.loads(json.dumps(safe, allow_nan=False)) == safe
    json.dumps(safe, ensure_ascii=False).encode("utf-8")
