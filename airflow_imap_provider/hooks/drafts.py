"""Files under way in object storage: seen by nobody until they are whole, and then in nobody else's place.

What a store can do decides how: a local file system links a name that is free, S3 and GCS complete an upload on the
condition that there is no such object, and everywhere else there is a look right before the move.
"""

from __future__ import annotations

import errno
import logging
import os
import posixpath
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Draft", "Guard", "Renamed", "Upload"]

log = logging.getLogger(__name__)

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL})
"""What file systems without hard links answer (FAT, many network and FUSE mounts; link(2))."""

_CONFLICTS = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
"""S3's codes for an object that is there, or is being made at this moment (Amazon S3 User Guide, "conditional
writes"). s3fs makes different errors of them."""


class Guard(Protocol):
    """Turns the errors of a step into this package's."""

    def __call__(self, problem: str, path: str, step: Callable[[], Any], /) -> Any: ...


class Draft:
    """A file under way; :class:`~airflow_imap_provider.mailbox.saving.Draft`."""

    movable = False

    def __init__(self, path: str, file: Any, guard: Guard) -> None:
        self._path, self._file, self._guard = path, file, guard

    def write(self, chunk: bytes) -> None:
        self._guard("cannot be written", self._path, lambda: self._file.write(chunk))

    def commit(self, path: str) -> bool:
        """Make it visible.

        :param path: its whole path.
        :return: ``False`` if the name is taken.
        """
        return bool(self._guard("cannot be written", path, lambda: self._finish(path)))

    def discard(self) -> None:
        try:
            self._give_up()
        except Exception as error:  # noqa: BLE001 - what led here is what counts; this one must not hide it
            log.warning("What was written of %s cannot be removed: %s: %s", self._path, type(error).__name__, error)

    def _finish(self, path: str) -> bool:
        raise NotImplementedError

    def _give_up(self) -> None:
        raise NotImplementedError


class Upload(Draft):
    """An upload that comes into being at its end.

    :param file: opened with ``autocommit=False``, and with the mode ``xb`` if the store takes conditions.
    :param replace: whether it may take the place of an object.
    :param unconditional: called when the store turns out to take no conditions; the file must be written again then.
    """

    def __init__(
        self, path: str, fs: Any, file: Any, guard: Guard, *, replace: bool, unconditional: Callable[[], None]
    ) -> None:
        self._fs = fs
        self._replace = replace
        self._unconditional = unconditional
        self._taken = self._written = False
        super().__init__(path, file, guard)

    def write(self, chunk: bytes) -> None:
        if self._taken:
            return
        self._written = self._written or bool(chunk)
        # GCS looks at the condition when an upload begins, too.
        self._taken = not self._guard("cannot be written", self._path, lambda: self._met(self._file.write, chunk))

    def _finish(self, path: str) -> bool:
        if self._taken:
            return False
        if not self._conditional:
            self._fs.invalidate_cache(path)
            if not self._replace and self._fs.exists(path):
                return False
            self._complete()
            return True
        if self._written:
            return self._met(self._complete)
        # s3fs completes an empty file without the condition.
        self._give_up()
        return self._met(self._fs.pipe_file, path, b"", mode="create")

    @property
    def _conditional(self) -> bool:
        return "x" in self._file.mode

    def _met(self, step: Callable[..., Any], *arguments: Any, **options: Any) -> bool:
        """Do a step; ``False`` if its condition was not met, or not understood."""
        try:
            step(*arguments, **options)
        except Exception as error:
            if not self._conditional:
                raise
            if isinstance(error, FileExistsError) or _code(error) in _CONFLICTS:
                return False
            if _code(error) in {"NotImplemented", "501"} or "IfNoneMatch" in str(error):
                log.info("The storage of %s takes no conditions: parallel saves may meet in one name", self._path)
                self._unconditional()
                return False
            raise
        return True

    def _complete(self) -> None:
        self._file.close()
        self._file.commit()

    def _give_up(self) -> None:
        # Not close(): that sends the rest.
        self._file.closed = True
        self._file.discard()


class Renamed(Draft):
    """A file with another name until it is whole.

    :param replace: whether it may take the place of another.
    """

    movable = True

    def __init__(self, path: str, fs: Any, guard: Guard, *, replace: bool) -> None:
        self._fs = fs
        self._replace = replace
        self._temporary = posixpath.join(posixpath.dirname(path), f".imap4-{secrets.token_hex(8)}.part")
        super().__init__(path, fs.open(self._temporary, "wb"), guard)

    def _finish(self, path: str) -> bool:
        from fsspec.implementations.local import LocalFileSystem

        self._file.close()
        if self._replace:
            self._fs.mv(self._temporary, path)
            return True
        if isinstance(self._fs, LocalFileSystem):
            return _named(Path(self._temporary), Path(path))
        self._fs.invalidate_cache(path)
        if self._fs.exists(path):
            return False
        self._fs.mv(self._temporary, path)
        return True

    def _give_up(self) -> None:
        try:
            self._file.close()
        finally:
            if self._fs.exists(self._temporary):
                self._fs.rm_file(self._temporary)


def _named(file: Path, name: Path) -> bool:
    """Give a file a name that is free, in one step; ``False`` if it is not."""
    try:
        name.hardlink_to(file)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        file.unlink()
        return True
    # Without hard links: whoever makes the name has it. For a moment it is there and empty.
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    try:
        file.replace(name)
    except OSError:
        name.unlink()
        raise
    return True


def _code(error: BaseException) -> str:
    """Return the code in an answer of S3, from botocore's error or what s3fs has made of it."""
    for each in (error, error.__cause__):
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""
