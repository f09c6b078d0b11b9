"""The head of an HTTP answer: status and headers (RFC 9112), and how to skip the body after it."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass

from airflow_imap_provider.transport.proxy.limits import (
    MAX_BODY_BYTES,
    MAX_CHUNK_LINE_BYTES,
    MAX_HEAD_BYTES,
    MAX_INTERIM_ANSWERS,
)
from airflow_imap_provider.transport.proxy.refusals import broken, closed
from airflow_imap_provider.transport.proxy.steps import Read, ReadUntil, Step
from airflow_imap_provider.transport.proxy.strangers import stranger

__all__ = ["Head", "read_head", "skip_body"]

_PREFIX = b"HTTP/"
_HEAD_ENDS = (b"\n\r\n", b"\n\n")  # RFC 9112 section 2.2: a recipient may take a bare LF for a line's end
_LINE_ENDS = (b"\n",)
_STATUS_LINE = re.compile(r"HTTP/(\d)\.(\d) (\d{3})(?: (.*))?")
_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")


@dataclass(frozen=True)
class Head:
    """Status and headers of one answer."""

    version: tuple[int, int]
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """The values of all headers of this name, given in lower case."""
        return [value for key, value in self.headers if key == name]

    @property
    def words(self) -> str:
        """What it says to a person; Squid gives the reason in a header of its own."""
        return " ".join(part for part in (str(self.status), self.reason, *self.values("x-squid-error")) if part)

    @property
    def stays_open(self) -> bool:
        """Whether the connection is good for another request (RFC 9112 section 9.3)."""
        options = ",".join(self.values("connection") + self.values("proxy-connection")).lower()
        if "close" in options:
            return False
        return self.version >= (1, 1) or "keep-alive" in options

    @property
    def is_chunked(self) -> bool:
        return "chunked" in ",".join(self.values("transfer-encoding")).lower()

    @property
    def body_size(self) -> int | None:
        """Bytes of the body as announced; ``None`` if it does not say."""
        sizes = {value.strip() for value in self.values("content-length")}
        size = sizes.pop() if len(sizes) == 1 else ""
        return int(size) if size.isascii() and size.isdigit() and len(size) <= 18 else None


def read_head() -> Generator[Step, bytes, Head | None]:
    """Read the head of the final answer.

    :returns: ``None`` if the proxy closed the connection without a byte.
    :raises ProxyError: what came is not HTTP, or is too large.
    """
    for _ in range(MAX_INTERIM_ANSWERS):
        # First the first bytes: another protocol's words may have no end that we know, and would be waited for.
        prefix = yield Read(len(_PREFIX))
        if not prefix:
            return None
        if prefix != _PREFIX:
            raise (yield from stranger(prefix, "HTTP"))
        rest = yield ReadUntil(_HEAD_ENDS, MAX_HEAD_BYTES - len(_PREFIX))
        if not rest.endswith(_HEAD_ENDS):
            if len(rest) >= MAX_HEAD_BYTES - len(_PREFIX):
                raise broken(f"the proxy's answer has a header of more than {MAX_HEAD_BYTES} bytes.")
            raise closed()
        head = _parse(prefix + rest)
        if head.status >= 200:
            return head
    raise broken("the proxy sends one interim answer after the other.")


def skip_body(head: Head, default: int | None = None) -> Generator[Step, bytes, bool]:
    """Read the body of an answer to its last byte.

    :param default: bytes of a body whose size is not announced; ``None``: it ends with the connection.
    :returns: whether the connection is at the beginning of the next answer; else it is of no further use.
    """
    if head.is_chunked:
        return (yield from _skip_chunks())
    size = default if head.body_size is None else head.body_size
    if size is None or size > MAX_BODY_BYTES:
        return False
    return len((yield Read(size))) == size


def _skip_chunks() -> Generator[Step, bytes, bool]:
    """RFC 9112 section 7.1."""
    left = MAX_BODY_BYTES
    while left > 0:
        line = yield ReadUntil(_LINE_ENDS, MAX_CHUNK_LINE_BYTES)
        matched = _SIZE.match(line)
        size = int(matched[0], 16) if matched and line.endswith(_LINE_ENDS) else left
        if size >= left:
            return False
        if size == 0:
            return (yield from _skip_trailers(left))
        if len((yield Read(size))) < size:
            return False
        line = yield ReadUntil(_LINE_ENDS, MAX_CHUNK_LINE_BYTES)
        if line.strip():
            return False
        # The framing counts too, or single bytes could be sent for ever.
        left -= size + MAX_CHUNK_LINE_BYTES
    return False


def _skip_trailers(left: int) -> Generator[Step, bytes, bool]:
    while left > 0:
        line = yield ReadUntil(_LINE_ENDS, MAX_CHUNK_LINE_BYTES)
        if not line.endswith(_LINE_ENDS):
            return False
        if not line.strip():
            return True
        left -= MAX_CHUNK_LINE_BYTES
    return False


def _parse(raw: bytes) -> Head:
    # Whatever the bytes are, they stay the same in an answer that repeats them (Digest's realm and nonce).
    lines = [line.removesuffix("\r") for line in raw.decode("utf-8", "surrogateescape").split("\n")]
    matched = _STATUS_LINE.fullmatch(lines[0])
    if matched is None:
        raise broken("the proxy's answer has no status that can be understood.", reply=lines[0])
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and headers:
            # Folded headers are obsolete (RFC 9112 section 5.2), and old proxies are what this is for.
            name, value = headers[-1]
            headers[-1] = (name, f"{value} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if colon:
            headers.append((name.strip().lower(), value.strip()))
    return Head((int(matched[1]), int(matched[2])), int(matched[3]), (matched[4] or "").strip(), tuple(headers))
