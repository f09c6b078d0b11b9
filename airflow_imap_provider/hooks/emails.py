"""Mails as tasks hand them on: checked when they come in, and with the files saved of them when they go out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mailbox.names import checked_key

if TYPE_CHECKING:
    from airflow_imap_provider.mailbox.actions import Action

__all__ = ["listed_emails", "with_files"]


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
    return checked


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
