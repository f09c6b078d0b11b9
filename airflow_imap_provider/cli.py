"""The command line ``airflow imap4 ...``: a table of its commands, for Airflow to load.

Every ``airflow`` command loads this, so nothing beyond argparse is imported here; a command's own module says what its
arguments are, and imports the rest when it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.commands import explain, folders, reset, state, test

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

__all__ = ["get_commands"]

COMMANDS = {"test": test, "folders": folders, "explain": explain, "state": state, "reset": reset}
"""By name, the modules of the commands, in the order of the help. Each has ``HELP``, ``ARGUMENTS`` and ``run``."""


def get_commands() -> list[CLICommand]:
    """Return the commands as Airflow wants them."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

    arg: Callable[..., Any] = Arg  # Airflow's is untyped
    return [
        GroupCommand(
            name="imap4",
            help="Look after connections of type IMAP4 and email triggers",
            subcommands=tuple(
                ActionCommand(
                    name=name,
                    help=module.HELP,
                    description=module.__doc__,
                    func=lazy_load_command(f"{module.__name__}.run"),
                    args=tuple(arg(argument.flags, **argument.options) for argument in module.ARGUMENTS),
                )
                for name, module in COMMANDS.items()
            ),
        )
    ]
