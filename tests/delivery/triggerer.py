"""A triggerer's process: Airflow's own shared streams and our triggers on a virtual loop, and the supervisor's turns.

Each turn first looks at the database (which triggers are mine?) and then stores the events that came; confirmations go
back with the next turn. A cancellation reaches the runner with that confirmation or some turns later.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

from airflow.triggers.shared_stream import AckTimeout, SharedStreamManager

from airflow_imap_provider.triggers.email import EmailTrigger
from tests.delivery.airflow_twin import STORE_LATENCY, Database
from tests.delivery.virtual import HostClock, Universe, VirtualLoop

HEARTBEAT_LIMIT = 30.0
"""Seconds without a heartbeat after which another triggerer takes over."""


class Accessor:
    """An asset's state store, seen from a trigger."""

    def __init__(self, process: TriggererProcess, asset: str) -> None:
        self._process, self._asset = process, asset

    async def aget(self, key: str) -> Any:
        await self._step()
        value = self._process.database.stores.get(self._asset, key)
        await self._step()
        return value

    async def aset(self, key: str, value: Any) -> None:
        await self._change(key, value, delete=False)

    async def adelete(self, key: str) -> None:
        await self._change(key, None, delete=True)

    async def _change(self, key: str, value: Any, *, delete: bool) -> None:
        self._process.on_operation("store")
        await self._step()
        try:
            self._process.database.stores.change(self._asset, key, value, delete=delete)
        finally:
            self._process.on_operation("stored")
        await self._step()

    async def _step(self) -> None:
        await asyncio.sleep((STORE_LATENCY + self._process.database.stores.slow) / 2)
        if self._process.dead:
            raise asyncio.CancelledError


class Accessors:
    def __init__(self, by_name: dict[str, Accessor]) -> None:
        self._by_name = by_name


class TriggererProcess:
    """One triggerer.

    :param turn: seconds that a turn of its supervisor takes.
    :param straggling: turns after which a cancellation arrives, counted from the confirmation.
    """

    def __init__(
        self,
        name: str,
        universe: Universe,
        database: Database,
        triggers: dict[str, tuple[dict[str, Any], tuple[str, ...]]],
        *,
        ahead: float,
        turn: float,
        straggling: float,
        failed: Callable[[str, Any], None],
    ) -> None:
        self.name, self.database, self._triggers = name, database, triggers
        self._universe, self._failed = universe, failed
        self.clock = HostClock(universe, ahead)
        self.turn, self.straggling = turn, straggling
        self.dead = False
        self.stopped_at: list[float] = []
        """When it was frozen, and when it died."""
        self.losing_confirmations = 0
        """Turns whose confirmations are lost on their way to the runner."""
        self.stalled_until = 0.0
        """Until when the supervisor waits for the database, while the triggers go on."""
        self.crash_at: dict[str, int] = {}
        """After how many operations of a kind (``store``, ``stored``, ``imap``, ``sent``, ``event``) it dies."""
        self.running: dict[str, tuple[int, asyncio.Task[None]]] = {}
        self.began: dict[str, float] = {}
        """When each trigger was started here last."""
        self._events: list[tuple[int, str, Any, int | None]] = []
        self._unconfirmed: list[int] = []
        self.loop = VirtualLoop(universe, self.clock, lambda context: failed(self.name, context))  # type: ignore[abstract]
        self._streams = SharedStreamManager(log=Mock(), _now=lambda: universe.now)
        self.loop.call_soon(self._supervise)

    # --- the supervisor -----------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        self.loop.call_later(self.turn, self._supervise)
        if self._universe.now < self.stalled_until:
            return
        self.database.heartbeats[self.name] = self._universe.now
        self._load_triggers()
        # Between the two somebody may pause or edit the DAG: the event is dropped then, and confirmed all the same.
        self.loop.call_later(self.turn * 0.3, self._store_events)

    def _load_triggers(self) -> None:
        if self._unconfirmed:
            if self.losing_confirmations:
                self.losing_confirmations -= 1
            else:
                self._streams.confirm_persisted(self._unconfirmed)
            self._unconfirmed = []
        alive = self._universe.now - HEARTBEAT_LIMIT
        for name, row in self.database.rows.items():
            if row.owner is None or self.database.heartbeats.get(row.owner, float("-inf")) < alive:
                row.owner = self.name
            if row.owner == self.name and name not in self.running:
                self._start(name, row.number)
        for name, (number, task) in list(self.running.items()):
            row_now = self.database.rows.get(name)
            if row_now is None or row_now.number != number or row_now.owner != self.name:
                del self.running[name]
                self.loop.call_later(self.straggling * self.turn, task.cancel)

    def _store_events(self) -> None:
        events, self._events = self._events, []
        for number, name, payload, seq in events:
            self.on_operation("event")
            self.database.submit(number, self._triggers[name][1], payload, self.clock)
            self.on_operation("event")
            if seq is not None:
                self._unconfirmed.append(seq)

    # --- the runner ---------------------------------------------------------------------------------------------

    def _start(self, name: str, number: int) -> None:
        arguments, assets = self._triggers[name]
        _, kwargs = EmailTrigger(**arguments).serialize()
        trigger = EmailTrigger(**json.loads(json.dumps(kwargs)))
        trigger.asset_state_store = Accessors({asset: Accessor(self, asset) for asset in assets})  # type: ignore[assignment]
        task = self.loop.create_task(self._run(number, name, trigger))
        self.running[name] = number, task
        self.began[name] = self._universe.now
        task.add_done_callback(lambda done: self._ended(name, number, done))

    async def _run(self, number: int, name: str, trigger: EmailTrigger) -> None:
        """``TriggerRunner.run_trigger``."""
        key = trigger.shared_stream_key()
        try:
            stream = self._streams.subscribe(trigger_id=number, trigger=trigger, key=key)
            async for event in trigger.filter_shared_stream(stream):
                await asyncio.sleep(0)
                seq = self._streams.bind_pending_event(trigger_id=number, key=key)
                self._events.append((number, name, json.loads(json.dumps(event.payload)), seq))
        finally:
            await self._streams.unsubscribe(number, key)
            await trigger.cleanup()

    def _ended(self, name: str, number: int, task: asyncio.Task[None]) -> None:
        if self.running.get(name, (0, None))[0] == number:
            del self.running[name]  # the next turn starts it again
        if self.dead or task.cancelled():
            return
        error = task.exception()
        if not isinstance(error, AckTimeout):
            self._failed(self.name, error or "a trigger has ended")

    def freeze_or_thaw(self) -> None:
        self.loop.frozen = not self.loop.frozen
        if self.loop.frozen:
            self.stopped_at.append(self._universe.now)

    # --- dying --------------------------------------------------------------------------------------------------

    def on_operation(self, kind: str) -> None:
        """Count an operation, and die if it is the one."""
        if kind in self.crash_at and not self.dead:
            self.crash_at[kind] -= 1
            if self.crash_at[kind] < 0:
                self.die()

    def die(self) -> None:
        """``kill -9``."""
        if not self.dead:
            self.dead = True
            self.stopped_at.append(self._universe.now)
            self._events.clear()
            self.loop.die()
