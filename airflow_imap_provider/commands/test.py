"""Tests a connection as triggers and tasks use it: connects, logs in, looks into a folder, tries IDLE. Changes nothing.

Each stage is reported with its time. The exit status is 0 if the connection works, else 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from airflow_imap_provider.commands.argument import JSON, Argument

__all__ = ["ARGUMENTS", "HELP", "run"]

HELP = "Test a connection stage by stage"

ARGUMENTS = (
    Argument(("conn_id",), {"help": "The id of a connection of type IMAP4"}),
    Argument(("--folder",), {"help": "The folder to look into; INBOX if left out", "default": "INBOX"}),
    JSON,
)


def run(args: argparse.Namespace) -> None:
    """Test a connection and print the report.

    :raises SystemExit: with status 0 if the connection works, else 1.
    """
    from airflow_imap_provider.hooks.imap4 import Imap4Hook

    # Without this the SDK asks neither the metadata database nor the secrets backends of the server's side; Airflow's
    # own "connections test" does the same.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    report = Imap4Hook(args.conn_id).diagnose(args.folder)
    print(json.dumps(report.as_dict(), indent=2) if args.output else report.text())
    sys.exit(0 if report.ok else 1)
