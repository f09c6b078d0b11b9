"""Actions of a task on mails where they were seen: on those that were told, and on no others."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.hooks.emails import by_folder, not_held
from airflow_imap_provider.hooks.outgoing import send_out
from airflow_imap_provider.mailbox.actions import OUTGOING, Action, perform, unconditional
from airflow_imap_provider.mailbox.identity import refuse_others
from airflow_imap_provider.mailbox.lookup import mails_by_uid
from airflow_imap_provider.mailbox.several import kept, raise_all

if TYPE_CHECKING:
    from airflow_imap_provider.hooks.sent import SentRecord
    from airflow_imap_provider.mail.message import Mail
    from airflow_imap_provider.transport.session import FolderStatus, Session

__all__ = ["act"]

log = logging.getLogger(__name__)


def act(
    session: Session,
    conn_id: str,
    emails: object,
    actions: Sequence[Action] | Action,
    *,
    repeated: bool,
    sent: SentRecord | None,
) -> list[dict[str, Any]]:
    """Do actions, as :meth:`~airflow_imap_provider.hooks.imap4.Imap4Hook.act` describes it.

    :param conn_id: of the session.
    """
    checked = unconditional(actions)
    groups = by_folder(emails)
    if len(groups) > 1:
        # Before anything is done in the first folder, the others must be those in which the mails were seen.
        for (folder, uidvalidity), group in groups.items():
            _opened(session, conn_id, folder, uidvalidity, group)
    results: list[dict[str, Any]] = []
    errors: list[ImapError] = []
    held: set[str] = set()
    for (folder, uidvalidity), group in groups.items():
        status = _opened(session, conn_id, folder, uidvalidity, group)
        with kept(errors):
            for action in checked:
                if action.do in OUTGOING:
                    results += _sent_out(session, conn_id, status, group, action, sent, held)
                elif uids := not_held(group, action, held):
                    perform(session, uids, [action], repeated=repeated)
    raise_all(errors)
    return results


def _opened(
    session: Session, conn_id: str, folder: str, uidvalidity: int, emails: Sequence[Mapping[str, Any]]
) -> FolderStatus:
    """Open a folder for actions on mails that were seen in it.

    :raises SettingsError: the UIDs mean other mails by now.
    """
    status = session.select(folder, readonly=False)
    if status.uidvalidity != uidvalidity:
        raise SettingsError(
            f"the folder {folder!r} was re-created since these mails were seen (UIDVALIDITY {uidvalidity} is "
            f"now {status.uidvalidity}); nothing was done to them.",
            stage="actions",
        )
    refuse_others(session, status, emails, conn_id)
    return status


def _sent_out(
    session: Session,
    conn_id: str,
    status: FolderStatus,
    emails: Sequence[Mapping[str, Any]],
    action: Action,
    sent: SentRecord | None,
    held: set[str],
) -> list[dict[str, Any]]:
    """Save or forward mails of the open folder."""
    keys = {email["uid"]: str(email["key"]) for email in emails}
    mails = mails_by_uid(session, status, list(keys), conn_id)
    if len(mails) < len(keys):
        log.warning("%s of %s mails are gone: nothing to %s", len(keys) - len(mails), len(keys), action.do)
    found = ((keys[mail.uid], partial(_same, mail)) for mail in mails)
    return send_out(session, found, action, sent=sent, held=held)


def _same(mail: Mail) -> Mail:
    return mail
