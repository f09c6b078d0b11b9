"""Airflow does not say what the connection is: a secrets backend hangs, or an answer gets lost on its way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import ImapTimeoutError
from airflow_imap_provider.hooks import settings as hook_settings
from airflow_imap_provider.mailbox import asking
from tests.delivery.world import Plan, World

HEALTH = "imap4:health:mailbox/INBOX/default"
HOUR = 3600.0


class Backend:
    """Where the settings are; it can be made to hang."""

    def __init__(self) -> None:
        self.hangs = 0
        """How many of the next questions are never answered."""
        self.host = "twin"
        self.hung = 0

    async def settings(self, conn_id: str) -> Settings:
        if self.hangs:
            self.hangs -= 1
            self.hung += 1
            await asyncio.get_running_loop().create_future()
        return Settings(conn_id=conn_id, host=self.host)


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def world(backend: Backend) -> Iterator[World]:
    # Undone in this order: the world has put something in the same place before.
    with World(Plan(start="new", max_mails=50)) as world, pytest.MonkeyPatch.context() as patch:
        patch.setattr(hook_settings, "async_settings", backend.settings)
        world.manual_run(world.add_consumer(history=True))
        world.start_triggerer()
        world.run(60.0)
        yield world


def taken(world: World) -> int:
    return len({email["message_id"] for run in world.runs for email in run.returned or ()})


def health(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.database.stores.get("inbox", HEALTH)
    return found


def test_a_look_that_is_not_answered_holds_up_no_mail_and_is_said_once(
    world: World, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.hangs = 1
    caplog.set_level(logging.WARNING, asking.__name__)
    for number in range(1, 30):
        world.deliver(matches=True)
        world.run(60.0)
        assert taken(world) == number, "pushed as ever"
    assert backend.hung == 1
    lines = [record for record in caplog.records if "has not answered within 60 s" in record.getMessage()]
    assert [line.levelno for line in lines] == [logging.WARNING]
    backend.host = "another"
    world.run(1200.0)
    assert any(session.settings.host == "another" for session in world.server.sessions), "the next looks are answered"


def test_a_connection_that_cannot_be_asked_for_is_told_and_made_when_there_is_an_answer(
    world: World, backend: Backend
) -> None:
    backend.hangs = 1
    world.server.lose_connections()
    world.run(200.0)
    assert not health(world)["connected"]
    assert "Airflow has not answered within 60 s" in health(world)["last_error"]
    world.deliver(matches=True)
    world.run(600.0)
    assert health(world)["connected"]
    assert taken(world) == 1


def test_questions_do_not_pile_up_while_none_is_answered(world: World, backend: Backend) -> None:
    backend.hangs = 10**6
    world.server.lose_connections()
    world.run(4 * HOUR)
    assert 1 < backend.hung <= 4 * HOUR / asking.PATIENCE + 1
    backend.hangs = 0
    world.deliver(matches=True)
    world.run(HOUR)
    assert taken(world) == 1


async def test_saving_and_forwarding_do_not_wait_for_ever_either(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ANSWER_LIMIT", 0.05)
    backend.hangs = 1
    with pytest.raises(ImapTimeoutError, match="what this connection's fields are"):
        await asking.answered(backend.settings("mailbox"))
    assert (await asking.answered(backend.settings("mailbox"))).host == "twin"
