"""From a part on the server to decoded chunks, in constant memory, and what was learnt on the way.

The transfer encodings are decoded piece by piece, with the same tolerance and the same result as
:func:`~airflow_imap_provider.mail.transfer.decode_transfer` gives for the whole. Where the bytes go is not known here.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from airflow_imap_provider.errors import CutOffError, ImapError
from airflow_imap_provider.mail.mime_fields import mime_fields
from airflow_imap_provider.mail.structure import read_structure
from airflow_imap_provider.mail.transfer import Base64Decoder, decode_quoted_printable
from airflow_imap_provider.mail.uuencoding import UUENCODINGS, uudecoded
from airflow_imap_provider.transport.limits import SURELY
from airflow_imap_provider.transport.session import Session

__all__ = ["Measured", "decoded", "download", "part_content", "transferred"]

log = logging.getLogger(__name__)

PROGRESS = 16 * 1024 * 1024
"""Bytes of a download between two lines in the log; most attachments are smaller and cause none."""

TAIL = 16 * 1024
"""Bytes at the end of a mail in which its closing boundary is looked for: list servers write footers behind it."""

LONGEST_LINE = 64 * 1024
"""Bytes of a quoted-printable line that are kept back until its end comes. RFC 2045 allows 76."""


def download(session: Session, uid: int, part: str, encoding: str, *, octets: int = 0) -> Generator[bytes, None, None]:
    """Yield the decoded content of a part of a mail in the open folder.

    Until the generator ends or is closed the session takes no other command.

    :param part: the part's number; empty for the mail itself, as it is.
    :param encoding: its transfer encoding.
    :param octets: its size as the server tells it, for the log and to judge the end; 0 if unknown.
    :raises CutOffError: far less comes than was announced, and nothing shows that it is all.
    :raises ImapError: the mail is gone, the connection ends, or of the mail itself nothing comes.
    """
    with closing(transferred(session, uid, part, octets=octets)) as pieces:
        yield from decoded(pieces, encoding)


def transferred(session: Session, uid: int, part: str, *, octets: int = 0) -> Generator[bytes, None, None]:
    """Yield the content of a part as it is transferred; the same as :func:`download` in all else."""
    given, tail = 0, b""
    try:
        with closing(session.fetch_part(uid, part, octets=octets)) as pieces:
            for piece in _watched(pieces, uid, part, octets):
                given += len(piece)
                tail = (tail + piece[-TAIL:])[-TAIL:]
                yield piece
    except CutOffError as error:
        if part or not _is_all(session, uid, given, tail):
            raise
        log.warning("The source of mail %s is whole as its parts show, although %s", uid, error.problem)
    # A part may be empty; of a mail at least a header comes. Who took nothing for it would delete what was not kept.
    if not given and not part and (octets or not _is_empty(session, uid)):
        raise ImapError(
            f"the server tells of mail {uid} and does not give it: its answer is OK and empty.",
            stage="fetch",
            remedy="Try again; if that does not help, look at the mail in a mail program: the server's storage may "
            "have lost it.",
        )


def _is_empty(session: Session, uid: int) -> bool:
    """Ask for the size of a mail, if it was not told: a storage that was full may have left an empty one."""
    answer: Mapping[bytes, Any] = session.fetch([uid], ["RFC822.SIZE"]).get(uid, {})
    return answer.get(b"RFC822.SIZE") == 0


def _is_all(session: Session, uid: int, given: int, tail: bytes) -> bool:
    """Tell whether a mail is whole that has far less than its RFC822.SIZE.

    Exchange reckons that one without writing the mail, unless its operator wants the exact one; for the structure it
    has to write it.
    A multipart is whole if it is closed, any other mail if its header and its one part are as long as they are told.

    :param given: how many bytes of it came, :param tail: and the last of them.
    """
    answer: Mapping[bytes, Any] = session.fetch([uid], ["BODYSTRUCTURE", "BODY.PEEK[HEADER]"]).get(uid, {})
    header = answer.get(b"BODY[HEADER]")
    if not isinstance(header, bytes):
        return False
    if boundary := mime_fields(header, b"text/plain").boundary:
        return b"\n--" + boundary + b"--" in tail
    only = read_structure(answer.get(b"BODYSTRUCTURE"), "").only
    return only is not None and only.octets > 0 and given >= SURELY * (len(header) + only.octets)


def part_content(session: Session, uid: int, part: str, encoding: str, *, octets: int = 0) -> bytes:
    """Return the decoded content of a part; needs little more memory than that."""
    content = bytearray()
    with closing(download(session, uid, part, encoding, octets=octets)) as chunks:
        for chunk in chunks:
            content += chunk
    return bytes(content)


def _watched(pieces: Iterable[bytes], uid: int, part: str, octets: int) -> Iterator[bytes]:
    """Yield the raw pieces, telling the log how far a large one is and whether all came that was announced."""
    received, told = 0, 0
    for piece in pieces:
        received += len(piece)
        if received - told >= PROGRESS:
            told = received
            log.info("%s of mail %s: %s MiB of about %s", _part(part), uid, received >> 20, octets >> 20)
        yield piece
    if received < octets:
        # Sizes that servers tell are not to be trusted (Exchange reckons them), so this is no error.
        log.warning("%s of mail %s: the server announced %s bytes and gave %s", _part(part), uid, octets, received)


def _part(part: str) -> str:
    return f"part {part}" if part else "the source"


def decoded(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Decode a transfer encoding piece by piece; an unknown one is taken for none.

    :param pieces: of any length; closed at the end if it is a generator.
    """
    name = encoding.strip().lower()
    if name == "base64":
        return _base64(pieces)
    if name == "quoted-printable":
        return _quoted_printable(pieces)
    if name in UUENCODINGS:
        return uudecoded(pieces)
    return iter(pieces)


def _base64(pieces: Iterable[bytes]) -> Iterator[bytes]:
    decoder = Base64Decoder()
    for piece in pieces:
        if content := decoder.feed(piece):
            yield content
    if content := decoder.feed(b"", last=True):
        yield content


def _quoted_printable(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        rest += piece
        cut = rest.rfind(b"\n") + 1
        if not cut and len(rest) > LONGEST_LINE:
            # Not within an escape: =3D and a soft line break, = at the end, stay whole.
            escape = rest.rfind(b"=", len(rest) - 3)
            cut = escape if escape > 0 else len(rest)
        if cut:
            yield decode_quoted_printable(rest[:cut])
            rest = rest[cut:]
    if rest:
        yield decode_quoted_printable(rest)


class Measured:
    """Chunks that pass through, and are counted and hashed.

    :ivar size: bytes so far.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.size = 0
        self._chunks = chunks
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            self._digest.update(chunk)
            yield chunk

    @property
    def sha256(self) -> str:
        """Hexadecimal, of what has passed so far."""
        return self._digest.hexdigest()
