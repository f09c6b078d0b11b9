"""Airflow's database and scheduler as far as delivery knows them, traps included (the numbers: docs/delivery.md).

The state stores with writes that fail, happen late or happen although they failed; the rows of triggers, without which
an event is silently dropped and confirmed all the same; and the queue of asset events, which strands bursts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from tests.delivery.virtual import HostClock, Universe

STORE_LATENCY = 0.014
"""Seconds that an operation of the state store takes."""


class StoreError(RuntimeError):
    """The API server does not take a write: the asset is not active, or something broke on the way."""


@dataclass
class AssetEvent:
    """A stored event of an asset.

    :param timestamp: when it was stored, by the clock of whoever stored it.
    :param stored: when it was stored in truth.
    """

    asset: str
    timestamp: datetime
    extra: dict[str, Any]
    stored: float


@dataclass
class TriggerRow:
    """A trigger in the database: somebody has to run it."""

    name: str
    number: int
    owner: str | None = None


@dataclass
class Fault:
    """What happens to one operation of the state store.

    :param how: ``refused`` (nothing is stored), ``unanswered`` (it is stored, but the caller hears an error), ``late``
        (the same, and it is stored some seconds afterwards).
    """

    how: str
    late: float = 0.0


class Stores:
    """The state stores of the assets: JSON in, JSON out."""

    def __init__(self, universe: Universe) -> None:
        self._universe = universe
        self.values: dict[str, dict[str, str]] = {}
        self.inactive: set[str] = set()
        self.slow = 0.0
        """Seconds that an operation takes besides, though it succeeds."""
        self.faults: dict[int, Fault] = {}
        """What happens to the n-th write from now."""
        self.on_write: Callable[[str, str, Any], None] = lambda _asset, _key, _value: None

    def get(self, asset: str, key: str) -> Any:
        if asset in self.inactive:
            return None
        text = self.values.get(asset, {}).get(key)
        return None if text is None else json.loads(text)

    def put(self, asset: str, key: str, text: str | None) -> None:
        values = self.values.setdefault(asset, {})
        if text is None:
            values.pop(key, None)
        else:
            values[key] = text
            self.on_write(asset, key, json.loads(text))

    def change(self, asset: str, key: str, value: Any, *, delete: bool = False) -> None:
        assert len(key) <= 512
        if asset in self.inactive:
            raise StoreError("404: the asset is not active")
        text = None if delete else json.dumps(value, allow_nan=False)
        self.faults = {number - 1: fault for number, fault in self.faults.items()}
        fault = self.faults.pop(0, None)
        if fault is None:
            self.put(asset, key, text)
            return
        if fault.how == "unanswered":
            self.put(asset, key, text)
        elif fault.how == "late":
            self._universe.call_in(fault.late, lambda: self.put(asset, key, text))
        raise StoreError(f"{fault.how}: the API server did not answer")


@dataclass
class Dag:
    """A DAG on an asset, as the scheduler knows it.

    :param referenced: since when it refers to the asset; ``None``: its file is gone at the moment.
    :param queued: when the row in its queue was made, if there is one.
    :param runs_after: the ``run_after`` of the runs that events have started.
    """

    name: str
    asset: str
    referenced: datetime | None
    paused: bool = False
    queued: datetime | None = None
    runs_after: list[datetime] = field(default_factory=list)
    runs: list[Any] = field(default_factory=list)
    max_active_runs: int = 16


class Database:
    """What all processes share."""

    def __init__(self, universe: Universe) -> None:
        self._universe = universe
        self.stores = Stores(universe)
        self.resets: str | None = None
        """The Variable in which triggerers look for resets."""
        self.rows: dict[str, TriggerRow] = {}
        self.heartbeats: dict[str, float] = {}
        self.events: list[AssetEvent] = []
        self.dags: dict[str, Dag] = {}
        self.scheduling = True
        self.start_run: Callable[[Dag, datetime, list[AssetEvent]], None] = lambda _dag, _when, _events: None
        self._numbers = 0

    def lose_file(self, dag: Dag) -> None:
        """A DAG's file is missing at a parse: its references go, and with them its row in the queue."""
        dag.referenced = dag.queued = None

    def find_file(self, dag: Dag) -> None:
        """The file is there again, or for the first time."""
        dag.referenced = dag.referenced or HostClock(self._universe).now()

    def add_row(self, name: str) -> TriggerRow:
        self._numbers += 1
        self.rows[name] = TriggerRow(name, self._numbers)
        return self.rows[name]

    def submit(self, number: int, assets: tuple[str, ...], payload: Any, clock: HostClock) -> bool:
        """``Trigger.submit_event``: returns silently if the trigger's row has gone; returns whether it was stored."""
        if not any(row.number == number for row in self.rows.values()):
            return False
        for asset in assets:
            self.store_event(asset, {"from_trigger": True, "payload": payload}, clock)
        return True

    def store_event(self, asset: str, extra: dict[str, Any], clock: HostClock) -> None:
        told = json.loads(json.dumps(extra, allow_nan=False))
        self.events.append(AssetEvent(asset, clock.now(), told, self._universe.now))
        for dag in self.dags.values():
            # A paused DAG gets no row; one row a DAG, and the first stays (do nothing on conflict).
            if dag.asset == asset and dag.referenced and not dag.paused and dag.queued is None:
                dag.queued = clock.now()

    def schedule(self) -> None:
        """One turn of the scheduler: a run takes the events of before its row was made, and of after the last run.

        If there was none, of after the DAG began to refer to the asset (``_create_dag_runs_asset_triggered`` of Airflow
        3.3.2, without ``catchup``). All these moments are of the clocks of different hosts.
        """
        if not self.scheduling:
            return
        for dag in self.dags.values():
            active = sum(run.active for run in dag.runs)
            if dag.queued is None or dag.referenced is None or dag.paused or active >= dag.max_active_runs:
                continue
            when = dag.queued
            floor = max((before for before in dag.runs_after if before < when), default=dag.referenced)
            events = [event for event in self.events if event.asset == dag.asset and floor < event.timestamp <= when]
            dag.queued = None
            dag.runs_after.append(when)
            self.start_run(dag, when, events)


def triggering(events: list[AssetEvent]) -> list[Any]:
    """Events as a task sees them."""
    return [SimpleNamespace(extra=event.extra, timestamp=event.timestamp) for event in events]
