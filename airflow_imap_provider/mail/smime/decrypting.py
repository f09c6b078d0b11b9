"""Opening one layer of encryption: EnvelopedData (RFC 5652, section 6) and AuthEnvelopedData (RFC 5083).

Of several recipients the one is taken whose certificate is among ours; the content's key was encrypted for it (RSA) or
agreed on with it (elliptic curves, RFC 5753). A wrong RSA key is not noticed at once: OpenSSL makes up a key instead,
so that nobody learns from the difference, and the content then is rubbish.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from asn1crypto import algos, cms, core
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import load_der_public_key

from airflow_imap_provider.connection.keys import Identity
from airflow_imap_provider.connection.unreadable import UNREADABLE
from airflow_imap_provider.mail.smime.digests import digest_named
from airflow_imap_provider.mail.smime.errors import DamagedError, UnsupportedError

__all__ = ["NoKeyError", "decrypted", "means"]

RECIPIENTS_LIMIT = 1_000
"""Recipients of a mail that are looked at: a mail to a large list has hundreds."""

_CBC_KEYS = {"2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 24, "2.16.840.1.101.3.4.1.42": 32}
_GCM_KEYS = {"2.16.840.1.101.3.4.1.6": 16, "2.16.840.1.101.3.4.1.26": 24, "2.16.840.1.101.3.4.1.46": 32}
_TRIPLE_DES = "1.2.840.113549.3.7"
"""RFC 8551 still names it for old mailers. It protects badly, and opening it gives nothing away."""

_WRAPS = {"2.16.840.1.101.3.4.1.5": 16, "2.16.840.1.101.3.4.1.25": 24, "2.16.840.1.101.3.4.1.45": 32}
"""AES key wraps (RFC 3565) and the bytes of their keys."""

_AGREEMENTS: dict[str, type[hashes.HashAlgorithm]] = {
    "1.3.133.16.840.63.0.2": hashes.SHA1,
    "1.3.132.1.11.0": hashes.SHA224,
    "1.3.132.1.11.1": hashes.SHA256,
    "1.3.132.1.11.2": hashes.SHA384,
    "1.3.132.1.11.3": hashes.SHA512,
}
"""dhSinglePass-stdDH with X9.63's key derivation by its digest (RFC 5753, section 7.1.4)."""


class NoKeyError(Exception):
    """It was encrypted for none of our certificates."""


