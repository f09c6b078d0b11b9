"""What can be done to a mail on the server once its event is durable, as plain data and as IMAP commands.

Actions are idempotent where the protocol allows it, since a crash between an action and its record repeats the
action. Nothing here ever removes a mail that was not named: expunging is always by UID (RFC 4315, section 2.1).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import RefusedError, SettingsError

if TYPE_CHECKING:
    from airflow_imap_provider.transport.session import Session

__all__ = [
    "Action",
    "AddKeyword",
    "Copy",
    "Delete",
    "Flag",
    "MarkRead",
    "MarkUnread",
    "Move",
    "RemoveKeyword",
    "Unflag",
    "dump_actions",
    "load_actions",
    "perform",
    "unconditional",
    "wanted",
]

OUTCOMES = ("all", "any", "none", "always", "never")
_FLAGS = {
    "mark_read": ("\\Seen", True),
    "mark_unread": ("\\Seen", False),
    "flag": ("\\Flagged", True),
    "unflag": ("\\Flagged", False),
}
_KEYWORDS = {"add_keyword": True, "remove_keyword": False}
_FOLDERS = ("copy", "move")
_LAST = ("move", "delete")
# RFC 3501 section 9: a keyword is an atom. Dovecot additionally limits its length, Cyrus the number per folder.
_NOT_IN_KEYWORDS = frozenset('(){%*"\\]')


@dataclass(frozen=True)
class Action:
    """One thing to do to a mail. Use the functions of this module to make one.

    :param do: ``mark_read``, ``mark_unread``, ``flag``, ``unflag``, ``add_keyword``, ``remove_keyword``, ``copy``,
        ``move`` or ``delete``.
    :param argument: the keyword or the target folder; empty for the others.
    :param when: narrows the occasion by the outcome of the conditions: ``all`` hold, ``any`` holds, ``none`` holds,
        ``always``, ``never``. ``None``: whenever the list that the action stands in is due.
    """

    do: str
    argument: str = ""
    when: str | None = None

    def __post_init__(self) -> None:
        known = (*_FLAGS, *_KEYWORDS, *_FOLDERS, "delete")
        if self.do not in known:
            raise SettingsError(f"unknown action {self.do!r}; accepted are {', '.join(known)}.", stage="settings")
        if self.when is not None and self.when not in OUTCOMES:
            raise SettingsError(
                f"the action {self.do!r} has when={self.when!r}; accepted are {', '.join(OUTCOMES)}.", stage="settings"
            )
        if not isinstance(self.argument, str):
            raise SettingsError(f"the action {self.do!r} takes a text, not {self.argument!r}.", stage="settings")
        if self.do in _FOLDERS and (not self.argument.strip() or any(ord(sign) < 32 for sign in self.argument)):
            raise SettingsError(
                f"the action {self.do!r} needs the name of the target folder, not {self.argument!r}.", stage="settings"
            )
        if self.do in _KEYWORDS and not _is_atom(self.argument):
            raise SettingsError(
                f"{self.argument!r} cannot be an IMAP keyword: letters, digits and most punctuation without spaces, "
                "in ASCII, are accepted (for example 'Processed' or '$Invoice').",
                stage="settings",
            )

    def due(self, outcome: frozenset[str]) -> bool:
        """Tell whether ``when`` admits this outcome of the conditions."""
        return self.when in (None, "always") or self.when in outcome

    def to_json(self) -> dict[str, str]:
        """Return the JSON form; only what is set."""
        data = {"do": self.do}
        if self.argument:
            data["to" if self.do in _FOLDERS else "keyword"] = self.argument
        if self.when is not None:
            data["when"] = self.when
        return data

    @classmethod
    def from_json(cls, data: object) -> Action:
        """Rebuild an action from :meth:`to_json`'s form.

        :raises SettingsError: if it is anything else.
        """
        if not isinstance(data, Mapping) or not set(data) <= {"do", "to", "keyword", "when"} or "do" not in data:
            raise SettingsError(f"{data!r} is no action.", stage="settings")
        return cls(str(data["do"]), data.get("to") or data.get("keyword") or "", data.get("when"))


def _is_atom(text: str) -> bool:
    return bool(text) and all("!" <= character <= "~" and character not in _NOT_IN_KEYWORDS for character in text)


def MarkRead(*, when: str | None = None) -> Action:  # noqa: N802 - reads as a noun in DAG files, like conditions do
    r"""Set ``\Seen``."""
    return Action("mark_read", when=when)


def MarkUnread(*, when: str | None = None) -> Action:  # noqa: N802
    r"""Remove ``\Seen``."""
    return Action("mark_unread", when=when)


def Flag(*, when: str | None = None) -> Action:  # noqa: N802
    r"""Set ``\Flagged``."""
    return Action("flag", when=when)


def Unflag(*, when: str | None = None) -> Action:  # noqa: N802
    r"""Remove ``\Flagged``."""
    return Action("unflag", when=when)


def AddKeyword(keyword: str, *, when: str | None = None) -> Action:  # noqa: N802
    """Set a keyword (a flag of one's own; servers limit their length or number)."""
    return Action("add_keyword", keyword, when)


def RemoveKeyword(keyword: str, *, when: str | None = None) -> Action:  # noqa: N802
    """Remove a keyword."""
    return Action("remove_keyword", keyword, when)


def Copy(folder: str, *, when: str | None = None) -> Action:  # noqa: N802
    """Copy to another folder, which must be there."""
    return Action("copy", folder, when)


def Move(folder: str, *, when: str | None = None) -> Action:  # noqa: N802
    """Move to another folder, which must be there: MOVE (RFC 6851), else COPY and UID EXPUNGE of that mail alone."""
    return Action("move", folder, when)


def Delete(*, when: str | None = None) -> Action:  # noqa: N802
    r"""Delete for good: ``\Deleted`` and UID EXPUNGE of that mail alone."""
    return Action("delete", when=when)


def dump_actions(actions: Iterable[Action] | Action | str | None) -> str:
    """Return the canonical JSON string of a list of actions, the same for equal lists in every process.

    :param actions: actions, one action, or a string made by this function, which is checked and returned in canonical
        form (Airflow rebuilds a trigger from its serialized arguments).
    :raises SettingsError: for anything else, or if an action follows one after which the mail is gone.
    """
    if isinstance(actions, str):
        listed = load_actions(actions)
    elif isinstance(actions, Action):
        listed = (actions,)
    else:
        listed = tuple(actions or ())
    for action in listed:
        if not isinstance(action, Action):
            raise SettingsError(
                f"{action!r} is no action; use MarkRead(), Move('Processed') and their like from "
                "airflow_imap_provider.mailbox.actions.",
                stage="settings",
            )
    for position, action in enumerate(listed[:-1]):
        if action.do in _LAST and action.when is None:
            raise SettingsError(
                f"the action {listed[position + 1].do!r} comes after {action.do!r}, when the mail is no longer in the "
                f"folder: put {action.do!r} last.",
                stage="settings",
            )
    return json.dumps([action.to_json() for action in listed], sort_keys=True, separators=(",", ":"))


def load_actions(text: str) -> tuple[Action, ...]:
    """Rebuild what :func:`dump_actions` wrote.

    :raises SettingsError: if the text is anything else.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{text!r} is no JSON list of actions.", stage="settings") from error
    if not isinstance(data, list):
        raise SettingsError(f"{text!r} is no JSON list of actions.", stage="settings")
    return tuple(Action.from_json(item) for item in data)


def unconditional(actions: Iterable[Action] | Action | str | None) -> tuple[Action, ...]:
    """Return actions for mails that somebody has picked already.

    :raises SettingsError: for an action whose ``when`` would have to be decided by conditions.
    """
    listed = load_actions(dump_actions(actions))
    for action in listed:
        if action.when not in {None, "always"}:
            raise SettingsError(
                f"the action {action.do!r} has when={action.when!r}, which only EmailTrigger can decide; here every "
                "mail given gets every action given.",
                stage="settings",
            )
    return listed


def wanted(outcome: frozenset[str], lists: Iterable[Sequence[Action]]) -> tuple[Action, ...]:
    """Return what is to be done to a mail with this outcome, the removal of the mail last."""
    due = [action for actions in lists for action in actions if action.due(outcome)]
    staying = [action for action in due if action.do not in _LAST]
    return (*staying, *[action for action in due if action.do in _LAST][:1])


def perform(session: Session, uids: Sequence[int], actions: Sequence[Action], *, repeated: bool = False) -> None:
    r"""Do the actions, in order, to mails of the selected folder, which must be open for writing.

    Mails that are gone are passed over: UID commands ignore UIDs that do not exist (RFC 3501, section 6.4.8).

    :param repeated: an earlier attempt may have been interrupted: on a server without MOVE, a mail that carries
        ``\Deleted`` by now was copied then and is not copied again.
    :raises ImapError: what the session raises; the actions before are done then, the ones after are not.
    """
    for action in actions:
        if action.do in _FLAGS:
            flag, on = _FLAGS[action.do]
            _set(session, uids, flag, on=on)
        elif action.do in _KEYWORDS:
            _set(session, uids, action.argument, on=_KEYWORDS[action.do])
        elif action.do == "copy":
            session.copy(uids, action.argument)
        elif action.do == "move":
            _move(session, uids, action.argument, repeated=repeated)
        else:
            _delete(session, uids)


def _set(session: Session, uids: Sequence[int], flag: str, *, on: bool) -> None:
    if on:
        session.add_flags(uids, [flag])
    else:
        session.remove_flags(uids, [flag])


def _move(session: Session, uids: Sequence[int], folder: str, *, repeated: bool) -> None:
    if session.has("MOVE"):
        session.move(uids, folder)
        return
    _require_uid_expunge(session, "move")
    to_copy = list(uids)
    if repeated:
        answers: Mapping[int, Mapping[bytes, Any]] = session.fetch(uids, ["FLAGS"])
        to_copy = [uid for uid, answer in answers.items() if b"\\Deleted" not in answer.get(b"FLAGS", ())]
    if to_copy:
        session.copy(to_copy, folder)
    _delete(session, uids)


def _delete(session: Session, uids: Sequence[int]) -> None:
    _require_uid_expunge(session, "delete")
    session.add_flags(uids, ["\\Deleted"])
    session.expunge(uids)


def _require_uid_expunge(session: Session, what: str) -> None:
    if not session.has("UIDPLUS"):
        raise RefusedError(
            f"this server can {what} a mail only together with all others that anyone marked as deleted",
            stage="actions",
            remedy="It offers neither MOVE nor UIDPLUS: mark or flag the mail instead.",
        )
