"""What can be done to a mail once its event is durable, as plain data; and how it is done where IMAP alone does it.

Actions are idempotent where the protocol allows it, since a crash between an action and its record repeats the
action. Nothing here ever removes a mail that was not named: expunging is always by UID (RFC 4315, section 2.1).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import FolderNotFoundError, SettingsError
from airflow_imap_provider.mailbox import removing
from airflow_imap_provider.mailbox.action_checks import (
    FOLDERS,
    KEYWORDS,
    LABELS,
    OUTGOING,
    check_action,
    check_keyword,
)
from airflow_imap_provider.mailbox.choice import Choice
from airflow_imap_provider.mailbox.forwarding import Forwarding
from airflow_imap_provider.mailbox.targets import lead

if TYPE_CHECKING:
    from airflow_imap_provider.transport.session import Session

__all__ = [
    "OUTGOING",
    "Action",
    "AddKeyword",
    "AddLabel",
    "Copy",
    "Delete",
    "Flag",
    "Forward",
    "MarkRead",
    "MarkUnread",
    "Move",
    "RemoveKeyword",
    "RemoveLabel",
    "Save",
    "Unflag",
    "dump_actions",
    "load_actions",
    "mail_by_mail",
    "perform",
    "unconditional",
    "wanted",
]

_FLAGS = {
    "mark_read": ("\\Seen", True),
    "mark_unread": ("\\Seen", False),
    "flag": ("\\Flagged", True),
    "unflag": ("\\Flagged", False),
}
_LAST = ("move", "delete")

DEPTH_LIMIT = 10
"""Values within values of a stored list of actions; ours has five."""


@dataclass(frozen=True)
class Action:
    """One thing to do to a mail. Use the functions of this module to make one.

    :param do: ``mark_read``, ``mark_unread``, ``flag``, ``unflag``, ``add_keyword``, ``remove_keyword``, ``add_label``,
        ``remove_label``, ``copy``, ``move``, ``delete``, ``save`` or ``forward``.
    :param argument: the keyword, the label, the target folder or the path to save to; empty for the others.
    :param when: narrows the occasion by the outcome of the conditions: ``all`` hold, ``any`` holds, ``none`` holds,
        ``always``, ``never``. ``None``: whenever the list that the action stands in is due.
    :param options: what else there is to say, as pairs; see :class:`~airflow_imap_provider.mailbox.choice.Choice` for
        ``save`` and :class:`~airflow_imap_provider.mailbox.forwarding.Forwarding` for ``forward``.
    """

    do: str
    argument: str = ""
    when: str | None = None
    options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check_action(self)

    def due(self, outcome: frozenset[str]) -> bool:
        """Tell whether ``when`` admits this outcome of the conditions."""
        return self.when in (None, "always") or self.when in outcome

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; only what is set."""
        data: dict[str, Any] = {"do": self.do}
        if self.argument:
            data["to" if self.do in (*FOLDERS, "save") else "keyword"] = self.argument
        if self.options:
            data["options"] = dict(self.options)
        if self.when is not None:
            data["when"] = self.when
        return data

    @classmethod
    def from_json(cls, data: object) -> Action:
        """Rebuild an action from :meth:`to_json`'s form.

        :raises SettingsError: if it is anything else.
        """
        known = {"do", "to", "keyword", "when", "options"}
        if not isinstance(data, Mapping) or not set(data) <= known or "do" not in data:
            raise SettingsError(f"{data!r:.200} is no action.", stage="settings")
        options = data.get("options") or {}
        if not isinstance(options, Mapping):
            raise SettingsError(f"options={options!r:.200} of an action; an object is accepted.", stage="settings")
        return cls(str(data["do"]), data.get("to") or data.get("keyword") or "", data.get("when"), _options(options))


