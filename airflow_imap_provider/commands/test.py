"""``airflow imap4 test CONN_ID``: the whole report of a connection's Test, as text or as JSON."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace

from airflow_imap_provider.hooks.imap4 import Imap4Hook

__all__ = ["run"]


def run(args: Namespace) -> None:
    """Test a connection and print the report.

    :param args: ``conn_id``, ``folder``, and as ``output`` whether to print JSON.
    :raises SystemExit: with status 0 if the connection works, else 1.
    """
    # Without this the SDK asks neither the metadata database nor the secrets backends of the server's side; Airflow's
    # own "connections test" does the same.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    report = Imap4Hook(args.conn_id).diagnose(args.folder)
    print(json.dumps(report.as_dict(), indent=2) if args.output else report.text())
    sys.exit(0 if report.ok else 1)
