"""Lists the folders of a mailbox, as the field "folder" takes them, with what the server says they are for.

Changes nothing, and opens none of them.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from airflow_imap_provider.commands.argument import JSON, Argument

if TYPE_CHECKING:
    from airflow_imap_provider.transport.folders import Folder

__all__ = ["ARGUMENTS", "HELP", "run"]

HELP = "List the folders of a mailbox"

ARGUMENTS = (
    Argument(("conn_id",), {"help": "The id of a connection of type IMAP4"}),
    JSON,
)

SPECIAL_USES = (r"\All", r"\Archive", r"\Drafts", r"\Flagged", r"\Important", r"\Junk", r"\Sent", r"\Trash")
"""What a folder is for: RFC 6154, section 2, and RFC 8457."""

CLOSED = (r"\noselect", r"\nonexistent")
"""What only holds other folders (RFC 9051, section 7.3.1)."""


def run(args: argparse.Namespace) -> None:
    """Print the folders.

    :raises SystemExit: with what is wrong and what to do.
    """
    from airflow_imap_provider.errors import ImapError
    from airflow_imap_provider.hooks.imap4 import Imap4Hook

    # As for the Test: the SDK would ask neither the database nor the secrets backends of the server's side.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    try:
        with Imap4Hook(args.conn_id) as hook:
            folders = sorted(hook.folders(), key=lambda folder: (folder.name.upper() != "INBOX", folder.name))
    except ImapError as error:
        raise SystemExit(str(error)) from None
    if args.output:
        print(json.dumps([_data(folder) for folder in folders], indent=2))
    else:
        print("\n".join(_lines([folder for folder in folders if _opens(folder)])))


def _data(folder: Folder) -> dict[str, object]:
    return {
        "folder": folder.name,
        "delimiter": folder.delimiter,
        "special_use": _uses(folder),
        "attributes": list(folder.attributes),
        "can_be_opened": _opens(folder),
    }


def _lines(folders: list[Folder]) -> list[str]:
    # A name may hold what a terminal would obey.
    names = [folder.name if folder.name.isprintable() else repr(folder.name) for folder in folders]
    width = max(map(len, names), default=0)
    return [
        f"{name:<{width}}  {' '.join(uses)}" if (uses := _uses(folder)) else name
        for name, folder in zip(names, folders, strict=True)
    ]


def _uses(folder: Folder) -> list[str]:
    known = {use.lower(): use for use in SPECIAL_USES}
    return [known[attribute.lower()] for attribute in folder.attributes if attribute.lower() in known]


def _opens(folder: Folder) -> bool:
    return not any(attribute.lower() in CLOSED for attribute in folder.attributes)
