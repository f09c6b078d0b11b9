"""What must be true: at every write of a place, at every moment, and once the world has calmed down.

Nothing here asks the code under test what it thinks: mails are known by the Message-IDs with which they were delivered.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

from airflow_imap_provider.mailbox.removing import copied_mark
from airflow_imap_provider.triggers.journal_index import listed
from tests.delivery.consumer import Consumer
from tests.delivery.mailserver import Change
from tests.delivery.world import CLAIMS_KEPT, Arrival, World

DAY = 86_400.0
HEARING = 7200.0
"""Seconds in which a mail that comes when all is calm is taken: mails of before may hold it up."""
FLAGS = {"mark_read": "\\Seen", "add_keyword": ""}
"""Actions that leave a flag; a keyword is their argument."""
STRIKING_OFF = 150.0
"""Seconds after which what is done is struck off at the latest, though the store refuses some writes."""
LARGEST = 64 * 1024
"""Bytes of a stored value; Airflow warns above."""


class Judge:
    """Watches a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[str] = []
        self.patience = DAY * 1.2
        """Seconds in which all must have come right: whoever was nudged in vain for long is nudged daily."""
        self._owed: list[tuple[float, set[tuple[Any, ...]]]] = []
        """What the stored place of the first trigger owed from when on: by UID."""
        self._ever_owed: set[tuple[Any, ...]] = set()
        """The same by the names of mails."""
        world.database.stores.on_write = self._on_write

    # --- at every write -----------------------------------------------------------------------------------------

    def _on_write(self, asset: str, key: str, value: Any) -> None:
        if len(json.dumps(value)) > LARGEST:
            self.violations.append(f"{key} has grown to {len(json.dumps(value))} bytes")
        if key.startswith("imap4:place:"):
            stream = key.removeprefix("imap4:place:")
            self._check_place(asset, stream, value)
            for reset in self.world.resets:
                if reset.id == value["reset"] and reset.honoured is None:
                    reset.honoured = self.world.universe.now
            if stream.endswith("/default"):
                self._note_what_is_owed(value)

    def _note_what_is_owed(self, place: dict[str, Any]) -> None:
        owed = {
            (uid, action["do"], action.get("argument", ""))
            for todo in place["todo"]
            for first, last in todo["uids"]
            for uid in range(first, last + 1)
            for action in todo["actions"]
        }
        self._owed.append((self.world.universe.now, owed))
        server = self.world.server
        if place["uidvalidity"] == server.uidvalidity:
            self._ever_owed |= {(server.inbox[uid].name, *what) for uid, *what in owed if uid in server.inbox}

    def _check_place(self, asset: str, stream: str, place: dict[str, Any]) -> None:
        """A place never passes a mail that is not told: stored as an event, and to be found in a journal."""
        world = self.world
        renumbered = world.renumbered.get((asset, stream), -1)
        if place["uidvalidity"] != world.server.uidvalidity or place["epoch"] <= renumbered:
            return
        reset = next((one for one in world.resets if one.id == place["reset"]), None)
        since = reset.at if reset is not None and reset.to == "new" else 0.0
        passed = {
            mail.name
            for uid, mail in world.server.inbox.items()
            if uid <= place["last_uid"]
            and world.arrivals[mail.name].meant_for(stream)
            and world.arrivals[mail.name].at >= since
        }
        for told, what in (
            (self.in_events(asset, stream), "a stored event"),
            (self.in_journals(asset, stream), "an entry in a journal"),
        ):
            if missing := {name for name in passed if place["reset"] not in told.get(name, ())}:
                self.violations.append(f"{stream} has passed {sorted(missing)} without {what}")

    def in_events(self, asset: str, stream: str) -> dict[str, dict[str, float]]:
        """By mail and by the reset after which it was told, when its first event was stored."""
        found: dict[str, dict[str, float]] = {}
        for event in self.world.database.events:
            payload = event.extra.get("payload")
            if event.asset == asset and payload and payload["stream"] == stream:
                for email in payload["emails"]:
                    found.setdefault(_name(email), {}).setdefault(payload.get("reset", ""), event.stored)
        return found

    def in_journals(self, asset: str, stream: str) -> dict[str, set[str]]:
        """By mail, the resets after which it was told."""
        values = self.world.database.stores.values.get(asset, {})
        found: dict[str, set[str]] = {}
        for journal in listed(json.loads(values.get("imap4:journals", "null"))):
            number = 0
            while (text := values.get(f"imap4:journal:{journal['id']}:{number}")) is not None:
                payload, number = json.loads(text), number + 1
                if payload["stream"] == stream:
                    for email in payload["emails"]:
                        found.setdefault(_name(email), set()).add(payload.get("reset", ""))
        return found

    # --- at every moment ----------------------------------------------------------------------------------------

    def check_now(self) -> None:
        assert not self.violations, self.violations[0]
        assert not self.world.failures, self.world.failures[0]
        for consumer in self.world.consumers.values():
            taken = self.taken(consumer)
            twice = [key for key, count in taken.items() if count > 1 and count > self._tellings(consumer, *key)]
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

    def _tellings(self, consumer: Consumer, short: str, name: str) -> int:
        """How often a mail may be taken: once, and once more for each reset after which it was told."""
        [stream] = (stream for stream in self.world.plan.streams if stream.endswith(f"/{short}"))
        return len(self.in_journals(consumer.asset.name, stream).get(name, ()))

    def _stream_of(self, email: dict[str, Any]) -> str:
        return "default" if "subject" in email else "second"  # whose payloads are minimal

    # --- when all is calm ---------------------------------------------------------------------------------------

    def lacking(self) -> list[str]:
        """Say what is still to come."""
        world, lacking = self.world, self._resets_lacking()
        here = {mail.name for mail in world.server.inbox.values()}
        events = {
            (asset, stream): self.in_events(asset, stream)
            for stream, assets in world.plan.streams.items()
            for asset in assets
        }
        for consumer in world.consumers.values():
            taken = self.taken(consumer)
            for stream, assets in world.plan.streams.items():
                if consumer.asset.name not in assets:
                    continue
                told = events[consumer.asset.name, stream]
                for mail in world.arrivals.values():
                    since = consumer.begun
                    must = since is not None and (consumer.operator.history or since < mail.at)
                    must = must or (stream, mail.name) in consumer.promised
                    if not must or not mail.meant_for(stream) or mail.touched:
                        continue
                    if mail.name not in told and self._left_out(stream, mail):
                        continue
                    if mail.mistaken and (mail.name in told or mail.name not in here):
                        continue
                    short = "second" if stream.endswith("/second") else "default"
                    if not taken[short, mail.name]:
                        lacking.append(f"{consumer.dag_id} lacks {mail.name} of {short}")
        lacking += [f"{run.run_id} is {run.state}" for run in world.runs if run.active or run.state == "failed"]
        return [*lacking, *self._actions_lacking()]

    def _left_out(self, stream: str, mail: Arrival) -> bool:
        """Whether somebody did not want it any more: "new" is meant from the moment on in which it was asked for."""
        return any(one.stream == stream and one.to == "new" and mail.at < one.at for one in self.world.resets)

    def _resets_lacking(self) -> list[str]:
        world, lacking = self.world, []
        for stream in dict.fromkeys(reset.stream for reset in world.resets):
            last = [reset for reset in world.resets if reset.stream == stream][-1]
            if last.honoured is None:
                lacking.append(f"{last.id} of {stream} is not honoured")
                continue
            for asset in world.plan.streams[stream]:
                if f"imap4:reset:{stream}" in world.database.stores.values.get(asset, {}):
                    lacking.append(f"a reset of {stream} is still asked for")
                if last.to == "new":
                    continue
                told = self.in_events(asset, stream)
                for mail in world.server.inbox.values():
                    arrival = world.arrivals[mail.name]
                    wanted = arrival.meant_for(stream) and not arrival.mistaken
                    if wanted and last.id not in told.get(mail.name, ()):
                        lacking.append(f"{mail.name} is not told again after {last.id} of {stream}")
        return lacking

    def _actions_lacking(self) -> list[str]:
        world, lacking = self.world, []
        server = world.server
        moved = {(change.folder, change.mail.name) for change in server.changes}
        gone = {mail.name for mail in server.deleted}
        mails = [*(change.mail for change in server.changes), *server.deleted, *server.inbox.values()]
        flags = {mail.name: mail.flags for mail in mails}
        [stream] = (stream for stream in world.plan.streams if stream.endswith("/default"))
        for mail in world.arrivals.values():
            dropped = mail.touched or mail.remade or mail.mistaken or mail.unowed
            if dropped or mail.name in world.excused or mail.name in server.poison:
                continue
            left_out = self._left_out(stream, mail)
            for action in world.plan.due(matches=mail.matches):
                if left_out and (mail.name, action.do, action.argument) not in self._ever_owed:
                    continue
                if action.do in FLAGS and (FLAGS[action.do] or action.argument) not in flags.get(mail.name, ()):
                    lacking.append(f"{mail.name} has not had its {action.do}")
                if action.do in ("move", "copy") and (action.argument, mail.name) not in moved:
                    lacking.append(f"{mail.name} is not in {action.argument}")
                if action.do == "move" and mail.name in {each.name for each in server.inbox.values()}:
                    lacking.append(f"{mail.name} is still there")
                if action.do == "delete" and mail.name not in gone:
                    lacking.append(f"{mail.name} is not deleted")
        return lacking

    def check_actions(self) -> None:
        """Nothing was done twice that shows, and nothing to mails that it is not due to."""
        server = self.world.server
        for change in server.changes:
            assert self._is_due(change.mail.name, ("move", "copy"), change.folder), (
                f"{change.mail.name} is in {change.folder}"
            )
        copied = {(change.folder, change.mail.name) for change in server.changes}
        for mail in server.deleted:
            due = [
                one for one in self.world.plan.due(matches=self.world.arrivals[mail.name].matches) if one.do == "move"
            ]
            kept = not server.moves and any((one.argument, mail.name) in copied for one in due)
            assert kept or self._is_due(mail.name, ("delete",)), f"{mail.name} is deleted"
        for mail in server.inbox.values():
            removal = self._is_due(mail.name, ("delete",)) or self.world.arrivals[mail.name].doomed
            for do, flag in FLAGS.items():
                wrong = mail.flags if not flag else mail.flags & {flag}
                wrong = wrong - self._marks(mail.name) - ({"\\Deleted"} if removal else set())
                for found in wrong - (set(FLAGS.values()) if not flag else set()):
                    assert self._is_due(mail.name, (do,), "" if flag else found), f"{mail.name} has {found}"
        by_mail: dict[tuple[str, str], list[Change]] = {}
        for change in server.changes:
            by_mail.setdefault((change.folder, change.mail.name), []).append(change)
        for (folder, name), changes in by_mail.items():
            for first, second in itertools.pairwise(changes):
                assert self._may_repeat(first, second), (
                    f"{name} was put into {folder} at {first.at} and once more at {second.at}"
                )

    def _marks(self, name: str) -> set[str]:
        """Flags of a mail that a move could copy and not expunge, and that was given up then."""
        if self.world.server.moves or name not in self.world.excused:
            return set()
        due = self.world.plan.due(matches=self.world.arrivals[name].matches)
        return {flag for one in due if one.do == "move" for flag in ("\\Deleted", copied_mark(one.argument))}

    def _is_due(self, name: str, kinds: tuple[str, ...], argument: str = "") -> bool:
        mail, world = self.world.arrivals[name], self.world
        if mail.mistaken:
            return True
        due = [action for action in world.plan.due(matches=mail.matches) if action.do in kinds]
        if name in world.server.poison:  # the server has not given all of it
            due = [action for action in due if action.do not in ("delete", "move")]
        return any(action.argument == argument for action in due)

    def _may_repeat(self, first: Change, second: Change) -> bool:
        """Whether a crash or a second owner came between an action and its record, or somebody has begun anew."""
        if any(one.honoured is not None and first.at <= one.honoured <= second.at for one in self.world.resets):
            return True
        mail = self.world.arrivals[first.mail.name]
        # Who does not match is not known again in a folder that was made anew: nothing is told of it.
        if mail.mistaken or not first.answered or (mail.remade and not mail.matches):
            return True
        # Without MOVE, what was refused or lost between the copy and its mark is copied once more.
        moved = any(
            one.do == "move" and one.argument == second.folder for one in self.world.plan.due(matches=mail.matches)
        )
        if moved and not self.world.server.moves and not second.marked:
            return True
        if first.by is second.by:
            return False
        # Another process: it may have found what was done and not yet struck off.
        [earlier] = (process for process in self.world.processes if process.clock is first.by)
        struck_off = next((at for at, owed in self._owed if at > first.at and not _owes(owed, first)), float("inf"))
        stopped = any(first.at <= at <= first.at + STRIKING_OFF for at in earlier.stopped_at)
        if struck_off > first.at + STRIKING_OFF and not stopped:
            return False
        [began] = (process.began["first"] for process in self.world.processes if process.clock is second.by)
        before = [owed for at, owed in self._owed if at <= began][-1:]
        seen = before + [owed for at, owed in self._owed if max(began, first.at) <= at <= second.at]
        return any(_owes(owed, first) for owed in seen)

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
        # What a reset to "new" leaves out need not be told, and may be all the same, by who has not heard of it yet.
        world.run(3600.0 if any(reset.to == "new" for reset in world.resets) else 300.0)
        before = len(world.database.events)
        world.run(3 * 3600.0)
        self.check_now()
        assert len(world.database.events) == before, f"an event for nothing: {world.database.events[-1].extra}"
        world.deliver(matches=True)
        assert self._come_right(HEARING), f"nothing is heard any more: {self.lacking()[:5]}"
        self.check_actions()
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


def _owes(owed: set[tuple[Any, ...]], change: Change) -> bool:
    return any((change.uid, do, change.folder) in owed for do in ("copy", "move"))


def settle(world: World) -> None:
    """End all trouble."""
    if world.database.stores.inactive:
        world.run(1.0)  # not inactive for one reading between two writes only
    world.server.slow = world.database.stores.slow = 0.0
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
