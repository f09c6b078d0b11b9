"""Finding mails: by UID where they were seen, and by what a move leaves as it is where they are now."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from airflow_imap_provider.errors import FolderNotFoundError, ImapError, RefusedError
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mailbox.download import download
from airflow_imap_provider.mailbox.fetcher import Fetcher
from airflow_imap_provider.mailbox.identity import Identity
from airflow_imap_provider.transport.session import FolderStatus, Session
from airflow_imap_provider.transport.throttling import recognise

__all__ = ["AmbiguousError", "NotFoundError", "locate", "mails_by_uid", "where_it_was"]

log = logging.getLogger(__name__)


class NotFoundError(ImapError):
    """A mail is in no folder any more."""


class AmbiguousError(ImapError):
    """Several mails can be the one that was moved, and nothing tells which."""


FOLDERS_SEARCHED = 200
"""Folders searched for a mail that was moved, at most."""

FOLDERS_NAMED = 5
"""Folders that an error names."""

_CONTENT_IDS = (("OBJECTID", "EMAILID"), ("X-GM-EXT-1", "X-GM-MSGID"))
"""By capability, what servers call two copies of one content alike: RFC 8474, section 5.1, and Gmail, in which every
mail of a label is in All Mail, too."""


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


def where_it_was(
    session: Session, email: Mapping[str, Any], conn_id: str, *, headers: Sequence[str] = ()
) -> tuple[Mail | None, str]:
    """Open the folder in which a mail was seen, for reading, and return the mail if it is there still.

    It is known by its UID, so nobody can put another one in its place; but the connection may lead to another mailbox
    by now.

    :return: the mail, and in what another one that has its UID differs from it.
    """
    try:
        status = session.select(email["folder"], readonly=True)
    except FolderNotFoundError:
        return None, ""
    if status.uidvalidity != email["uidvalidity"]:
        return None, ""
    for mail in mails_by_uid(session, status, [email["uid"]], conn_id, headers):
        difference = Identity.of(email).difference(mail)
        return (None, difference) if difference else (mail, "")
    return None, ""


def locate(
    session: Session,
    email: Mapping[str, Any],
    conn_id: str,
    *,
    look_in: Sequence[str] = (),
    elsewhere: bool = True,
    acting: bool = False,
    copies: Sequence[str] = (),
    headers: Sequence[str] = (),
) -> Mail:
    """Open the folder in which a mail is now, for reading, and return the mail.

    Where it was seen it is known by its UID, if Message-ID and date of arrival do not speak against it. Elsewhere it
    must have the same Message-ID, size and date of arrival: COPY and MOVE keep them (RFC 9051, section 6.4.7), and of
    the three a sender only chooses the first. It is looked for in ``look_in``, in this order and up to the first folder
    that has it; then in all folders (at most 200), since it is not enough that one mail fits: no other one may.

    Several that fit are copies of one mail, or one of them is somebody else's. For reading copies are as good as the
    mail, so their contents are compared; to act on it, it must be known which one is meant.

    :param email: as the trigger, the operators and the hook return it.
    :param elsewhere: whether to look in folders other than ``look_in``.
    :param acting: whether something will be done to the mail itself.
    :param copies: folders into which an earlier attempt may have copied it; to act on, a mail elsewhere is preferred.
    :raises NotFoundError: it is nowhere.
    :raises AmbiguousError: several fit, and they differ, or it is to be acted on and they are in several folders.
    :raises RefusedError: the server has enough for now, so it is not known where the mail is.
    """
    mail, difference = where_it_was(session, email, conn_id, headers=headers)
    if mail is not None:
        return mail
    identity = Identity.of(email)
    fitting: list[Mail] = []
    alike: list[str] = []
    if identity.complete:
        looking = _Looking(session, identity, conn_id, headers, alike)
        for folder in dict.fromkeys(look_in):
            if fitting := looking.fitting(folder):
                break
        if not fitting and elsewhere:
            for folder, has_all in _others(session, look_in):
                # What it has is in another folder, too, and there it can be acted on.
                if not (has_all and acting and fitting):
                    fitting += looking.fitting(folder)
    if not fitting:
        raise _nowhere(email, alike, difference, known=identity.complete, elsewhere=elsewhere)
    if acting:
        fitting = [mail for mail in fitting if mail.folder not in copies] or fitting
    chosen = fitting[0] if len(fitting) == 1 else _one_of(session, email, fitting, acting=acting)
    session.select(chosen.folder, readonly=True)
    return chosen


@dataclass(frozen=True)
class _Looking:
    """A search for one mail, folder by folder.

    :param alike: the folders with mails of this Message-ID that are not it; they are added here.
    """

    session: Session
    identity: Identity
    conn_id: str
    headers: Sequence[str]
    alike: list[str]

    def fitting(self, folder: str) -> list[Mail]:
        """Return the mails of a folder that can be it, the newest first. A folder that cannot be opened has none.

        :raises RefusedError: the server has enough for now, so what the folder has is not known.
        """
        session, identity = self.session, self.identity
        try:
            status = session.select(folder, readonly=True)
        except RefusedError as error:
            if recognise(error.reply):
                raise
            log.info("A mail that was moved is not looked for in %r: %s", folder, error)
            return []
        hits = session.search(["HEADER", "Message-ID", identity.message_id])
        # Anybody can send any number of mails with one Message-ID: more than the size is fetched of few of them.
        sizes = session.fetch(hits, ["RFC822.SIZE"]) if hits else {}
        of_that_size = [uid for uid in hits if sizes.get(uid, {}).get(b"RFC822.SIZE", 0) == identity.size]
        mails = mails_by_uid(session, status, of_that_size, self.conn_id, self.headers)
        found = [mail for mail in mails if identity.fits(mail)]
        if len(found) < len(hits):
            self.alike.append(folder)
        return sorted(found, key=lambda mail: mail.uid, reverse=True)


def _others(session: Session, known: Sequence[str]) -> list[tuple[str, bool]]:
    r"""Return the folders in which mails can be, except the known ones, and whether each has the mails of all others.

    Those that have (``\All`` of RFC 6154) come last.
    """
    found = []
    for folder in session.folders():
        attributes = {attribute.lower() for attribute in folder.attributes}
        if folder.name not in known and not attributes & {"\\noselect", "\\nonexistent"}:
            found.append((folder.name, "\\all" in attributes))
    return sorted(found, key=lambda each: each[1])[:FOLDERS_SEARCHED]


def _one_of(session: Session, email: Mapping[str, Any], fitting: Sequence[Mail], *, acting: bool) -> Mail:
    """Return the mail that is meant, of several that fit."""
    folders = list(dict.fromkeys(mail.folder for mail in fitting))
    where = ", ".join(repr(folder) for folder in folders[:FOLDERS_NAMED])
    if acting and len(folders) > 1:
        raise AmbiguousError(
            f"mail {email['uid']} is no longer in {email['folder']}, and is in several folders: {where}",
            stage="actions",
            remedy="Name the one that is meant (look_in), or hand on what the operator returned that moved it.",
        )
    if len({_content(session, mail) for mail in fitting}) > 1:
        raise AmbiguousError(
            f"mail {email['uid']} is no longer in {email['folder']}, and several mails with its Message-ID, size and "
            f"date of arrival differ: {where}",
            stage="fetch",
            remedy="Somebody may have sent a mail in its place: look at them, and hand on what the operator returned "
            "that moved it.",
        )
    return fitting[0]


def _content(session: Session, mail: Mail) -> object:
    """Return what two mails have in common only if their contents are the same."""
    session.select(mail.folder, readonly=True)
    for capability, item in _CONTENT_IDS:
        if session.has(capability):
            told = session.fetch([mail.uid], [item]).get(mail.uid, {}).get(item.encode("ascii"))
            if told:
                return item, told
    digest = hashlib.sha256()
    with closing(download(session, mail.uid, "", "", octets=mail.size)) as chunks:
        for chunk in chunks:
            digest.update(chunk)
    return digest.digest()


def _nowhere(
    email: Mapping[str, Any], alike: Sequence[str], difference: str, *, known: bool, elsewhere: bool
) -> NotFoundError:
    gone = f"mail {email['uid']} is not in {email['folder']} any more"
    if difference:
        problem = f"{gone}: its UID is that of another mail (another {difference})"
        remedy = "Check whether the connection was edited: it must lead to the mailbox in which the mail was seen."
    elif not known:
        problem = f"{gone}, and cannot be known again in another folder without Message-ID, size and date of arrival"
        remedy = "Move mails after the work is done, or hand on what the operator returned that moved it."
    elif alike:
        where = ", ".join(repr(folder) for folder in alike[:FOLDERS_NAMED])
        problem = f"{gone}; mails with its Message-ID in {where} have another size or date of arrival"
        remedy = "Another mail has its Message-ID, or the server changes mails that are moved: hand on what the "
        remedy += "operator returned that moved it."
    elif elsewhere:
        problem = f"{gone}, nor in another folder"
        remedy = "It was deleted: act on mails, or move them, after the work is done."
    else:
        problem = f"{gone}; to be deleted, a mail is not followed"
        remedy = "Hand on what the operator returned that moved it, or name the folder in which it is (look_in)."
    return NotFoundError(problem, stage="fetch", remedy=remedy)
