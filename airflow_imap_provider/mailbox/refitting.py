"""Fits a place to the folder as it is now: at the first opening, and when its UIDs turn out to mean other mails.

They do when UIDVALIDITY has changed, but also when UIDs begin anew without that (an index restored from a backup), or
when the connection was edited to lead to another mailbox whose UIDVALIDITY is the same by chance: some servers number
from 1. A place above all UIDs would see nothing any more, for ever and without a word.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow_imap_provider.errors import LostConnectionError, ProtocolError, RefusedError
from airflow_imap_provider.mail.fetching import mail_from_fetch
from airflow_imap_provider.mailbox.place import Place, fingerprint, rebase
from airflow_imap_provider.mailbox.searching import received_before, received_since
from airflow_imap_provider.transport.remedies import LATER
from airflow_imap_provider.transport.throttling import recognise

if TYPE_CHECKING:
    from airflow_imap_provider.connection.settings import Settings
    from airflow_imap_provider.transport.session import FolderStatus, Session

__all__ = ["Fitted", "account_of", "refit", "reopened"]

log = logging.getLogger(__name__)

LOOKED_AT = 2000
"""Mails among which the last one that was told is looked for, from the newest down: twenty FETCHes at most."""

AT_ONCE = 100
"""Mails in one of them."""

SEARCHED = 50_000
"""UIDs in which they are searched: imaplib takes lines of 1 MB, which is about 143,000 hits."""

A_TIME = 100_000_000
"""UIDVALIDITY from here on is a time in seconds since 1970, as RFC 3501, section 2.3.1.1, proposes: no two mailboxes of
one owner share it by chance. Smaller ones are mostly 1."""

_ITEMS = ["UID", "INTERNALDATE", "RFC822.SIZE", "BODY.PEEK[HEADER.FIELDS (DATE MESSAGE-ID)]"]

_disproved: WeakKeyDictionary[Session, set[tuple[int, int | None]]] = WeakKeyDictionary()
"""By session, the UIDVALIDITY and UIDNEXT of which was seen that mails have higher UIDs."""

_told_wrong: set[tuple[str, str]] = set()
"""Mailboxes and folders of which was said, in this process, that the server tells a wrong UIDNEXT."""


@dataclass(frozen=True)
class Fitted:
    """A place that fits the folder.

    :param highest: the highest UID of the folder, as far as it is known.
    :param notice: what has happened to the UIDs and what follows, for the log; empty if nothing has.
    """

    place: Place
    highest: int
    notice: str = ""


def refit(session: Session, status: FolderStatus, place: Place, now: datetime, *, sound: int) -> Fitted:
    """Return the place as it is to be read from.

    :param session: its folder is open.
    :param status: what opening it has said, which may be a while ago.
    :param sound: up to which UID mails were handled since it was opened: those were there.
    :raises ImapError: what the session raises.
    """
    account = account_of(session.settings)
    why = ""
    if place.uidvalidity is not None:
        why, status = _what_is_wrong(session, status, place, account, sound)
    here = replace(place, account=account) if place.account != account else place
    if place.uidvalidity is not None and not why:
        return Fitted(here, (status.uidnext or 1) - 1)
    highest = _highest(session, status)
    if not why:
        return Fitted(rebase(here, status.uidvalidity, highest, now=now), highest)
    last_told = _last_told(session, place, highest)
    fitted = rebase(here, status.uidvalidity, last_told or highest, now=now, anew=True)
    return Fitted(fitted, highest, _notice(session, why, fitted))


def _what_is_wrong(
    session: Session, status: FolderStatus, place: Place, account: str, sound: int
) -> tuple[str, FolderStatus]:
    if place.uidvalidity != status.uidvalidity:
        was, now = place.uidvalidity, status.uidvalidity
        return f"has another UIDVALIDITY ({now}, was {was}): it was created anew, or the server has restored it", status
    if place.account and place.account != account and not _is_same_mailbox(session, place):
        return "may be another one: host, login or alias of the connection was edited", status
    told = (status.uidvalidity, status.uidnext)
    if _is_above(place, status) and place.last_uid > sound and told not in _disproved.get(session, ()):
        # The status may be older than the place: another trigger may have read on in the same session.
        status = reopened(session, readonly=status.readonly)
        if _is_above(place, status):
            status = _with_uidnext_proven(session, status, place)
        if _is_above(place, status):
            return (
                f"numbers its mails anew under the same UIDVALIDITY (the next UID is {status.uidnext}, and "
                f"{place.last_uid} was handled): an index was restored, or the connection leads to another mailbox"
            ), status
    return "", status


def _is_above(place: Place, status: FolderStatus) -> bool:
    """Whether a place is above every UID that the folder can have, as far as that was told; zero is no UID."""
    return bool(status.uidnext) and place.last_uid >= (status.uidnext or 0)


def _with_uidnext_proven(session: Session, status: FolderStatus, place: Place) -> FolderStatus:
    """Return the status of a folder, without UIDNEXT if that is wrong.

    There are servers that tell it from a stale index, or always 1. It is wrong if a mail has a UID above it: the last
    one that was looked at, at its place, or any that was found before UIDNEXT was told.
    """
    uidnext = status.uidnext or 0
    witness, mark = place.witness
    if not (witness >= uidnext and _known(session, {mark}, [witness])):
        highest = max(session.search(["UID", f"{uidnext}:*"]), default=0)
        if highest < uidnext:
            return status
        # It may have come since the folder was opened.
        status = reopened(session, readonly=status.readonly)
        if highest < (status.uidnext or 0):
            return status
    # Each opening makes whoever shares the session look again: without this they would open it in turns, without end.
    _disproved.setdefault(session, set()).add((status.uidvalidity, status.uidnext))
    who = (account_of(session.settings), status.name)
    if who not in _told_wrong:
        _told_wrong.add(who)
        log.warning(
            "the server tells %s as the next UID of %s, which has mails with higher ones: that is not believed",
            status.uidnext,
            status.name,
        )
    return replace(status, uidnext=None)


def reopened(session: Session, *, readonly: bool) -> FolderStatus:
    """Open the session's folder again, and return what that says.

    :raises LostConnectionError: it is another folder by now. What anybody has read in this session, and owes to mails
        there, has nothing to do with the mails that are there now: all begin again with another connection.
    """
    before = session.folder
    status = session.select(before.name, readonly=readonly)
    fewer = status.uidnext is not None and before.uidnext is not None and status.uidnext < before.uidnext
    if status.uidvalidity != before.uidvalidity or fewer:
        raise LostConnectionError("the folder has been made anew.", stage="folder", remedy=LATER)
    return status


def account_of(settings: Settings) -> str:
    """A mark of the mailbox that a connection leads to."""
    whose = f"{settings.host}\n{settings.auth.login}\n{settings.auth.alias}".lower()
    return hashlib.sha256(whose.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _is_same_mailbox(session: Session, place: Place) -> bool:
    """Whether the last mail that was looked at is where it was.

    It may be gone. Then the same UIDVALIDITY under another host or login is the same mailbox under another name, unless
    it is so small that it was counted.
    """
    uid, mark = place.witness
    if not uid and place.covered and _known(session, {mark for _, mark in place.recent}, [place.covered]):
        return True  # a place from before there were witnesses
    if uid and session.search(["UID", str(uid)]):
        return bool(_known(session, {mark}, [uid]))
    return place.uidvalidity is not None and place.uidvalidity >= A_TIME


def _last_told(session: Session, place: Place, highest: int) -> int:
    """Return the highest UID of a mail that is known to be told; zero if none is found.

    A folder that is restored or copied keeps its order: what lies above was not handled, whatever its date. People move
    mails of years ago, and those keep their dates.
    """
    if not place.recent or not highest:
        return 0
    marks = {mark for _, mark in place.recent}
    oldest = datetime.fromtimestamp(min(seconds for seconds, _ in place.recent), timezone.utc)
    found = session.search(["UID", f"{max(highest - SEARCHED, 1)}:{highest}", *received_since(oldest)])
    uids = sorted(found, reverse=True)[:LOOKED_AT]
    for begin in range(0, len(uids), AT_ONCE):
        if known := _known(session, marks, uids[begin : begin + AT_ONCE]):
            return max(known)
    return 0


def _known(session: Session, marks: Container[str], uids: Sequence[int]) -> list[int]:
    try:
        answers = session.fetch(uids, _ITEMS)
    except (ProtocolError, RefusedError) as error:
        if not session.usable or recognise(error.reply):
            raise
        return []  # one of them may be broken: without it dates decide, which is said
    found = []
    for uid, answer in answers.items():
        mail = mail_from_fetch(answer, conn_id="", folder="", uid=uid, uidvalidity=0, code_page="")
        if fingerprint(mail)[1] in marks:
            found.append(uid)
    return found


def _notice(session: Session, why: str, place: Place) -> str:
    text = (
        f"{why}. Mails that were told are recognised by Message-ID, date and size and not repeated; actions that were "
        "still owed to mails of before are dropped, and those on mails that were not told may be done again."
    )
    floor = place.floor
    if floor is None or floor.since is None or floor.until < 1:  # the folder is empty
        return text
    before = received_before(floor.since)
    older = session.search(["UID", f"1:{floor.until}", *before]) if before else []
    if not older:
        return text
    return (
        f"{text} {len(older)} older mails, received before {floor.since.date()} and with UIDs up to {floor.until}, are "
        "taken for handled ones. If some were moved or copied here meanwhile, have them told: airflow imap4 reset --to "
        "DATE."
    )


def _highest(session: Session, status: FolderStatus) -> int:
    """Return the highest UID in the folder now; the status may be days old."""
    if status.uidnext:
        criteria = ["UID", f"{max(status.uidnext - 1, 1)}:*"]
    else:
        # Courier does not tell UIDNEXT when a folder is opened.
        criteria = ["UID", "*"] if status.exists else ["UID", "1:*"]
    return max(session.search(criteria), default=0)
