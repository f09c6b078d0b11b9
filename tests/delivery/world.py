"""The world in which the production code delivers: a mailbox, triggerers, Airflow, consumers, and what happens to them.

Every process, server and clock is simulated; ``triggers/``, ``mailbox/`` and ``operators/`` are what is shipped, and so
are Airflow's shared streams. The judges stand in ``verdict.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

import pytest
from airflow.sdk import DAG, Asset

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.hooks import settings as hook_settings
from airflow_imap_provider.mail.conditions import Subject
from airflow_imap_provider.mailbox import watcher
from airflow_imap_provider.mailbox.actions import Action
from airflow_imap_provider.mailbox.place import parse_start
from airflow_imap_provider.operators import email as operators
from airflow_imap_provider.transport import clock
from airflow_imap_provider.triggers import reset_bell, subscriber
from airflow_imap_provider.triggers.resets import Request
from airflow_imap_provider.triggers.store import Stream
from tests.delivery.airflow_twin import STORE_LATENCY, AssetEvent, Dag, Database
from tests.delivery.consumer import Consumer, Run
from tests.delivery.mailserver import MailServer, StoredMail, TwinSession, received
from tests.delivery.triggerer import TriggererProcess
from tests.delivery.virtual import HostClock, Universe

CONN_ID = "mailbox"
ASSETS = {name: Asset(name, uri=f"imap://mail.example.com/{name}") for name in ("inbox", "twin")}
CLAIMS_KEPT = 12
"""Instead of a thousand, so that a short story gets there."""


@dataclass(frozen=True)
class Plan:
    """What is set up.

    :param actions: what the first trigger does to matching mails.
    :param no_match: what it does to the others.
    :param always: what it does to all.
    :param second: whether a second trigger, with another place and for all mails, shares the connection.
    :param twins: whether the first trigger serves two assets.
    :param batch_size: mails in an event.
    :param max_mails: mails in a run.
    :param start: the start policy.
    :param down: seconds in which the mail server is down at first.
    :param turn: seconds that a turn of a triggerer takes.
    """

    actions: tuple[Action, ...] = ()
    no_match: tuple[Action, ...] = ()
    always: tuple[Action, ...] = ()
    second: bool = False
    twins: bool = False
    batch_size: int = 3
    max_mails: int = 4
    turn: float = 1.0
    start: str = "all"
    down: float = 0.0

    @property
    def triggers(self) -> dict[str, tuple[dict[str, Any], tuple[str, ...]]]:
        base: dict[str, Any] = {
            "imap4_conn_id": CONN_ID,
            "start": self.start,
            "poll_interval": 600.0,
            "batch_size": self.batch_size,
            "server_search": False,
        }
        first = {
            **base,
            "conditions": [Subject.contains("invoice")],
            "on_match": list(self.actions),
            "on_no_match": list(self.no_match),
            "always": list(self.always),
        }
        found: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {"first": (first, self.assets)}
        if self.second:
            found["second"] = {**base, "place": "second", "payload": "minimal"}, self.assets[:1]
        return found

    def due(self, *, matches: bool) -> tuple[Action, ...]:
        """What the first trigger owes to a mail."""
        return (*(self.actions if matches else self.no_match), *self.always)

    @property
    def acts(self) -> bool:
        return bool(self.actions or self.no_match or self.always)

    @property
    def assets(self) -> tuple[str, ...]:
        return ("inbox", "twin") if self.twins else ("inbox",)

    @property
    def streams(self) -> dict[str, tuple[str, ...]]:
        """The assets of each stream."""
        found = {f"{CONN_ID}/INBOX/default": self.assets}
        return {**found, f"{CONN_ID}/INBOX/second": self.assets[:1]} if self.second else found


@dataclass
class Arrival:
    """A mail that has come in, and what became of it.

    :param touched: whether somebody else has removed it from the folder.
    :param doomed: whether somebody else has marked it as deleted.
    :param remade: whether the folder was made anew with it inside.
    :param mistaken: whether it came into a new folder while a session took that for the old one: nobody can know then
        what an owed action means by its UID.
    :param unowed: whether its actions were dropped when such a session noticed.
    """

    name: str
    matches: bool
    at: float
    touched: bool = False
    doomed: bool = False
    remade: bool = False
    mistaken: bool = False
    unowed: bool = False

    def meant_for(self, stream: str) -> bool:
        return self.matches or stream.endswith("/second")


@dataclass
class Reset:
    """Somebody has asked for a stream to begin anew.

    :param at: when.
    :param honoured: when a place was stored that begins anew for it.
    """

    id: str
    stream: str
    to: str
    at: float
    honoured: float | None = None


class World:
    """All of it. Use it as a context manager: it puts itself in the place of clock, network and Airflow."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.universe = Universe()
        self.server = MailServer(self.universe)
        self.database = Database(self.universe)
        self.processes: list[TriggererProcess] = []
        self.consumers: dict[str, Consumer] = {}
        self.arrivals: dict[str, Arrival] = {}
        self.failures: list[str] = []
        self.resets: list[Reset] = []
        self.renumbered: dict[tuple[str, str], int] = {}
        """By asset and stream, the epoch of the place whose UIDs mean other mails under the same UIDVALIDITY."""
        self.given_up: list[str] = []
        self.excused: set[str] = set()
        """Mails of which an action was reported as given up."""
        self.turn_of_scheduler = 1.0
        self._numbers = itertools.count(1)
        self._stack = contextlib.ExitStack()

    # --- being in the place of everything -----------------------------------------------------------------------

    def __enter__(self) -> World:
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        universe, tokens = self.universe, itertools.count()
        patch.setattr(clock._SystemClock, "monotonic", lambda _self: universe.clock.monotonic())
        patch.setattr(clock._SystemClock, "now", lambda _self: universe.clock.now())
        patch.setattr(watcher, "open_session", self.server.open_session)
        patch.setattr(reset_bell, "_supervisor", lambda: self.database)
        patch.setattr(reset_bell, "_variable", _variable)
        patch.setattr("secrets.token_hex", lambda _bytes: f"journal{next(tokens)}")
        patch.setattr(hook_settings, "async_settings", _settings)
        patch.setattr(operators, "CLAIMS_KEPT", CLAIMS_KEPT)
        for registry in (watcher._watchers, subscriber._holders):
            registry.clear()
        self._stack.enter_context(_logged(self))
        self.server.before_command = lambda session, _command: self._on_command(session, "imap")
        self.server.after_command = lambda session, _command: self._on_command(session, "sent")
        self.database.start_run = self._start_run
        for name in self.plan.triggers:
            self.database.add_row(name)
        self._schedule()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for consumer in self.consumers.values():
            for run in consumer.runs:
                if run.strand is not None:
                    run.strand.kill()
        for process in self.processes:
            process.die()
        self.server.lose_connections()
        for process in self.processes:
            process.loop.bury()
        for registry in (watcher._watchers, subscriber._holders):
            registry.clear()
        self._stack.close()

    def _schedule(self) -> None:
        self.database.schedule()
        self.universe.call_in(self.turn_of_scheduler, self._schedule)

    def _on_command(self, session: TwinSession, kind: str) -> None:
        for process in self.processes:
            if process.clock is self.universe.clock:
                process.on_operation(kind)
                if process.dead:
                    session.lose("the process is dead")

    def failed(self, who: str, what: Any) -> None:
        """Something came out that Airflow would restart, or that nobody has looked at."""
        self.failures.append(f"{who}: {what!r}")

    # --- who is there -------------------------------------------------------------------------------------------

    def start_triggerer(self, *, ahead: float = 0.0, straggling: float = 0.5) -> TriggererProcess:
        process = TriggererProcess(
            f"triggerer{next(self._numbers)}",
            self.universe,
            self.database,
            self.plan.triggers,
            ahead=ahead,
            turn=self.plan.turn,
            straggling=straggling,
            failed=self.failed,
        )
        self.processes.append(process)
        return process

    @property
    def alive(self) -> list[TriggererProcess]:
        return [process for process in self.processes if not process.dead]

    def add_consumer(self, asset: str = "inbox", *, ahead: float = 0.0, **arguments: Any) -> Consumer:
        dag_id = f"dag{len(self.consumers)}"
        consumer = Consumer(
            self.universe,
            self.database,
            dag_id,
            ASSETS[asset],
            ahead=ahead,
            failed=self.failed,
            max_mails=self.plan.max_mails,
            dag=DAG(dag_id, schedule=None),
            **arguments,
        )
        self.consumers[dag_id] = consumer
        return consumer

    def _start_run(self, dag: Dag, run_after: datetime, events: list[AssetEvent]) -> None:
        self.consumers[dag.name].start(run_after, events)

    @property
    def runs(self) -> list[Run]:
        return [run for consumer in self.consumers.values() for run in consumer.runs]

    # --- what happens -------------------------------------------------------------------------------------------

    def deliver(self, *, matches: bool, days_ago: float = 0.0) -> None:
        """Let a mail come in.

        :param days_ago: how old its date is: who moves a mail into a folder keeps that.
        """
        number = len(self.arrivals) + 1
        name, subject = f"mail{number}", f"{'invoice' if matches else 'other'} {number}"
        arrival = self.arrivals[name] = Arrival(name, matches, self.universe.now)
        date = received(self.universe) - timedelta(days=days_ago)
        uid = self.server.arrive(StoredMail(name, subject, date, 1000 + number))
        arrival.mistaken = self.server.means_others_at(uid)
        arrival.unowed = self.server.means_others_at(0)

    def remove_mail(self, index: int) -> None:
        """Another client removes a mail."""
        if self.server.inbox:
            uid = sorted(self.server.inbox)[index % len(self.server.inbox)]
            self.arrivals[self.server.inbox.pop(uid).name].touched = True

    def mark_mail(self, index: int) -> None:
        """Another client marks a mail as deleted, and expunges nothing."""
        if self.server.inbox:
            uid = sorted(self.server.inbox)[index % len(self.server.inbox)]
            self.server.inbox[uid].flags.add("\\Deleted")
            self.arrivals[self.server.inbox[uid].name].doomed = True

    def recreate_folder(self, *, restored: bool, sessions: str = "lost") -> None:
        for mail in self.server.inbox.values():
            self.arrivals[mail.name].remade = True
            self.arrivals[mail.name].touched |= not restored
        self.server.recreate(restored=restored, sessions=sessions)
        self._mistake_all()

    def _mistake_all(self) -> None:
        for uid, mail in self.server.inbox.items():
            self.arrivals[mail.name].mistaken |= self.server.means_others_at(uid)

    def deliver_broken(self) -> None:
        """Let a mail come in that nobody can read."""
        self.deliver(matches=False)
        self.server.poison.add(f"mail{len(self.arrivals)}")

    def deliver_short(self, *, matches: bool, how: str, seconds: float) -> None:
        """Let a mail come in that a FETCH leaves out at first, wholly or in part."""
        self.server.short[f"mail{len(self.arrivals) + 1}"] = how, self.universe.now + seconds
        self.deliver(matches=matches)

    def renumber_folder(self, sessions: str = "lost") -> None:
        """The folder's UIDs begin anew under the same UIDVALIDITY, and below every place."""
        for mail in self.server.inbox.values():
            self.arrivals[mail.name].remade = True
        self.server.forget_uids(sessions)
        self._mistake_all()
        for asset in self.plan.assets:
            for stream in self.plan.streams:
                place = self.database.stores.get(asset, f"imap4:place:{stream}")
                self.renumbered[asset, stream] = place["epoch"] if place else -1

    def reset(self, index: int, to: str) -> None:
        """``airflow imap4 reset --to``: a request in the store of one asset of the stream, and a ring."""
        stream, assets = list(self.plan.streams.items())[index % len(self.plan.streams)]
        reset = Reset(f"reset{next(self._numbers)}", stream, to, self.universe.now)
        self.resets.append(reset)
        named = Stream.named(stream)
        assert named is not None
        request = Request(reset.id, parse_start(to), HostClock(self.universe).now())
        self.database.stores.put(assets[0], named.key("reset"), json.dumps(request.to_json()))
        self.database.resets = reset_bell.rung(self.database.resets, reset.id, [(assets[0], stream)])

    def edit_dag(self, trigger: str) -> None:
        """The trigger's row goes, and comes again under another number: an edited DAG, or one paused and unpaused."""
        self.database.add_row(trigger)

    def run(self, seconds: float) -> None:
        self.universe.run(seconds)

    def manual_run(self, consumer: Consumer) -> None:
        now = HostClock(self.universe).now()
        consumer.start(now + timedelta(0), [])


