"""Has an email trigger begin anew (--to), or forgets a consumer that is gone (--forget-consumer).

A running trigger honours a reset within about 20 seconds, any other when it starts. Mails that were told before and
are within the new start are told again, as new ones: each consumer takes them once more, and their actions are done
again.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.commands.argument import Argument

if TYPE_CHECKING:
    from airflow_imap_provider.commands.entries import Entries
    from airflow_imap_provider.triggers.store import Stream

__all__ = ["ARGUMENTS", "HELP", "run"]

HELP = "Have an email trigger begin anew, or forget a consumer"

GLANCE = 1.0
"""Seconds between two looks while waiting for a trigger to honour a reset."""

ARGUMENTS = (
    Argument(("--asset",), {"help": "The watched asset's name", "required": True}),
    Argument(
        ("--stream",),
        {"help": "Which stream of it, if it has several: CONNECTION/FOLDER/PLACE, as 'airflow imap4 state' shows"},
    ),
    Argument(
        ("--to",),
        {
            "help": "Where to begin: 'new' (from now on), 'unread', 'all', or an ISO 8601 date such as 2026-11-01",
            "metavar": "new|unread|all|DATE",
        },
    ),
    Argument(
        ("--forget-consumer",),
        {
            "help": "A DAG's task that takes mails no more: its record is dropped, and it is no longer woken",
            "metavar": "DAG/TASK",
        },
    ),
    Argument(
        ("--wait",),
        {"help": "Seconds to wait until a trigger has honoured the reset (default: 0)", "type": float, "default": 0.0},
    ),
    Argument(("-y", "--yes"), {"help": "Do not ask for confirmation", "action": "store_true"}),
)


def run(args: argparse.Namespace) -> None:
    """Ask for the reset, or forget the consumer.

    :raises SystemExit: with what is wrong and what is accepted, or if the answer is no.
    """
    from airflow_imap_provider.errors import SettingsError
    from airflow_imap_provider.mailbox.place import parse_start

    if (args.to is None) == (args.forget_consumer is None):
        raise SystemExit("Give either --to new|unread|all|DATE or --forget-consumer DAG/TASK.")
    if args.forget_consumer is not None:
        _forget(args)
        return
    try:
        to = parse_start(args.to)
    except SettingsError:
        raise SystemExit(
            f"--to {args.to}: accepted are new, unread, all, or an ISO 8601 date or date and time, such as 2026-11-01 "
            "or 2026-11-01T08:00:00+01:00."
        ) from None
    _ask_for_reset(args, to)


def _ask_for_reset(args: argparse.Namespace, to: str) -> None:
    from airflow_imap_provider.commands.entries import open_entries
    from airflow_imap_provider.triggers.resets import Request

    with open_entries(args.asset) as assets:
        entries, stream = _chosen(args, assets)
    _confirm(
        args,
        f"{stream.name} of the asset {entries.asset} will begin anew, from {to!r}: mails that were told before may be "
        "told, taken and acted on again, also for other assets that share its trigger.",
    )
    request = Request(secrets.token_hex(6), to, datetime.now(timezone.utc))
    with open_entries(args.asset) as assets:
        entries, stream = _chosen(args, assets)
        entries.set(stream.key("reset"), request.to_json())
    _ring(request.id, entries.asset, stream.name)
    print(
        f"{stream.name} is asked to begin anew from {to!r}. A running trigger does so within about 20 seconds, any "
        "other when it starts; 'airflow imap4 state' shows whether it has."
    )
    if args.wait > 0:
        _await(args, stream, request.id)


def _ring(request: str, asset: str, stream: str) -> None:
    """Tell the triggerers, now that the request is stored."""
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from airflow_imap_provider.triggers.reset_bell import VARIABLE, rung

    with create_session() as session:
        # Not by Variable.get, which asks secrets backends first.
        row = session.scalar(select(Variable).where(Variable.key == VARIABLE))
        text = rung(row.val if row is not None else None, request, [(asset, stream)])
    Variable.set(VARIABLE, text, "The resets that 'airflow imap4 reset' has asked for: triggerers look here.")


def _await(args: argparse.Namespace, stream: Stream, request: str) -> None:
    from airflow_imap_provider.commands.entries import open_entries

    end = time.monotonic() + args.wait
    while True:
        with open_entries(args.asset, prefix=stream.key("reset")) as assets:
            asked: dict[str, Any] = (assets[0].get(stream.key("reset")) if assets else None) or {}
        if asked.get("id") != request:
            print("It has begun anew.")
            return
        if time.monotonic() > end:
            raise SystemExit(
                f"No trigger has done so within {args.wait:g} s. It will be done when one runs: is the DAG active, a "
                "triggerer alive, and the mail server within reach?"
            )
        time.sleep(GLANCE)


def _chosen(args: argparse.Namespace, assets: list[Entries]) -> tuple[Entries, Stream]:
    choices = [(entries, stream) for entries in assets for stream in entries.streams]
    if args.stream is not None:
        choices = [choice for choice in choices if choice[1].name == args.stream]
    if len(choices) == 1:
        return choices[0]
    known = [stream.name for entries in assets for stream in entries.streams]
    if not known:
        raise SystemExit(
            f"The asset {args.asset!r} has no place of an email trigger: either no trigger on it has started yet (then "
            "its start parameter says where it begins), or the name is another one ('airflow imap4 state' shows all)."
        )
    problem = f"There is no stream {args.stream!r}" if args.stream is not None else "--stream is needed"
    raise SystemExit(f"{problem}; the asset {args.asset!r} has: {', '.join(known)}")


def _forget(args: argparse.Namespace) -> None:
    from airflow_imap_provider.commands.entries import open_entries
    from airflow_imap_provider.triggers.store import CONSUMERS

    name = args.forget_consumer
    with open_entries(args.asset) as assets:
        known = sorted({known for entries in assets for known in entries.get(CONSUMERS) or {}})
    if name not in known:
        raise SystemExit(
            f"The asset {args.asset!r} has no consumer {name!r}; it has: {', '.join(known) if known else 'none'}."
        )
    _confirm(
        args,
        f"{name} will be forgotten: what it has not taken it will not get, and its earlier runs cannot be cleared. If "
        "the task still exists, its next run begins as a new consumer's.",
    )
    with open_entries(args.asset) as assets:
        for entries in assets:
            _drop(entries, name)
    print(f"{name} is forgotten.")


def _drop(entries: Entries, name: str) -> None:
    from airflow_imap_provider.operators.email import CLAIMS_KEPT
    from airflow_imap_provider.triggers.store import CONSUMERS, consumer_key

    consumers = dict(entries.get(CONSUMERS) or {})
    consumer = consumers.pop(name, None)
    if consumer is None:
        return
    dag_id, task_id = consumer["dag_id"], consumer["task_id"]
    entries.set(CONSUMERS, consumers)
    keys = [consumer_key(dag_id, task_id)]
    for number in range(CLAIMS_KEPT):
        slot = consumer_key(dag_id, task_id, f"slot:{number}")
        if slot in entries.keys:
            keys += [slot, entries.get(slot)]
    for key in keys:
        if key in entries.keys:
            entries.delete(key)


def _confirm(args: argparse.Namespace, what: str) -> None:
    if args.yes:
        return
    print(what)
    if not sys.stdin.isatty():
        raise SystemExit("Nothing was done: there is nobody to confirm it. Add --yes.")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise SystemExit("Nothing was done.")
