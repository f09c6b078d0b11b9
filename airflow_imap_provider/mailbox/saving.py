"""Saving mails and their attachments: which name each file gets, and that it is there whole or not at all.

The content streams from the session to a storage, which is whatever has the few methods of :class:`Storage`; this
module knows neither Airflow nor a file system. Doing the same again changes nothing: a file that is there with the same
content is recognised by its SHA-256. Who saves into the same folder at the same time takes no file from anybody: a name
is taken when the file is whole, and only if it is still free then.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mailbox.choice import Choice
from airflow_imap_provider.mailbox.contents import Contents, opened_contents
from airflow_imap_provider.mailbox.download import Measured
from airflow_imap_provider.mailbox.names import checked_key, numbered, safe_name, same_name, typed_name
from airflow_imap_provider.transport.session import Session

__all__ = ["Draft", "Saved", "Storage", "save_mail"]

log = logging.getLogger(__name__)

TAKEN_LIMIT = 100
"""How often a name may be taken by others while a file is written: each time one of them has got on, so as many can
save into one folder at once. Airflow runs 16 tasks of a DAG at once unless it is told otherwise."""


Source = Callable[[], Generator[bytes, None, None]]
"""Yields a file's content from its beginning."""


class Draft(Protocol):
    """A file that nobody sees until it is committed."""

    @property
    def movable(self) -> bool:
        """Tell whether it can be committed under another name than the one it was begun with."""

    def write(self, chunk: bytes) -> None:
        """Add to it."""

    def commit(self, path: str) -> bool:
        """Make it visible under this name.

        :return: whether it is; ``False`` if somebody else has taken the name meanwhile, whose file stays as it is.
        """

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

    def draft(self, path: str, *, replace: bool) -> Draft:
        """Begin a file, and make its folder if need be.

        :param replace: whether it may take the place of another.
        """

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
    key = checked_key(key or mail.key)
    folder = key if choice.folder_per_mail else ""
    names = _Names(storage, folder)
    with opened_contents(mail, lambda: session, decrypt=choice.decrypt) as contents:
        return [_save(file, choice.on_exists, names) for file in _chosen(contents, choice, key)]


@dataclass(frozen=True)
class _File:
    """What is to be saved: its safe name, what it is, and where its content comes from, as often as it is needed."""

    name: str
    given: str
    part: str
    content_type: str
    source: Source


def _chosen(contents: Contents, choice: Choice, key: str) -> Iterator[_File]:
    if choice.what != "attachments":
        name = "message.eml" if choice.folder_per_mail else f"{key}.eml"
        yield _File(name, "", "", "message/rfc822", contents.source)
    for each in contents.mail.attachments if choice.what != "message" else ():
        if choice.takes(each):
            name = safe_name(each.name, typed_name(f"attachment-{each.part}", each.content_type))
            yield _File(name, each.name, each.part, each.content_type, partial(contents.chunks, each))


class _Names:
    """The names in a folder: which are taken, and by this mail or by something else."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self.storage = storage
        self._folder = folder
        self._mine: set[str] = set()
        self.look()

    def look(self) -> None:
        """Look which names are taken now."""
        self._others = {same_name(name): name for name in self.storage.names(self._folder)}

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
                return self._path(there), [self._path(there)]
            present.append(self._path(there))
            if on_exists == "fail":
                return None, present
        raise AssertionError("names do not end")

    def take(self, path: str) -> None:
        self._mine.add(same_name(path.rpartition("/")[2]))

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name


def _save(file: _File, on_exists: str, names: _Names) -> Saved:
    for _ in range(TAKEN_LIMIT):
        with closing(file.source()) as chunks:
            saved = _attempt(Measured(chunks), file, on_exists, names)
        if saved is not None:
            return saved
        # Some stores know a file's name before its content: what was written is lost, and all begins anew.
        names.look()
    raise _unlucky(file)


def _attempt(measured: Measured, file: _File, on_exists: str, names: _Names) -> Saved | None:
    """Write a file; ``None`` if its name was taken meanwhile and it must be written again."""
    storage = names.storage
    path, present = names.find(file.name, on_exists)
    draft = storage.draft(path, replace=on_exists == "overwrite") if path is not None else None
    try:
        for chunk in measured:
            if draft is not None:
                draft.write(chunk)
        for _ in range(TAKEN_LIMIT):
            twin = next((each for each in present if _is_twin(storage, each, measured, on_exists)), None)
            if twin is not None:
                return _kept(twin, file, measured, names, existed=True)
            if path is None:
                raise ImapError(
                    f"{storage.address(present[0])} is there already, with another content.",
                    stage="save",
                    remedy="Give on_exists='number' or 'overwrite', or remove the file.",
                )
            if draft is not None and draft.commit(path):
                draft = None
                return _kept(path, file, measured, names, existed=False)
            if draft is None or not draft.movable:
                return None
            names.look()
            path, present = names.find(file.name, on_exists)
    finally:
        if draft is not None:
            draft.discard()
    raise _unlucky(file)


def _kept(path: str, file: _File, measured: Measured, names: _Names, *, existed: bool) -> Saved:
    names.take(path)
    address = names.storage.address(path)
    log.info(
        "%s %s (%s bytes, SHA-256 %s)",
        "There already:" if existed else "Saved",
        address,
        measured.size,
        measured.sha256,
    )
    return Saved(address, file.given, file.part, file.content_type, measured.size, measured.sha256, existed=existed)


def _unlucky(file: _File) -> ImapError:
    return ImapError(
        f"the name of {file.name!r} was taken by others {TAKEN_LIMIT} times while it was written.",
        stage="save",
        remedy="Give each mail a folder of its own (folder_per_mail=True).",
    )


def _is_twin(storage: Storage, path: str, measured: Measured, on_exists: str) -> bool:
    """Tell whether a file has this content already."""
    try:
        return _equal(storage, path, measured)
    except ImapError as error:
        if on_exists != "overwrite":
            raise
        # Who may write there need not be allowed to read, and what is there is not wanted any more.
        log.warning("%s cannot be compared with what is saved, and is overwritten: %s", storage.address(path), error)
        return False


def _equal(storage: Storage, path: str, measured: Measured) -> bool:
    if storage.size(path) != measured.size:
        return False
    digest = hashlib.sha256()
    for chunk in storage.read(path):
        digest.update(chunk)
    return digest.hexdigest() == measured.sha256
