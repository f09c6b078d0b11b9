"""File descriptors: each mailbox watched takes one, and a process has a limit of them (``ulimit -n``).

A POSIX system gives a new descriptor the lowest free number, so the number of a new socket tells how many are in use
without counting them. A warning comes before they run out, and the last ones are left to Airflow, which needs them for
its own connections: a triggerer that cannot reach its supervisor would be worse than a mailbox that waits.
"""

from __future__ import annotations

import errno
import logging
import sys
import threading

from airflow_imap_provider.errors import ExhaustedError

if sys.platform != "win32":
    import resource

__all__ = ["admit", "exhausted", "limit"]

logger = logging.getLogger(__name__)

WARN_ABOVE = 0.8
"""The share of the limit from which a warning says so: time to raise the limit before it is reached."""

RESERVE = 64
"""Descriptors left to Airflow: its API connection, log files, imports, other triggers' connections."""

REMEDY = (
    "Raise this process's limit of open files (ulimit -n, LimitNOFILE= in systemd, --ulimit nofile= in Docker). "
    "Or start more triggerers; docs/operations.md has the numbers."
)

_warned = threading.Event()


def limit() -> int | None:
    """The number of descriptors that this process may have; ``None`` if there is no limit, or none is known."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def admit(number: int) -> None:
    """Look at a new descriptor's number: warn once when few are left, refuse when only Airflow's reserve is.

    :raises ExhaustedError: its descriptor must be closed again.
    """
    most = limit()
    if most is None:
        return
    if number >= most - min(RESERVE, most // 4):
        raise ExhaustedError(
            f"{number} of the {most} files that this process may have open are in use; the rest is left to Airflow.",
            stage="tcp",
            remedy=REMEDY,
        )
    if number < most * WARN_ABOVE:
        _warned.clear()
    elif not _warned.is_set():
        _warned.set()
        logger.warning("%d of the %d files that this process may have open are in use. %s", number, most, REMEDY)


def exhausted(exc: BaseException) -> ExhaustedError | None:
    """The error for a call that found no free descriptor; ``None`` if something else was wrong."""
    if not isinstance(exc, OSError) or exc.errno not in (errno.EMFILE, errno.ENFILE):
        return None
    whose = "this process" if exc.errno == errno.EMFILE else "this machine"
    most = f" ({limit()})" if exc.errno == errno.EMFILE else ""
    return ExhaustedError(f"{whose} has as many files open as it may{most}.", stage="tcp", remedy=REMEDY)
