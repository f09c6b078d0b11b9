"""The algorithms by their object identifiers, as far as they are known here, and which of them are too weak."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes

__all__ = ["WEAK", "digest_named"]

_DIGESTS: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}

WEAK = frozenset({"md2", "md4", "md5", "sha1"})
"""Digests of which two different texts with the same one were made. Never good enough for a signature; within key
derivation and OAEP SHA-1 is harmless."""


def digest_named(name: str) -> hashes.HashAlgorithm | None:
    """Return a digest by asn1crypto's name for it, ``None`` if it is not known here."""
    kind = _DIGESTS.get(name)
    return kind() if kind else None
