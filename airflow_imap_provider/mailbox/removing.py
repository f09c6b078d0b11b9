"""Removes mails from the open folder: moves and deletions, by UID alone, also on servers without MOVE.

Such a move is a copy, a mark and an expunge, and may end between any two of them. It is repeated then, and what is
uncertain is decided so that a mail is there twice rather than not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_imap_provider.errors import RefusedError
from airflow_imap_provider.mailbox.searching import still_there
from airflow_imap_provider.mailbox.targets import lead
from airflow_imap_provider.transport.throttling import recognise

if TYPE_CHECKING:
    from airflow_imap_provider.transport.session import Session

__all__ = ["copied_mark", "delete", "move"]

DELETED = "\\Deleted"


def copied_mark(folder: str) -> str:
    r"""Return the keyword of mails that a move has copied to this folder, and not expunged yet.

    ``\Deleted`` alone does not say so: anybody may have set it.
    """
    return f"Imap4-Copied-{hashlib.sha256(folder.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def move(session: Session, uids: Sequence[int], folder: str, *, repeated: bool) -> None:
    r"""Move mails into another folder.

    :param repeated: an earlier attempt may have been interrupted. Without MOVE, a mail is not copied again if it
        carries both marks that are set after a copy; on a server that keeps no keywords it is. A mail of which the
        server tells nothing is neither copied nor expunged.
    :raises RefusedError: also if there are such mails, and the server still lists them.
    :raises ImapError: what the session raises.
    """
    if session.has("MOVE"):
        lead(session, uids, folder, session.move)
        return
    _require_uid_expunge(session, "move")
    session.forget_copied()
    to_copy = list(uids)
    copied: list[int] = []
    unknown: list[int] = []
    if repeated:
        to_copy, copied, unknown = _sorted_out(session, uids, copied_mark(folder))
    if to_copy:
        lead(session, to_copy, folder, session.copy)
        _mark(session, to_copy, copied_mark(folder))
    if to_copy or copied:
        session.expunge([*copied, *to_copy])
    if unknown and still_there(session, unknown):
        raise RefusedError(
            "the server does not tell the flags of mails that it still lists, and nobody knows whether they were "
            "copied: they stay where they are.",
            stage="MOVE",
        )


def delete(session: Session, uids: Sequence[int]) -> None:
    """Delete mails for good.

    :raises RefusedError: the server cannot do that to single mails.
    :raises ImapError: what the session raises.
    """
    _require_uid_expunge(session, "delete")
    session.add_flags(uids, [DELETED])
    session.expunge(uids)


def _sorted_out(session: Session, uids: Sequence[int], mark: str) -> tuple[list[int], list[int], list[int]]:
    """Return which are to be copied, which are copied already, and of which the server tells nothing."""
    flags = {
        uid: {bytes(flag).lower() for flag in answer[b"FLAGS"]}
        for uid, answer in session.fetch(uids, ["FLAGS"]).items()
        if isinstance(answer.get(b"FLAGS"), (tuple, list))
    }
    deleted = DELETED.lower().encode("ascii")
    both = {deleted, mark.lower().encode("ascii")}
    to_copy = [uid for uid in uids if uid in flags and not both <= flags[uid]]
    if marked := [uid for uid in to_copy if deleted in flags[uid]]:
        # By this move, on a server that keeps no keywords, or by somebody else. The copy would carry it.
        session.remove_flags(marked, [DELETED])
    return to_copy, [uid for uid in uids if both <= flags.get(uid, set())], [uid for uid in uids if uid not in flags]


def _mark(session: Session, uids: Sequence[int], mark: str) -> None:
    try:
        session.add_flags(uids, [DELETED, mark])
    except RefusedError as error:
        if not session.usable or recognise(error.reply):
            raise
        session.add_flags(uids, [DELETED])  # a server that takes no keywords


def _require_uid_expunge(session: Session, what: str) -> None:
    if not session.has("UIDPLUS"):
        raise RefusedError(
            f"this server can {what} a mail only together with all others that anyone marked as deleted",
            stage="actions",
            remedy="It offers neither MOVE nor UIDPLUS: mark or flag the mail instead.",
        )
