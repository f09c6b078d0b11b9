"""Where a stream goes on: at its stored place, or at a first one where there is none yet.

A first start and a place that got lost look alike, unless the store has something else of the stream. Both are warned
of, once: nobody else can know whether the asset has had another name before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mailbox.place import CLOCKS_APART, Place, first_place
from airflow_imap_provider.triggers.journal_index import listed
from airflow_imap_provider.triggers.store import JOURNALS, AssetStore, Stream, furthest_behind

__all__ = ["UnknownActionsError", "stored_place"]

log = logging.getLogger(__name__)

_GO_BACK = "'airflow imap4 reset --asset %s --to DATE' has it go back to that date."


class UnknownActionsError(SettingsError):
    """The stored place owes actions that this version cannot do, as after a downgrade; nothing is done instead.

    :ivar place: the place without them: only somebody who asks for a reset gives them up.
    :ivar owed: how many actions are owed in all.
    """

    place: Place
    owed: int


async def stored_place(store: AssetStore, stream: Stream, start: str, now: datetime) -> Place:
    """Return the place of a stream; a first one is stored, and said, if there is none.

    :param start: the start policy, as :func:`~airflow_imap_provider.mailbox.place.parse_start` returns it.
    :raises AirflowRuntimeError: if an asset is not active, or Airflow's API cannot be reached.
    :raises UnknownActionsError: if it owes what this version does not know.
    """
    key = stream.key("place")
    # Probe with another key: writing a first place into a store that only looked empty would lose the real one.
    await store.write(stream.key("probe"), now.isoformat())
    record = furthest_behind(await store.read(key))
    if record is not None:
        return _understood(record, store, stream)
    known = await _has_run_before(store, stream)
    place = first_place(start, now, slack=CLOCKS_APART)
    await store.write(key, place.to_json())
    said = (stream.name, ", ".join(store.assets), start, place.activated.isoformat())
    if known:
        log.warning(
            "The stored place for %s of the asset %s is lost, though it has run before: it begins anew with start=%r, "
            f"at %s, and does not tell what came in between. {_GO_BACK}",
            *said,
            store.assets[0],
        )
    else:
        log.warning(
            "There is no stored place for %s of the asset %s: this is its first start, with start=%r, at %s. If it has "
            f"run before under another name (of the asset, the place, the connection or the folder), or was deleted "
            f"with its DAG, {_GO_BACK}",
            *said,
            store.assets[0],
        )
    return place


async def _has_run_before(store: AssetStore, stream: Stream) -> bool:
    """Whether the store has something that is written only after a place was: a health entry, or a journal."""
    if any(await store.read(stream.key("health"))):
        return True
    return any(journal["stream"] == stream.name for index in await store.read(JOURNALS) for journal in listed(index))


def _understood(record: Mapping[str, Any], store: AssetStore, stream: Stream) -> Place:
    known, unknown, problem = [], [], ""
    for todo in record["todo"]:
        try:
            Place.from_json({**record, "todo": [todo]})
        except SettingsError as error:
            unknown.append(todo)
            problem = problem or error.problem
        else:
            known.append(todo)
    place = Place.from_json({**record, "todo": known})
    if not unknown:
        return place
    refusal = UnknownActionsError(
        f"the stored place of {stream.name} owes what this version does not know, to mails with the UIDs "
        f"{[uids for todo in unknown for uids in todo['uids']]}: {problem}",
        stage="settings",
        remedy="Install the version of this package that has stored it, or a later one, in the triggerers, and restart "
        "them: it is done then, and mail that came meanwhile is told. To give up what is owed, begin anew: 'airflow "
        f"imap4 reset --asset {store.assets[0]} --to DATE'.",
    )
    refusal.place, refusal.owed = place, sum(len(todo["actions"]) for todo in record["todo"])
    raise refusal
