"""A whole mail from the server in a temporary file, to look for its parts there, in constant memory.

The way for mails whose structure a server does not tell, or whose parts it does not give. The file has no name, so
that nobody else finds it and nothing of it is left, whatever happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from mmap import ACCESS_READ, ACCESS_WRITE, mmap
from tempfile import TemporaryFile, gettempdir
from typing import BinaryIO

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.mail.raw import RawMail
from airflow_imap_provider.mailbox.download import transferred
from airflow_imap_provider.transport.session import Session

__all__ = ["PIECE", "SPOOL_LIMIT", "spooled"]

SPOOL_LIMIT = 1024 * 1024 * 1024
"""Bytes of a mail that is put into a temporary file: several times what mail servers take."""

PIECE = 512 * 1024
"""Bytes of the file that are in memory at once."""


@contextmanager
def spooled(session: Session, uid: int, octets: int) -> Iterator[RawMail]:
    """Fetch a mail of the open folder whole, and find its parts. The session is free again when they are there.

    :param octets: the size that the server tells, 0 if unknown.
    :raises ImapError: the mail is gone or too large, the connection ends, or there is no room for the file.
    """
    with TemporaryFile(prefix="imap4-") as file:
        size, has_lines = _filled(file, session, uid, octets)
        if not size:
            yield RawMail.of(b"")
            return
        if not has_lines:
            _give_lines(file)
        with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            yield RawMail.of(content)


def _filled(file: BinaryIO, session: Session, uid: int, octets: int) -> tuple[int, bool]:
    size, has_lines = 0, False
    with closing(transferred(session, uid, "", octets=octets)) as pieces:
        for piece in pieces:
            size += len(piece)
            if size > SPOOL_LIMIT:
                raise ImapError(
                    f"mail {uid} has more than {SPOOL_LIMIT} bytes, and the server does not tell its structure.",
                    stage="fetch",
                    remedy="Save it as it is (what='message').",
                )
            has_lines = has_lines or b"\n" in piece
            _write(file, piece)
    try:
        file.flush()
    except OSError as error:
        raise _full(error) from error
    return size, has_lines


def _write(file: BinaryIO, piece: bytes) -> None:
    try:
        file.write(piece)
    except OSError as error:
        raise _full(error) from error


def _full(error: OSError) -> ImapError:
    return ImapError(
        f"a mail cannot be put into a temporary file in {gettempdir()}: {error.strerror}",
        stage="fetch",
        remedy="Make room there, or let the environment variable TMPDIR name another folder.",
    )


def _give_lines(file: BinaryIO) -> None:
    """End lines with line feeds where all end with carriage returns, as the Macintosh had them."""
    with mmap(file.fileno(), 0, access=ACCESS_WRITE) as content:
        for begin in range(0, len(content), PIECE):
            content[begin : begin + PIECE] = content[begin : begin + PIECE].replace(b"\r", b"\n")
