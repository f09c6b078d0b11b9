"""Where copies and moves lead: never back into the folder in which the mail was seen.

A copy there is a new mail with a new UID. It would meet the same conditions and be copied again, without end.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from airflow_imap_provider.errors import SettingsError

if TYPE_CHECKING:
    from airflow_imap_provider.mailbox.actions import Action
    from airflow_imap_provider.transport.session import Session

__all__ = ["Routes", "check_targets", "lead", "same_folder"]

LEADING = ("copy", "move")
"""The actions that put a mail into a folder."""

_DELIMITERS = "/."
"""Of nearly all servers; one at the end of a name says only that there may be folders within it."""


def same_folder(one: str, other: str) -> bool:
    """Tell whether two names mean one folder on any server.

    INBOX has no case (RFC 9051, section 5.1), accents may be typed in two ways, and a delimiter at the end says
    nothing. Other pairs of names, such as those of two namespaces, only the server knows.
    """
    return _plain(one) == _plain(other)


def _plain(name: str) -> str:
    name = unicodedata.normalize("NFC", name.strip())
    name = name.rstrip(_DELIMITERS) or name
    return "INBOX" if name.upper() == "INBOX" else name


def check_targets(folder: str, actions: Iterable[Action]) -> None:
    """Refuse a copy or a move into the folder that is watched.

    :raises SettingsError: if there is one.
    """
    for action in actions:
        if action.do in LEADING and same_folder(action.argument, folder):
            raise SettingsError(
                f"the action {action.do!r} leads to {action.argument!r}, which is the folder {folder!r} that the mails "
                "come from: each would be a new mail there, and match again without end.",
                stage="settings",
                remedy="Name another folder, or leave the action out.",
            )


_back: set[tuple[object, ...]] = set()
"""Mailbox, folder and target of which a server's answer has shown that they are one folder, in this process."""


def lead(session: Session, uids: Sequence[int], target: str, step: Callable[[Sequence[int], str], None]) -> None:
    """Put mails of the open folder into another one, unless that is known to be the same under another name.

    Only the server knows which names are one folder, such as those of two namespaces. It shows when new mail is
    announced during the command and has, in the open folder, the UID that the command says to have given (RFC 4315,
    COPYUID). That one copy is there then; no other will follow it.

    :param step: copies or moves mails into the folder of this name.
    :raises SettingsError: if the target is the open folder.
    """
    folder, auth = session.folder, session.settings.auth
    way = (session.settings.host, session.settings.port, auth.login, auth.alias, folder.name, target)
    if way not in _back:
        arrivals = session.arrivals
        step(uids, target)
        given = session.copied_to()
        if session.arrivals == arrivals or given is None or given[0] != folder.uidvalidity or given[1] <= max(uids):
            return
        if not session.search(["UID", str(given[1])]):
            return
        _back.add(way)
    raise SettingsError(
        f"{target!r} is the folder {folder.name!r} itself, by the server's answer: what is put there is new mail.",
        stage="actions",
        remedy="Name another folder in Copy or Move. No more mails are copied there until this process restarts.",
    )


class Routes:
    """Where the triggers in this process may put the mails of the folders that they watch."""

    def __init__(self) -> None:
        self._targets: dict[tuple[str, str], dict[object, tuple[str, ...]]] = {}

    def add(self, who: object, conn_id: str, folder: str, actions: Iterable[Action]) -> list[tuple[str, ...]]:
        """Add those of a trigger, and find ways on which mails of its folder come back to it.

        Whether a mail takes such a way, conditions decide: this is for a warning.

        :param who: by which :meth:`discard` finds them.
        :return: the folders of each way, the first one again at its end.
        """
        targets = tuple(dict.fromkeys(a.argument for a in actions if a.do in LEADING and a.when != "never"))
        if not targets:
            return []
        self._targets.setdefault((conn_id, _plain(folder)), {})[who] = targets
        found = []
        ways: list[tuple[str, ...]] = [(folder, target) for target in targets]
        while ways:
            way = ways.pop()
            if same_folder(way[-1], folder):
                found.append(way)
                continue
            been = [_plain(name) for name in way[1:]]
            onward = self._targets.get((conn_id, been[-1]), {}).values()
            ways += [
                (*way, target) for target in {t for targets in onward for t in targets} if _plain(target) not in been
            ]
        return found

    def discard(self, who: object, conn_id: str, folder: str) -> None:
        """Forget those of a trigger, if there are any."""
        of_folder = self._targets.get((conn_id, _plain(folder)), {})
        of_folder.pop(who, None)
        if not of_folder:
            self._targets.pop((conn_id, _plain(folder)), None)