def _options(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return options in a form that can be compared and hashed."""
    return tuple(
        (name, tuple(value) if isinstance(value, (list, tuple)) else value) for name, value in sorted(options.items())
    )


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


def AddLabel(label: str, *, when: str | None = None) -> Action:  # noqa: N802
    """Put a Gmail label on it; refused by servers that do not announce X-GM-EXT-1."""
    return Action("add_label", label, when)


def RemoveLabel(label: str, *, when: str | None = None) -> Action:  # noqa: N802
    """Take a Gmail label off it."""
    return Action("remove_label", label, when)


def Copy(folder: str, *, create: bool = False, when: str | None = None) -> Action:  # noqa: N802
    """Copy to another folder.

    :param create: make the folder, and subscribe to it, if the server says that it is not there.
    """
    return Action("copy", folder, when, (("create", True),) if create else ())


def Move(folder: str, *, create: bool = False, when: str | None = None) -> Action:  # noqa: N802
    """Move to another folder: MOVE (RFC 6851), else COPY and UID EXPUNGE of that mail alone.

    :param create: make the folder, and subscribe to it, if the server says that it is not there.
    """
    return Action("move", folder, when, (("create", True),) if create else ())


def Save(path: str, *, when: str | None = None, **options: Any) -> Action:  # noqa: N802
    """Save the attachments, the message or both to object storage.

    :param path: where to: a URL such as ``s3://conn_id@bucket/folder`` or an absolute path.
    :param options: what and how, as :class:`~airflow_imap_provider.mailbox.choice.Choice` has it: ``what``, ``names``,
        ``regex``, ``match_case``, ``larger``, ``smaller``, ``sizes``, ``folder_per_mail``, ``on_exists``, ``decrypt``.
    """
    return Action("save", str(path), when, _options(Choice.from_json(options).to_json()))


def Forward(  # noqa: N802
    to: str | Sequence[str] = (), *, when: str | None = None, **options: Any
) -> Action:
    """Forward by an SMTP connection of Airflow (extra ``smtp``).

    :param to: whom to, as :class:`~airflow_imap_provider.mailbox.forwarding.Forwarding` has it.
    :param options: ``cc``, ``bcc``, ``reply_to``, ``smtp_conn_id``, ``sender``, ``subject_prefix``, ``style``,
        ``separate``, ``max_size``.
    """
    return Action("forward", "", when, _options(Forwarding.from_json({"to": to, **options}).to_json()))


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
                f"{action!r} is no action (are brackets missing?); use MarkRead(), Move('Processed') and others of "
                "airflow_imap_provider.mailbox.actions.",
                stage="settings",
            )
    for position, action in enumerate(listed[:-1]):
        if action.do in _LAST and action.when in (None, "always"):
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
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, list) or _is_deep(data):
        raise SettingsError(
            f"{text!r:.200} is no list of actions.", stage="settings", remedy="Write [MarkRead(), Move('Processed')]."
        )
    return tuple(Action.from_json(item) for item in data)


def _is_deep(data: object) -> bool:
    """Tell whether values are within values deeper than any action has them; without calling itself."""
    level = [data]
    for _ in range(DEPTH_LIMIT):
        below: list[object] = []
        for each in level:
            below += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        level = below
    return bool(level)


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


def mail_by_mail(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """Return actions that are done to one mail after the other.

    :raises SettingsError: for one that needs all of them at once.
    """
    if any(action.do == "forward" and not dict(action.options).get("separate", True) for action in actions):
        raise SettingsError(
            "Forward(separate=False) sends one message for all mails, and here each mail gets its actions by itself.",
            stage="settings",
            remedy="Use ForwardEmailOperator(separate=False), Imap4Hook.forward or Imap4Hook.act.",
        )
    return actions


def wanted(outcome: frozenset[str], lists: Iterable[Sequence[Action]]) -> tuple[Action, ...]:
    """Return what is to be done to a mail with this outcome, the removal of the mail last."""
    due = [action for actions in lists for action in actions if action.due(outcome)]
    staying = [action for action in due if action.do not in _LAST]
    return (*staying, *[action for action in due if action.do in _LAST][:1])


def perform(session: Session, uids: Sequence[int], actions: Sequence[Action], *, repeated: bool = False) -> None:
    r"""Do the actions, in order, to mails of the selected folder, which must be open for writing.

    Mails that are gone are passed over: UID commands ignore UIDs that do not exist (RFC 3501, section 6.4.8).

    :param repeated: an earlier attempt may have been interrupted; see :func:`~.removing.move`.
    :raises ImapError: what the session raises; the actions before are done then, the ones after are not.
    """
    for action in actions:
        if action.do in _FLAGS:
            flag, on = _FLAGS[action.do]
            _set(session, uids, flag, on=on)
        elif action.do in KEYWORDS:
            check_keyword(action)  # one that was a template is not rendered by everybody
            _set(session, uids, action.argument, on=KEYWORDS[action.do])
        elif action.do in LABELS:
            label = session.add_labels if LABELS[action.do] else session.remove_labels
            label(uids, [action.argument])
        elif action.do == "copy":
            _to_folder(session, action, lambda folder: lead(session, uids, folder, session.copy))
        elif action.do == "move":
            _to_folder(session, action, lambda folder: removing.move(session, uids, folder, repeated=repeated))
        elif action.do == "delete":
            removing.delete(session, uids)
        else:
            raise SettingsError(f"the action {action.do!r} is not done by the mail server.", stage="actions")


def _to_folder(session: Session, action: Action, step: Callable[[str], None]) -> None:
    """Copy or move; only when the server says that the folder is not there, and it was asked for, it is made."""
    try:
        step(action.argument)
    except FolderNotFoundError:
        if not dict(action.options).get("create"):
            raise
        session.create(action.argument)
        step(action.argument)


def _set(session: Session, uids: Sequence[int], flag: str, *, on: bool) -> None:
    if on:
        session.add_flags(uids, [flag])
    else:
        session.remove_flags(uids, [flag])
