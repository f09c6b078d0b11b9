"""How a stranger's certificates and keys fail to be read: a server's, a mail's, and those in our own fields.

Import it when a session is opened, not when settings are parsed: it needs cryptography.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidKey, InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning

__all__ = ["UNREADABLE"]

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
