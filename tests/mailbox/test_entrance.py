"""Bursts of connects: each host its share, in the order of arrival, and nobody waits for a host that is dead."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from airflow_imap_provider.connection.settings import Settings, TunnelSettings
from airflow_imap_provider.errors import (
    AuthenticationError,
    ConnectError,
    ExhaustedError,
    ImapError,
    ImapTimeoutError,
    LostConnectionError,
    RefusedError,
)
from airflow_imap_provider.mailbox import entrance as queueing
from airflow_imap_provider.mailbox.backoff import Backoff
from airflow_imap_provider.mailbox.entrance import Entrance, route
from airflow_imap_provider.mailbox.executor import CONNECTORS
from airflow_imap_provider.transport.throttling import recognise


class Hosts:
    """Hosts that answer after a while, and count who is there."""

    def __init__(self) -> None:
        self.entrance = Entrance()
        self.here: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.most_of_all = 0
        self.order: list[int] = []
        self.began: list[float] = []

    async def connect(
        self, host: str, number: int = 0, *, seconds: float = 0.0, error: Exception | None = None
    ) -> None:
        turn = await self.entrance.enter(host, host)
        await turn.spend(self._work(host, number, seconds, error))

    async def _work(self, host: str, number: int, seconds: float, error: Exception | None) -> None:
        self.order.append(number)
        self.began.append(time.monotonic())
        self.here[host] += 1
        self.most[host] = max(self.most[host], self.here[host])
        self.most_of_all = max(self.most_of_all, self.here.total())
        await asyncio.sleep(seconds)
        self.here[host] -= 1
        if error is not None:
            raise error


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rate, for tests of something else."""
    monkeypatch.setattr(queueing, "A_SECOND", 1e6)


@pytest.mark.usefixtures("unhurried")
async def test_ten_thousand_mailboxes_of_one_host_enter_in_their_order_and_a_few_at_once() -> None:
    hosts = Hosts()
    await asyncio.gather(*(hosts.connect("mail", number) for number in range(10_000)))
    assert hosts.order == list(range(10_000))
    assert hosts.most["mail"] <= queueing.PER_HOST


@pytest.mark.usefixtures("unhurried")
async def test_many_hosts_together_do_not_exceed_the_threads() -> None:
    hosts = Hosts()
    await asyncio.gather(*(hosts.connect(f"mail{number % 50}", seconds=0.001) for number in range(2_000)))
    assert hosts.most_of_all <= CONNECTORS
    assert max(hosts.most.values()) <= queueing.PER_HOST


async def test_connects_of_one_host_begin_at_a_limited_rate() -> None:
    hosts = Hosts()
    await asyncio.gather(*(hosts.connect("mail", number) for number in range(queueing.BURST + 50)))
    assert hosts.began[-1] - hosts.began[0] > 0.5, "fifty of them at fifty a second"


