"""The table of scenarios: each is a generator that sets up before its ``yield``, and does its harm after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.chaos.house import House
from tests.chaos.room import Room

__all__ = ["SCENARIOS", "Play", "Scenario", "scenario"]

Play = Callable[[Room], Iterator[None]]


@dataclass(frozen=True)
class Scenario:
    """One entry.

    :param name: how it is chosen.
    :param what: what it does, for people.
    :param whole_house: whether it strikes everybody in the house, so that only one of its kind can play at a time.
    :param possible: whether this house can play it.
    """

    name: str
    what: str
    play: Play
    whole_house: bool
    own_server: bool
    possible: Callable[[House], bool]


SCENARIOS: dict[str, Scenario] = {}


def _always(_: House) -> bool:
    return True


def scenario(
    *, whole_house: bool = False, own_server: bool = False, possible: Callable[[House], bool] = _always
) -> Callable[[Play], Play]:
    """Enter a function into the table; its docstring's first paragraph says what it does."""

    def enter(play: Play) -> Play:
        name: str = play.__name__
        words = " ".join((play.__doc__ or "").split("\n\n", maxsplit=1)[0].split())
        SCENARIOS[name] = Scenario(name, words, play, whole_house, own_server, possible)
        return play

    return enter
