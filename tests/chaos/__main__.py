"""The fault suite from the command line: ``python -m tests.chaos --seed 1 --seeds 20``; see ``docs/reliability.md``."""

from __future__ import annotations

import argparse
import logging
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from tests.chaos.house import building
from tests.chaos.ledger import Verdict, row, table
from tests.chaos.registry import SCENARIOS
from tests.chaos.room import Room
from tests.chaos.rounds import choose, play

log = logging.getLogger("chaos")

AT_ONCE = 4
"""Scenarios that play beside the one of the whole house: as many as two cores carry without taking minutes for each."""


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--seeds", type=int, default=0, help="how many seeds, one after the other (default: no limit)")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="no new seed after so many minutes (default: no limit)"
    )
    parser.add_argument("--scenario", action="append", default=[], help="only this one; may be given several times")
    parser.add_argument("--without", action="append", default=[], help="not this one; may be given several times")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="scenarios beside the one of the whole house")
    parser.add_argument("--keep", type=Path, help="keep Airflow's home with all logs in this (new) folder")
    parser.add_argument("--list", action="store_true", help="show the scenarios and end")
    chosen = parser.parse_args(words)
    if unknown := {*chosen.scenario, *chosen.without} - set(SCENARIOS):
        parser.error(f"unknown scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    if not chosen.seeds and not chosen.minutes:
        chosen.seeds = 1
    return chosen


def summary(verdicts: list[Verdict]) -> str:
    """Return a line for each scenario, and one for all."""
    by_scenario: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        by_scenario[verdict.scenario].append(verdict)
    lines = [_summed(name, by_scenario[name]) for name in SCENARIOS if name in by_scenario]
    headings = ("scenario", "times", "sent", "taken", "lost", "twice", "actions", "recovery s: median", "longest")
    return table([*lines, _summed("all", verdicts)], headings)


def _summed(name: str, verdicts: list[Verdict]) -> tuple[str, ...]:
    seconds = [max(verdict.seconds, 0.0) for verdict in verdicts] or [0.0]
    done, expected = (sum(verdict.actions[part] for verdict in verdicts) for part in (0, 1))
    return (
        name,
        str(len(verdicts)),
        str(sum(verdict.sent for verdict in verdicts)),
        str(sum(verdict.taken for verdict in verdicts)),
        str(sum(len(verdict.lost) for verdict in verdicts)),
        str(sum(len(verdict.twice) for verdict in verdicts)),
        f"{done}/{expected}",
        f"{statistics.median(seconds):.1f}",
        f"{max(seconds):.1f}",
    )


def main(words: list[str] | None = None) -> int:
    """Play, print, and return the exit status: 1 if any promise was broken."""
    chosen = arguments(words)
    if chosen.list:
        print("\n".join(f"{item.name}: {item.what}" for item in SCENARIOS.values()))
        return 0
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Whoever ends it wants all of its processes to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    home = chosen.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    begun = time.monotonic()
    found: list[tuple[Room, Verdict]] = []
    with building(home) as house:
        log.info("the house stands in %s after %.0f s", home, time.monotonic() - begun)
        for item in SCENARIOS.values():
            if not item.possible(house):
                log.warning("NOT COVERED here: %s (is there a C compiler?)", item.name)
        seed = chosen.seed
        while not (chosen.seeds and seed >= chosen.seed + chosen.seeds):
            if chosen.minutes and time.monotonic() > begun + chosen.minutes * 60:
                break
            scenarios = [SCENARIOS[name] for name in chosen.scenario] or choose(
                seed, chosen.at_once, house, chosen.without
            )
            result = play(house, scenarios, seed)
            for _, verdict in result:
                log.info("%s %s", "good" if verdict.good else "BAD ", "  ".join(row(verdict)))
            for room, _ in found[-len(result) :]:
                room.clear()
            found += result
            seed += 1
        # Once more for all: a mail that is taken a second time may be taken late.
        verdicts = []
        for room, before in found:
            after = room.verdict()
            after.actions, after.failed, after.remarks = before.actions, before.failed, before.remarks
            after.seconds = before.seconds
            verdicts.append(after)
            room.clear()
        if house.revived:
            log.info("ended under a fault and started again: %s", ", ".join(house.revived))
    print()
    print(table(map(row, verdicts)))
    print()
    print(summary(verdicts))
    bad = [verdict for verdict in verdicts if not verdict.good]
    for verdict in bad:
        print(
            f"BAD: seed {verdict.seed}, {verdict.scenario}: lost {verdict.lost}, twice {verdict.twice}, "
            f"unwanted {verdict.unwanted}, actions {verdict.actions}, {verdict.remarks}"
        )
    print(
        f"\n{seed - chosen.seed} seeds, {len(verdicts)} scenarios, {sum(v.sent for v in verdicts)} mails, "
        f"{(time.monotonic() - begun) / 60:.0f} minutes: {'FAILED' if bad else 'nothing lost, nothing twice'}"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
