"""A small triggerer around Airflow's own TriggerRunner, whose database is a list, so that its failures can be arranged.

Airflow's code runs the triggers and the shared streams; what is written here is the supervisor's part: it takes events
over, stores them, confirms them a moment later, and can drop or delay them as the real one does when a trigger's row
has gone. ``State`` stands for the asset state store of Airflow's API server.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from airflow.jobs.triggerer_job_runner import TriggerRunner

from airflow_imap_provider.mailbox.taking import Record, Taking
from airflow_imap_provider.triggers import acting, journal
from airflow_imap_provider.triggers.email import EmailTrigger

LOOP = 0.05
"""Seconds a turn of this triggerer takes; the real one's take about one."""


class State:
    """The state stores of assets, as the API server keeps them: JSON in, JSON out."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, str]] = {}
        self.active = True
        self.writes = 0
        self.refused = 0
        self.inactive: set[str] = set()

    def accessors(self, *assets: str) -> Accessors:
        return Accessors({asset: Accessor(self, asset) for asset in assets or ("inbox",)})

    def get(self, key: str, asset: str = "inbox") -> Any:
        text = self.values.get(asset, {}).get(key)
        return None if text is None else json.loads(text)

    def set(self, key: str, value: Any, asset: str = "inbox") -> None:
        assert len(key) <= 512
        self.values.setdefault(asset, {})[key] = json.dumps(value, allow_nan=False)


class Accessor:
    def __init__(self, state: State, asset: str) -> None:
        self.state, self.asset = state, asset

    async def aget(self, key: str) -> Any:
        await asyncio.sleep(0)
        return self.state.get(key, self.asset) if self.state.active else None

    async def adelete(self, key: str) -> None:
        await asyncio.sleep(0)
        self.state.values.get(self.asset, {}).pop(key, None)

    async def aset(self, key: str, value: Any) -> None:
        await asyncio.sleep(0)
        if not self.state.active or self.asset in self.state.inactive:
            self.state.refused += 1
            raise RuntimeError("404: asset is not active")
        self.state.writes += 1
        self.state.set(key, value, self.asset)


class Accessors:
    def __init__(self, by_name: dict[str, Accessor]) -> None:
        self._by_name = by_name


class Triggerer:
    """Runs triggers until it is stopped or killed; what it stored stands in ``log``."""

    def __init__(self, state: State, log: list[dict[str, Any]] | None = None) -> None:
        self.state = state
        self.log: list[dict[str, Any]] = log if log is not None else []
        self.runner = TriggerRunner()
        self.drop_events = False
        """Confirm events without storing them, as Airflow does when the trigger's row has just gone."""
        self.confirm = True
        self.unconfirmed: list[int] = []
        self._loop_task = asyncio.get_running_loop().create_task(self._turn())
        self._next = 1

    def add(self, trigger: EmailTrigger, *assets: str) -> int:
        """Start a trigger the way Airflow does: rebuilt from its serialized form."""
        classpath, kwargs = trigger.serialize()
        assert classpath == f"{type(trigger).__module__}.{type(trigger).__qualname__}"
        rebuilt = type(trigger)(**json.loads(json.dumps(kwargs)))
        rebuilt.asset_state_store = self.state.accessors(*assets)  # type: ignore[assignment]
        number, self._next = self._next, self._next + 1
        self.runner.triggers[number] = {
            "task": asyncio.get_running_loop().create_task(self.runner.run_trigger(number, rebuilt)),
            "is_watcher": True,
            "name": f"trigger {number}",
            "events": 0,
        }
        return number

    async def remove(self, number: int) -> None:
        """Take a trigger away, as pausing its DAG does."""
        task = self.runner.triggers.pop(number)["task"]
        task.cancel("user-action")
        await asyncio.wait([task], timeout=10)
        assert task.done(), "a cancelled trigger lives on"

    async def kill(self) -> None:
        """End at once: nothing that is not in the log or the state is left."""
        self._loop_task.cancel()
        with suppress(asyncio.CancelledError):
            await self._loop_task
        self.runner.events.clear()
        patience, acting.FAREWELL = acting.FAREWELL, 0.0
        try:
            for number in list(self.runner.triggers):
                await self.remove(number)
        finally:
            acting.FAREWELL = patience

    async def _turn(self) -> None:
        while True:
            await asyncio.sleep(LOOP)
            if self.confirm and self.unconfirmed:
                self.runner._shared_streams.confirm_persisted(self.unconfirmed)
                self.unconfirmed.clear()
            while self.runner.events:
                entry = self.runner.events.popleft()
                payload = json.loads(json.dumps(entry.event.payload, allow_nan=False))
                if not self.drop_events:
                    self.log.append(payload)
                if entry.persist_seq is not None:
                    self.unconfirmed.append(entry.persist_seq)

    # --- what came of it ----------------------------------------------------------------------------------------

    @property
    def told(self) -> list[int]:
        """The UIDs in the log, with repetitions."""
        return [email["uid"] for event in self.log for email in event["emails"]]

    @property
    def subjects(self) -> list[str]:
        return [email["subject"] for event in self.log for email in event["emails"]]

    def taken(self) -> list[str]:
        """The subjects that a consumer takes."""
        return [email["subject"] for email in self.take(Record()).emails]

    def take(self, record: Record, most: int = 10_000) -> Taking:
        """What a consumer with this record takes now."""
        taking = Taking(record, most)
        store: Any = self.state
        for entry in journal.entries(store, record, datetime.now(timezone.utc)):
            taking.feed(entry)
            if taking.enough:
                break
        taking.claim(f"run {record.runs}")
        return taking
