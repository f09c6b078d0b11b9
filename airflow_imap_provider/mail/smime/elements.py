"""How many elements ASN.1 data has, before anything is made of it.

asn1crypto makes an object of each element that it meets, a few microseconds and half a kilobyte each. A mail of 16 MB
may be made of millions of empty ones, which would take a quarter of a minute and gigabytes.
"""

from __future__ import annotations

from airflow_imap_provider.mail.smime.errors import DamagedError

__all__ = ["ELEMENTS_LIMIT", "check_elements"]

ELEMENTS_LIMIT = 50_000
"""Elements that are read. A mail for a thousand recipients has 15,000; one of 16 MB that was written as a stream, in
pieces of a kilobyte, has as many."""

_CONSTRUCTED = 0x20
_LONG_TAG = 0x1F


def check_elements(data: bytes) -> None:
    """Walk over the elements (X.690, section 8.1) without building anything.

    :param data: BER or DER; where it is none the walk ends, and the parser says so.
    :raises DamagedError: there are more than :data:`ELEMENTS_LIMIT`.
    """
    at, end = 0, len(data)
    for _ in range(ELEMENTS_LIMIT):
        if at + 1 >= end:
            return
        tag = data[at]
        at += 1
        if tag & _LONG_TAG == _LONG_TAG:
            while at < end and data[at] & 0x80:
                at += 1
            at += 1
            if at >= end:
                return
        length = data[at]
        at += 1
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        # What is constructed is walked through; its end needs no notice, for what follows is an element again.
        if not tag & _CONSTRUCTED:
            at += length
    raise DamagedError(f"the S/MIME content has more than {ELEMENTS_LIMIT} elements")
