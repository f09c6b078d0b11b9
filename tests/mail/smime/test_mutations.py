"""Whatever is done to a signed or encrypted mail: an outcome, never an exception, and never a valid signature of what
was not signed."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_imap_provider.mail.raw import Entity, mail_from_raw

from .people import BOSS, CLERK, CURVED, encrypted, looked_at, mail, signed

TEXT = "Pay invoice 4711, please."


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder: Path = tmp_path_factory.mktemp("mails")
    return [
        mail(signed(folder)),
        mail(signed(folder, CURVED, opaque=True)),
        mail(signed(folder, BOSS, "-stream", opaque=True)),
        mail(encrypted(folder, "-aes256", to=[CURVED, CLERK])),
        mail(encrypted(folder, "-aes-256-gcm", content=signed(folder))),
    ]


EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 40), st.binary(max_size=6)), min_size=1, max_size=4
)


def edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for where, length, new in edits:
        at = int(where * len(data))
        data = data[:at] + new + data[at + length :]
    return data


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 4), edits=EDITS, within=st.booleans())
def test_every_mutation_has_an_outcome(
    mails: list[bytes], which: int, edits: list[tuple[float, int, bytes]], within: bool
) -> None:
    raw = mails[which]
    entity = Entity.of(raw)
    if within and entity.encoding == "base64":
        # In the ASN.1 itself.
        data = edited(base64.b64decode(raw[entity.body :]), edits)
        raw = raw[: entity.body] + base64.encodebytes(data)
    else:
        raw = edited(raw, edits)
    opened = looked_at(raw, CLERK, CURVED)
    if opened.outcome.signature == "valid" and opened.readable:
        assert (mail_from_raw(opened.raw).text or "").strip() == TEXT
