"""Mails as tasks hand them on: checked when they come in, and with the files saved of them when they go out."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mailbox.names import checked_key

if TYPE_CHECKING:
    from airflow_imap_provider.mailbox.actions import Action

__all__ = ["by_folder", "listed_emails", "not_held", "with_files"]

log = logging.getLogger(__name__)


def listed_emails(emails: object) -> list[Mapping[str, Any]]:
    """Return mails as a list, from one or several.

    :raises SettingsError: for what no trigger, operator or hook of this package has returned.
    """
    listed = [emails] if isinstance(emails, Mapping) else emails
    if not isinstance(listed, (list, tuple)) and not (
        isinstance(listed, Iterable) and not isinstance(listed, (str, bytes))
    ):
        raise SettingsError(
            f"emails={emails!r:.80}; mails as the trigger, the operators and the hook return them are accepted.",
            stage="settings",
            remedy="Give the output of a task (emails.output); a Jinja template makes a text of it.",
        )
    checked = list(listed)
    for email in checked:
        if not isinstance(email, Mapping) or not {"key", "folder", "uid", "uidvalidity"} <= set(email):
            raise SettingsError(
                f"{email!r:.80} is no mail: key, folder, uid and uidvalidity are needed.", stage="settings"
            )
        checked_key(email["key"])
        for name, least in (("uid", 1), ("uidvalidity", 0)):
            number = email[name]
            if isinstance(number, bool) or not isinstance(number, int) or not least <= number < 2**32:
                raise SettingsError(
                    f"{email['key']!r:.80} is no mail: {name} is {_shown(number)}, and a number of 32 bits is needed.",
                    stage="settings",
                    remedy="Give the mail as it came, its numbers as numbers.",
                )
        if not isinstance(email["folder"], str) or not email["folder"]:
            raise SettingsError(
                f"{email['key']!r:.80} is no mail: folder is {_shown(email['folder'])}, and a name is needed.",
                stage="settings",
            )
    return checked


def _shown(value: object) -> str:
    # Python refuses to write numbers of thousands of digits.
    return "too large" if isinstance(value, int) and abs(value) >= 2**64 else f"{value!r:.40}"


def by_folder(emails: object) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
    """Return mails by the name and the UIDVALIDITY of the folder in which they were seen.

    :raises SettingsError: as :func:`listed_emails` does.
    """
    folders: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for email in listed_emails(emails):
        folders.setdefault((email["folder"], email["uidvalidity"]), []).append(email)
    return folders


def not_held(emails: Sequence[Mapping[str, Any]], action: Action, held: Collection[str]) -> list[int]:
    """Return the UIDs of the mails to which an action is done: none is deleted that was not forwarded on purpose.

    :param held: the keys of those.
    """
    kept = [email["key"] for email in emails if action.do == "delete" and email["key"] in held]
    if kept:
        log.error("Not deleted, for they were not forwarded: %s", kept)
    return [email["uid"] for email in emails if email["key"] not in kept]


def with_files(
    email: Mapping[str, Any], actions: Sequence[Action], results: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a mail with ``files``, what its Save actions have saved; without such actions as it is.

    :param results: of all mails, as ``Imap4Hook.act`` returns them.
    """
    if not any(action.do == "save" for action in actions):
        return dict(email)
    mine = [
        {name: value for name, value in each.items() if name != "key"}
        for each in results
        if each.get("key") == email["key"]
    ]
    return {**email, "files": [*email.get("files", ()), *mine]}
