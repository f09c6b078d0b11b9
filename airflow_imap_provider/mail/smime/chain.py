"""Whether a signer's certificate is believed: a chain to a trusted issuer (RFC 5280), and what it is for (RFC 8550).

The chain is built and checked by cryptography's verifier; what is asked of a certificate for mail is said here, since
the verifier by itself asks for what web servers need. No network: nothing is fetched, so nobody is asked whether a
certificate was revoked.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from airflow_imap_provider.connection.unreadable import UNREADABLE

__all__ = ["addresses_of", "chain_problem", "key_problem"]

CHAIN_DEPTH = 8
"""Certificates between the signer's and the trusted one. Public authorities have one or two."""

SMALLEST_RSA = 2048
"""Bits of an RSA key; the verifier asks for as many (and so does RFC 8551, section 4.4, of new signatures)."""

STORES_KEPT = 16
"""Sets of trusted issuers kept ready. The system's have about 140 certificates, and reading them takes 10 ms."""

_FOR_MAIL = frozenset({ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


def addresses_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the mail addresses that a certificate names: the alternative names', else those in its subject."""
    found: list[str] = []
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found += names.get_values_for_type(x509.RFC822Name)
    except x509.ExtensionNotFound:
        found += [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)]
    return tuple(dict.fromkeys(found))


def key_problem(certificate: x509.Certificate) -> str:
    """Say why a key is too weak to be believed; empty if it is not."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA:
        return f"the signer's RSA key has {key.key_size} bits, and {SMALLEST_RSA} is the least that is believed"
    return ""


def chain_problem(
    certificate: x509.Certificate, others: Sequence[x509.Certificate], trusted: Sequence[bytes], at: datetime
) -> tuple[str, str]:
    """Say why a signer's certificate is not believed.

    :param certificate: the signer's.
    :param others: those that came with it; they may lead to a trusted one and are not trusted themselves.
    :param trusted: the trusted issuers' certificates, DER.
    :param at: the moment at which all of the chain must have been valid; aware.
    :returns: a state of a signature and a reason; both empty if it is believed.
    """
    if not isinstance(certificate.public_key(), (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)):
        return "unsupported", "no chain to a trusted issuer is built for this kind of key"
    if not trusted:
        return "untrusted", "there are no trusted issuers"
    store = _store(tuple(trusted))
    if store is None:
        return "untrusted", "none of the trusted issuers' certificates can be read"
    problem = _verified(certificate, others, store, at)
    if not problem:
        return "", ""
    # The verifier does not say that it is the time; so it is asked about one at which all may have been valid.
    moment = min(each.not_valid_after_utc for each in (certificate, *others))
    for then in dict.fromkeys((moment, certificate.not_valid_after_utc)):
        if not _verified(certificate, others, store, then):
            begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            who = "a certificate of the signer's issuers" if begin <= at <= end else "the signer's certificate"
            return "expired", f"{who} was not valid on {at:%Y-%m-%d}, when the mail was received"
    return "untrusted", f"no trusted issuer vouches for the signer's certificate: {problem}"


def _verified(certificate: x509.Certificate, others: Sequence[x509.Certificate], store: Store, at: datetime) -> str:
    """Return why there is no chain, empty if there is one."""
    builder = PolicyBuilder().store(store).time(at.astimezone(timezone.utc)).max_chain_depth(CHAIN_DEPTH)
    builder = builder.extension_policies(ca_policy=_issuer_policy(), ee_policy=_signer_policy())
    try:
        found = builder.build_client_verifier().verify(certificate, list(others))
        return _beyond_constraints(found.chain)
    except VerificationError as error:
        return str(error).partition(" (encountered")[0][:200]
    except UNREADABLE as error:
        return f"a certificate cannot be read ({type(error).__name__})"


def _beyond_constraints(chain: Sequence[x509.Certificate]) -> str:
    """Say why constraints of the issuers' names (RFC 5280, section 4.2.1.10) cannot have been kept; empty if they were.

    The verifier applies them to alternative names alone. A certificate without any names its addresses in the subject,
    to which those for addresses would have to be applied: such a signer is believed only if no issuer up to the trusted
    one is constrained. Certificates with addresses in the subject are of a time before such issuers.
    """
    signer, *issuers = chain
    if not _has(signer, x509.SubjectAlternativeName) and any(_has(each, x509.NameConstraints) for each in issuers):
        return "an issuer may vouch for certain names alone, and the certificate has its address in the subject only"
    return ""


def _has(certificate: x509.Certificate, extension: type[x509.ExtensionType]) -> bool:
    return any(each.oid == extension.oid for each in certificate.extensions)


@lru_cache(maxsize=STORES_KEPT)
def _store(trusted: tuple[bytes, ...]) -> Store | None:
    certificates = []
    for each in trusted:
        try:
            with warnings.catch_warnings():
                # Some of the system's are older than the rules for serial numbers, which is nobody's business here.
                warnings.simplefilter("ignore", CryptographyDeprecationWarning)
                certificates.append(x509.load_der_x509_certificate(each))
        except UNREADABLE:
            continue
    return Store(certificates) if certificates else None


# -- what is asked of certificates -------------------------------------------------------------------------------------


def _signer_policy() -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_mail)
    )


def _issuer_policy() -> ExtensionPolicy:
    # Whose basic constraints are missing is no authority, except for the ancient ones that are trusted themselves;
    # those are not worth the doubt.
    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs_certificates)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_mail)
    )


def _signs(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise ValueError("the certificate's key is not for signatures")


def _signs_certificates(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the issuer's key is not for certificates")


def _is_authority(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("the issuer is no certificate authority")


def _is_for_mail(_: Policy, __: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and not _FOR_MAIL & set(usage):
        raise ValueError("the certificate is not for mail (emailProtection)")
