"""Who shares the connection to a folder, and how far each of them has read.

Knows nothing of connections: the watcher asks what all of them together need, and tells them when to look.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Member", "Members"]


class Member(Protocol):
    """Somebody who is interested in a folder."""

    poll_interval: float
    """Seconds between safety polls."""
    idle: bool
    """Whether IDLE is wanted; it is used if anybody wants it."""
    acts: bool
    """Whether the folder must be open for writing."""

    def wake(self) -> None:
        """Something may be new, or the connection's state has changed."""


class Members:
    """The members of one folder. Everything here happens in the thread of the event loop."""

    __slots__ = ("_read_at",)

    def __init__(self) -> None:
        self._read_at: dict[Member, int | None] = {}  # with the session's count of arrivals when each last read

    def __contains__(self, member: Member) -> bool:
        return member in self._read_at

    def __len__(self) -> int:
        return len(self._read_at)

    @property
    def acts(self) -> bool:
        """Whether anybody needs the folder open for writing."""
        return any(member.acts for member in self._read_at)

    @property
    def idle(self) -> bool:
        """Whether anybody wants IDLE."""
        return any(member.idle for member in self._read_at)

    def poll_interval(self, default: float) -> float:
        """Return the shortest interval in seconds that somebody asks for; ``default`` if nobody is there."""
        return min((member.poll_interval for member in self._read_at), default=default)

    def add(self, member: Member) -> None:
        """Somebody comes, who has read nothing."""
        self._read_at.setdefault(member)

    def forget(self, member: Member) -> None:
        """Somebody leaves."""
        self._read_at.pop(member, None)

    def wake_all(self) -> None:
        """Tell everybody to look."""
        for member in list(self._read_at):
            member.wake()

    def begin_anew(self) -> None:
        """There is another session: nobody has read in it."""
        self._read_at = dict.fromkeys(self._read_at)

    def has_read(self, member: Member, arrivals: int) -> None:
        """A member that may have left meanwhile has read what the session had announced by then."""
        if member in self._read_at:
            self._read_at[member] = arrivals

    def wake_behind(self, arrivals: int) -> None:
        """Tell those to look who have not read what the session has announced, and count it as read."""
        for member, read_at in list(self._read_at.items()):
            if read_at != arrivals:
                self._read_at[member] = arrivals
                member.wake()
