"""The threads for work on open sessions: who gets how many of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from airflow_imap_provider.errors import ImapTimeoutError
from airflow_imap_provider.mailbox.executor import WORKERS, WORKERS_PER_HOST, working
from tests.servers.waiting import until


class Server:
    """Counts the work that is done on it at once, and holds it until it is told how it ends."""

    def __init__(self) -> None:
        self.held = 0
        self.most = 0
        self.go_on = threading.Semaphore(0)
        self._lock = threading.Lock()

    def work(self, end: Callable[[], None] = lambda: None) -> Callable[[], None]:
        def function() -> None:
            with self._lock:
                self.held += 1
                self.most = max(self.most, self.held)
            assert self.go_on.acquire(timeout=30)
            with self._lock:
                self.held -= 1
            end()

        return function


def silence() -> None:
    raise ImapTimeoutError("no answer", stage="folder")


async def test_one_host_never_has_all_threads() -> None:
    server = Server()
    tasks = [asyncio.ensure_future(working(server.work(), "a")) for _ in range(WORKERS * 2)]
    await until(lambda: server.held == WORKERS_PER_HOST, "its share is at work")
    await working(lambda: None, "b")
    server.go_on.release(len(tasks))
    await asyncio.gather(*tasks)
    assert server.most == WORKERS_PER_HOST


async def test_hosts_that_fall_silent_have_one_thread_each_until_they_answer() -> None:
    servers = [Server() for _ in range(4)]
    rounds = range(WORKERS_PER_HOST)
    silent = [
        asyncio.ensure_future(working(one.work(silence), host)) for host, one in enumerate(servers) for _ in rounds
    ]
    for one in servers:
        one.go_on.release(WORKERS_PER_HOST)
    ended = await asyncio.gather(*silent, return_exceptions=True)
    assert all(isinstance(each, ImapTimeoutError) for each in ended)
    tasks = [asyncio.ensure_future(working(one.work(), host)) for host, one in enumerate(servers) for _ in rounds]
    await until(lambda: [one.held for one in servers] == [1, 1, 1, 1], "each has one thread")
    await working(lambda: None, "another")
    servers[0].go_on.release(1)
    await until(lambda: [one.held for one in servers] == [WORKERS_PER_HOST - 1, 1, 1, 1], "one answers again")
    for one in servers:
        one.go_on.release(WORKERS_PER_HOST)
    await asyncio.gather(*tasks)


async def test_who_is_cancelled_while_waiting_keeps_no_thread() -> None:
    server = Server()
    tasks = [asyncio.ensure_future(working(server.work(), "a")) for _ in range(WORKERS_PER_HOST + 3)]
    await until(lambda: server.held == WORKERS_PER_HOST, "its share is at work")
    for task in tasks[-3:]:
        task.cancel()
    server.go_on.release(WORKERS_PER_HOST)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in ended] == [False] * WORKERS_PER_HOST + [True] * 3
    more = [asyncio.ensure_future(working(server.work(), "a")) for _ in range(WORKERS_PER_HOST)]
    await until(lambda: server.held == WORKERS_PER_HOST, "all of its share is free again")
    server.go_on.release(WORKERS_PER_HOST)
    await asyncio.gather(*more)
