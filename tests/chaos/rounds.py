"""Plays scenarios, several at once: one that strikes the whole house, and a few whose faults are their own."""

from __future__ import annotations

import logging
import random
import threading
import time
import traceback
from collections.abc import Iterator, Sequence

from tests.chaos import consumer, mailbox, network, processes
from tests.chaos.house import House
from tests.chaos.ledger import Verdict
from tests.chaos.registry import SCENARIOS, Scenario
from tests.chaos.room import Room

__all__ = ["choose", "play"]

log = logging.getLogger(__name__)

assert all((consumer, mailbox, network, processes)), "they have entered their scenarios"


def choose(seed: int, at_once: int, house: House | None = None) -> list[Scenario]:
    """Return the scenarios of a seed: one of the whole house, and others; consecutive seeds go through all of them."""
    everywhere = [item for item in SCENARIOS.values() if item.whole_house and (house is None or item.possible(house))]
    here = [item for item in SCENARIOS.values() if not item.whole_house and (house is None or item.possible(house))]
    chosen = [everywhere[seed % len(everywhere)]]
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
    log.info("seed %s: %s", seed, ", ".join(room.scenario for room, _ in prepared))
    _at_once(prepared, broken)
    healed = time.monotonic()
    house.dismiss_second()
    house.revive()
    found = []
    for room, _ in rooms:
        room.healed = healed
        verdict = room.settle() if room.name not in broken else room.verdict()
        if room.name in broken:
            verdict.failed = True
            verdict.remarks = f"{verdict.remarks}; {broken[room.name].strip().splitlines()[-1][:200]}"
            log.error("%s could not be played to its end:\n%s", room.name, broken[room.name])
        found.append((room, verdict))
        room.close()
    return found


def _at_once(rooms: Sequence[tuple[Room, Iterator[None]]], broken: dict[str, str]) -> None:
    """Go on with each of these scenarios to its next stop."""

    def go_on(room: Room, acts: Iterator[None]) -> None:
        try:
            next(acts, None)
        except Exception:  # noqa: BLE001 - told in the verdict; the others play on
            broken[room.name] = traceback.format_exc()
        # Not at the end of all: a fault of the whole house may last much longer than this one.
        room.healed = time.monotonic()

    threads = [threading.Thread(target=go_on, args=item, name=item[0].name) for item in rooms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
