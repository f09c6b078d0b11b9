"""What a server says about its folders."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Folder", "FolderStatus"]


@dataclass(frozen=True)
class FolderStatus:
    """What the server says about a folder when it is opened.

    :param uidvalidity: UIDs mean the same mails as long as it stays the same.
    :param uidnext: the UID that the next mail will have at least; ``None`` if the server does not say (Courier).
    :param exists: number of mails.
    :param readonly: whether nothing can be changed, because it was asked for or because the server allows no more.
    """

    name: str
    uidvalidity: int
    uidnext: int | None
    exists: int
    readonly: bool


@dataclass(frozen=True)
class Folder:
    r"""A folder as the server lists it.

    :param name: plain Unicode.
    :param delimiter: between the levels of names; empty for a flat name.
    :param attributes: as the server writes them, like ``\HasNoChildren`` or ``\Sent``.
    """

    name: str
    delimiter: str
    attributes: tuple[str, ...]
