"""The command line as Airflow finds it; tests/airflow runs it against a real Airflow's database."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from airflow.cli.cli_config import ActionCommand, DefaultHelpParser, GroupCommand
from airflow.cli.cli_parser import AirflowHelpFormatter, _add_command
from airflow.providers_manager import ProvidersManager

from airflow_imap_provider.cli import COMMANDS, get_commands
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from tests.servers.dovecot import Dovecot, User
from tests.triggers.conftest import connection


def parser() -> DefaultHelpParser:
    made = DefaultHelpParser(prog="airflow", formatter_class=AirflowHelpFormatter)
    subparsers = made.add_subparsers(dest="subcommand")
    for command in get_commands():
        _add_command(subparsers, command)
    return made


def test_airflow_finds_the_commands() -> None:
    assert get_commands in ProvidersManager().cli_command_functions  # type: ignore[no-untyped-call]
    (group,) = get_commands()
    assert isinstance(group, GroupCommand)
    assert group.name == "imap4"
    assert all(isinstance(command, ActionCommand) for command in group.subcommands)


def test_every_command_has_help_and_a_function() -> None:
    (group,) = get_commands()
    assert isinstance(group, GroupCommand)
    assert [command.name for command in group.subcommands] == list(COMMANDS)
    for command in group.subcommands:
        assert isinstance(command, ActionCommand)
        assert command.help
        assert command.description
        assert callable(COMMANDS[command.name].run)


@pytest.mark.parametrize(
    "line",
    [
        ["test", "mailbox", "--folder", "Archive", "--json"],
        ["state"],
        ["state", "--asset", "a", "--json"],
        ["reset", "--asset", "a", "--stream", "c/INBOX/default", "--to", "2026-11-01", "-y", "--wait", "5"],
        ["reset", "--asset", "a", "--forget-consumer", "dag/task"],
    ],
)
def test_its_arguments_are_parsed(line: list[str]) -> None:
    parser().parse_args(["imap4", *line])


def test_loading_the_commands_loads_nothing_of_a_session() -> None:
    code = (
        "import sys; from airflow_imap_provider.cli import get_commands; "
        "print(*{'airflow', 'imapclient', 'imaplib', 'ssl', 'cryptography'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    capsys.readouterr()
    args = parser().parse_args(["imap4", *arguments])
    # In this process Airflow's log goes to the standard output, too; its main() would see to that.
    with pytest.raises(SystemExit) as end:
        args.func(args)
    return end.value.code, capsys.readouterr().out


def test_the_report_is_the_same_from_hook_command_line_and_as_data(
    dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # which the command sets, and leaves
    for settings, status in ((connection(dovecot, user), 0), (connection(dovecot, user, password="wrong-one"), 1)):
        monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", settings)
        report = Imap4Hook("mailbox").diagnose()
        ended, shown = run(capsys, "test", "mailbox", "--json")
        assert ended == status
        assert without_times(json.loads(shown[shown.index("{\n") :])) == without_times(report.as_dict())
        ended, shown = run(capsys, "test", "mailbox")
        assert ended == status
        for step in report.steps:
            assert f"  {step.stage}" in shown
            assert step.remedy in shown
        good, line = Imap4Hook("mailbox").test_connection()
        assert good is report.ok
        assert line.partition(": ")[2] == report.line().partition(": ")[2]


def without_times(report: dict[str, object]) -> list[object]:
    steps = report["steps"]
    assert isinstance(steps, list)
    return [
        report["connection"],
        report["failure"],
        report["warnings"],
        [{key: value for key, value in step.items() if key != "seconds"} for step in steps],
    ]


def test_a_connection_that_is_missing_is_a_report_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BAD", '{"conn_type": "imap4", "host": "h", "extra": {"encryptoin": "ssl"}}')
    ended, shown = run(capsys, "test", "bad")
    assert ended == 1
    assert "FAILED at settings" in shown
    assert "Did you mean Cryptographic protocol (encryption)" in shown
