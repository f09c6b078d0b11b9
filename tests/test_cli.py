"""The table of commands, as Airflow loads it at the start of each of its commands."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest
from airflow.cli.cli_config import ActionCommand, GroupCommand
from airflow.providers_manager import ProvidersManager

from airflow_imap_provider.cli import COMMANDS, get_imap4_cli_commands


def group() -> GroupCommand:
    (found,) = get_imap4_cli_commands()
    assert isinstance(found, GroupCommand)
    return found


def test_airflow_finds_the_commands() -> None:
    names = {function.__module__ for function in ProvidersManager().cli_command_functions}
    assert "airflow_imap_provider.cli" in names


def test_every_command_has_help_and_a_function() -> None:
    assert [command.name for command in group().subcommands] == list(COMMANDS)
    for command in group().subcommands:
        assert isinstance(command, ActionCommand)
        assert command.help
        assert command.description
        assert callable(COMMANDS[command.name].run)


@pytest.mark.parametrize(
    "line",
    [
        ["state"],
        ["state", "--asset", "a", "--json"],
        ["reset", "--asset", "a", "--stream", "c/INBOX/default", "--to", "2026-11-01", "-y", "--wait", "5"],
        ["reset", "--asset", "a", "--forget-consumer", "dag/task"],
    ],
)
def test_its_arguments_are_parsed(line: list[str]) -> None:
    (command,) = [command for command in group().subcommands if command.name == line[0]]
    parser = argparse.ArgumentParser()
    for argument in command.args:
        argument.add_to_parser(parser)
    parser.parse_args(line[1:])


def test_loading_the_table_loads_nothing_heavy() -> None:
    program = (
        "import sys; import airflow_imap_provider.cli; "
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('airflow', 'imapclient', 'imaplib', 'ssl', 'socket', 'cryptography', 'sqlalchemy', 'asyncio')])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.strip() == "[]"
