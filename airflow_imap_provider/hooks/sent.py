"""What a task's earlier attempts have done: in its state store, so that a retry does only what is missing."""

from __future__ import annotations

from typing import Any, Protocol

from airflow.sdk.execution_time.context import NEVER_EXPIRE

__all__ = ["SentRecord", "TaskRecord"]


class SentRecord(Protocol):
    """What was done to mails, by a fingerprint of the mail's key and the action with its options; a ``dict`` is one."""

    def get(self, name: str, /) -> Any:
        """Return what was kept, or ``None``."""

    def __setitem__(self, name: str, value: dict[str, Any], /) -> None:
        """Keep it."""


class TaskRecord:
    """Keeps it for a task instance, over its retries; and which mails it has come to deleting.

    :param store: ``context["task_state_store"]``.
    :param done: what was done to the mails: ``sent``, which copies are too, or ``saved``.
    """

    def __init__(self, store: Any, done: str = "sent") -> None:
        self._store, self._done = store, done

    def get(self, name: str) -> Any:
        return self._store.get(f"{self._done}:{name}")

    def __setitem__(self, name: str, value: dict[str, Any]) -> None:
        self._store.set(f"{self._done}:{name}", value, retention=NEVER_EXPIRE)

    def deletion(self, key: str) -> dict[str, Any] | None:
        """Return what an earlier attempt has kept of a mail just before deleting it; ``None`` if none came so far."""
        kept: dict[str, Any] | None = self._store.get(f"deleting:{key}")
        return kept

    def note_deletion(self, key: str, told: dict[str, Any]) -> None:
        """Note that all that was to be done before is done, and the mail is deleted next.

        :param told: what is returned of the mail besides what it came with.
        """
        self._store.set(f"deleting:{key}", told, retention=NEVER_EXPIRE)
