"""What must be true: at every write of a place, at every moment, and once the world has calmed down.

Nothing here asks the code under test what it thinks: mails are known by the Message-IDs with which they were delivered.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.delivery.consumer import Consumer
from tests.delivery.world import CLAIMS_KEPT, World

DAY = 86_400.0
LARGEST = 64 * 1024
"""Bytes of a stored value; Airflow warns above."""


class Judge:
    """Watches a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[str] = []
        self.patience = DAY * 1.2
        """Seconds in which all must have come right: whoever was nudged in vain for long is nudged daily."""
        world.database.stores.on_write = self._on_write

    # --- at every write -----------------------------------------------------------------------------------------

    def _on_write(self, asset: str, key: str, value: Any) -> None:
        if len(json.dumps(value)) > LARGEST:
            self.violations.append(f"{key} has grown to {len(json.dumps(value))} bytes")
        if key.startswith("imap4:place:"):
            self._check_place(asset, key.removeprefix("imap4:place:"), value)

    def _check_place(self, asset: str, stream: str, place: dict[str, Any]) -> None:
        """A place never passes a mail that is not told: stored as an event, and to be found in a journal."""
        world = self.world
        if place["uidvalidity"] != world.server.uidvalidity:
            return
        passed = {
            mail.name
            for uid, mail in world.server.inbox.items()
            if uid <= place["last_uid"] and world.arrivals[mail.name].meant_for(stream)
        }
        if missing := passed - self.in_events(asset, stream):
            self.violations.append(f"{stream} has passed {sorted(missing)} without a stored event")
        if missing := passed - self.in_journals(asset, stream):
            self.violations.append(f"{stream} has passed {sorted(missing)} without an entry in a journal")

    def in_events(self, asset: str, stream: str) -> set[str]:
        found = set()
        for event in self.world.database.events:
            payload = event.extra.get("payload")
            if event.asset == asset and payload and payload["stream"] == stream:
                found |= {_name(email) for email in payload["emails"]}
        return found

    def in_journals(self, asset: str, stream: str) -> set[str]:
        values, found = self.world.database.stores.values.get(asset, {}), set()
        for journal in json.loads(values.get("imap4:journals", "[]")):
            number = 0
            while (text := values.get(f"imap4:journal:{journal['id']}:{number}")) is not None:
                payload, number = json.loads(text), number + 1
                if payload["stream"] == stream:
                    found |= {_name(email) for email in payload["emails"]}
        return found

    # --- at every moment ----------------------------------------------------------------------------------------

    def check_now(self) -> None:
        assert not self.violations, self.violations[0]
        assert not self.world.failures, self.world.failures[0]
        for consumer in self.world.consumers.values():
            taken = self.taken(consumer)
            twice = [key for key, count in taken.items() if count > 1]
            assert not twice, f"{consumer.dag_id} has taken {twice[0]} in {taken[twice[0]]} runs"
            for run in consumer.runs:
                assert len({tuple(emails) for emails in run.history}) <= 1, (
                    f"{run.run_id} returned {run.history[0]} and, done again, {run.history[-1]}"
                )

    def taken(self, consumer: Consumer) -> Counter[tuple[str, str]]:
        """How many runs have returned a mail of a stream. One that names it twice counts twice."""
        found: Counter[tuple[str, str]] = Counter()
        for run in consumer.runs:
            for email in run.returned or ():
                found[self._stream_of(email), _name(email)] += 1
        return found

    def _stream_of(self, email: dict[str, Any]) -> str:
        return "default" if "subject" in email else "second"  # whose payloads are minimal

    # --- when all is calm ---------------------------------------------------------------------------------------

    def lacking(self) -> list[str]:
        """Say what is still to come."""
        world, lacking = self.world, []
        for consumer in world.consumers.values():
            taken = self.taken(consumer)
            for stream, assets in world.plan.streams.items():
                if consumer.asset.name not in assets:
                    continue
                for mail in world.arrivals.values():
                    since = consumer.begun
                    must = since is not None and (consumer.operator.history or since < mail.at)
                    must = must or (stream, mail.name) in consumer.promised
                    if must and mail.meant_for(stream) and not mail.touched:
                        short = "second" if stream.endswith("/second") else "default"
                        if not taken[short, mail.name]:
                            lacking.append(f"{consumer.dag_id} lacks {mail.name} of {short}")
        lacking += [f"{run.run_id} is {run.state}" for run in world.runs if run.active or run.state == "failed"]
        return [*lacking, *self._actions_lacking()]

    def _actions_lacking(self) -> list[str]:
        world, lacking = self.world, []
        moved = {(folder, mail.name) for folder, mail in world.server.elsewhere}
        mails = {mail.name: mail for mail in [*world.server.inbox.values(), *(m for _, m in world.server.elsewhere)]}
        for mail in world.arrivals.values():
            if not mail.matches or mail.touched or mail.remade or mail.name in world.excused:
                continue
            for action in world.plan.actions:
                if action.do == "mark_read" and "\\Seen" not in mails[mail.name].flags:
                    lacking.append(f"{mail.name} is not marked as read")
                if action.do in ("move", "copy") and (action.argument, mail.name) not in moved:
                    lacking.append(f"{mail.name} is not in {action.argument}")
        return lacking

    def check_actions(self) -> None:
        """Nothing was done twice that shows, and nothing to mails that do not match."""
        world = self.world
        for (folder, name), count in self._elsewhere().items():
            assert world.arrivals[name].matches, f"{name} does not match and is in {folder}"
            copied = any(action.do == "copy" for action in world.plan.actions)
            assert count == 1 or (copied and world.rough), f"{name} is {count} times in {folder}"
        for mail in world.server.inbox.values():
            assert world.arrivals[mail.name].matches or not mail.flags, f"{mail.name} was changed"

    def _elsewhere(self) -> Counter[tuple[str, str]]:
        return Counter((folder, mail.name) for folder, mail in self.world.server.elsewhere)

    def calm(self) -> None:
        """Let everything come right, and see that it does, and that nothing goes on then."""
        world = self.world
        settle(world)
        assert self._come_right(self.patience), f"it does not come right: {self.lacking()[:5]}"
        self.check_now()
        self.check_actions()
        world.turn_of_scheduler = 10.0
        for process in world.alive:
            process.turn = 10.0
        world.run(300)
        before = len(world.database.events)
        world.run(3 * 3600.0)
        self.check_now()
        assert len(world.database.events) == before, f"an event for nothing: {world.database.events[-1].extra}"
        self._check_sizes()

    def _come_right(self, seconds: float) -> bool:
        """Wait; look seldom, since looking costs more than waiting."""
        world, waited, step = self.world, 0.0, 20.0
        while waited < seconds:
            world.run(step)
            waited, step = waited + step, min(step * 1.5, 1800.0)
            self.check_now()
            if step > 300:
                world.turn_of_scheduler = 10.0
                for process in world.alive:
                    process.turn = 10.0
            for consumer in world.consumers.values():
                for run in consumer.runs:
                    if run.state == "failed":
                        consumer.clear(run)
            if not self.lacking():
                return True
        return False

    def _check_sizes(self) -> None:
        for asset, values in self.world.database.stores.values.items():
            claims = sum(key.startswith("imap4:claim:") for key in values)
            most = len(self.world.consumers) * (CLAIMS_KEPT + 2)
            assert claims <= most, f"{claims} claims are kept for {asset}"


def settle(world: World) -> None:
    """End all trouble."""
    world.server.up, world.server.mute, world.server.refusals, world.server.unwell = True, False, 0, ""
    world.database.scheduling = True
    world.database.stores.inactive.clear()
    world.database.stores.faults.clear()
    for process in world.alive:
        process.loop.frozen = False
        process.crash_at.clear()
        process.losing_confirmations, process.stalled_until = 0, 0.0
    for consumer in world.consumers.values():
        consumer.dag.paused, consumer.dag.max_active_runs = False, 16
        world.database.find_file(consumer.dag)
        consumer.crash_next, consumer.broken_until = None, 0.0
    for name in world.plan.triggers:
        if name not in world.database.rows:
            world.database.add_row(name)
    if not world.alive:
        world.start_triggerer()


def _name(email: dict[str, Any]) -> str:
    return str(email["message_id"]).strip("<>")