async def _variable(database: Database) -> str | None:
    await asyncio.sleep(STORE_LATENCY)
    return database.resets


async def _settings(conn_id: str) -> Settings:
    return Settings(conn_id=conn_id, host="twin")


class _Ears(logging.Handler):
    """Hears what the provider reports as errors; an unexpected one is a defect."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self.world = world

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "is given up" in text:
            self.world.given_up.append(text)
            inbox = self.world.server.inbox
            for first, last in _spans(text):
                self.world.excused |= {inbox[n].name for n in range(first, last + 1) if n in inbox}
        elif "unexpected" in text or record.exc_info:
            self.world.failed(record.name, (text, record.exc_info and record.exc_info[1]))


def _spans(report: str) -> list[tuple[int, int]]:
    if found := re.search(r"\(UIDs ([^)]*)\)", report):
        spans = [span.partition(" to ")[::2] for span in found[1].split(", ")]
        return [(int(first), int(last or first)) for first, last in spans]
    found = re.search(r"with the UIDs (\[\[.*\]\])", report)
    assert found is not None, f"a report must say which mails it is about: {report}"
    return [(first, last) for first, last in json.loads(found[1])]


@contextlib.contextmanager
def _logged(world: World) -> Iterator[None]:
    ours, ears = logging.getLogger("airflow_imap_provider"), _Ears(world)
    loggers = [ours, logging.getLogger("airflow.task.operators")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
        logger.propagate = False
    ours.addHandler(ears)
    try:
        yield
    finally:
        ours.removeHandler(ears)
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate
