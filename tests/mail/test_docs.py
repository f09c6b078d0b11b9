"""The pages on conditions and the payload say what is so: their examples are run."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_imap_provider.mail.charsets import decode
from airflow_imap_provider.mail.condition_fields import (
    DateField,
    FlagsField,
    MethodField,
    NumberField,
    TextField,
)
from airflow_imap_provider.mail.conditions import Conditions
from airflow_imap_provider.mail.fetching import TEXT_LIMIT, fetch_items, mail_from_fetch
from airflow_imap_provider.mail.payload import IDENTITY_LIMIT, PAYLOAD_LIMIT, payload
from airflow_imap_provider.mail.payload import TEXT_LIMIT as PAYLOAD_TEXT_LIMIT
from airflow_imap_provider.mail.raw import RAW_LIMIT
from airflow_imap_provider.mail.smime.outcome import (
    ENCRYPTION_STATES,
    SIGNATURE_STATES,
    SignatureOutcome,
    SmimeOutcome,
)
from airflow_imap_provider.mailbox.unwrapping import WHOLE_LIMIT
from airflow_imap_provider.transport.session import open_session
from tests.mail.builders import mail
from tests.servers.dovecot import Dovecot, User

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def test_the_examples_of_conditions_run() -> None:
    names: dict[str, Any] = {}
    for block in blocks("conditions.md", "python"):
        exec(compile(block, "conditions.md", "exec"), names)
    (shown,) = blocks("conditions.md", "json")
    assert Conditions.loads(shown) == Conditions(names["wanted"])


def test_the_page_on_smime_says_what_is_so() -> None:
    (example,) = blocks("smime.md", "python")
    exec(compile(example, "smime.md", "exec"), {})
    page = (DOCS / "smime.md").read_text()
    for state in (*SIGNATURE_STATES, *ENCRYPTION_STATES):
        assert f"| `{state}` |" in page
    (shown,) = blocks("smime.md", "json")
    best = SignatureOutcome("valid", ("boss@example.com",), "CN=Boss", "CN=Issuer", SIGNED_AT)
    told = payload(mail(smime=SmimeOutcome("opened", (best,))))
    assert told["smime"] == json.loads(shown)["smime"]
    assert f"{RAW_LIMIT // 1024**2} MiB or more (`open_smime`: {WHOLE_LIMIT // 1024**2} MiB)" in page


SIGNED_AT = datetime(2026, 3, 31, 7, 15, tzinfo=timezone.utc)


def test_every_operator_is_described() -> None:
    page = (DOCS / "conditions.md").read_text()
    for field in (TextField, DateField, NumberField, FlagsField, MethodField):
        for operator in vars(field):
            if not operator.startswith("_") and operator not in ("field", "name", "every"):
                assert f"`{operator}" in page, operator
    assert f"{TEXT_LIMIT // 1024} KiB" in page


@pytest.mark.dovecot
def test_the_example_of_the_payload_is_real(dovecot: Dovecot, user: User) -> None:
    (source,) = blocks("payload.md", "text")
    shown = json.loads(blocks("payload.md", "json")[0])
    message = source.replace("\n", "\r\n").encode("ascii")
    dovecot.deliver(user, message, received=datetime(2026, 3, 31, 7, 15, 2, tzinfo=timezone.utc))
    session = open_session(dovecot.settings(user))
    try:
        session.select("INBOX", readonly=True)
        mail = mail_from_fetch(
            session.fetch([1], fetch_items(["X-Priority"]))[1],
            conn_id="imap4_default",
            folder="INBOX",
            uid=1,
            uidvalidity=1767225600,
            code_page="",
            headers=["X-Priority"],
        )
    finally:
        session.logout()
    told = payload(mail, headers=["X-Priority"])
    assert told == shown
    assert list(told) == list(shown)


def test_the_fields_and_bounds_of_the_payload_are_described() -> None:
    page = (DOCS / "payload.md").read_text()
    described = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))))
    assert set(json.loads(blocks("payload.md", "json")[0])) | {"text", "smime", "incomplete"} == described
    for bound in (f"{PAYLOAD_LIMIT:,} bytes", f"{IDENTITY_LIMIT} bytes", f"{PAYLOAD_TEXT_LIMIT // 1024} KiB"):
        assert bound in page
    assert decode(b"\0", "", "")[0] in page
