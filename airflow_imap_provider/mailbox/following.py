"""Which mail actions of a task are done to: the one that was told, wherever it is now, and never another one.

How a mail is known again is in ``lookup``; here is what the actions themselves say about where it may be.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mailbox.actions import Action
from airflow_imap_provider.mailbox.lookup import NotFoundError, locate
from airflow_imap_provider.transport.session import Session

__all__ = ["moved_to", "place_of", "to_act_on"]

log = logging.getLogger(__name__)


def to_act_on(
    session: Session,
    email: Mapping[str, Any],
    conn_id: str,
    actions: Sequence[Action],
    *,
    look_in: Sequence[str],
    repeated: bool,
    deleting: bool = True,
) -> Mail | None:
    """Open the folder in which a mail is now, and return the mail; ``None`` if an earlier attempt has deleted it.

    A mail that is to be deleted is not followed: what fits best may be the copy in the archive.

    :param email: as the trigger, the operators and the hook return it.
    :param actions: all that is to be done to it.
    :param look_in: folders to look into first; the only ones for a mail that is to be deleted.
    :param repeated: an earlier attempt may have been interrupted.
    :param deleting: whether that one may have come to deleting the mail; otherwise somebody else has taken it away.
    :raises NotFoundError: it is nowhere.
    :raises AmbiguousError: it is in several folders, or several mails can be it.
    """
    deleted = any(action.do == "delete" for action in actions)
    # An earlier attempt may have moved it, or made copies of it: those are not what it was given.
    moved = [action.argument for action in actions if action.do == "move" and repeated]
    copied = [action.argument for action in actions if action.do == "copy" and repeated]
    try:
        return locate(
            session,
            email,
            conn_id,
            look_in=(*look_in, *moved),
            elsewhere=not deleted,
            acting=True,
            copies=copied,
        )
    except NotFoundError as error:
        if not (deleted and repeated and deleting):
            raise
        log.info("Mail %s counts as deleted by an earlier attempt: %s", email["key"], error)
        return None


def moved_to(session: Session, email: Mapping[str, Any], conn_id: str, folder: str) -> dict[str, Any]:
    """Return the place of a mail that was moved in this moment, as a mail's dict has it; empty if it is not found.

    As a rule the server tells its UID there (COPYUID, RFC 4315). Only where it does not, the mail is searched.

    :param email: with the place from which it was moved.
    :param folder: where to.
    """
    if (given := session.copied_to()) is not None:
        return {"folder": folder, "uid": given[1], "uidvalidity": given[0]}
    try:
        return place_of(locate(session, email, conn_id, look_in=(folder,), elsewhere=False))
    except NotFoundError as error:
        log.warning("Mail %s was moved to %r, and is not known again there: %s", email["key"], folder, error)
        return {}


def place_of(mail: Mail) -> dict[str, Any]:
    """Return where a mail is, as a mail's dict has it."""
    return {"folder": mail.folder, "uid": mail.uid, "uidvalidity": mail.uidvalidity}
