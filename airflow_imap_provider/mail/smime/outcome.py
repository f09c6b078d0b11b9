"""What was found of a mail's signatures and encryption: plain data, light to import."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

__all__ = ["ENCRYPTION_STATES", "SIGNATURE_STATES", "SignatureOutcome", "SmimeOutcome", "best", "capped"]

SIGNATURE_STATES = (
    "valid",
    "other-sender",
    "expired",
    "untrusted",
    "weak",
    "unsupported",
    "partial",
    "invalid",
)
"""What a signature can be, best first. Of several signatures of a mail the best one counts: each covers all of it.
Where one does not fit, those within it are invalid, too: nobody knows what came to stand around them.

- ``valid``: the text is as it was signed, the certificate is for mail, was valid when the mail was received, comes from
  a trusted issuer and names every author of the mail.
- ``other-sender``: all of that, but the certificate is somebody else's.
- ``expired``: the certificate, or one of its issuers', was not valid (any more, or yet) when the mail was received.
- ``untrusted``: no trusted issuer vouches for the certificate, or it is not for mail.
- ``weak``: the digest (MD5, SHA-1) or the key can be forged.
- ``unsupported``: it is made in a way that is not known here, or too large.
- ``partial``: only a part of the mail is signed: anything may stand around it.
- ``invalid``: the text or the signature was changed, or is damaged, or something stands beside them.
"""

ENCRYPTION_STATES = ("opened", "no-key", "unsupported", "damaged")
"""What can come of an encrypted mail: it was opened; none of the connection's keys is one that it was encrypted for; it
is encrypted in a way that is not known here; the key fits and the content does not."""


@dataclass(frozen=True)
class SignatureOutcome:
    """One signature.

    :param state: one of :data:`SIGNATURE_STATES`.
    :param addresses: the mail addresses that the signer's certificate names.
    :param subject: whom it names otherwise, as in RFC 4514.
    :param issuer: who issued it, likewise.
    :param signed_at: when the signer claims to have signed, in UTC; nothing is decided by it.
    :param reason: why it is not valid, in one sentence.
    """

    state: str
    addresses: tuple[str, ...] = ()
    subject: str = ""
    issuer: str = ""
    signed_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True)
class SmimeOutcome:
    """What came of a mail that says to be signed or encrypted.

    :param encryption: one of :data:`ENCRYPTION_STATES`; empty if it is not encrypted as a whole. Of several layers the
        one that could not be opened.
    :param signatures: those of the whole mail, outermost first; there may be one more behind what cannot be opened.
    :param problem: why not all could be looked at; empty if it could.
    """

    encryption: str = ""
    signatures: tuple[SignatureOutcome, ...] = ()
    problem: str = ""

    @property
    def signature(self) -> str:
        """The state of the best signature; empty if there is none."""
        return self.best.state if self.best else ""

    @property
    def best(self) -> SignatureOutcome | None:
        """The signature that counts."""
        return best(self.signatures)

    @property
    def signers(self) -> tuple[str, ...]:
        """The addresses of those who signed validly."""
        valid = (each.addresses for each in self.signatures if each.state == "valid")
        return tuple(dict.fromkeys(address for addresses in valid for address in addresses))


def best(signatures: Iterable[SignatureOutcome]) -> SignatureOutcome | None:
    """Return the signature with the best state, of equal ones the first."""
    return min(signatures, key=lambda each: SIGNATURE_STATES.index(each.state), default=None)


def capped(signatures: Iterable[SignatureOutcome], state: str, reason: str) -> tuple[SignatureOutcome, ...]:
    """Return signatures of which none is in a better state than this one."""
    worst = SIGNATURE_STATES.index(state)
    return tuple(
        replace(each, state=state, reason=reason) if SIGNATURE_STATES.index(each.state) < worst else each
        for each in signatures
    )
