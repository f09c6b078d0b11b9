"""Shows how the email triggers of assets are: connection, place, what was told, and what each consumer lacks.

It reads Airflow's database and nothing else; no mail server is asked.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.commands.argument import JSON, Argument

if TYPE_CHECKING:
    from airflow_imap_provider.commands.entries import Entries
    from airflow_imap_provider.triggers.store import Stream

__all__ = ["ARGUMENTS", "HELP", "run"]

HELP = "Show health, place and consumers of email triggers"

UNPAUSED = "Is its DAG unpaused, and a triggerer running?"

ARGUMENTS = (
    Argument(("--asset",), {"help": "Only this asset, by its name"}),
    JSON,
)


def run(args: argparse.Namespace) -> None:
    """Print the state.

    :raises SystemExit: if the named asset has none.
    """
    from airflow_imap_provider.commands.entries import open_entries

    with open_entries(args.asset) as assets:
        states = [_asset(entries) for entries in assets]
    if args.asset is not None and not states:
        raise SystemExit(
            f"The asset {args.asset!r} has no state of an email trigger: either no trigger on it has started yet, or "
            f"the name is another one ('airflow assets list' shows them). {UNPAUSED}"
        )
    if args.output:
        print(json.dumps(states, indent=2))
    else:
        print("\n\n".join(_text(state) for state in states) or f"No email trigger has started yet. {UNPAUSED}")


def _asset(entries: Entries) -> dict[str, Any]:
    from airflow_imap_provider.triggers.journal_index import listed
    from airflow_imap_provider.triggers.store import JOURNALS

    journals = listed(entries.get(JOURNALS))
    return {
        "asset": entries.asset,
        "active": entries.active,
        "streams": [_stream(entries, stream) for stream in entries.streams],
        "journals": [{**journal, "entries": _length(entries, journal["id"])} for journal in journals],
        "consumers": _consumers(entries),
    }


def _stream(entries: Entries, stream: Stream) -> dict[str, Any]:
    place = entries.get(stream.key("place"))
    shown = ("start", "activated", "uidvalidity", "last_uid", "epoch", "told_uid", "last_received")
    return {
        "stream": stream.name,
        "conn_id": stream.conn_id,
        "folder": stream.folder,
        "place": {**{key: place[key] for key in shown}, "owed_actions": sum(len(t["actions"]) for t in place["todo"])},
        "health": entries.get(stream.key("health")) or {},
        "reset_asked_for": entries.get(stream.key("reset")) or {},
    }


def _length(entries: Entries, journal: str) -> int:
    from airflow_imap_provider.triggers.store import journal_key

    prefix = journal_key(journal, 0)[:-1]
    return sum(key.startswith(prefix) for key in entries.keys)


def _consumers(entries: Entries) -> list[dict[str, Any]]:
    from datetime import datetime, timezone

    from airflow_imap_provider.mailbox.taking import Record, Taking
    from airflow_imap_provider.triggers import journal
    from airflow_imap_provider.triggers.store import CONSUMERS, consumer_key

    found = []
    for name, consumer in sorted((entries.get(CONSUMERS) or {}).items()):
        stored = entries.get(consumer_key(consumer["dag_id"], consumer["task_id"]))
        untaken = None
        if stored:
            taking = Taking(Record.from_json(stored), most=10**9)
            store: Any = entries
            for entry in journal.entries(store, taking.record, datetime.now(timezone.utc)):
                taking.feed(entry)
            untaken = len(taking.emails)
        found.append(
            {
                "consumer": name,
                "dag_id": consumer["dag_id"],
                "task_id": consumer["task_id"],
                "seen": consumer["seen"],
                "runs": stored["runs"] if stored else 0,
                "untaken": untaken,
            }
        )
    return found


def _text(state: dict[str, Any]) -> str:
    lines = [f"Asset {state['asset']}" + ("" if state["active"] else " (not active: no DAG refers to it)")]
    for stream in state["streams"]:
        place, health = stream["place"], stream["health"]
        lines += [f"  Stream {stream['stream']}", f"    connection  {_connection(health)}"]
        if health:
            # An entry of an earlier version has no time of its own.
            noted = f"as of {_moment(health['noted'])}: " if health.get("noted") else ""
            caught_up = health.get("last_catch_up")
            read = f"read to its end at {_moment(caught_up)}" if caught_up else "not read to its end yet"
            lines += [
                f"    folder      {read}",
                f"    told        {noted}{_told(health)} since the trigger started",
                f"    actions     {place['owed_actions']} owed; {noted}{health['failed_actions']} given up"
                + (f"; last failure: {health['last_action_error']}" if health["last_action_error"] else ""),
            ]
            # An entry of an earlier version does not have these.
            if held_up := health.get("held_up"):
                lines.append(f"    HELD UP     by {held_up}")
            if health.get("incomplete"):
                lines.append(f"    incomplete  {health['incomplete']} mails; the last one: {health['last_incomplete']}")
        lines.append(
            f"    place       {_looked(place)}; began {_moment(place['activated'])} with start={place['start']!r}"
        )
        if asked := stream["reset_asked_for"]:
            lines.append(f"    reset       to {asked['to']!r} asked for at {_moment(asked['at'])}; not honoured yet")
    kept = sum(journal["entries"] for journal in state["journals"])
    lines.append(f"  Journals {len(state['journals'])}, with {kept} events kept")
    for consumer in state["consumers"]:
        untaken = consumer["untaken"]
        lacks = "has not taken anything yet" if untaken is None else f"{untaken} mails untaken"
        lines.append(f"  Consumer {consumer['consumer']}: {lacks}; {consumer['runs']} runs")
    if not state["consumers"]:
        lines.append("  No consumer (no task with ReceiveEmailsOperator has run yet)")
    return "\n".join(lines)


def _told(health: dict[str, Any]) -> str:
    if not health["told"]:
        return "no mail told"
    mails = "1 mail" if health["told"] == 1 else f"{health['told']} mails"
    return f"{mails} told, the last one {health['lag']} s after its arrival,"


def _looked(place: dict[str, Any]) -> str:
    if not place["uidvalidity"]:
        return "the folder was not opened yet"
    # An event reaches to the end of what was looked at with it: that need not be a mail that was told.
    event = f"the newest event covers UIDs up to {place['told_uid']}" if place["told_uid"] else "no event yet"
    folder = f"UIDVALIDITY {place['uidvalidity']}, epoch {place['epoch']}"
    return f"has looked up to UID {place['last_uid']} of {folder}; {event}"


def _moment(text: str) -> str:
    """Return a stored moment to the second, in UTC."""
    from datetime import datetime, timezone

    return f"{datetime.fromisoformat(text).astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _connection(health: dict[str, Any]) -> str:
    if not health:
        return "never made"
    if health["connected"]:
        return f"connected since {_moment(health['since'])}"
    return f"NOT CONNECTED since {_moment(health['since'])}: {health['last_error']}"
