"""The subcommands of ``airflow imap4``, as Airflow's command line wants to hear of them.

Every call of ``airflow`` loads this, so it imports nothing of ours and little else. Each command is a module of its own
in ``commands/``, imported when it is called; a new one is one more entry in the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

__all__ = ["get_commands"]

_COMMANDS = "airflow_imap_provider.commands"


@dataclass(frozen=True)
class _Option:
    """An argument, in argparse's terms."""

    flags: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(frozen=True)
class _Command:
    """A subcommand.

    :param module: in ``commands/``; its function ``run`` gets the parsed arguments.
    """

    name: str
    help: str
    description: str
    module: str
    options: tuple[_Option, ...]


_CONN_ID = _Option(("conn_id",), {"help": "The id of a connection of type IMAP4"})
_FOLDER = _Option(("--folder",), {"help": "The folder to look into; INBOX if left out", "default": "INBOX"})
# Airflow keeps its log off the standard output of commands that have an "output".
_JSON = _Option(("--json",), {"help": "Print JSON", "action": "store_true", "dest": "output"})

_TABLE = (
    _Command(
        "test",
        "Test a connection stage by stage",
        "Connects, logs in, looks into a folder and tries IDLE as triggers and tasks do, and reports each stage with "
        "its time. Changes nothing. The exit status is 0 if the connection works, else 1.",
        "test",
        (_CONN_ID, _FOLDER, _JSON),
    ),
)


def get_commands() -> list[CLICommand]:
    """The command group ``imap4``."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

    argument: Any = Arg  # not typed
    return [
        GroupCommand(
            name="imap4",
            help="Look after IMAP4 connections",
            subcommands=[
                ActionCommand(
                    name=command.name,
                    help=command.help,
                    description=command.description,
                    func=lazy_load_command(f"{_COMMANDS}.{command.module}.run"),
                    args=[argument(option.flags, **option.settings) for option in command.options],
                )
                for command in _TABLE
            ],
        )
    ]
