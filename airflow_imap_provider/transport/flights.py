"""Work that reads files, in time: a file on a network drive that is away answers nobody, and knows no timeout.

The work runs in a thread of its own, which is left behind when it takes too long. Who wants the same work while it is
under way waits for the same answer, so that a file that hangs keeps one thread and not one for each attempt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from airflow_imap_provider.transport.clock import Deadline

__all__ = ["Flights"]

T = TypeVar("T")

_REMEDY = "Check that the drive with the file is there: a network drive that is away does not even say so."


class Flights(Generic[T]):
    """Works that are under way, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[Hashable, Future[T]] = {}

    def run(self, key: Hashable, work: Callable[[], T], deadline: Deadline, *, tab: str, names: Iterable[str]) -> T:
        """Do the work, or wait for the one with this key that is under way.

        :param tab: where the fields with the files are.
        :param names: the fields, as people see them.
        :raises ImapTimeoutError: stage ``settings``; it is not done in time, and goes on by itself.
        """
        with self._lock:
            answer = self._answers.get(key)
            if answer is None:
                answer = self._answers[key] = Future()
                begun = False
                try:
                    threading.Thread(
                        target=self._work, args=(key, work, answer), name="imap-files", daemon=True
                    ).start()
                    begun = True
                finally:
                    if not begun:  # no room for a thread: the next one tries again
                        del self._answers[key]
        wait([answer], max(deadline.left, 0))
        if not answer.done():
            raise deadline.missed("settings", _REMEDY, f"{tab}, {' or '.join(names)}: the file does not answer")
        return answer.result()

    def _work(self, key: Hashable, work: Callable[[], T], answer: Future[T]) -> None:
        try:
            done = work()
        except BaseException as exc:  # noqa: BLE001 - raised in the threads that wait
            self._land(key)
            answer.set_exception(exc)
        else:
            self._land(key)
            answer.set_result(done)

    def _land(self, key: Hashable) -> None:
        # Before the answer is there: whoever comes after it wants the files as they are then.
        with self._lock:
            del self._answers[key]
