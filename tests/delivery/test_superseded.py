"""Somebody else has begun anew in the moment in which a trigger tells: it goes on from there."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airflow_imap_provider.mailbox.actions import MarkRead
from tests.delivery import triggerer
from tests.delivery.world import Plan, World

PLACE = "imap4:place:mailbox/INBOX/default"


class SlowStore(triggerer.Accessor):
    """While an entry is written to the journal, another owner counts on, and the commit before is found superseded."""

    arrived = False

    async def _change(self, key: str, value: Any, *, delete: bool) -> None:
        if SlowStore.arrived and key.startswith("imap4:journal:"):
            SlowStore.arrived = False
            stores = self._process.database.stores
            place = stores.get(self._asset, PLACE)
            stores.put(self._asset, PLACE, json.dumps({**place, "epoch": place["epoch"] + 1}))
            await asyncio.sleep(6.0)
        await super()._change(key, value, delete=delete)


@pytest.mark.parametrize("seconds", [3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5])
def test_a_place_that_is_superseded_during_a_write_to_the_journal_is_left_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(triggerer, "Accessor", SlowStore)
    with World(Plan(actions=(MarkRead(),), max_mails=50)) as world:
        world.manual_run(world.add_consumer(history=True))
        world.run(3.0)
        world.start_triggerer()
        world.run(30.0)
        world.server.slow = 0.5
        world.deliver(matches=True)
        world.run(seconds)  # told, and mostly not committed yet
        SlowStore.arrived = True
        for _ in range(4):
            world.deliver(matches=True)
            world.run(600.0)
        assert not SlowStore.arrived, "the moment came"
        assert world.database.stores.get("inbox", PLACE)["epoch"] == 1
        assert len({email["message_id"] for run in world.runs for email in run.returned or ()}) == 5
        assert not world.failures
