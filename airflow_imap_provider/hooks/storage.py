"""Airflow's object storage (local, S3, GCS, Azure, ...) as a place in which mails are saved.

A file is written under a name that nobody looks for and moved when it is whole, or, where the store knows uploads that
come into being at their end (S3, GCS), as such an upload (``drafts``). Either way a failure leaves nothing behind.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.hooks.drafts import Draft, Renamed, Upload

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

__all__ = ["ObjectStorage", "check_path"]

T = TypeVar("T")

PIECE = 1024 * 1024
"""Bytes read at once when a file that is there is compared."""

WITHOUT_FOLDERS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "oci", "oss", "r2"})
"""Protocols of object stores: they have no folders to make, and asking for the bucket may need rights of its own."""


def check_path(path: object) -> str:
    """Return a path as text.

    :raises SettingsError: for anything but a URL or an absolute path: a worker's current folder is nobody's choice.
    """
    text = str(path)
    if "://" not in text and not text.startswith("/"):
        raise SettingsError(
            f"path={text!r}; a URL or an absolute path is accepted, such as 's3://aws_default@bucket/mails' or "
            "'file:///data/mails'.",
            stage="settings",
        )
    return text


class ObjectStorage:
    """A folder in object storage; :class:`~airflow_imap_provider.mailbox.saving.Storage`.

    :param path: a URL such as ``s3://conn_id@bucket/folder``, an absolute path, or an ``ObjectStoragePath``.
    """

    def __init__(self, path: str | ObjectStoragePath) -> None:
        from airflow.sdk import ObjectStoragePath

        checked = check_path(path)
        self._root = self._try("is no place to save to", checked, lambda: _rooted(path, ObjectStoragePath))
        self._fs: Any = self._try("cannot be reached", checked, lambda: self._root.fs)
        self._base = str(self._root.path).rstrip("/")
        self._conditional = True

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; none if it is not there."""
        whole = self._whole(folder)

        def listed() -> list[str]:
            self._fs.invalidate_cache(whole)
            try:
                return [posixpath.basename(str(name).rstrip("/")) for name in self._fs.ls(whole, detail=False)]
            except FileNotFoundError:
                return []

        return self._try("cannot be listed", whole, listed)

    def size(self, path: str) -> int:
        """Return a file's size in bytes."""
        whole = self._whole(path)
        return self._try("cannot be looked at", whole, lambda: int(self._fs.info(whole)["size"]))

    def read(self, path: str) -> Iterator[bytes]:
        """Yield a file's content."""
        whole = self._whole(path)
        with self._try("cannot be read", whole, lambda: self._fs.open(whole, "rb", cache_type="none")) as file:
            while chunk := self._try("cannot be read", whole, lambda: file.read(PIECE)):
                yield chunk

    def draft(self, path: str, *, replace: bool) -> _Placed:
        """Begin a file, and make its folder if need be.

        :param replace: whether it may take the place of another.
        """
        whole = self._whole(path)
        draft = self._try("cannot be written", whole, lambda: self._begin(whole, replace=replace))
        return _Placed(draft, self._whole)

    def address(self, path: str) -> str:
        """Return the URL, with the connection's id if there is one: ``ObjectStoragePath(address)`` opens it."""
        protocol = self._root.protocol or "file"
        conn_id = f"{self._root.conn_id}@" if self._root.conn_id else ""
        return f"{protocol}://{conn_id}{self._whole(path)}"

    def _whole(self, path: str) -> str:
        return f"{self._base}/{path}" if path else self._base or "/"

    def _begin(self, whole: str, *, replace: bool) -> Draft:
        if self._root.protocol not in WITHOUT_FOLDERS:
            self._fs.makedirs(posixpath.dirname(whole), exist_ok=True)
        elif (file := self._upload(whole, exclusive=self._conditional and not replace)) is not None:
            return Upload(whole, self._fs, file, self._try, replace=replace, unconditional=self._without_conditions)
        return Renamed(whole, self._fs, self._try, replace=replace)

    def _upload(self, whole: str, *, exclusive: bool) -> Any:
        """Begin an upload that can be given up; ``None`` if this store has none."""
        from fsspec.spec import AbstractBufferedFile

        try:
            file = self._fs.open(whole, "xb" if exclusive else "wb", autocommit=False)
        except (NotImplementedError, ValueError):
            # Since fsspec, s3fs, gcsfs 2024.12 there is xb.
            if not exclusive:
                raise
            self._without_conditions()
            return self._upload(whole, exclusive=False)
        kind = type(file)
        if (
            isinstance(file, AbstractBufferedFile)
            and kind.discard is not AbstractBufferedFile.discard
            and kind.commit is not AbstractBufferedFile.commit
        ):
            return file
        # Nothing has been sent yet.
        file.closed = True
        return None

    def _without_conditions(self) -> None:
        self._conditional = False

    def _try(self, problem: str, path: str, step: Callable[[], T]) -> T:
        try:
            return step()
        except ImapError:
            raise
        except Exception as error:
            # Each store has errors of its own; what they have in common is a type and words.
            words = str(error).splitlines()
            raise ImapError(
                f"{path} {problem}: {type(error).__name__}", stage="save", reply=words[0][:300] if words else ""
            ) from error


class _Placed:
    """A draft in a folder: :class:`~airflow_imap_provider.mailbox.saving.Draft`, with paths relative to that."""

    def __init__(self, draft: Draft, whole: Callable[[str], str]) -> None:
        self._draft, self._whole = draft, whole
        self.movable = draft.movable
        self.write, self.discard = draft.write, draft.discard

    def commit(self, path: str) -> bool:
        return self._draft.commit(self._whole(path))


def _rooted(path: str | ObjectStoragePath, kind: type[ObjectStoragePath]) -> ObjectStoragePath:
    if isinstance(path, kind):
        return path
    return kind(path if "://" in str(path) else f"file://{path}")
