"""What may go wrong inside: the two ways in which a layer ends.

Neither leaves the room, nor does what is raised for a stranger's bytes that cannot be read: what is told outside is an
outcome.
"""

from __future__ import annotations

__all__ = ["DamagedError", "UnsupportedError"]


class UnsupportedError(Exception):
    """It is made in a way that is not known here."""


class DamagedError(Exception):
    """It is not what it says to be."""
