"""What was forwarded before: in a task's state store, so that a retry sends only what is missing."""

from __future__ import annotations

from typing import Any, Protocol

from airflow.sdk.execution_time.context import NEVER_EXPIRE

__all__ = ["SentRecord", "TaskRecord"]


class SentRecord(Protocol):
    """What is known of forwards by their fingerprint (a mail's key and the options); a ``dict`` is one."""

    def get(self, name: str, /) -> Any:
        """Return what was kept, or ``None``."""

    def __setitem__(self, name: str, value: dict[str, Any], /) -> None:
        """Keep it."""


class TaskRecord:
    """Keeps it for a task instance, over its retries.

    :param store: ``context["task_state_store"]``.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def get(self, name: str) -> Any:
        return self._store.get(f"sent:{name}")

    def __setitem__(self, name: str, value: dict[str, Any]) -> None:
        self._store.set(f"sent:{name}", value, retention=NEVER_EXPIRE)
