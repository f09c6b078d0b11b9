"""Saves and forwards mails for a trigger, on a connection of its own in a thread of its own.

The connection on which the folder is watched stays free for new mail, however slow the storage is. When there is
nothing more to carry, the connection ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.mailbox import executor
from airflow_imap_provider.mailbox.asking import answered
from airflow_imap_provider.mailbox.entrance import entrance, route
from airflow_imap_provider.mailbox.refitting import account_of

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail
    from airflow_imap_provider.mailbox.actions import Action
    from airflow_imap_provider.transport.session import Session

__all__ = ["Courier", "Known", "is_separate"]

log = logging.getLogger(__name__)


SENT_KEPT = 100
"""Forwards that have partly failed of which is known what was sent; each is tried for five minutes only."""


def is_separate(action: Action) -> bool:
    """Tell whether an action is done for each mail by itself."""
    return bool(dict(action.options).get("separate", True))


@dataclass(frozen=True)
class Known:
    """By what a mailbox is known again in a connection of one's own.

    :param uidvalidity: under which the UIDs were given.
    :param account: as :func:`~airflow_imap_provider.mailbox.refitting.account_of` marks it.
    """

    uidvalidity: int | None
    account: str


class Courier:
    """Carries the mails of one folder.

    :param conn_id: the connection of type IMAP4.
    :param folder: the folder's name.
    """

    def __init__(self, conn_id: str, folder: str) -> None:
        self._conn_id = conn_id
        self._folder = folder
        self._session: Session | None = None
        self.held: set[str] = set()
        """Keys of mails that the last action has held back on purpose."""
        self._sent: dict[tuple[Action, tuple[int, ...]], dict[str, dict[str, Any]]] = {}

    async def perform(self, known: Known, uids: Sequence[int], action: Action, begun: Callable[[], None]) -> bool:
        """Save or forward mails; those that are gone are passed over.

        :param known: by what the mailbox is known again.
        :param begun: called when the mailbox is open: what fails before is the connection's trouble, not the action's.
        :return: whether the UIDs still mean the same mails.
        """
        session = await self._opened()
        return await executor.transferring(lambda: self._carry(session, known, uids, action, begun))

    async def _opened(self) -> Session:
        """The connection; a new one queues with all the others that lead to its host."""
        if self._session is None or not self._session.usable:
            from airflow_imap_provider.hooks.settings import async_settings
            from airflow_imap_provider.transport.session import open_session

            settings = await answered(async_settings(self._conn_id))
            turn = await entrance().enter(route(settings), settings.host)
            self._session = await turn.spend(executor.connecting(lambda: open_session(settings)))
        return self._session

    async def rest(self) -> None:
        """End the connection."""
        session, self._session = self._session, None
        if session is not None:
            await executor.transferring(session.logout)

    def _carry(
        self,
        session: Session,
        known: Known,
        uids: Sequence[int],
        action: Action,
        begun: Callable[[], None],
    ) -> bool:
        from airflow_imap_provider.hooks.outgoing import send_out
        from airflow_imap_provider.mailbox.lookup import mails_by_uid

        session.noop()  # some servers tell of what has changed only when they are asked
        status = session.select(self._folder, readonly=True)
        other = account_of(session.settings) != known.account
        if not other and status.uidvalidity != known.uidvalidity:
            begun()
            return False
        if other or (status.uidnext is not None and status.uidnext <= max(uids)):
            raise ImapError(
                f"the connection {self._conn_id} leads to another mailbox by now.",
                stage=action.do,
                remedy="Nothing needs to be changed: this goes on when the trigger has read in it.",
            )
        begun()
        mails = mails_by_uid(session, status, uids, self._conn_id)
        if len(mails) < len(uids):
            log.warning(
                "%s of %s mails of %s/%s are gone, and not to be %s",
                len(uids) - len(mails),
                len(uids),
                self._conn_id,
                self._folder,
                "saved" if action.do == "save" else "forwarded",
            )
        # Of several mails in one message some may not be sent: another attempt is for those alone.
        owed = (action, tuple(uids))
        sent = self._sent.setdefault(owed, {})
        if len(self._sent) > SENT_KEPT:
            self._sent.pop(next(iter(self._sent)))
        self.held = set()
        send_out(session, [(mail.key, _at_hand(mail)) for mail in mails], action, sent=sent, held=self.held)
        self._sent.pop(owed, None)
        return True


def _at_hand(mail: Mail) -> Callable[[], Mail]:
    return lambda: mail
