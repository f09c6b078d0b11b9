"""What a task looks for in a folder; and the newest mails in it, read from the folder's end.

New is what came into the folder last, by UID; a Date header and the day of receipt may say otherwise. The way forward,
in which no mail may be missed, is the reader's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.connection.code_pages import as_code_page
from airflow_imap_provider.errors import RefusedError, SettingsError
from airflow_imap_provider.mail.conditions import Condition, Conditions
from airflow_imap_provider.mail.header_block import check_header_names
from airflow_imap_provider.mail.payload import payload
from airflow_imap_provider.mail.search import search_criteria
from airflow_imap_provider.mail.template_condition import check_rendered
from airflow_imap_provider.mailbox.reader import FETCH_CHUNK, SEARCH_WINDOW, Reader, Wish
from airflow_imap_provider.mailbox.searching import finds_substrings

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_imap_provider.mail.message import Mail
    from airflow_imap_provider.transport.session import FolderStatus, Session

__all__ = ["checked_most", "newest", "wish_of"]

MOST = 2**32
"""Mails of one folder: more UIDs there cannot be (RFC 3501, section 9)."""


def checked_most(most: object) -> int:
    """Return how many mails are asked for.

    :raises SettingsError: for what is no number of mails.
    """
    if isinstance(most, bool) or not isinstance(most, int) or not 0 <= most <= MOST:
        shown = "too large" if isinstance(most, int) and most > MOST else f"{most!r:.40}"
        raise SettingsError(
            f"most is {shown}; the number of mails to return at most is accepted, such as 100.", stage="settings"
        )
    return most


def wish_of(conn_id: str, conditions: Conditions | Sequence[Condition] | Condition, folder: str, **shown: Any) -> Wish:
    """Return a wish of what somebody has written in a task.

    :param shown: what payloads show: ``text``, ``headers``, ``smime``, ``code_page``.
    :raises SettingsError: if something cannot be used.
    """
    if not isinstance(conditions, Conditions):
        conditions = Conditions(conditions)
    check_rendered(conditions.conditions)
    headers, code_page = tuple(check_header_names(shown.pop("headers", ()))), as_code_page(shown.pop("code_page", ""))
    return Wish(conn_id, folder, conditions, headers=headers, code_page=code_page, **shown)


def newest(session: Session, wish: Wish, most: int, now: datetime) -> list[dict[str, Any]]:
    """Return the payloads of the newest mails of a folder that meet conditions, the newest first. Nothing is marked.

    :param session: nobody else uses it meanwhile.
    :param wish: the folder, the conditions and what payloads show; actions are not done.
    :param most: how many mails at most.
    :param now: the moment that ages are counted from; aware.
    :raises ImapError: what the session raises.
    """
    status = session.select(wish.folder, readonly=True)
    session.noop()
    found: list[dict[str, Any]] = []
    for mail in _backwards(session, status, wish, now):
        if len(found) >= most:
            break
        if wish.conditions.triggers(mail, now):
            shown = mail if wish.text else replace(mail, text=None)
            found.append(payload(shown, style=wish.style, headers=wish.headers, servers=wish.conditions.servers))
    return found


def _backwards(session: Session, status: FolderStatus, wish: Wish, now: datetime) -> Iterator[Mail]:
    reader = Reader(wish)
    criteria = search_criteria(wish.conditions, text=finds_substrings(session), now=now) if wish.server_search else None
    # The highest UID is asked for: not every server tells UIDNEXT, and mail may have come since.
    top, window = max(session.search(["UID", "*"]), default=0) if status.exists else 0, SEARCH_WINDOW
    while top > 0:
        low = max(top - window + 1, 1)
        uids, criteria = _search(session, low, top, criteria)
        for end in range(len(uids), 0, -FETCH_CHUNK):
            yield from reversed(reader.mails(session, status, uids[max(end - FETCH_CHUNK, 0) : end]))
        # UIDs may be sparse: empty windows widen.
        top, window = low - 1, SEARCH_WINDOW if uids else window * 2


def _search(
    session: Session, low: int, top: int, criteria: list[object] | None
) -> tuple[list[int], list[object] | None]:
    """Return the UIDs of a window, ascending, and the criteria that the server takes."""
    if criteria:
        try:
            return sorted(session.search(["UID", f"{low}:{top}", *criteria])), criteria
        except RefusedError:
            pass  # it does not take this search, so every mail of the window is looked at here
    return sorted(session.search(["UID", f"{low}:{top}"])), None
