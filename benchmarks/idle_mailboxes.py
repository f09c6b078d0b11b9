"""What a mailbox in IDLE costs: ours beside a thread each and aioimaplib, over TLS to a real Dovecot, in one run.

Run it with ``python -m benchmarks.idle_mailboxes`` (``--help`` for its numbers); the extra ``benchmarks`` installs the
others. Each way runs in a process of its own and is measured at the same number of mailboxes, ours at the large number
as well: memory beyond the first connected mailbox, threads, CPU while nothing happens, how late the event loop runs its
timers, and how long it takes to have read 1,000 mails that arrive at once (the others: to have been told of them).
Dovecot itself holds a notification back for up to half a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import select
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

from airflow_imap_provider.connection.settings import AuthSettings, Settings, TlsSettings
from airflow_imap_provider.mail.conditions import Conditions
from airflow_imap_provider.mailbox import watcher as watching
from airflow_imap_provider.mailbox.place import first_place
from airflow_imap_provider.mailbox.reader import Reader, Wish
from benchmarks.many_mailboxes import PASSWORD, ManyMailboxes

QUIET = 20.0
"""Seconds in which nothing happens, to see what idling costs."""
TICK = 0.01
"""Seconds between two looks at how late the loop is."""
PATIENCE = 1800.0
"""Seconds for everything to connect, at most."""
MAIL = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: news\r\nMessage-ID: <%d@example.com>\r\n\r\nHello.\r\n"


@dataclass
class Plan:
    """What a measured process is told."""

    way: str
    mailboxes: int
    host: str
    port: int
    ca: str
    news: int
    poll_interval: float


@dataclass
class Result:
    """What it found.

    :param kib: memory for each mailbox beyond the first one.
    :param connecting: seconds until all were in IDLE.
    :param cpu: percent of one core while nothing happened.
    :param lag: milliseconds by which timers of the loop were late while idling and while the news came: p50, p99, max.
    :param noticed: seconds from the delivery of the news to the first, the median and the last mailbox that had it.
    """

    way: str
    mailboxes: int
    kib: float
    threads: int
    connecting: float
    cpu: float
    lag: tuple[float, float, float] | None
    noticed: tuple[float, float, float]


class Gauge:
    """Measures this process, and talks to the one that delivers the mail."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._process = psutil.Process()
        self._first = 0
        self._began = 0.0
        self._cpu = 0.0
        self._result: dict[str, Any] = {}
        self.lags: list[float] | None = None
        self.noticed: dict[int, float] = {}
        self.all_noticed = threading.Event()
        self.delivered = float("inf")

    def first_connected(self) -> None:
        """Everything is imported and warm: what comes from now on is the mailboxes' own."""
        self._first = self._process.memory_info().rss
        self._began = time.monotonic()

    def all_connected(self) -> None:
        """Note what they cost; the quiet time begins."""
        grown = self._process.memory_info().rss - self._first
        self._result = {
            "way": self._plan.way,
            "mailboxes": self._plan.mailboxes,
            "kib": grown / 1024 / (self._plan.mailboxes - 1),
            "threads": self._process.num_threads(),
            "connecting": time.monotonic() - self._began,
        }
        times = self._process.cpu_times()
        self._cpu = times.user + times.system
        if self.lags is not None:
            self.lags.clear()

    def quiet_is_over(self) -> None:
        """Note what idling cost, and ask for the news."""
        times = self._process.cpu_times()
        self._result["cpu"] = (times.user + times.system - self._cpu) / QUIET * 100
        print("news", flush=True)
        self.delivered = float(sys.stdin.readline())

    def notice(self, number: int) -> None:
        """A mailbox has its mail."""
        self.noticed.setdefault(number, time.time())
        if len(self.noticed) >= self._plan.news:
            self.all_noticed.set()

    def report(self) -> None:
        """Hand over the result."""
        after = sorted(moment - self.delivered for moment in self.noticed.values())
        lags = sorted(1000 * lag for lag in self.lags or [])
        self._result["lag"] = (_at(lags, 0.5), _at(lags, 0.99), lags[-1]) if lags else None
        self._result["noticed"] = (after[0], _at(after, 0.5), after[-1])
        print(json.dumps(self._result), flush=True)


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def _watch_loop(gauge: Gauge) -> None:
    gauge.lags = []
    while True:
        began = time.monotonic()
        await asyncio.sleep(TICK)
        gauge.lags.append(max(time.monotonic() - began - TICK, 0.0))


