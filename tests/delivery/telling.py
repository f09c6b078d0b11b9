"""How a story of the machine begins."""

from __future__ import annotations

from collections.abc import Callable

from airflow_imap_provider.mailbox.actions import Action
from tests.delivery.machine import DeliveryMachine

Story = Callable[[DeliveryMachine], None]


def begin(
    machine: DeliveryMachine,
    shape: str = "one",
    *,
    actions: tuple[Action, ...] = (),
    no_match: tuple[Action, ...] = (),
    always: tuple[Action, ...] = (),
    max_mails: int = 3,
    ahead: float = 0.0,
    down: float = 0.0,
    moves: bool = True,
    uidvalidity: int = 100,
) -> None:
    machine.begin(
        deeds=(actions, no_match, always),
        shape=shape,
        batch_size=2,
        max_mails=max_mails,
        turn=1.0,
        ahead=ahead,
        down=down,
        moves=moves,
        uidvalidity=uidvalidity,
    )
