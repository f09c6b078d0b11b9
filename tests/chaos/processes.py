"""Scenarios in which Airflow's own processes and its database fail. They strike everybody in the house."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped,unused-ignore]

from scripts.local_airflow import SCHEDULER, SECOND_TRIGGERER, TRIGGERER
from tests.chaos.house import House
from tests.chaos.registry import scenario
from tests.chaos.room import Room


def _delivering(room: Room, count: int, gap: float) -> threading.Thread:
    """Deliver mails while something else happens."""
    thread = threading.Thread(target=room.deliver, args=(count,), kwargs={"gap": gap}, name=f"mails of {room.name}")
    thread.start()
    return thread


@scenario(whole_house=True)
def triggerer_killed_in_a_burst(room: Room) -> Iterator[None]:
    """The triggerer is killed with SIGKILL twice in the middle of a burst, and started again."""
    room.open()
    yield
    burst = _delivering(room, room.rng.randint(30, 40), gap=0.4)
    for _ in range(2):
        room.await_told(room.told())
        room.sleep(0, 2)
        with room.house.held(TRIGGERER):
            room.house.airflow.kill(TRIGGERER, signal.SIGKILL)
            room.sleep(0, 3)
            room.house.airflow.start(TRIGGERER)
    burst.join()


@scenario(whole_house=True)
def triggerer_killed_between_confirm_and_commit(room: Room) -> Iterator[None]:
    """The triggerer is killed with SIGKILL when an event is in Airflow's database and its place is not yet stored."""
    room.open()
    yield
    for _ in range(2):
        before = len(room.house.api.asset_events(room.name))
        room.deliver(room.rng.randint(13, 18))
        _await_event(room, before)
        with room.house.held(TRIGGERER):
            room.house.airflow.kill(TRIGGERER, signal.SIGKILL)
            [place] = room.places()
            told = [event["extra"]["payload"] for event in room.house.api.asset_events(room.name)]
            hit = any(payload["last_uid"] > place["last_uid"] for payload in told)
            room.remarks.append("moment hit" if hit else "moment missed")
            room.house.airflow.start(TRIGGERER)


def _await_event(room: Room, before: int) -> None:
    """Wait until Airflow has stored more events than so many: some seconds before their place is committed."""
    api = room.house.api
    room.house.wait(lambda: len(api.asset_events(room.name)) > before, "an event to be stored", every=0.1)


@scenario(whole_house=True)
def owner_frozen_past_the_heartbeat_limit(room: Room) -> Iterator[None]:
    """Two triggerers: the one that watches is frozen in a burst, the other takes over, the frozen one wakes up and goes
    on beside it; then the other is killed."""
    room.open()
    airflow = room.house.airflow
    airflow.start(SECOND_TRIGGERER)
    yield
    burst = _delivering(room, room.rng.randint(20, 28), gap=0.6)
    room.await_told()
    connections = room.rough.accepted
    frozen: list[psutil.Process] = airflow.tree(TRIGGERER)
    for process in frozen:
        process.suspend()
    try:
        room.house.wait(lambda: room.rough.accepted > connections, "the other triggerer to take over")
        room.sleep(2, 6)
    finally:
        for process in frozen:
            process.resume()
    burst.join()
    room.deliver(room.rng.randint(4, 8), gap=0.5)
    room.sleep(1, 4)
    airflow.kill(SECOND_TRIGGERER, signal.SIGKILL)
    room.deliver(room.rng.randint(4, 8))


@scenario(whole_house=True)
def scheduler_stopped_in_a_burst(room: Room) -> Iterator[None]:
    """The scheduler is stopped with SIGSTOP for a minute in a burst, with or without its workers."""
    room.open()
    yield
    burst = _delivering(room, room.rng.randint(20, 30), gap=0.4)
    room.await_told()
    tree: list[psutil.Process] = room.house.airflow.tree(SCHEDULER)
    if room.rng.random() < 0.5:
        del tree[1:]
    room.remarks.append("with workers" if len(tree) > 1 else "without workers")
    for process in tree:
        process.suspend()
    try:
        burst.join()
        room.deliver(room.rng.randint(5, 10), gap=1.0)
        room.sleep(55)
    finally:
        for process in tree:
            if process.is_running():
                process.resume()


def _has_database(house: House) -> bool:
    return house.postgresql is not None


@scenario(whole_house=True, possible=_has_database)
def database_restarted(room: Room) -> Iterator[None]:
    """PostgreSQL is restarted in a burst, and crashes in the next one."""
    room.open()
    database = room.house.postgresql
    assert database is not None
    yield
    for crash in (False, True):
        burst = _delivering(room, room.rng.randint(14, 18), gap=0.3)
        room.await_told(room.told())
        database.down(crash=crash)
        room.sleep(0, 6)
        database.up()
        burst.join()


def _can_move_the_clock(house: House) -> bool:
    return house.clock_can_move


@scenario(whole_house=True, possible=_can_move_the_clock)
def triggerer_down_for_days(room: Room) -> Iterator[None]:
    """The triggerer is down for days: mail comes again and again, and all of Airflow is started again with its clock
    moved."""
    room.open()
    yield
    house = room.house
    room.deliver(room.rng.randint(8, 12))
    room.await_told()
    days = room.rng.uniform(1.5, 4)
    with house.held(TRIGGERER):
        house.airflow.stop(TRIGGERER)
        steps = room.rng.randint(4, 7)
        for _ in range(steps):
            room.deliver(room.rng.randint(3, 6))
        house.restart_later(days)
    room.deliver(room.rng.randint(3, 6))
    room.remarks.append(f"{days:.1f} days")
