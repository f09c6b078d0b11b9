"""A look at a file that a field names, before anybody opens it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["Stamp", "look"]

Stamp = tuple[int, ...]
"""What changes when a file is replaced: certificates of a few hours' life are renewed in place."""


def look(path: str, *, folder: bool = False) -> tuple[Stamp, str]:
    """What a file is known by, or why it cannot be read; waits as long as the file system does.

    The reason is returned and not raised, so that the caller's error has no foreign exception attached: that names the
    file, which may be a secret.

    :param folder: whether a folder will do too.
    """
    try:
        found = Path(path).stat()
    except OSError as exc:
        return (), exc.strerror or type(exc).__name__
    except ValueError:
        return (), "it is no path"
    if stat.S_ISDIR(found.st_mode):
        if not folder:
            return (), os.strerror(errno.EISDIR)
    elif not stat.S_ISREG(found.st_mode):
        # Opening a named pipe waits for somebody who writes into it, and a device may have no end.
        return (), "it is no file, but a pipe, a socket or a device"
    return (found.st_mtime_ns, found.st_size, found.st_ino), ""
