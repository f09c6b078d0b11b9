"""What a row of the matrix is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.matrix.world import Form, Outcome, World

EMPTY, FILLED, ON, OFF = "empty", "filled", "on", "off"


@dataclass(frozen=True)
class Row:
    """One value of one field, and what only this value brings about.

    :param field: the field's key.
    :param value: a stored choice, or what kind of value it is.
    :param form: what the form stores.
    :param shows: the effect.
    :param twin: what the field holds instead where the effect must not be seen; or what gives that.
    :param needs: pytest markers of the servers besides Dovecot.
    """

    field: str
    value: str
    form: Callable[[World], Form]
    shows: Callable[[Outcome], bool]
    twin: object
    needs: tuple[str, ...] = ()

    def other(self, form: Form, world: World) -> Form:
        """The twin's form."""
        return {**form, self.field: self.twin(world) if callable(self.twin) else self.twin}

    @property
    def name(self) -> str:
        return f"{self.field}-{self.value}".replace(" ", "_")


def opens(outcome: Outcome) -> bool:
    return outcome.opened


def says(*words: str) -> Callable[[Outcome], bool]:
    """The opening is refused with these words."""
    return lambda outcome: outcome.says(*words)


def by(method: str) -> Callable[[Outcome], bool]:
    """The server's log names the method."""
    return lambda outcome: outcome.method == method


def asks(words: str) -> Callable[[Outcome], bool]:
    """The proxy's log has these words."""
    return lambda outcome: words in outcome.asked
