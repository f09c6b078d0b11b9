"""Explains, for the last mails of a folder, what conditions say of them and what the server is asked.

Nothing is marked or changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.conditions import Condition, Conditions
from airflow_imap_provider.mail.explain import MailExplanation, SearchExplanation, explain_mail, explain_search
from airflow_imap_provider.mailbox.reader import ASK_SERVER_ABOVE, Reader, Wish
from airflow_imap_provider.mailbox.searching import finds_substrings
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Clock

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
    code_page: str = "",
    clock: Clock = SYSTEM_CLOCK,
) -> Explanation:
    """Explain what conditions say of the last mails of a folder, which is opened for reading only.

    :param session: an open session; nobody else uses it meanwhile.
    :param conditions: as the trigger takes them.
    :param conn_id: the connection, for messages.
    :param folder: the folder's name.
    :param last: how many mails, counted from the newest; 0 explains only what the server is asked.
    :param code_page: charset for text that declares none; empty is the connection's.
    :param clock: what ages are counted by.
    :raises SettingsError: for a number of mails that is negative or above :data:`LAST_LIMIT`.
    :raises ImapError: what the session raises.
    """
    if isinstance(last, bool) or not isinstance(last, int) or not 0 <= last <= LAST_LIMIT:
        raise SettingsError(f"last is {last!r:.40}", stage="settings", remedy=f"Give a number from 0 to {LAST_LIMIT}.")
    if not isinstance(conditions, Conditions):
        conditions = Conditions(conditions)
    wish = Wish(conn_id=conn_id, folder=folder, conditions=conditions, code_page=code_page)
    status = session.select(folder, readonly=True)
    session.noop()
    now = clock.now()
    uids: list[int] = []
    if last and status.exists:
        # By number in the folder: UIDs may have gaps of any size.
        first = max(status.exists - last + 1, 1)
        uids = sorted(session.search([f"{first}:*"]))[-last:]
    mails = Reader(wish, clock=clock).mails(session, status, uids)
    return Explanation(
        folder=status.name,
        search=explain_search(conditions, text=finds_substrings(session), now=now),
        mails=tuple(explain_mail(conditions, mail, now) for mail in mails),
    )
