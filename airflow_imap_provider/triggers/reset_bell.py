"""How a triggerer learns soon that somebody has asked for a reset, however many streams it watches.

A request stands in the state store of its asset, where only that stream's trigger can read it: one question to
Airflow's API for each stream. So whoever asks also rings: writes into one Airflow Variable which streams are meant. A
triggerer asks for that one only, and has those streams look.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["LOOK", "VARIABLE", "Bell", "bell", "rung"]

log = logging.getLogger(__name__)

VARIABLE = "imap4_resets"
"""The Airflow Variable that names the resets asked for last."""

KEPT = 100
"""Resets that it names at most, the newest. Each triggerer has read of them before so many more are asked for."""

LOOK = 15.0
"""Seconds between two looks of a triggerer at the Variable, which take some 14 ms of Airflow's API each."""

Listener = Callable[[], None]


def rung(text: str | None, request: str, streams: Iterable[tuple[str, str]]) -> str:
    """Return the Variable's text once a request for streams was entered.

    :param text: what it was; ``None`` if there was none.
    :param request: the request's id.
    :param streams: the names of asset and stream.
    """
    rings = [*_rings(text), *([request, asset, stream] for asset, stream in streams)]
    return json.dumps(rings[-KEPT:])


def _rings(text: str | None) -> list[list[str]]:
    """Read the Variable. Somebody may have edited it by hand: what is not understood names nobody."""
    try:
        rings = json.loads(text or "[]")
    except ValueError:
        return []
    return [ring for ring in rings if isinstance(ring, list) and len(ring) == 3] if isinstance(rings, list) else []


class Bell:
    """Listens for the streams of one event loop as long as there are any."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[str, str], list[Listener]] = {}
        self._heard: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def join(self, streams: Iterable[tuple[str, str]], listener: Listener) -> None:
        """Have ``listener`` called when a reset of one of the streams, named by asset and stream, is asked for."""
        for stream in streams:
            self._listeners.setdefault(stream, []).append(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._listen(), name="imap4 resets")

    def leave(self, streams: Iterable[tuple[str, str]], listener: Listener) -> None:
        """Call ``listener`` no more."""
        for stream in streams:
            rest = [other for other in self._listeners.pop(stream, ()) if other != listener]
            if rest:
                self._listeners[stream] = rest
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _listen(self) -> None:
        while (supervisor := _supervisor()) is not None:
            try:
                rings = _rings(await _variable(supervisor))
            except Exception as error:  # noqa: BLE001 - Airflow raises its own errors here; the next look may succeed
                log.debug("no look at the Variable %s: %s", VARIABLE, error)
            else:
                self._hear(rings)
            await asyncio.sleep(LOOK * random.uniform(0.7, 1.3))

    def _hear(self, rings: list[list[str]]) -> None:
        # Streams that joined after a ring have looked when they began.
        for request, asset, stream in rings:
            if request not in self._heard:
                for listener in self._listeners.get((asset, stream), ()):
                    listener()
        self._heard = {request for request, _, _ in rings}


_bells: WeakKeyDictionary[asyncio.AbstractEventLoop, Bell] = WeakKeyDictionary()


def bell() -> Bell:
    """Return the bell of the running event loop."""
    return _bells.setdefault(asyncio.get_running_loop(), Bell())


def _supervisor() -> Any:
    """Whom triggers ask for everything of Airflow's; ``None`` where there is none: outside of a triggerer."""
    from airflow.sdk.execution_time import task_runner

    return getattr(task_runner, "SUPERVISOR_COMMS", None)


async def _variable(supervisor: Any) -> str | None:
    """Return the Variable's text, ``None`` if there is none; not by Variable.get, which asks secrets backends first."""
    from airflow.sdk.execution_time.comms import GetVariable, VariableResult

    answer = await supervisor.asend(GetVariable(key=VARIABLE))
    return answer.value if isinstance(answer, VariableResult) else None
