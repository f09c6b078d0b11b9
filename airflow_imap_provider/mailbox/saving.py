"""Saving mails and their attachments: which name each file gets, and that it is there whole or not at all.

The content streams from the session to a storage, which is whatever has the few methods of :class:`Storage`; this
module knows neither Airflow nor a file system. Doing the same again changes nothing: a file that is there with the same
content is recognised by its SHA-256.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mailbox.choice import Choice
from airflow_imap_provider.mailbox.contents import opened_contents
from airflow_imap_provider.mailbox.download import Measured
from airflow_imap_provider.mailbox.names import numbered, safe_name, same_name, typed_name
from airflow_imap_provider.transport.session import Session

__all__ = ["Draft", "Saved", "Storage", "save_mail"]

log = logging.getLogger(__name__)


class Draft(Protocol):
    """A file that nobody sees until it is committed."""

    def write(self, chunk: bytes) -> None:
        """Add to it."""

    def commit(self) -> None:
        """Make it visible under its name, in place of what was there."""

    def discard(self) -> None:
        """Leave nothing of it behind."""


class Storage(Protocol):
    """A folder somewhere, in which mails are saved. Paths are relative to it, their levels separated by slashes.

    Whatever goes wrong is raised as an :class:`~airflow_imap_provider.errors.ImapError`.
    """

    def names(self, folder: str) -> Iterable[str]:
        """Return the names in a folder; none if it is not there."""

    def size(self, path: str) -> int:
        """Return a file's size in bytes."""

    def read(self, path: str) -> Iterator[bytes]:
        """Yield a file's content."""

    def draft(self, path: str) -> Draft:
        """Begin a file, and make its folder if need be."""

    def address(self, path: str) -> str:
        """Return the whole path, by which others find the file."""


@dataclass(frozen=True)
class Saved:
    """A file that is there now.

    :param path: where it is.
    :param name: the attachment's name as the sender gave it; empty for a whole mail.
    :param part: the attachment's part number; empty for a whole mail.
    :param content_type: such as ``text/csv``.
    :param size: bytes.
    :param sha256: of the content, hexadecimal.
    :param existed: whether a file with this content was there already.
    """

    path: str
    name: str
    part: str
    content_type: str
    size: int
    sha256: str
    existed: bool = False

    def to_json(self, key: str) -> dict[str, str | int | bool]:
        """Return it as tasks get it, with the key of the mail."""
        return {"key": key, **vars(self)}


def save_mail(session: Session, mail: Mail, choice: Choice, storage: Storage, *, key: str = "") -> list[Saved]:
    """Save of a mail what is chosen. The mail's folder must be open in the session.

    Each file is written whole or not at all; those before one that fails stay.

    :param key: the mail's identity, which names its folder or its file; the one of where it is now when left out.
    :raises ImapError: the mail is gone, the storage fails, or a file is there and ``on_exists`` is ``fail``.
    """
    key = key or mail.key
    folder = key if choice.folder_per_mail else ""
    names = _Names(storage, folder)
    saved = []
    with opened_contents(mail, lambda: session, decrypt=choice.decrypt) as contents:
        if choice.what != "attachments":
            name = "message.eml" if folder else f"{key}.eml"
            with closing(contents.source()) as chunks:
                saved.append(_save(chunks, "", "", "message/rfc822", name, choice.on_exists, names))
        for each in contents.mail.attachments if choice.what != "message" else ():
            if not choice.takes(each):
                continue
            name = safe_name(each.name, typed_name(f"attachment-{each.part}", each.content_type))
            with closing(contents.chunks(each)) as chunks:
                saved.append(_save(chunks, each.name, each.part, each.content_type, name, choice.on_exists, names))
    return saved


class _Names:
    """The names in a folder: which are taken, and by this mail or by something else."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self.storage = storage
        self._folder = folder
        self._mine: set[str] = set()
        self._others = {same_name(name): name for name in storage.names(folder)}

    def find(self, name: str, on_exists: str) -> tuple[str | None, list[str]]:
        """Return the path to write to, if any, and those of files that may be this one already."""
        present: list[str] = []
        for candidate in numbered(name):
            same = same_name(candidate)
            if same in self._mine:
                continue
            there = self._others.get(same)
            if there is None:
                return self._path(candidate), present
            if on_exists == "overwrite":
                return self._path(there), []
            present.append(self._path(there))
            if on_exists == "fail":
                return None, present
        raise AssertionError("names do not end")

    def take(self, path: str) -> None:
        self._mine.add(same_name(path.rpartition("/")[2]))

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name


def _save(
    chunks: Iterable[bytes], given: str, part: str, content_type: str, name: str, on_exists: str, names: _Names
) -> Saved:
    storage = names.storage
    path, present = names.find(name, on_exists)
    measured = Measured(chunks)
    draft = storage.draft(path) if path is not None else None
    try:
        for chunk in measured:
            if draft is not None:
                draft.write(chunk)
        twin = next((each for each in present if _equal(storage, each, measured)), None)
        if twin is None and draft is None:
            raise ImapError(
                f"{storage.address(present[0])} is there already, with another content.",
                stage="save",
                remedy="Give on_exists='number' or 'overwrite', or remove the file.",
            )
        if twin is None and draft is not None:
            draft.commit()
            draft = None
    finally:
        if draft is not None:
            draft.discard()
    kept = twin if twin is not None else path
    assert kept is not None
    names.take(kept)
    address = storage.address(kept)
    log.info(
        "%s %s (%s bytes, SHA-256 %s)", "There already:" if twin else "Saved", address, measured.size, measured.sha256
    )
    return Saved(address, given, part, content_type, measured.size, measured.sha256, existed=twin is not None)


def _equal(storage: Storage, path: str, measured: Measured) -> bool:
    if storage.size(path) != measured.size:
        return False
    digest = hashlib.sha256()
    for chunk in storage.read(path):
        digest.update(chunk)
    return digest.hexdigest() == measured.sha256
