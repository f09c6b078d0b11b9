"""Many mailboxes and the garbage collector: they leave it nothing to do, and it does not look at them again."""

from __future__ import annotations

import gc
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from airflow_imap_provider.mailbox import garbage
from airflow_imap_provider.mailbox.backoff import Backoff
from tests.mailbox.test_watcher import Reading, idling
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import free_port, until


def cut(member: Reading) -> None:
    assert member.watcher is not None
    assert member.watcher._session is not None
    socket.socket.shutdown(member.watcher._session._stream.sock, socket.SHUT_RDWR)


def refuse(member: Reading) -> None:
    member.settings = replace(member.settings, auth=replace(member.settings.auth, password="another"))
    cut(member)


def vanish(member: Reading) -> None:
    member.settings = replace(member.settings, port=free_port())
    cut(member)


def ours(left: list[object]) -> list[str]:
    kinds = [f"{type(one).__module__}.{type(one).__qualname__}" for one in left]
    frames = [one.f_code.co_filename for one in left if type(one).__name__ == "frame"]  # type: ignore[attr-defined]
    return [name for name in [*kinds, *frames] if "airflow_imap_provider" in name or "ssl" in name]


@pytest.mark.parametrize("harm", [cut, refuse, vanish])
async def test_a_connection_that_is_lost_or_refused_leaves_nothing_to_the_collector(
    dovecot: Dovecot, user: User, harm: Callable[[Reading], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "NETWORK", (0.1, 0.1))
    monkeypatch.setattr(Backoff, "REFUSED", (0.1, 0.1))
    member = Reading(dovecot.settings(user))
    good = member.settings
    member.join(harm.__name__)
    watcher = member.watcher
    assert watcher is not None
    await until(lambda: idling(member), "it rests in IDLE")
    gc.collect()
    gc.disable()
    try:
        for round_ in (1, 2):
            harm(member)
            await until(lambda: not watcher.state.connected or watcher.connects > round_, "the connection is gone")  # noqa: B023
            if member.settings is not good:
                await until(lambda: watcher._backoff.failures > 2, "it was tried in vain")
            member.settings = good
            await until(lambda: watcher.connects == round_ + 1 and idling(member), "it rests in IDLE again")  # noqa: B023
        await member.leave()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert ours(gc.garbage) == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[garbage._Collector]:
    """One of the test's own, to which every full collection is a long one."""
    monkeypatch.setattr(garbage, "LONG", -1.0)
    monkeypatch.setattr(garbage, "COUNTED", 1)
    one = garbage._Collector()
    monkeypatch.setattr(garbage, "_collector", one)
    yield one
    if one.helped:
        one.leave()


def test_few_mailboxes_leave_pythons_collector_as_it_is(collector: garbage._Collector) -> None:
    before = gc.get_threshold()
    garbage.mailboxes(garbage.MANY - 1)
    gc.collect()
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before


def test_what_survives_is_not_looked_at_again_until_the_mailboxes_have_gone(collector: garbage._Collector) -> None:
    before = gc.get_threshold()
    garbage.mailboxes(garbage.MANY)
    frozen = gc.get_freeze_count()
    assert frozen > 10_000, "all that was there"
    lasting = [[number] for number in range(10_000)]
    gc.collect()
    assert gc.get_freeze_count() > frozen + len(lasting) - 1000
    assert len(gc.get_objects()) < 10_000
    garbage.mailboxes(garbage.MANY // 2)
    assert gc.get_freeze_count() > 0, "a few more or less do not matter"
    garbage.mailboxes(garbage.MANY // 2 - 1)
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before
    assert not any(callback == collector._on_collection for callback in gc.callbacks)


def test_what_is_frozen_is_freed_all_the_same_when_nobody_refers_to_it(collector: garbage._Collector) -> None:
    lasting = [[number] for number in range(10_000)]
    garbage.mailboxes(garbage.MANY)
    frozen = gc.get_freeze_count()
    lasting.clear()
    assert gc.get_freeze_count() <= frozen - 10_000


class Circle:
    alive = 0

    def __init__(self) -> None:
        self.me = self
        Circle.alive += 1

    def __del__(self) -> None:
        Circle.alive -= 1


def test_frozen_circles_are_found_when_there_are_too_many(collector: garbage._Collector) -> None:
    garbage.mailboxes(garbage.MANY)
    allowed = 2 * collector._proven
    most, made = 0, 0
    while made < 2 * allowed:
        circles = [Circle() for _ in range(20_000)]
        made += len(circles)
        gc.collect()  # they are frozen
        del circles
        most = max(most, Circle.alive)
    gc.collect()
    assert collector.thaws
    assert most < allowed + 40_000, "what stays is bounded"
    gc.unfreeze()
    gc.collect()
    assert Circle.alive == 0


def test_nothing_is_logged_within_a_collection(collector: garbage._Collector, caplog: pytest.LogCaptureFixture) -> None:
    """It may strike a thread that holds the lock of a log handler, or is writing to its file."""
    garbage.mailboxes(garbage.MANY)
    collector._proven = 1  # everything else counts as unexplained
    with caplog.at_level(logging.INFO):
        gc.collect()
        assert gc.get_freeze_count() == 0, "it is undone"
        assert caplog.messages == []
        garbage.mailboxes(garbage.MANY + 1)
        garbage.mailboxes(garbage.MANY + 2)
    assert [message.split(":")[0] for message in caplog.messages] == [
        "all objects of this process were looked at again"
    ]
