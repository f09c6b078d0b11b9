"""Which actions are due to a mail that was read. That a mail was not read whole is a reason to leave it where it is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_imap_provider.mailbox.actions import Action, wanted

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail
    from airflow_imap_provider.mailbox.reader import Wish

__all__ = ["due"]

log = logging.getLogger(__name__)


def due(wish: Wish, mail: Mail, outcome: frozenset[str], *, matches: bool, incomplete: bool) -> tuple[Action, ...]:
    """Return what is to be done to a mail, its removal last.

    :param outcome: of the conditions, as their ``outcome`` tells it.
    :param matches: whether they hold.
    :param incomplete: whether the server has not given all of it: conditions on the rest were not decided, and nothing
        of it need have been kept. It is not deleted then, nor moved away for not matching.
    """
    lists = [wish.on_match if matches else wish.on_no_match, wish.always]
    if incomplete:
        refused = [("delete",) if matches else ("delete", "move"), ("delete",)]
        whole, lists = (
            lists,
            [
                tuple(action for action in actions if action.do not in kinds)
                for actions, kinds in zip(lists, refused, strict=True)
            ],
        )
        if wanted(outcome, whole) != wanted(outcome, lists):
            log.error("mail %s is left where it is, for the server has not given all of it", mail.uid)
    return wanted(outcome, lists)
