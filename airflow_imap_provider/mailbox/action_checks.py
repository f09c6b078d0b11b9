"""What an action may be made of: checked when a DAG file is parsed, and again when a template was rendered.

How actions are written is in ``actions``; here is only what is wrong with one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.templates import templated
from airflow_imap_provider.mailbox.choice import Choice
from airflow_imap_provider.mailbox.forwarding import Forwarding

if TYPE_CHECKING:
    from airflow_imap_provider.mailbox.actions import Action

__all__ = ["FOLDERS", "KEYWORDS", "LABELS", "OUTGOING", "check_action", "check_keyword"]

OUTCOMES = ("all", "any", "none", "always", "never")
KEYWORDS = {"add_keyword": True, "remove_keyword": False}
LABELS = {"add_label": True, "remove_label": False}
FOLDERS = ("copy", "move")
OUTGOING = ("save", "forward")
"""What leaves the mail server: done outside of ``actions``, since it takes a storage or an SMTP server."""

_KNOWN = ("mark_read", "mark_unread", "flag", "unflag", *KEYWORDS, *LABELS, *FOLDERS, "delete", *OUTGOING)
_SYSTEM_FLAGS = frozenset({"answered", "deleted", "draft", "flagged", "recent", "seen"})
# RFC 3501 section 9: a keyword is an atom. Dovecot additionally limits its length, Cyrus the number per folder.
_NOT_IN_KEYWORDS = frozenset('(){%*"\\]')


def check_action(action: Action) -> None:
    """Check all of an action.

    :raises SettingsError: for what it cannot be.
    """
    do, argument = action.do, action.argument
    if do not in _KNOWN:
        raise SettingsError(f"unknown action {do!r}; accepted are {', '.join(_KNOWN)}.", stage="settings")
    if action.when is not None and action.when not in OUTCOMES:
        raise SettingsError(
            f"the action {do!r} has when={action.when!r}; accepted are {', '.join(OUTCOMES)}.", stage="settings"
        )
    if not isinstance(argument, str):
        raise SettingsError(f"the action {do!r} takes a text, not {argument!r:.80}.", stage="settings")
    unwritable = not argument.strip() or _has_control(argument)
    if do in FOLDERS and unwritable:
        raise SettingsError(
            f"the action {do!r} needs the name of the target folder, not {argument!r:.80}.", stage="settings"
        )
    if do in LABELS and unwritable:
        raise SettingsError(f"the action {do!r} needs the name of a label, not {argument!r:.80}.", stage="settings")
    if do in KEYWORDS and not templated(argument):
        check_keyword(action)
    _check_options(action)


def check_keyword(action: Action) -> None:
    """Check a keyword that is no template, or was rendered.

    :raises SettingsError: for what is none.
    """
    if not _is_atom(action.argument):
        raise SettingsError(
            f"{action.argument!r} cannot be an IMAP keyword: letters, digits and most punctuation without spaces, "
            "in ASCII, are accepted (for example 'Processed' or '$Invoice').",
            stage="settings",
        )
    if action.argument.lower() in _SYSTEM_FLAGS:
        raise SettingsError(
            f"the action {action.do!r} has {action.argument!r}, the name of a system flag, which is no keyword.",
            stage="settings",
            remedy="Use MarkRead(), MarkUnread(), Flag() or Unflag(), or another keyword.",
        )


def _check_options(action: Action) -> None:
    options = dict(action.options)
    if action.do == "save":
        if not action.argument.strip():
            raise SettingsError("the action 'save' needs a path to save to.", stage="settings")
        Choice.from_json(options)
    elif action.do == "forward":
        Forwarding.from_json(options)
    elif not set(options) <= ({"create"} if action.do in FOLDERS else set()):
        raise SettingsError(f"the action {action.do!r} has no option {sorted(options)}.", stage="settings")


def _is_atom(text: str) -> bool:
    return bool(text) and all("!" <= character <= "~" and character not in _NOT_IN_KEYWORDS for character in text)


def _has_control(text: str) -> bool:
    return any(ord(sign) < 32 or ord(sign) == 127 for sign in text)
