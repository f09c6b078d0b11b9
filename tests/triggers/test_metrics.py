"""The streams' numbers reach a real StatsD listener through Airflow's own metrics, and never get in anybody's way."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk._shared.observability.metrics import stats
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk._shared.observability.metrics.statsd_logger import SafeStatsdLogger
from statsd import StatsClient  # type: ignore[import-untyped,unused-ignore]

from airflow_imap_provider.mail.conditions import Subject
from airflow_imap_provider.triggers import metrics
from airflow_imap_provider.triggers.email import EmailTrigger
from airflow_imap_provider.triggers.metrics import Metrics
from airflow_imap_provider.triggers.store import Stream
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import until, wait_until
from tests.triggers.conftest import CONN_ID, connection, message
from tests.triggers.mailbox_state import committed
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]
LINE = re.compile(
    r"(?P<name>[^,:]+),conn_id=(?P<conn_id>[^,]+),folder=(?P<folder>[^,]+),place=(?P<place>[^:]+):(?P<value>[^|]+)\|(?P<kind>\w)"
)


class StatsD:
    """A StatsD server of a few lines: adds counters up, keeps the last value of gauges."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], float] = {}
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while data := self._socket.recv(65_536):
            for line in data.decode().splitlines():
                self.lines.append(line)
                if found := LINE.fullmatch(line):
                    key, value = (found["name"], found["folder"]), float(found["value"])
                    self.values[key] = value + (self.values.get(key, 0.0) if found["kind"] == "c" else 0.0)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def __getitem__(self, name: str) -> float:
        return self.values.get((f"airflow.imap4.{name}", "INBOX"), -1.0)


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsD]:
    """Airflow's metrics lead here."""
    server = StatsD()
    for key, value in {
        "STATSD_ON": "True",
        "STATSD_HOST": "127.0.0.1",
        "STATSD_PORT": str(server.port),
        "STATSD_INFLUXDB_ENABLED": "True",
    }.items():
        monkeypatch.setenv(f"AIRFLOW__METRICS__{key}", value)
    monkeypatch.setattr(metrics, "_current", None)
    yield server
    server.close()
    # The next test has a backend of its own; this one's socket would be an unclosed one then. Nor may the backend stay:
    # Airflow's object storage counts too, and every save of a later test would fail.
    if isinstance(stats._backend, SafeStatsdLogger):
        stats._backend.statsd.close()
    stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


async def test_the_numbers_of_a_stream_arrive_with_its_tags(
    statsd: StatsD, dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    triggerer.add(trigger(conditions=[Subject.contains("yes")]))
    await until(lambda: committed(state) == 0, "it watches")
    dovecot.deliver_all(user, [message("yes one"), message("no"), message("yes two")])
    await until(lambda: statsd["mails_committed"] == 2, "the mails are counted to the end")
    assert statsd["connected"] == 1
    assert statsd["mails_seen"] == 3
    assert statsd["mails_matched"] == statsd["mails_told"] == 2
    assert 0 <= statsd["lag"] < 60
    assert abs(statsd["last_catch_up"] - time.time()) < 60
    assert statsd["actions_pending"] == 0
    assert any(f"conn_id={CONN_ID},folder=INBOX,place=default" in line for line in statsd.lines)
    dovecot.kick(user)
    await until(lambda: statsd["reconnects"] == 1, "the reconnect is counted", 20)


async def test_a_connection_that_is_lost_shows(
    statsd: StatsD, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    server = Dovecot()
    server.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRFLOW_CONN_DOWN", connection(server, server.alice))
            triggerer.add(trigger(imap4_conn_id="down"))
            await until(lambda: statsd["connected"] == 1, "it is connected")
            server.stop()
            await until(lambda: statsd["connected"] == 0, "the loss shows", 40)
            await triggerer.kill()
    finally:
        server.remove()


def test_names_of_all_kinds_make_tags_that_every_backend_takes(statsd: StatsD) -> None:
    stream = Stream("büro,=1", "Ordner|mit:allem #" + "x" * 300, "a b\nc")
    numbers = Metrics(stream)
    numbers.count("mails_seen", 3)
    wait_until(lambda: bool(statsd.lines), "the number arrives")
    (line,) = statsd.lines
    assert LINE.fullmatch(line)
    assert "conn_id=b_ro_1,folder=Ordner_mit_allem_x" in line
    assert len(line) < 250


class Broken(StatsClient):  # type: ignore[misc, unused-ignore]
    """A backend that always fails."""

    def gauge(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("out of order")


def test_a_backend_that_fails_is_said_once_and_nobody_notices_else(
    statsd: StatsD, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_CUSTOM_CLIENT_PATH", f"{__name__}.Broken")
    caplog.set_level(logging.ERROR)
    numbers = Metrics(Stream("c", "INBOX", "default"))
    for _ in range(100):
        numbers.gauge("lag", 1.0)
    numbers.count("mails_seen", 1)
    wait_until(lambda: statsd["mails_seen"] == 1, "what can be sent is sent")
    assert caplog.text.count("a metric cannot be sent") == 1


def test_a_backend_that_hangs_holds_up_nobody(
    statsd: StatsD, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    over = threading.Event()
    monkeypatch.setattr(metrics, "_backend", over.wait)
    monkeypatch.setattr(metrics, "WAITING", 50)
    numbers = Metrics(Stream("c", "INBOX", "default"))
    begin = time.monotonic()
    for _ in range(10_000):
        numbers.gauge("lag", 1.0)
    assert time.monotonic() - begin < 5
    assert caplog.text.count("some numbers are not sent") == 1
    monkeypatch.setattr(metrics._sender(), "_off", True)
    over.set()


def test_metrics_that_are_switched_off_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_current", None)
    monkeypatch.delenv("AIRFLOW__METRICS__STATSD_ON", raising=False)
    numbers = Metrics(Stream("c", "INBOX", "default"))
    numbers.gauge("lag", 1.0)
    wait_until(lambda: metrics._sender()._off, "nobody waits for numbers")
    numbers.gauge("lag", 2.0)
    assert metrics._sender()._queue.qsize() <= 1
