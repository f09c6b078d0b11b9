"""DAG runs with one task each: the production operator's ``execute``, killed between any two of its store operations.

A worker runs it as a strand: other runs, triggers and the scheduler go on between two operations. What Airflow forbids
(two intakes of one task at once, ``max_active_tis_per_dag=1``) does not happen here either, unless a test asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_imap_provider.operators.email import ReceiveEmailsOperator, TakenMeanwhileError
from tests.delivery.airflow_twin import STORE_LATENCY, AssetEvent, Dag, Database, StoreError, triggering
from tests.delivery.virtual import HostClock, Strand, Universe, pause

STARTING = 1.5
"""Seconds from the run to the task's code."""

RETRY_DELAY = 10.0

QUIET: Any = logging.getLogger("airflow_imap_provider.quiet")


class WorkerStore:
    """An asset's state store, or a task's, seen from a task."""

    def __init__(self, run: Run, read: Callable[[str], Any], change: Callable[[str, Any, bool], None]) -> None:
        self._run, self._read, self._write = run, read, change

    def get(self, key: str, default: Any = None) -> Any:
        pause(STORE_LATENCY / 2)
        value = self._read(key)
        pause(STORE_LATENCY / 2)
        return default if value is None else value

    def set(self, key: str, value: Any, **_: Any) -> None:
        self._change(key, value, False)

    def delete(self, key: str) -> None:
        self._change(key, None, True)

    def _change(self, key: str, value: Any, delete: bool) -> None:
        self._run.on_operation()
        pause(STORE_LATENCY / 2)
        self._write(key, value, delete)
        self._run.on_operation()
        pause(STORE_LATENCY / 2)


class Run:
    """A DAG run and its one task instance. ``returned`` is what its last success returned."""

    def __init__(self, consumer: Consumer, run_id: str, run_after: datetime, events: list[AssetEvent]) -> None:
        self.consumer, self.run_id, self.run_after, self.events = consumer, run_id, run_after, events
        self.started = consumer.universe.now
        self.state = "queued"
        self.attempts = 0
        self.returned: list[dict[str, Any]] | None = None
        self.history: list[list[tuple[str, int]]] = []
        """What each attempt that came to an end returned: UIDVALIDITY and UID."""
        self.task_state: dict[str, Any] = {}
        self.crash_at: int | None = None
        """After how many steps of store operations the worker dies."""
        self.strand: Strand | None = None

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running", "up_for_retry")

    def on_operation(self) -> None:
        if self.crash_at is not None:
            self.crash_at -= 1
            if self.crash_at < 0:
                self.crash_at = None
                self.consumer.universe.call_in(0.0, self.kill)
                pause(1e-9)

    def kill(self) -> None:
        """The worker's process is killed; Airflow notices and has the task tried again."""
        strand, self.strand = self.strand, None
        if strand is not None:
            strand.kill()
            self.consumer.attempt_failed(self)


class Consumer:
    """One DAG with one ``ReceiveEmailsOperator``."""

    def __init__(
        self,
        universe: Universe,
        database: Database,
        dag_id: str,
        asset: Asset,
        *,
        ahead: float,
        failed: Callable[[str, Any], None],
        **arguments: Any,
    ) -> None:
        self.universe, self.database, self._failed = universe, database, failed
        self.asset = asset
        self.clock = HostClock(universe, ahead)
        self.operator = ReceiveEmailsOperator(task_id="emails", asset=asset, **arguments)
        self.operator._cached_logger = QUIET  # Airflow's own writes every line to the standard output
        self.dag_id = dag_id
        self.dag = Dag(dag_id, asset.name, HostClock(universe).now())
        self.runs: list[Run] = self.dag.runs
        self.begun: float | None = None
        """When the first event was stored that has started the first of its runs to come to an end, or when that run
        was started by hand: mail that arrives later must be taken."""
        self.promised: set[tuple[str, str]] = set()
        """The mails of the events that have started its runs."""
        self.broken_until = 0.0
        """Until when no worker can begin with its tasks."""
        self.crash_next: int | None = None
        """After how many steps of store operations the next attempt dies."""
        database.dags[dag_id] = self.dag

    def start(self, run_after: datetime, events: list[AssetEvent]) -> Run:
        run = Run(self, f"{self.dag_id}-{len(self.runs)}", run_after, events)
        self.runs.append(run)
        self.universe.call_in(STARTING, lambda: self.attempt(run))
        return run

    def clear(self, run: Run) -> None:
        """Have a finished run done again."""
        run.state, run.attempts = "queued", 0
        self.universe.call_in(STARTING, lambda: self.attempt(run))

    def attempt(self, run: Run, *, beside: bool = False) -> None:
        """Run the task, when no other run's task is running.

        :param beside: it asks nobody, as ``airflow dags test`` does.
        """
        if run.state not in ("queued", "up_for_retry"):
            return
        if not beside and any(other.strand is not None for other in self.runs):
            self.universe.call_in(1.0, lambda: self.attempt(run))
            return
        run.state, run.attempts = "running", run.attempts + 1
        if self.universe.now < self.broken_until:
            self.attempt_failed(run)
            return
        run.crash_at, self.crash_next = self.crash_next, None
        added: list[dict[str, Any]] = []
        run.strand = Strand(
            lambda: type(self.operator).execute.__wrapped__(self.operator, self._context(run, added)),  # type: ignore[attr-defined]
            lambda seconds, call: self.universe.call_in(seconds, lambda: self._on_worker(call)),
            lambda result, error: self._ended(run, added, result, error),
        )
        self._on_worker(run.strand.resume)

    def _on_worker(self, call: Callable[[], object]) -> None:
        with self.universe.on_host(self.clock):
            call()

    def _context(self, run: Run, added: list[dict[str, Any]]) -> Any:
        stores = self.database.stores
        asset_store = WorkerStore(
            run,
            lambda key: stores.get(self.asset.name, key),
            lambda key, value, delete: stores.change(self.asset.name, key, value, delete=delete),
        )
        task_store = WorkerStore(
            run, run.task_state.get, lambda key, value, _delete: run.task_state.__setitem__(key, value)
        )
        return {
            "ti": SimpleNamespace(map_index=-1),
            "run_id": run.run_id,
            "dag_run": SimpleNamespace(run_after=run.run_after),
            "asset_state_store": {self.asset: asset_store},
            "task_state_store": task_store,
            "triggering_asset_events": {self.asset: triggering(run.events)},
            "outlet_events": {
                self.operator._remainder: SimpleNamespace(add=lambda _asset, extra: added.append(extra)),
            },
        }

    def _ended(self, run: Run, added: list[dict[str, Any]], result: Any, error: BaseException | None) -> None:
        run.strand = None
        if error is None or isinstance(error, AirflowSkipException):
            self._owed_from_now_on(run)
        if isinstance(error, AirflowSkipException):
            run.state = "skipped"
            return
        if error is not None:
            if isinstance(error, AirflowFailException) or not isinstance(error, (StoreError, TakenMeanwhileError)):
                self._failed(run.run_id, error)
            self.attempt_failed(run)
            return
        run.state, run.returned = "success", result
        run.history.append(sorted((str(email["uidvalidity"]), email["uid"]) for email in result))
        for extra in added:
            self.database.store_event(self.asset.name, extra, self.clock)

    def _owed_from_now_on(self, run: Run) -> None:
        told = [event for event in run.events if "payload" in event.extra]
        if self.begun is None:
            self.begun = min((event.stored for event in told), default=run.started)
        for event in told:
            payload = event.extra["payload"]
            self.promised |= {(payload["stream"], email["message_id"].strip("<>")) for email in payload["emails"]}

    def attempt_failed(self, run: Run) -> None:
        if run.attempts > (self.operator.retries or 0):
            run.state = "failed"
        else:
            run.state = "up_for_retry"
            self.universe.call_in(RETRY_DELAY, lambda: self.attempt(run))
