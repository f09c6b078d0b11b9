"""Mutations of the corpus by a seed: what happens to mail on its way, at random. The same seed gives the same mail."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tests.mail.corpus.kinds import KINDS

__all__ = ["mutations"]

SEED_LIMIT = 64 * 1024
"""Bytes of the mails that are mutated; of longer ones the beginning. What is hard about them is their length."""

WORDS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"--corpus",
        b"--corpus--",
        b"=?utf-8?B?",
        b"?=",
        b'"',
        b"\\",
        b"(",
        b")",
        b"<",
        b">",
    ),
    *(
        b";",
        b":",
        b",",
        b"=",
        b"*0*=",
        b"utf-8''",
        b"%",
        b"\xff",
        b"\xed\xa0\x80",
        b"\r\n\r\n",
        b"\r\n ",
        b"From ",
        b"@",
    ),
    *(b"Content-Type: multipart/mixed; boundary=", b"Content-Type: message/rfc822\r\n\r\n", b"charset=utf-16"),
    *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Disposition: attachment\r\n", b"filename*=", b"&#", b"<!--"),
)


def _cut(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def _drop(raw: bytes, rng: random.Random) -> bytes:
    begin = rng.randrange(len(raw) + 1)
    return raw[:begin] + raw[begin + rng.randrange(1, 200) :]


def _insert(raw: bytes, rng: random.Random) -> bytes:
    begin = rng.randrange(len(raw) + 1)
    return raw[:begin] + rng.choice(WORDS) * rng.choice((1, 1, 1, 2, 50)) + raw[begin:]


def _flip(raw: bytes, rng: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.randrange(1, 20)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _repeat(raw: bytes, rng: random.Random) -> bytes:
    begin = rng.randrange(len(raw) + 1)
    piece = raw[begin : begin + rng.randrange(1, 500)]
    return raw[:begin] + piece * rng.choice((2, 3, 20)) + raw[begin:]


def _lines(raw: bytes, rng: random.Random) -> bytes:
    lines = raw.split(b"\r\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def _splice(raw: bytes, rng: random.Random) -> bytes:
    other = rng.choice(KINDS).raw[:SEED_LIMIT]
    begin = rng.randrange(len(other) + 1)
    return raw[: rng.randrange(len(raw) + 1)] + other[begin:]


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_cut, _drop, _insert, _flip, _repeat, _lines, _splice)


def mutations(count: int, seed: int = 4711) -> Iterator[tuple[int, bytes]]:
    """Yield so many mutated mails with the seed of each, which makes it again: ``mutations(1, seed)``."""
    for number in range(seed, seed + count):
        rng = random.Random(number)
        raw = rng.choice(KINDS).raw[:SEED_LIMIT]
        for _ in range(rng.choice((1, 1, 2, 3, 6))):
            raw = rng.choice(CHANGES)(raw, rng)
        yield number, raw
