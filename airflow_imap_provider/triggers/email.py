"""The Email Trigger: starts DAG runs when mail arrives, through an asset that is watched.

All triggers of a triggerer on the same connection and folder share one IMAP connection; each has its own conditions and
its own place in the folder. How nothing is lost and nothing runs twice stands in ``docs/delivery.md``.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import sys
from collections.abc import AsyncIterator, Hashable, Sequence
from datetime import date, datetime
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_imap_provider.connection.code_pages import as_code_page
from airflow_imap_provider.connection.shared import KEPT
from airflow_imap_provider.hooks.outgoing import check_outgoing
from airflow_imap_provider.mail.conditions import Condition, Conditions
from airflow_imap_provider.mail.header_block import check_header_names
from airflow_imap_provider.mailbox import executor
from airflow_imap_provider.mailbox.actions import Action, dump_actions, load_actions
from airflow_imap_provider.mailbox.place import parse_start
from airflow_imap_provider.mailbox.targets import Routes, check_targets
from airflow_imap_provider.triggers.arguments import (
    as_conditions,
    as_name,
    as_number,
    as_style,
    as_switch,
    no_templates,
    no_unknown,
    survivable,
)

__all__ = ["EmailEvent", "EmailTrigger"]

log = logging.getLogger(__name__)

BATCH_SIZES = (1, 200)
POLL_INTERVALS = (1.0, 3600.0)
PACES = (0.0, 60.0)


_ROUTES = Routes()
"""Of the triggers that run in this process."""


class EmailEvent(TriggerEvent):
    """An event whose representation, which Airflow logs, shows how much came and not what."""

    def __repr__(self) -> str:
        return f"<EmailEvent {len(self.payload['emails'])} mails from {self.payload['stream']}>"

    __str__ = __repr__


class EmailTrigger(BaseEventTrigger):
    """Tells Airflow of every mail in a folder that meets conditions; for ``AssetWatcher(trigger=...)``.

    :param imap4_conn_id: the connection of type IMAP4.
    :param folder: the folder's name, such as ``"INBOX"`` or ``"Team/Größen"``, with the server's own delimiter.
    :param conditions: which mails match; none: every mail. See :mod:`airflow_imap_provider.mail.conditions`.
    :param trigger_on: ``"all"`` conditions hold (default), ``"any"`` holds, ``"none"`` holds, or ``"always"``.
    :param on_match: actions for mails that match, done on the server once their event is durable. See
        :mod:`airflow_imap_provider.mailbox.actions`. Without any action the folder is opened read-only.
    :param on_no_match: actions for mails that do not match.
    :param always: actions for every mail.
    :param start: what counts at the very first start: ``"new"`` (mail from the activation on), ``"unread"``,
        ``"all"``, or a date. Afterwards the trigger always goes on where it was.
    :param place: names the place in the folder. Two watchers of one asset on one folder must have different ones;
        editing a condition keeps the place.
    :param poll_interval: seconds between polls, beside IDLE as a safety net (1 to 3,600).
    :param idle: ``False`` polls only, for servers whose IDLE is broken.
    :param batch_size: mails in one event at most (1 to 200); an event also stays below 32 KiB.
    :param pace: seconds between two events at least (0 to 60), since Airflow before 3.4 leaves events of a burst
        without a DAG run. An event never waits when none was sent lately.
    :param payload: ``"full"``, or ``"minimal"`` without subject and addresses.
    :param headers: names of headers to show in the payload.
    :param text: whether the payload holds the mail's text.
    :param smime: whether S/MIME signatures are checked, and told in the payload, although no condition asks for it.
    :param code_page: charset for text that declares none or a wrong one; overrides the connection's.
    :param server_search: whether the server may be asked to leave out mails that cannot match when many are new.
    :raises SettingsError: when the DAG file is parsed, if an argument cannot be used.
    """

    def __init__(
        self,
        *,
        imap4_conn_id: str = "imap4_default",
        folder: str = "INBOX",
        conditions: Sequence[Condition] | Condition | Conditions | str = (),
        trigger_on: str = "all",
        on_match: Sequence[Action] | Action | str = (),
        on_no_match: Sequence[Action] | Action | str = (),
        always: Sequence[Action] | Action | str = (),
        start: str | date | datetime = "new",
        place: str = "default",
        poll_interval: float = 60.0,
        idle: bool = True,
        batch_size: int = 50,
        pace: float = 2.0,
        payload: str = "full",
        headers: Sequence[str] = (),
        text: bool = False,
        smime: bool = False,
        code_page: str = "",
        server_search: bool = True,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is untyped
        with survivable():
            # DAG files have conditions in Python, and stored triggers in JSON.
            no_unknown(unknown, PARAMETERS, "EmailTrigger", stored=isinstance(conditions, str))
            no_templates({"imap4_conn_id": imap4_conn_id, "folder": folder, "place": place, "start": start})
            self.imap4_conn_id = as_name("imap4_conn_id", imap4_conn_id)
            self.folder = as_name("folder", folder)
            if self.folder.upper() == "INBOX":
                self.folder = "INBOX"  # the one name whose case does not count (RFC 3501, section 5.1)
            self.place = as_name("place", place)
            # Airflow loses a watcher, without any error, if a trigger's argument is a list that contains dicts:
            # conditions and actions are canonical JSON strings.
            # Thousands of triggers have the same ones.
            self.conditions = sys.intern(as_conditions(conditions, trigger_on).dumps())
            self.on_match = sys.intern(dump_actions(on_match))
            self.on_no_match = sys.intern(dump_actions(on_no_match))
            self.always = sys.intern(dump_actions(always))
            self._check_actions()
            self.start = parse_start(start)
            self.poll_interval = as_number("poll_interval", poll_interval, POLL_INTERVALS)
            self.idle = as_switch("idle", idle)
            self.batch_size = int(as_number("batch_size", batch_size, BATCH_SIZES))
            self.pace = as_number("pace", pace, PACES)
            self.payload = as_style(payload)
            self.headers = check_header_names(headers)
            self.text = as_switch("text", text)
            self.smime = as_switch("smime", smime)
            self.code_page = as_code_page(code_page)
            self.server_search = as_switch("server_search", server_search)
        self._subscriber: Any = None

    def _check_actions(self) -> None:
        """Find what could go wrong only when the first mail comes."""
        for name in ("conditions", "on_match", "on_no_match", "always"):
            no_templates({name: json.loads(getattr(self, name))})
        for actions in (self.on_match, self.on_no_match, self.always):
            check_targets(self.folder, load_actions(actions))
            check_outgoing(load_actions(actions))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments: strings, numbers and lists of strings only."""
        return (
            "airflow_imap_provider.triggers.email.EmailTrigger",
            {
                "imap4_conn_id": self.imap4_conn_id,
                "folder": self.folder,
                "conditions": self.conditions,
                "on_match": self.on_match,
                "on_no_match": self.on_no_match,
                "always": self.always,
                "start": self.start,
                "place": self.place,
                "poll_interval": self.poll_interval,
                "idle": self.idle,
                "batch_size": self.batch_size,
                "pace": self.pace,
                "payload": self.payload,
                "headers": self.headers,
                "text": self.text,
                "smime": self.smime,
                "code_page": self.code_page,
                "server_search": self.server_search,
            },
        )

    def shared_stream_key(self) -> Hashable:
        """All triggers on one connection and folder share one connection to the server."""
        return self.imap4_conn_id, self.folder

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """Return the producer of wake-ups (ack mode); the IMAP connection belongs to the subscribers' watcher."""
        from airflow_imap_provider.triggers.producer import FolderProducer

        return FolderProducer((kwargs["imap4_conn_id"], kwargs["folder"]))

    def _warn_of_circles(self) -> None:
        actions = [action for text in (self.on_match, self.on_no_match, self.always) for action in load_actions(text)]
        for circle in _ROUTES.add(id(self), self.imap4_conn_id, self.folder, actions):
            log.warning(
                "Mails of %s may go round without end: %s, by the actions of the triggers on these folders. Each time "
                "they are new mails, which start DAG runs. See to it that the conditions exclude that.",
                self.imap4_conn_id,
                " → ".join(circle),
            )

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for every batch of matching mails, for ever."""
        if self.asset_state_store is None:
            raise RuntimeError("EmailTrigger works in an AssetWatcher only; inside a DAG run use EmailSensor.")
        self._warn_of_circles()
        await executor.working(load)
        from airflow_imap_provider.hooks.settings import async_settings
        from airflow_imap_provider.triggers.store import AssetStore, Stream
        from airflow_imap_provider.triggers.subscriber import Subscriber, Terms

        self._subscriber = subscriber = Subscriber(
            self._wish(),
            Stream(self.imap4_conn_id, self.folder, self.place),
            Terms(start=self.start, pace=self.pace, poll_interval=self.poll_interval, idle=self.idle),
            AssetStore(self.asset_state_store),
        )

        async for event in subscriber.events(shared_stream, lambda: async_settings(self.imap4_conn_id)):
            yield EmailEvent(payload=event)

    def _wish(self) -> Any:
        from airflow_imap_provider.mailbox.reader import Wish

        return Wish(
            conn_id=self.imap4_conn_id,
            folder=self.folder,
            conditions=_conditions(self.conditions),
            on_match=_actions(self.on_match),
            on_no_match=_actions(self.on_no_match),
            always=_actions(self.always),
            batch_size=self.batch_size,
            style=self.payload,
            headers=tuple(self.headers),
            text=self.text,
            smime=self.smime,
            code_page=self.code_page,
            server_search=self.server_search,
        )

    def run(self) -> AsyncIterator[TriggerEvent]:
        """Airflow calls this only where there is no shared stream, which is never the case for an asset's watcher."""
        raise RuntimeError("EmailTrigger works in an AssetWatcher only; inside a DAG run use EmailSensor.")

    async def cleanup(self) -> None:
        """Give up the folder; the last trigger to do so logs out. Nothing is changed in the mailbox."""
        _ROUTES.discard(id(self), self.imap4_conn_id, self.folder)
        if self._subscriber is not None:
            await self._subscriber.leave()


@functools.lru_cache(maxsize=KEPT)
def _conditions(text: str) -> Conditions:
    return Conditions.loads(text)


@functools.lru_cache(maxsize=KEPT)
def _actions(text: str) -> tuple[Action, ...]:
    return load_actions(text)


PARAMETERS = tuple(
    name
    for name, parameter in inspect.signature(EmailTrigger.__init__).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)
"""The names of the arguments."""


def load() -> None:
    """Import what only a triggerer needs, outside of its event loop: the first time that takes most of a second."""
    import airflow_imap_provider.hooks.settings
    import airflow_imap_provider.transport.opening
    import airflow_imap_provider.triggers.subscriber  # noqa: F401