class _SharedInfo(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """ECC-CMS-SharedInfo (RFC 5753, section 7.2)."""

    _fields = [  # noqa: RUF012 - asn1crypto wants a list
        ("key_info", algos.AlgorithmIdentifier),
        ("entity_u_info", core.OctetString, {"explicit": 0, "optional": True}),
        ("supp_pub_info", core.OctetString, {"explicit": 2}),
    ]


def decrypted(content: cms.ContentInfo, identities: Sequence[Identity]) -> bytes:
    """Return what is within a layer of encryption.

    :param content: whose type is enveloped data or authenticated enveloped data.
    :param identities: the keys to try.
    :raises NoKeyError: it was encrypted for none of them.
    :raises UnsupportedError: in a way that is not known here.
    :raises DamagedError: the key fits and the content does not.
    """
    body = content["content"]
    authenticated = content["content_type"].native == "authenticated_enveloped_data"
    inner = body["auth_encrypted_content_info" if authenticated else "encrypted_content_info"]
    found = False
    problem: Exception = NoKeyError()
    for identity, recipient in _ours(body["recipient_infos"], identities):
        found = True
        try:
            key = recipient(identity)
            return _open(inner, key, body if authenticated else None)
        except (UnsupportedError, DamagedError) as error:
            problem = error
        except UNREADABLE:
            problem = DamagedError("the key fits, and the content is damaged")
    raise problem if found else NoKeyError()


def _ours(recipients: Any, identities: Sequence[Identity]) -> Iterator[tuple[Identity, Any]]:
    """Yield whom of us it was encrypted for, and how that one gets the content's key."""
    for number in range(min(len(recipients), RECIPIENTS_LIMIT)):
        recipient = recipients[number]
        if recipient.name == "ktri":
            transport = recipient.chosen
            for identity in identities:
                if means(transport["rid"], identity.certificate):
                    yield identity, lambda own, info=transport: _transported(info, own)
        elif recipient.name == "kari":
            agreement = recipient.chosen
            for each in agreement["recipient_encrypted_keys"]:
                for identity in identities:
                    if means(each["rid"], identity.certificate):
                        yield identity, lambda own, info=agreement, one=each: _agreed(info, one, own)


def means(rid: Any, certificate: x509.Certificate) -> bool:
    """Tell whether a recipient or signer is meant who has this certificate."""
    if rid.name == "issuer_and_serial_number":
        named = rid.chosen
        same = named["serial_number"].native == certificate.serial_number
        return bool(same and named["issuer"].dump() == certificate.issuer.public_bytes())
    key_id = rid.chosen["subject_key_identifier"] if rid.name == "r_key_id" else rid.chosen
    try:
        own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        own = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    return bool(key_id.native == own)


# -- the content's key -------------------------------------------------------------------------------------------------


def _transported(recipient: Any, identity: Identity) -> bytes:
    private = identity.key
    if not isinstance(private, rsa.RSAPrivateKey):
        raise UnsupportedError("the content's key is encrypted for an RSA key, and the S/MIME key is none")
    encrypted = recipient["encrypted_key"].native
    algorithm = recipient["key_encryption_algorithm"]
    name = algorithm["algorithm"].native
    if name in ("rsaes_pkcs1v15", "rsa"):
        return private.decrypt(encrypted, rsa_padding.PKCS1v15())
    if name != "rsaes_oaep":
        raise UnsupportedError(f"the content's key is encrypted by {name!s:.60}, which is not known here")
    parameters = algorithm["parameters"]
    digest = digest_named(parameters["hash_algorithm"]["algorithm"].native)
    masking = digest_named(parameters["mask_gen_algorithm"]["parameters"]["algorithm"].native)
    if digest is None or masking is None:
        raise UnsupportedError("the content's key is encrypted by OAEP with a digest that is not known here")
    label = parameters["p_source_algorithm"]["parameters"].native
    return private.decrypt(encrypted, rsa_padding.OAEP(rsa_padding.MGF1(masking), digest, label or None))


def _agreed(agreement: Any, recipient: Any, identity: Identity) -> bytes:
    private = identity.key
    algorithm = agreement["key_encryption_algorithm"]
    digest = _AGREEMENTS.get(algorithm["algorithm"].dotted)
    wrap = algos.AlgorithmIdentifier.load(algorithm["parameters"].dump())
    size = _WRAPS.get(wrap["algorithm"].dotted)
    if digest is None or size is None or not isinstance(private, ec.EllipticCurvePrivateKey):
        raise UnsupportedError("the content's key was agreed on in a way that is not known here")
    originator = agreement["originator"].chosen
    if agreement["originator"].name != "originator_key":
        raise UnsupportedError("the content's key was agreed on with a key that is not in the mail")
    public = _point(originator["public_key"].native, private.curve)
    shared_info = _SharedInfo({"key_info": wrap, "supp_pub_info": (size * 8).to_bytes(4, "big")})
    if agreement["ukm"].native is not None:
        shared_info["entity_u_info"] = agreement["ukm"].native
    secret = private.exchange(ec.ECDH(), public)
    wrapping = X963KDF(digest(), size, shared_info.dump()).derive(secret)
    return aes_key_unwrap(wrapping, recipient["encrypted_key"].native)


def _point(encoded: bytes, curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
    if encoded[:1] == b"\x30":
        public = load_der_public_key(encoded)
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise DamagedError("the sender's key is none of an elliptic curve")
        return public
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, encoded)


# -- the content -------------------------------------------------------------------------------------------------------


def _open(inner: Any, key: bytes, authenticated: Any) -> bytes:
    algorithm = inner["content_encryption_algorithm"]
    dotted = algorithm["algorithm"].dotted
    encrypted = bytes(inner["encrypted_content"])
    if authenticated is not None:
        return _open_gcm(algorithm, encrypted, key, authenticated)
    if dotted == _TRIPLE_DES:
        cipher, block = Cipher(TripleDES(_exactly(key, 24)), CBC(algorithm["parameters"].native)), 64
    elif size := _CBC_KEYS.get(dotted):
        cipher, block = Cipher(AES(_exactly(key, size)), CBC(algorithm["parameters"].native)), 128
    else:
        raise UnsupportedError(f"the content is encrypted by {algorithm['algorithm'].native!s:.60}, not known here")
    opener, unpadder = cipher.decryptor(), padding.PKCS7(block).unpadder()
    padded = opener.update(encrypted) + opener.finalize()
    return unpadder.update(padded) + unpadder.finalize()


def _open_gcm(algorithm: Any, encrypted: bytes, key: bytes, body: Any) -> bytes:
    size = _GCM_KEYS.get(algorithm["algorithm"].dotted)
    if size is None:
        raise UnsupportedError("the content is encrypted and authenticated by something else than AES-GCM")
    # GCMParameters (RFC 5084): the nonce, and the length of the tag, which is that of the tag itself.
    nonce = core.Sequence.load(algorithm["parameters"].dump())[0].native
    attributes = body["auth_attrs"]
    # What is authenticated besides is the DER of a SET OF (RFC 5083, section 2.2).
    besides = b"\x31" + attributes.dump()[1:] if attributes.native is not None else None
    tag = body["mac"].native
    if len(tag) < 12:
        raise DamagedError("the content's authentication is too short")  # RFC 5084, section 3.2
    opener = AESGCM(_exactly(key, size))
    if len(tag) == 16:
        return opener.decrypt(nonce, encrypted + tag, besides)
    raise UnsupportedError("the content's authentication is shortened")


def _exactly(key: bytes, size: int) -> bytes:
    if len(key) != size:
        raise DamagedError("the content's key has another length than its cipher's")
    return key
