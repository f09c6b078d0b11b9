"""Two triggerers on one place: allowed for a while after a fail-over, a mistake if they look for different mails."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from airflow_imap_provider.mail.conditions import Subject
from airflow_imap_provider.mailbox.outage import WatcherState
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK
from airflow_imap_provider.triggers import health
from airflow_imap_provider.triggers.email import EmailTrigger
from airflow_imap_provider.triggers.health import Health
from airflow_imap_provider.triggers.store import AssetStore, Stream
from tests.triggers.triggerer import State

STREAM = Stream("c", "INBOX", "default")
Writes = Callable[[Health], object]


@pytest.fixture(autouse=True)
def every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every note is written."""
    for name in ("OFTENEST", "OFTENEST_NEWS", "FIRST_LOOK", "CONFIRM"):
        monkeypatch.setattr(health, name, 0.0)


def triggerer(state: State, subject: str) -> Health:
    trigger = EmailTrigger(conditions=[Subject.equals(subject)])
    accessors: object = state.accessors("inbox")
    return Health(AssetStore(accessors), STREAM, SYSTEM_CLOCK, trigger.conditions)  # type: ignore[arg-type]


async def write(writer: Health) -> None:
    actions = {"pending_actions": 0, "failed_actions": 0, "last_action_error": ""}
    await writer.note(WatcherState(connected=True, since=SYSTEM_CLOCK.now()), actions, 1)


async def test_watchers_with_one_place_in_different_triggerers_are_an_error_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = State()
    one, two = triggerer(state, "a"), triggerer(state, "b")
    for _ in range(10):
        await write(one)
        await write(two)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2, "one in each"
    assert "with the same place 'default'" in errors[0]


async def test_the_same_trigger_in_two_triggerers_is_a_fail_over(caplog: pytest.LogCaptureFixture) -> None:
    state = State()
    one, two = triggerer(state, "a"), triggerer(state, "a")
    for _ in range(10):
        await write(one)
        await write(two)
    assert [record for record in caplog.records if record.levelno == logging.ERROR] == []
    assert caplog.text.count("as after a fail-over") == 2


async def test_a_predecessor_and_a_hand_over_are_nothing_to_speak_of(caplog: pytest.LogCaptureFixture) -> None:
    state = State()
    before = triggerer(state, "a")
    await write(before)
    after = triggerer(state, "b")
    for _ in range(2):
        await write(after)
        await write(before)
    for _ in range(10):
        await write(after)
    assert caplog.records == []
