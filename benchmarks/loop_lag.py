"""How long the triggerer's event loop is held up by some hundred watched mailboxes, and what each of them costs.

Run it with ``python -m benchmarks.loop_lag >/dev/null`` (``--mailboxes N``, 250 unless said otherwise); Airflow's log
goes to the standard output, the figures to the other one. Real triggers in Airflow's own runner watch mailboxes of a
real Dovecot over TLS, while: all are activated; all rest; a mail comes to each; the server is killed and returns. For
each of these it prints the longest turns of the loop: by the processor time that the loop's thread took (which a busy
machine does not change) and by the clock; and the longest garbage collection, which stops all threads.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable

import psutil  # type: ignore[import-untyped,unused-ignore]

from airflow_imap_provider.mailbox import watcher
from airflow_imap_provider.triggers.email import EmailTrigger, load
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import until
from tests.triggers.conftest import connection, message
from tests.triggers.triggerer import State, Triggerer

CLAIMED = 50
"""Triggers that Airflow starts in one loop of a second."""

REST = 30.0
"""Seconds of rest that are looked at."""

PATIENCE = 300.0
"""Seconds for each phase at most."""


class ProbedLoop(asyncio.SelectorEventLoop):
    """Notes how long each of its turns takes."""

    def __init__(self) -> None:
        super().__init__()
        self.processor: list[float] = []
        self.clock: list[float] = []
        self.collecting: list[float] = []
        self._collection_began = 0.0
        gc.callbacks.append(self._on_collection)

    def _run_once(self) -> None:
        before = time.thread_time()
        super()._run_once()  # type: ignore[misc]  # private: typeshed does not have it
        self.processor.append(time.thread_time() - before)

    def _on_collection(self, moment: str, _: dict[str, int]) -> None:
        now = time.thread_time()
        if moment == "start":
            self._collection_began = now
        else:
            self.collecting.append(now - self._collection_began)

    async def probe(self) -> None:
        """Measure by the clock how late a timer of a millisecond comes."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            self.clock.append(time.perf_counter() - before - 0.001)

    def report(self, phase: str, seconds: float) -> None:
        """Print what was noted, and begin anew."""
        columns = [f"{phase:34}{seconds:7.1f} s"]
        for noted in (self.processor, self.clock):
            noted.sort()
            p99 = noted[int(len(noted) * 0.99)] if noted else 0.0
            columns.append(f"p99 {p99 * 1000:6.1f} ms  max {max(noted, default=0.0) * 1000:6.1f} ms")
        columns.append(f"max {max(self.collecting, default=0.0) * 1000:6.1f} ms")
        print("   ".join(columns), file=sys.stderr)
        self.processor, self.clock, self.collecting = [], [], []


def connected() -> int:
    """How many folders are watched at this moment."""
    return sum(one.state.connected and one._channel is not None for one in watcher._watchers.values())


async def phase(loop: ProbedLoop, name: str, condition: Callable[[], bool]) -> None:
    """Wait until something holds, and report the time until then."""
    begin = time.monotonic()
    await until(condition, name, PATIENCE)
    loop.report(name, time.monotonic() - begin)


async def measure(loop: ProbedLoop, server: Dovecot, users: list[User]) -> None:
    """All phases."""
    state, many = State(), len(users)
    triggerer = Triggerer(state)
    probe = loop.create_task(loop.probe())
    await asyncio.sleep(2)
    loop.report("nothing", 2)
    await asyncio.to_thread(load)  # what a triggerer pays once is not a mailbox's
    number = triggerer.add(EmailTrigger(imap4_conn_id="warm", start="all", pace=0.0), "warm")
    await phase(loop, "the first one, with all imports", lambda: connected() == 1)
    await triggerer.remove(number)
    process = psutil.Process()
    memory, threads, files = process.memory_info().rss, process.num_threads(), process.num_fds()
    for number in range(many):
        triggerer.add(EmailTrigger(imap4_conn_id=f"box{number}", start="all", pace=0.0), f"asset{number}")
        if number % CLAIMED == CLAIMED - 1:
            await asyncio.sleep(1)
    await phase(loop, f"{many} mailboxes activated at once", lambda: connected() == many)
    grown = (process.memory_info().rss - memory) / many / 1024
    print(
        f"  per mailbox: {grown:.0f} KiB, {(process.num_fds() - files) / many:.2f} files; "
        f"threads: {threads} before, {process.num_threads()} now",
        file=sys.stderr,
    )
    before = time.process_time()
    await asyncio.sleep(REST)
    loop.report(f"rest, {(time.process_time() - before) / REST * 100:.1f} % of a processor", REST)
    sending = asyncio.ensure_future(asyncio.to_thread(send, server, users))
    await phase(loop, "a mail to each", lambda: len(triggerer.told) == many)
    await sending
    server.kill()
    await phase(loop, "the server is killed", lambda: connected() == 0)
    await asyncio.to_thread(server.start)
    await phase(loop, "and comes back", lambda: connected() == many)
    probe.cancel()
    await triggerer.kill()


def send(server: Dovecot, users: list[User]) -> None:
    """Deliver a mail to each."""
    for user in users:
        server.deliver(user, message("hello"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mailboxes", type=int, default=250)
    many = parser.parse_args().mailboxes
    server = Dovecot()
    server.start()
    loop = ProbedLoop()
    try:
        users = [server.new_user() for _ in range(many)]
        os.environ["AIRFLOW_CONN_WARM"] = connection(server, server.alice)
        for number, user in enumerate(users):
            os.environ[f"AIRFLOW_CONN_BOX{number}"] = connection(server, user, extra={"timeout": 60})
        print(
            f"{'':34}{'':9}   {'processor time of a turn':27}   by the clock                 a garbage collection",
            file=sys.stderr,
        )
        loop.run_until_complete(measure(loop, server, users))
    finally:
        loop.close()
        server.remove()


if __name__ == "__main__":
    main()
