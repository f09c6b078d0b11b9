"""What is told of a mail that was read, and which actions are due to it.

That the server has not given all of a mail is told, and is a reason to leave it where it is. Whether the mail matches
is decided elsewhere.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_imap_provider.mail.payload import JsonValue, payload
from airflow_imap_provider.mailbox.actions import Action, wanted

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail
    from airflow_imap_provider.mailbox.reader import Wish

__all__ = ["due", "told"]

log = logging.getLogger(__name__)


def told(wish: Wish, mail: Mail, *, incomplete: bool) -> dict[str, JsonValue]:
    """Return the payload of a mail that matches.

    :param incomplete: whether the server has not given all of it.
    """
    shown = mail if wish.text else replace(mail, text=None)
    email = payload(shown, style=wish.style, headers=wish.headers, servers=wish.conditions.servers)
    return {**email, "incomplete": True} if incomplete else email


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