# -- ours --------------------------------------------------------------------------------------------------------------


class Mailbox:
    """A member of a watched folder that reads what is new, like a trigger does, and throws it away."""

    idle = True
    acts = False

    def __init__(self, number: int, plan: Plan, gauge: Gauge, connected: Callable[[], None]) -> None:
        self.poll_interval = plan.poll_interval
        self._number, self._gauge, self._connected = number, gauge, connected
        self._settings = Settings(
            conn_id=f"box{number}",
            host=plan.host,
            port=plan.port,
            auth=AuthSettings(login=ManyMailboxes.account(number), password=PASSWORD),
            tls=TlsSettings(ca_bundle=plan.ca),
        )
        self._reader = Reader(Wish(conn_id=f"box{number}", folder="INBOX", conditions=Conditions([])))
        self._place = first_place("all", datetime.now(timezone.utc))
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._watcher: watching.FolderWatcher | None = None

    def join(self) -> None:
        """Begin to watch."""
        self._watcher = watching.join((f"box{self._number}", "INBOX"), self, self._get_settings)

    async def _get_settings(self) -> Settings:
        return self._settings

    def wake(self) -> None:
        """Read what is new, if there is a connection."""
        if self._task is not None and not self._task.done():
            self._again = True
        elif self._watcher is not None and self._watcher.state.connected:
            self._task = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        assert self._watcher is not None
        batch = await self._watcher.read(self, self._reader, self._place)
        if self._place.uidvalidity is None:
            self._connected()
        self._place = batch.place
        if batch.emails:
            self._gauge.notice(self._number)
        if self._again:
            self._again, self._task = False, None
            self.wake()


async def ours(plan: Plan, gauge: Gauge) -> None:
    """Mailboxes as the triggers of this package watch them."""
    connected = 0

    def one_more() -> None:
        nonlocal connected
        connected += 1

    async def until(count: int) -> None:
        end = time.monotonic() + PATIENCE
        while connected < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{connected} of {count} mailboxes are connected")
            await asyncio.sleep(0.1)

    watcher = asyncio.create_task(_watch_loop(gauge))
    mailboxes = [Mailbox(number, plan, gauge, one_more) for number in range(plan.mailboxes)]
    mailboxes[0].join()
    await until(1)
    await asyncio.sleep(1)
    gauge.first_connected()
    for mailbox in mailboxes[1:]:
        mailbox.join()
    await until(plan.mailboxes)
    await asyncio.sleep(1)
    gauge.all_connected()
    await asyncio.sleep(QUIET)
    gauge.quiet_is_over()
    await asyncio.to_thread(gauge.all_noticed.wait)
    watcher.cancel()
    gauge.report()


# -- a thread for each mailbox -----------------------------------------------------------------------------------------


def thread_each(plan: Plan, gauge: Gauge) -> None:
    """IMAPClient's own IDLE, as its documentation shows it, in a thread for each mailbox."""
    from imapclient import IMAPClient

    context = ssl.create_default_context(cadata=plan.ca)
    ready = threading.Semaphore(0)

    def watch(number: int) -> None:
        client = IMAPClient(plan.host, plan.port, ssl=True, ssl_context=context)
        client.login(ManyMailboxes.account(number), PASSWORD)
        client.select_folder("INBOX", readonly=True)
        client.idle()
        ready.release()
        while not any(b"EXISTS" in line for line in client.idle_check(timeout=PATIENCE)):
            pass
        gauge.notice(number)

    def start(number: int) -> None:
        threading.Thread(target=watch, args=(number,), daemon=True).start()
        ready.acquire()

    start(0)
    gauge.first_connected()
    for number in range(1, plan.mailboxes):
        start(number)
    gauge.all_connected()
    time.sleep(QUIET)
    gauge.quiet_is_over()
    gauge.all_noticed.wait()
    gauge.report()


# -- aioimaplib --------------------------------------------------------------------------------------------------------


