"""What signs an assertion: the application's certificate with its key, or a Google service account's JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from airflow_imap_provider.connection.keys import MAX_FILE_BYTES, is_bare_key, key_file
from airflow_imap_provider.connection.material import is_path
from airflow_imap_provider.connection.material import pkcs12 as packed
from airflow_imap_provider.connection.shown_path import shown_path
from airflow_imap_provider.connection.unreadable import UNREADABLE
from airflow_imap_provider.errors import SettingsError

__all__ = ["ServiceAccount", "SigningKey", "application_key", "service_account"]

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_KEY_BLOCK = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_CERTIFICATE_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_DER = b"\x30"
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True)
class SigningKey:
    """A private key with the certificate that makes it known.

    :param algorithm: its name in a JWT (RFC 7518 section 3.1).
    :param certificate: ``None`` if there is none with it.
    """

    key: PrivateKey = field(repr=False)
    algorithm: str
    certificate: x509.Certificate | None


@dataclass(frozen=True)
class ServiceAccount:
    """What Google's JSON says about a service account.

    :param endpoint: the token endpoint that it names; empty if it names none.
    """

    email: str
    key: PrivateKey = field(repr=False)
    algorithm: str
    key_id: str
    endpoint: str


def application_key(material: str) -> SigningKey:
    """The application's key.

    :param material: a path, PEM text, or PKCS#12 as base64.
    :raises SettingsError: it cannot be read.
    """
    content = _content(material)
    if content.startswith(_DER):
        key, certificates = _open_pkcs12(content)
    else:
        if content.lstrip().startswith(b"{"):
            raise _unreadable("it is a service account's JSON, which belongs to Method Google service account.")
        found = _KEY_BLOCK.search(content)
        if found is None:
            raise _unreadable("there is no private key in it.")
        key, certificates = _open_pem(found.group()), _certificates(content)
    public = key.public_key()
    # The issuers' certificates may stand with it, in any order.
    mine = next((certificate for certificate in certificates if _key_of(certificate) == public), None)
    if certificates and mine is None:
        raise _unreadable("key and certificate do not belong together.")
    return SigningKey(key, _algorithm(key), mine)


def service_account(material: str) -> ServiceAccount:
    """A Google service account.

    :param material: a path, or the JSON.
    :raises SettingsError: it is something else, or incomplete.
    """
    account = _account(_content(material))
    key = _open_pem(account["private_key"].encode("utf-8", "replace"))
    return ServiceAccount(
        account["client_email"],
        key,
        _algorithm(key),
        account.get("private_key_id", ""),
        account.get("token_uri", ""),
    )


def _account(content: bytes) -> dict[str, str]:
    account = None
    try:
        account = json.loads(content)
    except (ValueError, RecursionError):
        # The parser's error holds the whole text, so it is not the context of the one below.
        account = None
    if not isinstance(account, dict):
        raise _unreadable("it is no service account's JSON.")
    texts = {name: value for name, value in account.items() if isinstance(value, str)}
    if not texts.get("client_email") or not texts.get("private_key"):
        raise _unreadable("the JSON is no service account's key: client_email or private_key is missing.")
    return texts


def _content(material: str) -> bytes:
    if (data := packed(material)) is not None:
        return data
    if not is_path(material):
        return material.encode("utf-8", "replace")
    content, problem = key_file(material)
    if problem:
        raise _unreadable(f"{shown_path(material)} cannot be read ({problem}).")
    if len(content) > MAX_FILE_BYTES:
        raise _unreadable(f"{shown_path(material)} is larger than any key.")
    return content


def _open_pkcs12(data: bytes) -> tuple[PrivateKey, list[x509.Certificate]]:
    try:
        bundle = pkcs12.load_pkcs12(data, None)
    except UnsupportedAlgorithm:
        raise _unreadable("the PKCS#12 is encrypted in a way that is not known here.") from None
    except ValueError:
        if is_bare_key(data, None):
            raise _unreadable(
                "it is a key in DER: write it as PEM by openssl pkey -inform DER -in app.key -out app.pem."
            ) from None
        raise _unreadable(
            "the PKCS#12 is damaged, or has a passphrase, for which there is no field: "
            "write it without one by openssl pkcs12 -in app.p12 -nodes -out app.pem."
        ) from None
    except UNREADABLE:
        raise _unreadable("a certificate in the PKCS#12 is of a kind that is not known here.") from None
    if bundle.key is None:
        raise _unreadable("the PKCS#12 has no private key in it.")
    entries = [bundle.cert, *bundle.additional_certs] if bundle.cert is not None else bundle.additional_certs
    return _usable(bundle.key), [entry.certificate for entry in entries]


def _open_pem(block: bytes) -> PrivateKey:
    try:
        key = load_pem_private_key(block, None)
    except UnsupportedAlgorithm:
        raise _unreadable("the key is of a kind that is not known here.") from None
    except TypeError:
        raise _unreadable(
            "the key is encrypted, and there is no field for its passphrase: write it without one by openssl pkey."
        ) from None
    except ValueError:
        raise _unreadable("the key is damaged.") from None
    return _usable(key)


def _usable(key: object) -> PrivateKey:
    if isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
        return key
    raise _unreadable("only RSA, EC and Ed25519 keys sign tokens.")


def _algorithm(key: PrivateKey) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if (name := _CURVES.get(key.curve.name)) is None:
        raise _unreadable(f"keys on the curve {key.curve.name} sign no tokens.")
    return name


def _certificates(content: bytes) -> list[x509.Certificate]:
    try:
        return [x509.load_pem_x509_certificate(found.group()) for found in _CERTIFICATE_BLOCK.finditer(content)]
    except UNREADABLE:
        raise _unreadable("the certificate is damaged, or of a kind that is not known here.") from None


def _key_of(certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except UNREADABLE:
        return None


def _unreadable(problem: str) -> SettingsError:
    return SettingsError(
        f"Authentication, OAuth: private key (oauth_private_key): {problem}",
        stage="settings",
        remedy="Give the application's certificate with its key, or a Google service account's JSON. The certificate "
        "is PEM (a path on this machine, or the text), or PKCS#12 without a passphrase (a path, or base64).",
    )
