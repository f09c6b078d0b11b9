"""Explains, for the last mails of a folder, what conditions say of them and what the server is asked.

Nothing is marked or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.conditions import Condition, Conditions
from airflow_imap_provider.mail.explain import (
    Fate,
    MailExplanation,
    SearchExplanation,
    explain_mail,
    explain_search,
)
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mailbox.looking import wish_of
from airflow_imap_provider.mailbox.reader import ASK_SERVER_ABOVE, Reader
from airflow_imap_provider.mailbox.searching import finds_substrings
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Clock
from airflow_imap_provider.transport.folders import FolderStatus

if TYPE_CHECKING:
    from airflow_imap_provider.transport.session import Session

__all__ = ["LAST_LIMIT", "Explanation", "explain"]

LAST_LIMIT = 500
"""Mails explained at most. Their explanations are held in memory, and nobody reads more."""


@dataclass(frozen=True)
class Explanation:
    """What conditions say of the last mails of a folder; ``str`` gives it as text.

    :param folder: the folder's name.
    :param search: what the server is asked in a backlog.
    :param mails: oldest first.
    """

    folder: str
    search: SearchExplanation
    mails: tuple[MailExplanation, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON objects."""
        mails = [each.to_json() for each in self.mails]
        return {"folder": self.folder, "search": self.search.to_json(), "mails": mails}

    def __str__(self) -> str:
        """Return it as text for people."""
        lines = [f"folder {self.folder}", *self.search.lines()]
        lines.append(f"  The server is asked where more than {ASK_SERVER_ABOVE} new mails wait.")
        for each in self.mails:
            lines += ["", *each.lines()]
        return "\n".join(lines)


def explain(
    session: Session,
    conditions: Conditions | Sequence[Condition] | Condition,
    *,
    conn_id: str,
    folder: str = "INBOX",
    last: int = 10,
    uids: Sequence[int] = (),
    message_id: str = "",
    code_page: str = "",
    fate: Callable[[FolderStatus, Mail], Fate | None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Explanation:
    """Explain what conditions say of mails of a folder, which is opened for reading only: of its last ones, or of some.

    :param session: an open session; nobody else uses it meanwhile.
    :param conditions: as the trigger takes them.
    :param conn_id: the connection, for messages.
    :param folder: the folder's name.
    :param last: how many mails, counted from the newest; 0 explains only what the server is asked.
    :param uids: instead of the last mails those with these UIDs; ones that are gone are missing.
    :param message_id: instead of the last mails those with this Message-ID, of which there may be several.
    :param code_page: charset for text that declares none; empty is the connection's.
    :param fate: tells what a stored trigger has made of a mail that triggers.
    :param clock: what ages are counted by.
    :raises SettingsError: for a number of mails that is negative or above :data:`LAST_LIMIT`.
    :raises ImapError: what the session raises.
    """
    if isinstance(last, bool) or not isinstance(last, int) or not 0 <= last <= LAST_LIMIT:
        raise SettingsError(f"last is {last!r:.40}", stage="settings", remedy=f"Give a number from 0 to {LAST_LIMIT}.")
    wish = wish_of(conn_id, conditions, folder, code_page=code_page)
    conditions = wish.conditions
    status = session.select(folder, readonly=True)
    session.noop()
    now = clock.now()
    chosen = sorted(set(uids))[:LAST_LIMIT]
    if message_id:
        chosen = sorted(session.search(["HEADER", "Message-ID", message_id]))[-LAST_LIMIT:]
    elif not chosen and last and status.exists:
        # By number in the folder: UIDs may have gaps of any size.
        first = max(status.exists - last + 1, 1)
        chosen = sorted(session.search([f"{first}:*"]))[-last:]
    explained = []
    for mail in Reader(wish, clock=clock).mails(session, status, chosen):
        told = explain_mail(conditions, mail, now)
        explained.append(replace(told, fate=fate(status, mail)) if fate is not None and told.triggers else told)
    return Explanation(
        folder=status.name,
        search=explain_search(conditions, text=finds_substrings(session), now=now),
        mails=tuple(explained),
    )
