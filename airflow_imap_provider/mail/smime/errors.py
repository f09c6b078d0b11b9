"""What may go wrong inside: how a stranger's bytes fail to be read, and the two ways in which a layer ends.

None of these leaves the room: what is told outside is an outcome.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidKey, InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning

__all__ = ["UNREADABLE", "DamagedError", "UnsupportedError"]

UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    UnsupportedAlgorithm,
    InvalidKey,
    InvalidSignature,
    InvalidTag,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,
)
"""What asn1crypto and cryptography raise on bytes that are not what they say to be. asn1crypto reads lazily and calls
itself for each level, so any access may raise, and anything of a tree may be missing or of another kind. The warning is
about certificates that break the rules, for where warnings are errors."""


class UnsupportedError(Exception):
    """It is made in a way that is not known here."""


class DamagedError(Exception):
    """It is not what it says to be."""
