"""What a stored place says of a mail that meets the conditions now: told, not told, or not looked at yet.

Only what is certain is said: a place remembers the last mails that it has told, and when its watching began.
"""

from __future__ import annotations

import shlex
from datetime import datetime

from airflow_imap_provider.mail.explain import Fate
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mailbox.place import RECENT, Place, fingerprint
from airflow_imap_provider.transport.folders import FolderStatus

__all__ = ["fate_of"]


def fate_of(place: Place, asset: str, status: FolderStatus, mail: Mail) -> Fate | None:
    """Return what became of a mail that meets the conditions; ``None`` if the place does not tell.

    :param asset: the asset's name, for what to do.
    :param status: of the folder, as it was opened now.
    """
    if place.uidvalidity is None:
        return Fate("not read yet", "the trigger has not opened the folder yet")
    if place.uidvalidity != status.uidvalidity:
        return Fate("not read yet", "the folder was made anew, and the trigger has not opened it since")
    if fingerprint(mail)[1] in {mark for _, mark in place.recent}:
        return Fate("told", "")
    before = _lay_there_before(place, mail)
    if mail.uid > place.last_uid and place.counts(mail):
        return Fate(
            "not read yet",
            f"the trigger has looked up to UID {place.last_uid}; it has yet to look, or the event is on its way",
        )
    # Of more mails told than are remembered, this may be one.
    forgotten = mail.uid <= place.last_uid and len(place.recent) >= RECENT
    if forgotten and not before:
        return None
    command = f"airflow imap4 reset --asset {shlex.quote(asset)} --to {mail.received:%Y-%m-%d}"
    again = f"'{command}' takes it, and all since then"
    if before:
        began = f"{place.activated:%Y-%m-%d %H:%M:%S} UTC, start={place.start!r}"
        if forgotten:
            return Fate("probably not told", f"its date is before the watching began ({began}); {again}")
        return Fate("not told", f"it was in the folder when the watching began ({began}); {again}")
    return Fate(
        "not told",
        "the trigger has looked at it, and the conditions, or the mail's flags, were other ones then, or start did not "
        f"take it; {again}",
    )


def _lay_there_before(place: Place, mail: Mail) -> bool:
    """Tell whether ``start`` leaves a mail out by its date. What it left out as read then, nobody knows now."""
    if place.start == "new":
        return mail.received.timestamp() < place.activated.timestamp() - place.slack
    if place.start in ("all", "unread"):
        return False
    return mail.received < datetime.fromisoformat(place.start)
