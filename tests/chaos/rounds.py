"""Plays scenarios, several at once: one that strikes the whole house, and a few whose faults are their own."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import traceback
from collections.abc import Collection, Iterator, Sequence

from tests.chaos import consumer, mailbox, network, processes
from tests.chaos.house import House
from tests.chaos.ledger import Verdict
from tests.chaos.registry import SCENARIOS, Scenario
from tests.chaos.room import Room

__all__ = ["choose", "play"]

REVIVAL = 2.0
"""Seconds between looks at what has ended."""

log = logging.getLogger(__name__)

assert all((consumer, mailbox, network, processes)), "they have entered their scenarios"


def choose(seed: int, at_once: int, house: House | None = None, without: Collection[str] = ()) -> list[Scenario]:
    """Return the scenarios of a seed: one of the whole house, and others; consecutive seeds go through all of them.

    :param house: leaves out what it cannot play, and takes the next one instead.
    :param without: names of scenarios that do not take turns: with those that were added since, seeds choose as before.
    """
    everywhere = [item for item in SCENARIOS.values() if item.whole_house and item.name not in without]
    here = [item for item in SCENARIOS.values() if not item.whole_house and item.name not in without]
    turns = [everywhere[(seed + step) % len(everywhere)] for step in range(len(everywhere))]
    chosen = [next(item for item in turns if house is None or item.possible(house))]
    chosen += [here[(seed * at_once + step) % len(here)] for step in range(at_once)]
    random.Random(seed).shuffle(chosen)
    return chosen


def play(house: House, scenarios: Sequence[Scenario], seed: int) -> list[tuple[Room, Verdict]]:
    """Play these scenarios at once, wait until all is calm, and return how it went."""
    rooms: list[tuple[Room, Iterator[None]]] = []
    for item in scenarios:
        room = Room(house, item.name, seed, own_server=item.own_server)
        rooms.append((room, item.play(room)))
    broken: dict[str, str] = {}
    _at_once(rooms, broken)
    prepared = [(room, acts) for room, acts in rooms if room.name not in broken]
    log.info("seed %s, load %.1f: %s", seed, os.getloadavg()[0], ", ".join(room.scenario for room, _ in prepared))
    _at_once(prepared, broken)
    house.dismiss_second()
    house.revive()
    # A fault of the whole house is everybody's, those of the other rooms are not.
    everybodys = max((room.healed for room, _ in rooms if SCENARIOS[room.scenario].whole_house), default=0.0)
    found = []
    for room, _ in rooms:
        room.healed = max(room.healed, everybodys)
        found.append((room, _settled(room, broken)))
    return found


def _settled(room: Room, broken: dict[str, str]) -> Verdict:
    verdict = room.verdict()
    if room.name not in broken:
        try:
            verdict = room.settle()
            room.close()
        except Exception:  # noqa: BLE001 - told in the verdict; the next seed plays all the same
            broken[room.name] = traceback.format_exc()
    if room.name in broken:
        verdict.failed = True
        verdict.remarks = f"{verdict.remarks}; {broken[room.name].strip().splitlines()[-1][:200]}"
        log.error("%s could not be played to its end:\n%s", room.name, broken[room.name])
    return verdict


def _at_once(rooms: Sequence[tuple[Room, Iterator[None]]], broken: dict[str, str]) -> None:
    """Go on with each of these scenarios to its next stop."""

    def go_on(room: Room, acts: Iterator[None]) -> None:
        try:
            next(acts, None)
        except Exception:  # noqa: BLE001 - told in the verdict; the others play on
            broken[room.name] = traceback.format_exc()
        room.healed = time.monotonic()

    threads = [threading.Thread(target=go_on, args=item, name=item[0].name, daemon=True) for item in rooms]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            # Airflow's processes end when the database is away; production has a process manager for that, too.
            rooms[0][0].house.revive()
            thread.join(REVIVAL)
