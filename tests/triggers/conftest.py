"""A mailbox on the real server as an Airflow connection, and a triggerer with short delays."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from airflow_imap_provider.triggers import committer, nudge
from airflow_imap_provider.triggers.email import EmailTrigger
from tests.servers.dovecot import Dovecot, User
from tests.triggers.triggerer import State, Triggerer

CONN_ID = "mailbox"


def message(subject: str, sender: str = "billing@example.com", **headers: str) -> bytes:
    lines = [f"From: {sender}", "To: me@example.com", f"Subject: {subject}", f"Message-ID: <{subject}@example.com>"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join([*lines, "", "Hello.", ""])).encode()


def connection(dovecot: Dovecot, user: User, **fields: object) -> str:
    extra = {"encryption": "ssl", "ca_bundle": dovecot.authority.pem, "timeout": 10}
    return json.dumps(
        {
            "conn_type": "imap4",
            "host": dovecot.host,
            "port": dovecot.tls_port,
            "login": user.login,
            "password": user.password,
            **{key: value for key, value in fields.items() if key != "extra"},
            "extra": {**extra, **fields.get("extra", {})},  # type: ignore[dict-item]
        }
    )


@pytest.fixture(autouse=True)
def mailbox(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> User:
    """The test's own mailbox, reached by the connection ``mailbox``."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", connection(dovecot, user))
    return user


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The delays that follow from Airflow's loop of a second, for a triggerer whose loop takes 0.05 s."""
    monkeypatch.setattr(committer, "GRACE", 0.25)
    monkeypatch.setattr(committer, "LAZY", 0.1)
    monkeypatch.setattr(nudge, "FIRST", 0.5)


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
async def triggerer(state: State) -> AsyncIterator[Triggerer]:
    running = Triggerer(state)
    yield running
    await running.kill()


@pytest.fixture
def trigger() -> Iterator[Callable[..., EmailTrigger]]:
    """Make triggers on the test's mailbox that wait for nothing but the server."""

    def make(**arguments: object) -> EmailTrigger:
        settings: dict[str, object] = {"imap4_conn_id": CONN_ID, "pace": 0.0, "start": "all", **arguments}
        return EmailTrigger(**settings)  # type: ignore[arg-type]

    return make
