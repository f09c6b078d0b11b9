"""The most trivial event trigger there can be, to measure Airflow's own floor: how long from yield to task code.

What a mail takes longer than this is ours. A test rings by appending a line to a file; the trigger looks at the file's
size in short intervals and yields one event for each line, with the time of the yield in it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

# Seconds. Looking at a file's size costs microseconds, and this is the error of the measurement.
GLANCE = 0.01


def ring(bell: Path, name: str) -> None:
    """Make the trigger on this file yield an event with this name."""
    with bell.open("a") as file:
        file.write(f"{name}\n")


class FloorTrigger(BaseEventTrigger):
    """Yields ``{"name": …, "yielded": …}`` for each line that appears in the file after the trigger's start."""

    def __init__(self, bell: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bell = bell

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and arguments by which a triggerer makes this trigger."""
        return "tests.airflow.floor.FloorTrigger", {"bell": self.bell}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each new line."""
        bell = Path(self.bell)
        with bell.open() as lines:
            lines.seek(0, 2)
            Path(f"{bell}.listening").touch()
            while True:
                if line := lines.readline():
                    yield TriggerEvent({"name": line.strip(), "yielded": time.time()})
                else:
                    await asyncio.sleep(GLANCE)
