"""After a downgrade a stored place may owe what this version does not know: it is said, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_imap_provider.mailbox.actions import MarkRead
from tests.delivery.world import Plan, World

STREAM = "mailbox/INBOX/default"
PLACE, HEALTH = f"imap4:place:{STREAM}", f"imap4:health:{STREAM}"


@pytest.fixture
def world() -> Iterator[World]:
    with World(Plan(max_mails=50, actions=(MarkRead(),))) as world:
        world.manual_run(world.add_consumer(history=True))
        process = world.start_triggerer()
        world.run(30.0)
        world.deliver(matches=True)
        world.run(60.0)
        process.die()
        place = stored(world, PLACE)
        place["todo"] = [
            {"uids": [[1, 1]], "actions": [{"do": "do-something-new", "somehow": True}], "tries": 0},
            {"uids": [[1, 1]], "actions": [MarkRead().to_json()], "tries": 0},
        ]
        world.database.stores.put("inbox", PLACE, json.dumps(place))
        world.start_triggerer()
        world.run(60.0)
        world.deliver(matches=True)
        world.run(600.0)
        yield world


def stored(world: World, key: str) -> Any:
    return world.database.stores.get("inbox", key)


def taken(world: World) -> list[str]:
    return [email["message_id"] for run in world.runs for email in run.returned or ()]


def test_what_is_owed_and_unknown_is_told_and_kept(world: World) -> None:
    assert len(taken(world)) == 1, "nothing is told over what cannot be done"
    health = stored(world, HEALTH)
    assert health["connected"]
    assert "do-something-new" in health["last_error"]
    assert "UIDs [[1, 1]]" in health["last_error"]
    assert "Install the version" in health["last_error"]
    assert health["pending_actions"] == 2
    assert not world.failures
    # The version that knows it is back; here it is simply gone.
    stores, place = world.database.stores, stored(world, PLACE)
    assert len(place["todo"]) == 2
    stores.put("inbox", PLACE, json.dumps({**place, "todo": place["todo"][1:]}))
    world.run(1200.0)
    assert sorted(taken(world)) == ["<mail1>", "<mail2>"]
    assert stored(world, HEALTH)["last_error"] == ""


def test_a_reset_gives_it_up(world: World) -> None:
    world.reset(0, "new")
    world.run(900.0)
    assert any("do-something-new" in line for line in world.given_up)
    world.deliver(matches=True)
    world.run(120.0)
    assert "<mail3>" in taken(world)
    assert stored(world, HEALTH)["last_error"] == ""
    assert not world.failures
