"""One part of a mail as a stream of pieces: partial FETCH (RFC 9051, section 6.4.5), the next piece asked for ahead.

However large the part is, memory holds a few pieces. What servers tell about sizes is not believed: a part ends where
nothing more comes, a piece may be shorter than asked for, and a mail that vanishes in the middle is an error and not
an end. Only where far less comes than was announced, and the server stays with that, is it an error: whoever took it
for the whole would delete what was not kept.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

from airflow_imap_provider.errors import CutOffError, ImapError, ProtocolError, RefusedError
from airflow_imap_provider.transport.border import Scrubber, guarded
from airflow_imap_provider.transport.limits import SURELY
from airflow_imap_provider.transport.remedies import ASK_OPERATOR
from airflow_imap_provider.transport.stream import BufferedIMAP4

__all__ = ["AHEAD", "PIECE", "part_pieces"]

logger = logging.getLogger(__name__)

PIECE = 512 * 1024
"""Bytes of a part asked for at once. Larger ones are not faster, and several of them are in memory at a time."""

AHEAD = 2
"""Requests under way: while one piece is decoded and stored, the server sends the next."""

LARGEST_OFFSET = 2**32 - 1
"""Offsets are 32-bit numbers (RFC 9051, section 9, ``partial``): where a part without end is ended."""

_KEY = re.compile(rb"BODY\[[^\]]*\](?:<(\d+)>)?", re.IGNORECASE)


def part_pieces(
    stream: BufferedIMAP4,
    scrubber: Scrubber,
    claim: Callable[[str], None],
    release: Callable[[], None],
    uid: int,
    section: str,
    octets: int,
) -> Generator[bytes, None, None]:
    """Yield a part's raw bytes. The session is this generator's alone until it ends or is closed.

    :param claim: takes the session, :param release: gives it back.
    :param section: such as ``2`` or ``1.3``; empty for the whole mail.
    :param octets: what the server has told as the size, 0 if unknown; to judge the end.
    :raises RefusedError: the server refuses.
    :raises CutOffError: less than :data:`~.limits.SURELY` of that comes, asked twice; all that comes is yielded.
    :raises ImapError: the mail is gone, at the beginning or in the middle.
    """
    claim("FETCH")
    try:
        requests = _Requests(stream, uid, section)
        try:
            yield from _pieces(requests, lambda call: guarded(call, stream, scrubber), octets)
        finally:
            if requests.under_way and stream.failure is None:
                _drain(requests, stream, scrubber)
    finally:
        release()


def _drain(requests: _Requests, stream: BufferedIMAP4, scrubber: Scrubber) -> None:
    """Read what is still under way, so that the next command's answer is its own."""
    while requests.under_way:
        try:
            guarded(requests.answer, stream, scrubber)
        except ImapError as error:
            # Nobody wants this piece any more; if the connection has ended, the stream remembers it.
            logger.debug("%s", error)
            if stream.failure is not None:
                return


def _pieces(
    requests: _Requests, run: Callable[[Callable[[], bytes | None]], bytes | None], octets: int
) -> Iterator[bytes]:
    wanted = 0
    following = 0
    ahead = AHEAD
    full = again = False
    while True:
        while len(requests.under_way) < ahead and following <= LARGEST_OFFSET:
            run(partial(requests.ask, following))
            following += PIECE
        try:
            piece = run(requests.answer)
        except RefusedError:
            if 0 < octets <= wanted:
                return  # some servers refuse what begins behind the end
            raise
        if not piece:
            # Of what is not given at all others know better whether it is empty.
            cut_off = 0 < wanted < octets * SURELY
            if again or not (cut_off or (full and wanted < octets)):
                if cut_off:
                    raise _cut_off(wanted, octets)
                return
            # The end too early, or after a piece that is as long as it could be: a storage that could not be read
            # looks the same.
            while requests.under_way:
                run(partial(requests.answer, discard=True))
            following, ahead, again = wanted, 1, True
            continue
        full, again = len(piece) == PIECE, False
        yield piece
        wanted += len(piece)
        if requests.whole:
            if wanted < octets * SURELY:
                raise _cut_off(wanted, octets)
            return
        if wanted > LARGEST_OFFSET:
            raise ProtocolError(
                f"the part does not end within {LARGEST_OFFSET} bytes.", stage="FETCH", remedy=ASK_OPERATOR
            )
        if requests.next_offset != wanted:
            # A short piece: it is the last one, or the server gives less than it is asked for. The other requests
            # are for other places then; after the second time nothing is asked ahead any more.
            while requests.under_way:
                run(partial(requests.answer, discard=True))
            following = wanted
            ahead = 1


def _cut_off(given: int, octets: int) -> CutOffError:
    return CutOffError(
        f"the server gives {given} of the {octets} bytes that it announces, and then nothing more.",
        stage="FETCH",
        remedy="Try again; if that does not help, look at the mail in a mail program: the server's storage may have "
        "lost the rest.",
    )


class _Requests:
    """Partial FETCHes that were sent and not answered yet.

    :ivar under_way: their tags and offsets.
    :ivar whole: whether the server has ignored the offsets and sent all at once.
    """

    def __init__(self, stream: BufferedIMAP4, uid: int, section: str) -> None:
        self.under_way: deque[tuple[bytes, int]] = deque()
        self.whole = False
        self._stream = stream
        self._uid = uid
        self._section = section
        # A server may work on two commands at once (RFC 9051, section 5.5) and send one's piece within the other.
        self._early: dict[int, bytes | None] = {}

    @property
    def next_offset(self) -> int | None:
        """The offset that the next answer is about."""
        return self.under_way[0][1] if self.under_way else None

    def ask(self, offset: int) -> None:
        item = f"(BODY.PEEK[{self._section}]<{offset}.{PIECE}>)"
        self.under_way.append((self._stream.send_command("UID", "FETCH", str(self._uid), item), offset))

    def answer(self, *, discard: bool = False) -> bytes | None:
        """Return the piece of the oldest request; ``None`` where there is nothing more."""
        from airflow_imap_provider.transport.answers import parse_fetch

        stream = self._stream
        tag, offset = self.under_way.popleft()
        status, words = stream.finish_command("UID", tag)
        data = stream.untagged_responses.pop("FETCH", [])
        if status != "OK":
            if discard:
                return None
            raise stream.error(words)
        for key, value in parse_fetch(data, [self._uid]).get(self._uid, {}).items():
            found = _KEY.fullmatch(key)
            if found is None:
                continue
            if found[1] is None:
                self.whole = True
            self._early[int(found[1] or 0)] = _bytes(value)
        if discard:
            self._early.clear()
            return None
        if offset not in self._early:
            raise ImapError(
                "the mail is gone from the folder.",
                stage="FETCH",
                remedy="Try again: another client has removed or moved it in this moment.",
            )
        return self._early.pop(offset)


def _bytes(value: Any) -> bytes | None:
    if isinstance(value, int):
        return str(value).encode("ascii")  # IMAPClient's reading of a text that is a number
    return value if isinstance(value, bytes) else None
