"""Sets of UIDs as sorted ranges: what a consumer has taken, in constant size however many mails that were.

Events cover contiguous ranges of UIDs, so their union stays a handful of ranges even after years.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["UidRanges"]


@dataclass(frozen=True)
class UidRanges:
    """An immutable set of UIDs.

    :param spans: inclusive ``(first, last)`` pairs, ascending, disjoint and not adjacent. Use :meth:`of` to build one
        from anything else.
    """

    spans: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, spans: Iterable[Sequence[int]]) -> UidRanges:
        """Normalise any collection of inclusive ``(first, last)`` pairs; an empty or reversed pair holds nothing."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted((int(span[0]), int(span[1])) for span in spans):
            if last < first:
                continue
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    def __contains__(self, uid: object) -> bool:
        return isinstance(uid, int) and any(first <= uid <= last for first, last in self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def union(self, other: UidRanges) -> UidRanges:
        """Return what is in either set."""
        return self.of((*self.spans, *other.spans))

    def dumps(self) -> list[list[int]]:
        """Return the JSON form, a list of ``[first, last]`` lists."""
        return [list(span) for span in self.spans]
