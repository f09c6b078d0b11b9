"""The command that a demo prints for a second terminal."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from airflow_imap_provider.connection.parsing import parse
from airflow_imap_provider.mail.conditions import Conditions
from airflow_imap_provider.mailbox.explaining import explain
from airflow_imap_provider.transport.session import open_session
from example_dags.example_imap4_trigger import invoices
from scripts.demo.letters import SENDER
from scripts.demo.mailbox import LOGIN, PASSWORD, Mailbox, delivery_command
from scripts.local_airflow import LocalAirflow

EXTRA = {"encryption": "none"}


def test_the_command_runs_airflow_with_the_demos_own_settings(tmp_path: Path) -> None:
    airflow = LocalAirflow(tmp_path / "it's a home")
    command = tmp_path / "airflow"
    airflow.write_command(command)
    airflow.write_command(command)  # as the next demo in this folder does
    assert stat.S_IMODE(command.stat().st_mode) == 0o700, "the key of its database is in it"
    for section, option in (("database", "sql_alchemy_conn"), ("core", "fernet_key")):
        told = subprocess.run(
            [command, "config", "get-value", section, option],
            env={name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        assert told.splitlines()[-1] == airflow.environment[f"AIRFLOW__{section}__{option}".upper()]


def test_the_printed_command_delivers_an_invoice_from_any_folder(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path, tmp_path / "log")
    try:
        for _ in range(2):
            told = subprocess.run(
                ["/bin/sh", "-c", delivery_command(mailbox.port)],
                cwd="/",
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=True,
                timeout=120,
            ).stdout
            assert "Your invoice 2026-" in told
            assert SENDER in told
        # By the very conditions of the example that the demo runs.
        stored = Conditions.loads(invoices.watchers[0].trigger.conditions)
        settings = parse("demo", host="127.0.0.1", port=mailbox.port, login=LOGIN, password=PASSWORD, extra=EXTRA)
        session = open_session(settings)
        explained = explain(session, stored, conn_id="demo")
        session.logout()
        assert [mail.triggers for mail in explained.mails] == [True, True]
    finally:
        mailbox.stop()
