"""Actions of a task on mails where they were seen: on those that were told, and on no others."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.hooks.emails import by_folder, not_held
from airflow_imap_provider.hooks.outgoing import send_out
from airflow_imap_provider.mailbox.actions import OUTGOING, Action, dump_actions, perform, unconditional
from airflow_imap_provider.mailbox.identity import refuse_others
from airflow_imap_provider.mailbox.lookup import NotFoundError, mails_by_uid
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
    saved: SentRecord | None,
    missing: str,
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
        left = group
        with kept(errors):
            for action in checked:
                if action.do in OUTGOING:
                    mails = _there(session, conn_id, status, left, action)
                    if action.do == "save" and saved is not None:
                        before, lost = _saved_before(left, mails, action, saved)
                        results += before
                        if missing == "ignore":
                            for error in lost.values():
                                log.warning("%s", error)
                        else:
                            errors += lost.values()
                        # What was not saved is not touched: a server may only have failed to tell of it.
                        left = [email for email in left if email["uid"] not in lost]
                    keys = {email["uid"]: str(email["key"]) for email in left}
                    found = [(keys[uid], mail) for uid, mail in mails.items()]
                    results += _sent_out(session, found, action, sent, held, saved)
                elif uids := not_held(left, action, held):
                    if action.do == "copy" and sent is not None:
                        _copy(session, [email for email in left if email["uid"] in uids], action, sent)
                    else:
                        perform(session, uids, [action], repeated=repeated)
    raise_all(errors)
    return results


def _copy(session: Session, emails: Sequence[Mapping[str, Any]], action: Action, copied: SentRecord) -> None:
    """Copy those mails of the open folder that no earlier attempt has copied: each copy would be one more."""
    prints = {email["uid"]: _fingerprint(str(email["key"]), action) for email in emails}
    due = [uid for uid, known in prints.items() if copied.get(known) is None]
    if len(due) < len(prints):
        log.info("%s of %s mails were copied to %r before", len(prints) - len(due), len(prints), action.argument)
    if due:
        perform(session, due, [action])
    for uid in due:
        copied[prints[uid]] = {"copied": action.argument}


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


def _there(
    session: Session, conn_id: str, status: FolderStatus, emails: Sequence[Mapping[str, Any]], action: Action
) -> dict[int, Mail]:
    """Return those of the mails, by UID, that are in the open folder."""
    uids = sorted({email["uid"] for email in emails})
    mails = mails_by_uid(session, status, uids, conn_id)
    if len(mails) < len(uids):
        log.warning("%s of %s mails are gone: nothing to %s", len(uids) - len(mails), len(uids), action.do)
    return {mail.uid: mail for mail in mails}


def _sent_out(
    session: Session,
    mails: Sequence[tuple[str, Mail]],
    action: Action,
    sent: SentRecord | None,
    held: set[str],
    saved: SentRecord | None,
) -> list[dict[str, Any]]:
    """Save or forward mails of the open folder."""

    def note(key: str, files: list[dict[str, Any]]) -> None:
        if saved is not None:
            saved[_fingerprint(key, action)] = {"files": files}

    found = [(key, partial(_same, mail)) for key, mail in mails]
    return send_out(session, found, action, sent=sent, held=held, saved=note)


def _saved_before(
    emails: Sequence[Mapping[str, Any]], there: Mapping[int, Mail], action: Action, saved: SentRecord
) -> tuple[list[dict[str, Any]], dict[int, NotFoundError]]:
    """Return what earlier attempts have saved of mails that are gone, and by UID an error for each that they have not.

    :param there: the mails that are not gone, by UID.
    """
    files: list[dict[str, Any]] = []
    lost: dict[int, NotFoundError] = {}
    for email in emails:
        key = str(email["key"])
        if email["uid"] in there:
            continue
        known: dict[str, Any] | None = saved.get(_fingerprint(key, action))
        if known is None:
            lost[email["uid"]] = NotFoundError(
                f"mail {email['uid']} is not in {email['folder']} any more, and was not saved before ({key})",
                stage="save",
                remedy="Leave mails where they are until they are saved, or save them by SaveEmailOperator, which "
                "finds those that were moved.",
            )
        else:
            log.info("Mail %s is gone; what was saved of it before: %s files", key, len(known["files"]))
            files += known["files"]
    return files, lost


def _fingerprint(key: str, action: Action) -> str:
    """Return what tells this action on a mail from any other, in 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps([key, dump_actions(action)]).encode()).hexdigest()


def _same(mail: Mail) -> Mail:
    return mail
