"""Checking the signatures of one layer: SignedData (RFC 5652, section 5), as RFC 8551 asks of mail.

First whether the content is as it was signed, then whether the signer is who the mail says: the certificate's chain,
its time, and the addresses that it names.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from airflow_imap_provider.connection.unreadable import UNREADABLE
from airflow_imap_provider.mail.charsets import one_line
from airflow_imap_provider.mail.smime.chain import addresses_of, chain_problem, key_problem
from airflow_imap_provider.mail.smime.decrypting import means
from airflow_imap_provider.mail.smime.digests import WEAK, digest_named
from airflow_imap_provider.mail.smime.errors import DamagedError, UnsupportedError
from airflow_imap_provider.mail.smime.outcome import SignatureOutcome

__all__ = ["Trust", "verified"]

SIGNERS_LIMIT = 8
"""Signers of one layer that are looked at; mail has one, seldom two with different algorithms."""

CERTIFICATES_LIMIT = 50
"""Certificates of one layer that are looked at; mail has up to five."""

NAME_LENGTH = 300
"""Characters kept of a name in a certificate."""

ADDRESSES_LIMIT = 50
"""Addresses of a certificate that are looked at."""

_SET_OF = b"\x31"


@dataclass(frozen=True)
class Trust:
    """Whom to believe.

    :param issuers: the trusted issuers' certificates, DER.
    :param senders: the addresses of the mail's authors, each of which a certificate must name.
    :param at: when the mail was received; certificates must have been valid then. Aware.
    """

    issuers: Sequence[bytes]
    senders: Collection[str]
    at: datetime


def verified(signed: Any, contents: Sequence[bytes], trust: Trust) -> list[SignatureOutcome]:
    """Return an outcome for each signer.

    :param signed: the SignedData.
    :param contents: the signed content; the forms in which it may have been signed, of which one must fit.
    :param trust: whom to believe.
    """
    certificates = _certificates(signed)
    infos = signed["signer_infos"]
    outcomes = []
    for number in range(min(len(infos), SIGNERS_LIMIT)):
        try:
            outcomes.append(_verified(signed, infos[number], certificates, contents, trust))
        except UNREADABLE as error:
            problem = f"the signature cannot be read ({type(error).__name__})"
            outcomes.append(SignatureOutcome("invalid", reason=problem))
    return outcomes


def _certificates(signed: Any) -> list[x509.Certificate]:
    found = []
    present = signed["certificates"]
    for number in range(min(len(present), CERTIFICATES_LIMIT)):
        if present[number].name == "certificate":
            try:
                found.append(x509.load_der_x509_certificate(present[number].chosen.dump()))
            except UNREADABLE:
                continue  # one that leads nowhere is as good as none
    return found


def _verified(
    signed: Any, info: Any, certificates: Sequence[x509.Certificate], contents: Sequence[bytes], trust: Trust
) -> SignatureOutcome:
    certificate = next((each for each in certificates if means(info["sid"], each)), None)
    if certificate is None:
        return SignatureOutcome("untrusted", reason="the signer's certificate is not in the mail")
    signer = _Described(certificate, _signed_at(info))
    try:
        weak = _check_signature(signed, info, certificate, contents) or key_problem(certificate)
    except InvalidSignature:
        return signer.told("invalid", "the signature does not fit: it, or what was signed, was changed")
    except DamagedError as error:
        return signer.told("invalid", str(error))
    except UnsupportedError as error:
        return signer.told("unsupported", str(error))
    if weak:
        return signer.told("weak", weak)
    others = [each for each in certificates if each is not certificate]
    state, reason = chain_problem(certificate, others, trust.issuers, trust.at)
    if state:
        return signer.told(state, reason)
    named = {address.lower() for address in signer.addresses}
    if not trust.senders or not named.issuperset(each.lower() for each in trust.senders):
        who = ", ".join(signer.addresses[:3]) or "nobody"
        return signer.told("other-sender", f"the certificate names {who}, and not every author of the mail")
    return signer.told("valid", "")


class _Described:
    """The signer as the certificate names it."""

    def __init__(self, certificate: x509.Certificate, signed_at: datetime | None) -> None:
        self.addresses = tuple(one_line(each)[:NAME_LENGTH] for each in addresses_of(certificate)[:ADDRESSES_LIMIT])
        self._subject = one_line(certificate.subject.rfc4514_string())[:NAME_LENGTH]
        self._issuer = one_line(certificate.issuer.rfc4514_string())[:NAME_LENGTH]
        self._signed_at = signed_at

    def told(self, state: str, reason: str) -> SignatureOutcome:
        return SignatureOutcome(
            state, self.addresses, self._subject, self._issuer, self._signed_at, one_line(reason)[:NAME_LENGTH]
        )


# -- the signature itself ----------------------------------------------------------------------------------------------


def _check_signature(signed: Any, info: Any, certificate: x509.Certificate, contents: Sequence[bytes]) -> str:
    """Check that the content is as it was signed.

    :returns: why that proves little; empty if it proves it.
    :raises InvalidSignature: the signature does not fit.
    :raises DamagedError: the content does not.
    :raises UnsupportedError: it is made in a way that is not known here.
    """
    name = info["digest_algorithm"]["algorithm"].native
    if name in WEAK and name != "sha1":
        return f"the digest is {name.upper()}, which can be forged"
    digest = digest_named(name)
    if digest is None:
        raise UnsupportedError(f"the digest {name!s:.60} is not known here")
    attributes = info["signed_attrs"]
    if attributes.native is None:
        if signed["encap_content_info"]["content_type"].native != "data":
            raise DamagedError("the signature has no attributes, and what it signs needs them")
        if any(content.startswith(_SET_OF) for content in contents):
            # What somebody signed with attributes could be passed off as a content that was signed without.
            raise DamagedError("the signature has no attributes, and the content looks like attributes")
        problem: InvalidSignature | None = None
        for content in contents:
            try:
                weak = _check(info, certificate, content, digest)
            except InvalidSignature as error:
                problem = error
            else:
                return weak
        raise problem or InvalidSignature
    _check_attributes(signed, attributes, contents, digest)
    # They are signed as the SET OF that they are, not with the tag that they have here (RFC 5652, section 5.4).
    return _check(info, certificate, _SET_OF + attributes.dump()[1:], digest)


def _check_attributes(signed: Any, attributes: Any, contents: Sequence[bytes], digest: hashes.HashAlgorithm) -> None:
    values: dict[str, list[Any]] = {}
    for attribute in attributes:
        values.setdefault(attribute["type"].native, []).extend(attribute["values"])
    types, digests = values.get("content_type", []), values.get("message_digest", [])
    if len(types) != 1 or types[0].native != signed["encap_content_info"]["content_type"].native:
        raise DamagedError("the signature is for another type of content")
    if len(digests) != 1:
        raise DamagedError("the signature has no digest of the content, or several")
    if not any(hmac.compare_digest(digests[0].native, _digest(content, digest)) for content in contents):
        raise DamagedError("the text was changed after it was signed")


def _digest(content: bytes, digest: hashes.HashAlgorithm) -> bytes:
    hashing = hashes.Hash(digest)
    hashing.update(content)
    return hashing.finalize()


def _check(info: Any, certificate: x509.Certificate, data: bytes, digest: hashes.HashAlgorithm) -> str:
    algorithm, signature = info["signature_algorithm"], info["signature"].native
    name = algorithm["algorithm"].native
    key = certificate.public_key()
    used = digest
    if isinstance(key, ec.EllipticCurvePublicKey) and "ecdsa" in name:
        used = _own_digest(name, digest)
        key.verify(signature, data, ec.ECDSA(used))
    elif isinstance(key, rsa.RSAPublicKey) and name == "rsassa_pss":
        used = _check_pss(key, signature, data, algorithm["parameters"])
    elif isinstance(key, rsa.RSAPublicKey) and (name.endswith("_rsa") or name in ("rsassa_pkcs1v15", "rsa")):
        used = _own_digest(name, digest)
        key.verify(signature, data, padding.PKCS1v15(), used)
    else:
        raise UnsupportedError(f"a signature by {name!s:.60} with this kind of key is not known here")
    weak = {digest.name, used.name} & WEAK
    return f"the digest is {weak.pop().upper()}, which can be forged" if weak else ""


def _check_pss(key: rsa.RSAPublicKey, signature: bytes, data: bytes, parameters: Any) -> hashes.HashAlgorithm:
    digest = digest_named(parameters["hash_algorithm"]["algorithm"].native)
    masking = digest_named(parameters["mask_gen_algorithm"]["parameters"]["algorithm"].native)
    if digest is None or masking is None:
        raise UnsupportedError("a signature by RSA-PSS with a digest that is not known here")
    key.verify(signature, data, padding.PSS(padding.MGF1(masking), parameters["salt_length"].native), digest)
    return digest


def _own_digest(name: str, digest: hashes.HashAlgorithm) -> hashes.HashAlgorithm:
    """Return the digest that a signature algorithm names, which wins over the one that is told besides."""
    prefix = name.split("_", maxsplit=1)[0]
    if prefix in ("md5", "md2"):
        raise UnsupportedError(f"the digest is {prefix.upper()}, which can be forged")
    return digest_named(prefix) or digest


def _signed_at(info: Any) -> datetime | None:
    if info["signed_attrs"].native is None:
        return None
    for attribute in info["signed_attrs"]:
        if attribute["type"].native == "signing_time" and len(attribute["values"]) == 1:
            moment = attribute["values"][0].native
            return moment.astimezone(timezone.utc) if isinstance(moment, datetime) else None
    return None
