"""Time that only passes when nothing is left to do, and everything that can run in it, in one deterministic order.

A :class:`Universe` steps event loops (one stands for one process) and strands (greenlets: blocking code that waits
without blocking). A process that is not stepped any more is frozen as with SIGSTOP; one that is dropped is dead as with
SIGKILL. Nothing here knows of mail or Airflow.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from asyncio import events
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from datetime import datetime, timedelta, timezone
from typing import Any

import greenlet

EPOCH = datetime(2026, 1, 5, 8, 0, 0, tzinfo=timezone.utc)
"""Where the universe's time begins."""

TOO_MANY = 200_000
"""Steps at one moment of time: something turns in a circle."""


class HostClock:
    """The clock of one host; ``ahead`` is by how many seconds its wall clock is wrong."""

    def __init__(self, universe: Universe, ahead: float = 0.0) -> None:
        self._universe, self.ahead = universe, ahead

    def monotonic(self) -> float:
        return self._universe.now

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._universe.now + self.ahead)


class Universe:
    """The one time, and whoever has something to do in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clock = HostClock(self)
        """The clock of whoever runs at the moment."""
        self.loops: list[VirtualLoop] = []
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def call_in(self, seconds: float, call: Callable[[], object]) -> None:
        """Have something happen that belongs to no process that could be frozen."""
        heapq.heappush(self._agenda, (self.now + max(seconds, 0.0), next(self._numbers), call))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.run_until(lambda: False, seconds)

    def run_until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until ``done``, which is asked whenever time moves, for so many seconds at most."""
        end, steps = self.now + seconds, 0
        while True:
            when, step = self._next()
            if when > self.now:
                if done():
                    return True
                if when > end:
                    self.now = end
                    return done()
                self.now, steps = when, 0
            steps += 1
            assert steps < TOO_MANY, "something turns in a circle without any time passing"
            step()

    def _next(self) -> tuple[float, Callable[[], object]]:
        best, step = (self._agenda[0][0], self._step_agenda) if self._agenda else (float("inf"), self._step_agenda)
        for loop in self.loops:
            due = loop.due()
            if due < best:
                best, step = due, loop.step
        return best, step

    def _step_agenda(self) -> None:
        heapq.heappop(self._agenda)[2]()

    @contextlib.contextmanager
    def on_host(self, clock: HostClock) -> Iterator[None]:
        """Make ``clock`` the one that is read meanwhile."""
        before, self.clock = self.clock, clock
        try:
            yield
        finally:
            self.clock = before


class Strand:
    """Blocking code as a greenlet: it runs until it pauses, and is resumed by whoever owns its time.

    :param code: what to run.
    :param later: has a call made after so many seconds.
    :param ended: called with the result and the exception, one of them ``None``, unless the strand is killed.
    """

    def __init__(
        self,
        code: Callable[[], Any],
        later: Callable[[float, Callable[[], object]], object],
        ended: Callable[[Any, BaseException | None], None],
    ) -> None:
        self._code, self._later, self._ended = code, later, ended
        self._greenlet = greenlet.greenlet(self._run)
        self.dead = False

    def _run(self) -> None:
        try:
            result = self._code()
        except greenlet.GreenletExit:
            return
        except BaseException as error:  # noqa: BLE001 - passed on to who waits for it
            if not self.dead:
                self._ended(None, error)
        else:
            if not self.dead:
                self._ended(result, None)

    def resume(self) -> None:
        if not self.dead and not self._greenlet.dead:
            self._greenlet.parent = greenlet.getcurrent()
            strands.append(self)
            try:
                self._greenlet.switch()
            finally:
                strands.pop()

    def kill(self) -> None:
        """End it where it is: nothing of it runs any more but what unwinds."""
        if not self.dead:
            self.dead = True
            if self._greenlet and not self._greenlet.dead and greenlet.getcurrent() is not self._greenlet:
                self._greenlet.throw(greenlet.GreenletExit)

    def pause(self, seconds: float) -> None:
        self._later(seconds, self.resume)
        self._greenlet.parent.switch()


strands: list[Strand] = []
"""The strand that runs now, last."""


def pause(seconds: float) -> None:
    """Let time pass in blocking code. For code that is being unwound no time passes."""
    if strands and not strands[-1].dead:
        strands[-1].pause(seconds)


class VirtualLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as the production code uses, in the universe's time."""

    def __init__(self, universe: Universe, clock: HostClock, failed: Callable[[dict[str, Any]], None]) -> None:
        self._universe, self._clock, self._failed = universe, clock, failed
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self._strands: dict[Strand, None] = {}
        self.frozen = False
        self.dead = False
        universe.loops.append(self)

    # --- being stepped ------------------------------------------------------------------------------------------

    def due(self) -> float:
        """Return when there is something to do."""
        if self.frozen:
            return float("inf")
        if self._ready:
            return self._universe.now
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return max(self._timers[0][0], self._universe.now) if self._timers else float("inf")

    def step(self) -> None:
        """Run what is ready, once around."""
        while self._timers and self._timers[0][0] <= self._universe.now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled():
                self._ready.append(timer)
        events._set_running_loop(self)
        try:
            with self._universe.on_host(self._clock):
                for _ in range(len(self._ready)):
                    if self.dead or self.frozen:
                        break
                    handle = self._ready.popleft()
                    if not handle.cancelled():
                        handle._run()
        finally:
            events._set_running_loop(None)

    def die(self) -> None:
        """SIGKILL: nothing more is done. Threads of before end where they are."""
        self.dead = self.frozen = True
        for strand in list(self._strands):
            strand.kill()

    def bury(self) -> None:
        """Unwind what a dead process has left, so that Python can free it. The world must be out of its reach."""
        self.dead = self.frozen = False
        for task in list(self.tasks):
            task.cancel()
        start, end = self._universe.now, 2000
        while self.due() < float("inf") and end and self.tasks:
            self._universe.now = max(self._universe.now, self.due())
            self.step()
            end -= 1
        self._universe.now = start
        assert not self.tasks, f"tasks that cannot be cancelled: {list(self.tasks)}"
        self._universe.loops.remove(self)
        self.dead = self.frozen = True

    # --- what asyncio asks of a loop ----------------------------------------------------------------------------

    def time(self) -> float:
        return self._universe.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        return self.call_at(self._universe.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        handle._scheduled = True  # type: ignore[attr-defined]
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is passed over when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, **kwargs)
        self.tasks[task] = None
        task.add_done_callback(lambda done: self.tasks.pop(done, None))
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run blocking code as a strand of this process."""
        future = self.create_future()

        def ended(result: Any, error: BaseException | None) -> None:
            self._strands.pop(strand, None)
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        strand = Strand(lambda: func(*args), self.call_later, ended)
        self._strands[strand] = None
        self.call_soon(strand.resume)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._failed(context)
