"""Shows for mails of a folder which conditions hold and which fail, and on what value. Changes nothing.

The conditions come from the trigger that watches an asset (--asset), as Airflow has stored it, or from Python
(--object): a trigger, a watcher, an asset, a sensor or conditions in a DAG file, which need not be deployed.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from airflow_imap_provider.commands.argument import JSON, Argument

if TYPE_CHECKING:
    from airflow_imap_provider.commands.questions import Question

__all__ = ["ARGUMENTS", "HELP", "run"]

HELP = "Show why mails match a trigger's conditions, or not"

ARGUMENTS = (
    Argument(
        ("conn_id",),
        {"help": "The id of a connection of type IMAP4; the trigger's or sensor's if left out", "nargs": "?"},
    ),
    Argument(("--asset",), {"help": "The watched asset's name: the conditions of its email trigger"}),
    Argument(("--watcher",), {"help": "Which watcher of the asset, if it has several"}),
    Argument(
        ("--object",),
        {
            "help": "Conditions from Python: a trigger, watcher, asset, sensor or conditions of that name. Of a file "
            "without a name the only trigger",
            "metavar": "FILE.py[:NAME]|MODULE:NAME",
        },
    ),
    Argument(("--folder",), {"help": "The folder; the trigger's, or INBOX, if left out"}),
    Argument(("--uid",), {"help": "Only the mails with these UIDs", "nargs": "+", "type": int, "default": []}),
    Argument(("--message-id",), {"help": "Only the mails with this Message-ID", "default": ""}),
    Argument(
        ("--last",), {"help": "How many mails, counted from the newest (default: 10)", "type": int, "default": 10}
    ),
    JSON,
)


def run(args: argparse.Namespace) -> None:
    """Explain, and print it.

    :raises SystemExit: with what is wrong and what to do.
    """
    from airflow_imap_provider.commands.questions import question
    from airflow_imap_provider.errors import ImapError

    # As for the Test: the SDK would ask neither the database nor the secrets backends of the server's side.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    try:
        _explain(args, question(args))
    except ImapError as error:
        raise SystemExit(str(error)) from None


def _explain(args: argparse.Namespace, asked: Question) -> None:
    from functools import partial

    from airflow_imap_provider.commands.fate import fate_of
    from airflow_imap_provider.hooks.imap4 import Imap4Hook
    from airflow_imap_provider.mailbox.explaining import explain

    # Of several places (two assets of one name) the one that is behind has the trigger look again.
    place = min(asked.places, key=lambda place: (place.epoch, place.last_uid), default=None)
    with Imap4Hook(asked.conn_id) as hook:
        told = explain(
            hook.session(),
            asked.conditions,
            conn_id=asked.conn_id,
            folder=asked.folder,
            last=args.last,
            uids=args.uid,
            message_id=args.message_id,
            code_page=asked.code_page,
            fate=partial(fate_of, place, args.asset) if place is not None else None,
        )
    missing = sorted(set(args.uid) - {mail.uid for mail in told.mails})
    shown = ("uidvalidity", "last_uid", "epoch", "activated", "start")
    places = [{name: data[name] for name in shown} for data in (place.to_json() for place in asked.places)]
    if args.output:
        print(json.dumps({"conn_id": asked.conn_id, **told.to_json(), "missing": missing, "places": places}))
        return
    print(f"connection {asked.conn_id}, trigger_on={asked.conditions.trigger_on!r}")
    for place in asked.places:
        print(
            f"  Of UIDVALIDITY {place.uidvalidity or 0} the trigger has looked at mails up to UID {place.last_uid}. "
            f"It began {place.activated:%Y-%m-%d %H:%M:%S} UTC with start={place.start!r}."
        )
    print(told)
    if missing:
        print(f"\nNot in the folder, or not any more: UID {', '.join(map(str, missing))}")
    elif not told.mails and (args.message_id or args.last):
        print("\nNo such mail is in the folder." if args.message_id else "\nThe folder is empty.")
