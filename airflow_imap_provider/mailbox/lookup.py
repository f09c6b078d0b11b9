"""Finding mails: by UID where they were seen, and by Message-ID where they are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_imap_provider.errors import FolderNotFoundError, ImapError
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mailbox.fetcher import Fetcher
from airflow_imap_provider.transport.session import FolderStatus, Session

__all__ = ["NotFoundError", "locate", "mails_by_uid"]


class NotFoundError(ImapError):
    """A mail is in no folder any more."""


FOLDERS_SEARCHED = 200
"""Folders searched for a mail that was moved, at most."""


def mails_by_uid(
    session: Session,
    status: FolderStatus,
    uids: Sequence[int],
    conn_id: str,
    headers: Sequence[str] = (),
) -> list[Mail]:
    """Return mails of the open folder in the order of ``uids``; those that are gone are passed over.

    :param status: of the open folder.
    :param headers: names of headers that the mails shall have.
    """
    return Fetcher(conn_id, headers=headers).told(session, status, uids) if uids else []


def locate(
    session: Session,
    email: Mapping[str, Any],
    conn_id: str,
    *,
    look_in: Sequence[str] = (),
    headers: Sequence[str] = (),
) -> Mail:
    """Open the folder in which a mail is now, for reading, and return the mail.

    It is looked for in these folders, in this order: ``look_in``, the folder in which it was seen, all others (at most
    200). In a folder other than the one in which it was seen it is recognised by its Message-ID.

    :param email: as the trigger, the operators and the hook return it.
    :raises NotFoundError: it is nowhere.
    """
    wanted = email.get("message_id") or ""
    for folder in (*look_in, email["folder"]):
        if found := _in(session, folder, email, wanted, conn_id, headers):
            return found
    if wanted:
        for folder in _others(session, {*look_in, email["folder"]}):
            if found := _in(session, folder, email, wanted, conn_id, headers):
                return found
    raise NotFoundError(
        f"mail {email['uid']} is not in {email['folder']} any more, nor in another folder",
        stage="fetch",
        remedy="It was deleted, or has no Message-ID by which to find it: move mails after the work is done.",
    )


def _in(
    session: Session, folder: str, email: Mapping[str, Any], wanted: str, conn_id: str, headers: Sequence[str]
) -> Mail | None:
    try:
        status = session.select(folder, readonly=True)
    except FolderNotFoundError:
        return None
    seen_here = folder == email["folder"] and status.uidvalidity == email["uidvalidity"]
    if seen_here and (mails := mails_by_uid(session, status, [email["uid"]], conn_id, headers)):
        return mails[0]
    if wanted and not wanted.endswith("…"):
        hits = session.search(["HEADER", "Message-ID", wanted])
        for mail in reversed(mails_by_uid(session, status, hits, conn_id, headers)):
            if mail.message_id == wanted:
                return mail
    return None


def _others(session: Session, known: set[str]) -> list[str]:
    names = [
        folder.name
        for folder in session.folders()
        if not {"\\noselect", "\\nonexistent"} & {attribute.lower() for attribute in folder.attributes}
    ]
    return [name for name in names if name not in known][:FOLDERS_SEARCHED]