async def aioimaplib(plan: Plan, gauge: Gauge) -> None:
    """The asyncio client, as its documentation shows it."""
    from aioimaplib import IMAP4_SSL

    context = ssl.create_default_context(cadata=plan.ca)
    tasks = []

    async def connect(number: int) -> Any:
        client = IMAP4_SSL(plan.host, plan.port, ssl_context=context)
        await client.wait_hello_from_server()
        await client.login(ManyMailboxes.account(number), PASSWORD)
        await client.select("INBOX")
        await client.idle_start(timeout=PATIENCE)
        tasks.append(asyncio.create_task(watch(number, client)))

    async def watch(number: int, client: Any) -> None:
        while not any(b"EXISTS" in line for line in await client.wait_server_push()):
            pass
        gauge.notice(number)

    probe = asyncio.create_task(_watch_loop(gauge))
    await connect(0)
    gauge.first_connected()
    for number in range(1, plan.mailboxes):
        await connect(number)
    gauge.all_connected()
    await asyncio.sleep(QUIET)
    gauge.quiet_is_over()
    await asyncio.to_thread(gauge.all_noticed.wait)
    probe.cancel()
    gauge.report()


# -- the run -----------------------------------------------------------------------------------------------------------


def measure(plan: Plan, server: ManyMailboxes) -> Result:
    """Run one way in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.idle_mailboxes", "--measured", json.dumps(asdict(plan))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        while (line := child.stdout.readline()).strip() != "news":
            if not line:
                raise RuntimeError(f"{plan.way} ended with {child.wait()}")
        chosen = range(0, plan.mailboxes, plan.mailboxes // plan.news)[: plan.news]
        began = time.time()
        for number in chosen:
            server.deliver(number, MAIL % number)
        child.stdin.write(f"{began}\n")
        child.stdin.flush()
        ready, _, _ = select.select([child.stdout], [], [], 300)
        if not ready:
            raise TimeoutError(f"{plan.way}: not every mailbox has noticed its mail within 300 s")
        return Result(**json.loads(child.stdout.readline()))
    finally:
        child.kill()
        child.wait()


def show(results: list[Result]) -> None:
    """Print the table, with ratios to ours at the same number of mailboxes."""
    base = next(result for result in results if result.way == "ours")
    print(f"{'way':12} {'boxes':>6} {'KiB each':>9} {'ratio':>6} {'threads':>7} {'connect':>9} {'CPU idle':>9}", end="")
    print(f" {'lag ms p50/p99/max':>20} {'noticed s first/median/last':>28}")
    for result in results:
        lag = "/".join(f"{value:.1f}" for value in result.lag) if result.lag else "-"
        noticed = "/".join(f"{value:.2f}" for value in result.noticed)
        print(
            f"{result.way:12} {result.mailboxes:6} {result.kib:9.1f} {result.kib / base.kib:6.2f} {result.threads:7} "
            f"{result.connecting:7.1f} s {result.cpu:7.1f} % {lag:>20} {noticed:>28}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mailboxes", type=int, default=10_000, help="the large number, for ours alone")
    parser.add_argument("--beside", type=int, default=1_000, help="the number at which all ways are compared")
    parser.add_argument("--news", type=int, default=1_000, help="mails that arrive at once, one a mailbox")
    parser.add_argument("--poll-interval", type=float, default=540.0, help="seconds between safety polls, for ours")
    parser.add_argument("--measured", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measured:
        plan = Plan(**json.loads(arguments.measured))
        gauge = Gauge(plan)
        if plan.way == "thread each":
            thread_each(plan, gauge)
        else:
            asyncio.run({"ours": ours, "aioimaplib": aioimaplib}[plan.way](plan, gauge))
        sys.stdout.flush()
        os._exit(0)  # saying goodbye ten thousand times is not what is measured
    results = []
    runs = [(way, arguments.beside) for way in ("ours", "thread each", "aioimaplib")]
    for way, mailboxes in [*runs, ("ours", arguments.mailboxes)]:
        with ManyMailboxes() as server:
            plan = Plan(
                way,
                mailboxes,
                server.host,
                server.port,
                server.authority.pem,
                min(arguments.news, mailboxes),
                arguments.poll_interval,
            )
            results.append(measure(plan, server))
            print(f"{way}, {mailboxes} mailboxes: done", file=sys.stderr, flush=True)
    show(results)


if __name__ == "__main__":
    main()
