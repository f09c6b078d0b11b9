"""What the health entry says of mails that a server does not give."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_imap_provider.mailbox.outage import WatcherState
from airflow_imap_provider.mailbox.place import first_place
from airflow_imap_provider.mailbox.reader import Batch
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK
from airflow_imap_provider.triggers import health
from airflow_imap_provider.triggers.health import Health
from airflow_imap_provider.triggers.store import AssetStore
from tests.triggers.test_two_triggerers import STREAM
from tests.triggers.triggerer import State

ACTIONS = {"pending_actions": 0, "failed_actions": 0, "last_action_error": ""}
PLACE = first_place("all", SYSTEM_CLOCK.now())


async def test_who_is_held_up_and_what_was_given_up_is_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "OFTENEST_NEWS", 0.0)
    state = State()
    accessors: object = state.accessors("inbox")
    writer = Health(AssetStore(accessors), STREAM, SYSTEM_CLOCK, "")  # type: ignore[arg-type]

    async def entry(**of_batch: Any) -> dict[str, Any]:
        writer.caught_up(Batch(start=PLACE, place=PLACE, **of_batch))
        await writer.note(WatcherState(connected=True, since=SYSTEM_CLOCK.now()), ACTIONS, 1)
        return state.get(STREAM.key("health"), "inbox") or {}

    held_up = await entry(held_up="UID 7: refused")
    assert (held_up["held_up"], held_up["last_catch_up"]) == ("UID 7: refused", ""), "it is not read to its end"
    given_up = await entry(incomplete=("UID 7, without its header: refused",))
    assert given_up["held_up"] == ""
    assert (given_up["incomplete"], given_up["last_incomplete"]) == (1, "UID 7, without its header: refused")
    assert given_up["last_catch_up"]