async def test_a_single_mailbox_does_not_wait_for_anything() -> None:
    hosts = Hosts()
    task = asyncio.ensure_future(hosts.connect("mail"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert task.done()


@pytest.mark.usefixtures("unhurried")
async def test_a_dead_host_holds_few_threads_and_those_who_wait_for_it_are_told_at_once() -> None:
    hosts = Hosts()
    silence = ImapTimeoutError("no answer", stage="tcp")
    dead = [asyncio.ensure_future(hosts.connect("dead", seconds=1, error=silence)) for _ in range(300)]
    await asyncio.sleep(0)
    await asyncio.gather(*(hosts.connect("alive", seconds=0.001) for _ in range(50)))
    assert not any(task.done() for task in dead), "the others were not held up"
    ends = await asyncio.gather(*dead, return_exceptions=True)
    assert hosts.most["dead"] <= queueing.UNPROVEN
    assert sum(isinstance(end, ImapTimeoutError) for end in ends) <= queueing.UNPROVEN
    assert {type(end) for end in ends[queueing.UNPROVEN :]} == {ConnectError}
    assert "did not answer another connection to it just now: tcp: no answer" in str(ends[-1])


@pytest.mark.usefixtures("unhurried")
async def test_dead_hosts_together_leave_threads_to_those_that_answer() -> None:
    hosts = Hosts()
    await asyncio.gather(*(hosts.connect("alive") for _ in range(5)))
    silence = ImapTimeoutError("no answer", stage="tcp")
    dead = [
        asyncio.ensure_future(hosts.connect(f"dead{number % 40}", seconds=1, error=silence)) for number in range(400)
    ]
    await asyncio.sleep(0)
    await asyncio.gather(*(hosts.connect("alive") for _ in range(20)))
    assert not any(task.done() for task in dead)
    assert sum(hosts.here.values()) <= CONNECTORS - queueing.FOR_PROVEN
    await asyncio.gather(*dead, return_exceptions=True)


@pytest.mark.usefixtures("unhurried")
async def test_a_host_that_comes_back_gets_its_share_again() -> None:
    hosts = Hosts()
    with pytest.raises(ConnectError):
        await hosts.connect("mail", error=ConnectError("refused", stage="tcp"))
    await asyncio.gather(*(hosts.connect("mail", seconds=0.002) for _ in range(60)))
    assert hosts.most["mail"] == queueing.PER_HOST


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("words", ["Too many connections from your address", "[UNAVAILABLE] later", "[THROTTLED]"])
async def test_a_host_that_has_enough_is_left_alone_by_those_who_wait_too(words: str) -> None:
    hosts = Hosts()
    enough = LostConnectionError("the server ended the connection.", stage="greeting", reply=words, remedy="Wait.")
    tasks = [asyncio.ensure_future(hosts.connect("mail", seconds=0.05, error=enough)) for _ in range(60)]
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert len(hosts.order) <= queueing.UNPROVEN
    limit = recognise(words)
    assert limit is not None
    for end in ends:
        assert isinstance(end, ImapError)
        assert str(end).count(words) == str(end).count("Wait.") == 1
        assert Backoff().next(end) >= 0.7 * limit.pause[0], "nobody knocks again within seconds"


@pytest.mark.usefixtures("unhurried")
async def test_a_limit_after_the_greeting_has_fewer_knock_at_once_and_turns_nobody_away() -> None:
    """It may be about one account."""
    hosts = Hosts()
    await asyncio.gather(*(hosts.connect("mail") for _ in range(20)))
    enough = RefusedError("no", stage="authentication", reply="[ALERT] Too many simultaneous connections. (Failure)")
    await asyncio.gather(*(hosts.connect("mail", error=enough) for _ in range(20)), return_exceptions=True)
    hosts.most.clear()
    others = [asyncio.ensure_future(hosts.connect("mail", seconds=0.01)) for _ in range(queueing.PER_HOST)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert hosts.here["mail"] <= queueing.UNPROVEN
    await asyncio.gather(*others)
    await asyncio.gather(*(hosts.connect("mail", seconds=0.002) for _ in range(40)))
    assert hosts.most["mail"] == queueing.PER_HOST, "it recovers"


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize(
    "error", [AuthenticationError("no", stage="authentication"), ExhaustedError("full", stage="tcp")]
)
async def test_errors_that_say_nothing_about_the_host_turn_nobody_away(error: Exception) -> None:
    hosts = Hosts()
    first = asyncio.ensure_future(hosts.connect("mail", seconds=0.05, error=error))
    others = [asyncio.ensure_future(hosts.connect("mail")) for _ in range(20)]
    assert await asyncio.gather(first, return_exceptions=True) == [error]
    await asyncio.gather(*others)


@pytest.mark.usefixtures("unhurried")
async def test_whoever_leaves_the_queue_gives_its_turn_to_the_next() -> None:
    hosts = Hosts()
    busy = [asyncio.ensure_future(hosts.connect("mail", seconds=0.05)) for _ in range(queueing.UNPROVEN)]
    waiting = [asyncio.ensure_future(hosts.connect("mail")) for _ in range(30)]
    await asyncio.sleep(0)
    for task in waiting[:-1]:
        task.cancel()
    await asyncio.gather(*busy)
    await asyncio.wait_for(waiting[-1], 5)
    # Also in the very moment in which the turn was granted.
    late = asyncio.ensure_future(hosts.connect("mail"))
    await asyncio.sleep(0)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    await asyncio.wait_for(asyncio.gather(*(hosts.connect("mail") for _ in range(40))), 5)


def test_the_way_to_a_host_is_told_apart_by_port_and_proxy_and_not_by_account() -> None:
    one = Settings("a", "mail.example.com")
    assert route(one) == route(Settings("b", "mail.example.com", timeout=5))
    assert route(one) != route(Settings("a", "mail.example.com", port=143))
    assert route(one) != route(Settings("a", "mail.example.com", tunnel=TunnelSettings("http", "proxy", 3128)))
