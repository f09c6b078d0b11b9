"""Keeps Python's garbage collections short in a process that watches many mailboxes.

A full collection looks at every container in the process and stops all threads meanwhile, about a microsecond for each:
0.2 s for Airflow alone, and two seconds more for ten thousand mailboxes, for objects that live for months. So from
:data:`MANY` mailboxes on, full collections are made often, and whatever makes one long is frozen when it has survived
it (:func:`gc.freeze`): later ones pass it over. What nobody refers to any more is freed at once as before, frozen or
not, and so is all of a connection that was lost: its objects form no circles.

The cost: a circle of *frozen* objects that becomes garbage stays, whoever made it. A trigger that Airflow ends leaves
about 130 objects in circles, most of them Airflow's. That is bounded: when there are twice as many frozen objects as
can be explained, the freezing is undone, so that the next full collection (a long one) finds them; and it is undone for
good when few mailboxes are left.
"""

from __future__ import annotations

import gc
import logging
import time

__all__ = ["mailboxes"]

log = logging.getLogger(__name__)

MANY = 100
"""Mailboxes from which the collector is helped. Below half of them it is left alone: the process is somebody else's."""

LONG = 0.01
"""Seconds of processor time that a full collection may take: what it has found alive is frozen if it took longer."""

BETWEEN = 20_000
"""New objects after which there is a full collection, about; Python's own limit is 70,000 (3.13: 200,000)."""

A_MAILBOX = 400
"""Objects of a mailbox at most: some 80 by itself, 250 with its trigger and Airflow's stream."""

COUNTED = 16
"""How often something is frozen until the frozen objects are counted: a million take 15 ms."""

_OLDEST = 2
"""The generation of a full collection."""


class _Collector:
    """What this process does about its collector."""

    def __init__(self) -> None:
        self.helped = False
        self.mailboxes = 0
        self.thaws = 0
        self._said = 0
        self._thresholds = gc.get_threshold()
        self._began = 0.0
        self._freezes = 0
        self._proven = 0  # frozen objects, when it was last certain that they are no garbage
        self._proven_mailboxes = 0

    def help(self) -> None:
        """Freeze what is there, and from now on whatever makes collections long."""
        self.helped = True
        gc.collect(1)  # the young ones only: a few thousand objects
        gc.freeze()
        # Over nothing, and at once: else the next one would wait for a quarter of what was there.
        gc.collect()
        self._prove()
        self._thresholds = youngest, middle, oldest = gc.get_threshold()
        if youngest and middle:
            gc.set_threshold(youngest, middle, min(max(BETWEEN // (youngest * middle) - 1, 0), oldest))
        gc.callbacks.append(self._on_collection)

    def leave(self) -> None:
        """Undo it."""
        self.helped = False
        gc.callbacks.remove(self._on_collection)
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()

    def _on_collection(self, moment: str, info: dict[str, int]) -> None:
        if info["generation"] != _OLDEST:
            return
        now = time.thread_time()
        if moment == "start":
            self._began = now
        elif now - self._began > LONG:
            # Exactly here: what is left is no garbage.
            gc.freeze()
            self._freezes += 1
            if not self._proven:
                self._prove()
            elif self._freezes >= COUNTED:
                self._count()

    def _prove(self) -> None:
        self._proven, self._proven_mailboxes, self._freezes = gc.get_freeze_count(), self.mailboxes, 0

    def _count(self) -> None:
        self._freezes = 0
        more = max(self.mailboxes - self._proven_mailboxes, 0)
        if gc.get_freeze_count() > 2 * self._proven + A_MAILBOX * more:
            gc.unfreeze()
            self._proven = 0
            self.thaws += 1

    def say(self) -> None:
        """Log that freezing was undone. Not from the callback: its thread may hold the lock of a log handler."""
        if self._said < self.thaws:
            self._said = self.thaws
            log.info("all objects of this process were looked at again: there may have been garbage among the frozen")


_collector = _Collector()


def mailboxes(number: int) -> None:
    """So many mailboxes are watched in this process now."""
    _collector.mailboxes = number
    _collector.say()
    if number >= MANY and not _collector.helped:
        _collector.help()
    elif number < MANY / 2 and _collector.helped:
        _collector.leave()
