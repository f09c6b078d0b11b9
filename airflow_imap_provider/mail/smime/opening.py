"""Takes a mail apart, layer by layer: signed, encrypted, compressed, in any order, down to what the sender wrote.

Only layers around the whole mail are looked at. A signed part among others proves nothing of what stands around it,
and whoever puts an old encrypted part into a mail of his own must not get its text told as that mail's. The same goes
for what stands beside a signature: the second part of multipart/signed must be one, and be called one. Nothing here
raises because of a mail's content.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from asn1crypto import cms

from airflow_imap_provider.connection.keys import Identity
from airflow_imap_provider.connection.unreadable import UNREADABLE
from airflow_imap_provider.mail.raw import RAW_LIMIT, Entity, RawMail
from airflow_imap_provider.mail.smime.decrypting import NoKeyError, decrypted
from airflow_imap_provider.mail.smime.elements import check_elements
from airflow_imap_provider.mail.smime.errors import DamagedError, UnsupportedError
from airflow_imap_provider.mail.smime.outcome import SignatureOutcome, SmimeOutcome, best, capped
from airflow_imap_provider.mail.smime.verifying import Trust, verified
from airflow_imap_provider.mail.structure import read_structure
from airflow_imap_provider.mail.transfer import decode_transfer

__all__ = ["Opened", "open_mail"]

LAYERS_LIMIT = 6
"""Layers that are taken off. Signed, encrypted and signed again (RFC 2634's triple wrapping) is three; a gateway and a
compression make five."""

SIGNATURES_LIMIT = 10
"""Signatures of a mail that are told."""

EXPANDED_LIMIT = 4 * RAW_LIMIT
"""Bytes that compressed content may become."""

_PKCS7 = ("application/pkcs7-mime", "application/x-pkcs7-mime")
_SIGNATURES = ("application/pkcs7-signature", "application/x-pkcs7-signature")
_NAMES = (".p7m", ".p7c", ".p7s", ".p7z")
"""How the files of S/MIME end (RFC 8551, section 3.2.1)."""

_LONE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_CONTENT_FIELD = re.compile(rb"(?:content-[!-9;-~]*|mime-version)[ \t]*:", re.IGNORECASE)
_FIELD_LINES = re.compile(rb"[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)")


@dataclass(frozen=True)
class Opened:
    """A mail without its layers.

    :param raw: the mail with its own header and the content that the sender wrote; as it was if nothing was opened.
    :param outcome: what was found.
    :param readable: whether the text is there: no layer is left closed.
    """

    raw: bytes = field(repr=False)
    outcome: SmimeOutcome
    readable: bool


@dataclass
class _Progress:
    signatures: list[SignatureOutcome] = field(default_factory=list)
    encryption: str = ""
    problem: str = ""
    readable: bool = True
    broken: bool = False  # a signature around what comes next does not fit

    def signed(self, signatures: Sequence[SignatureOutcome]) -> None:
        """Note the signatures of a layer."""
        if self.broken:
            signatures = capped(signatures, "invalid", "a signature around this one does not fit")
        self.signatures += signatures
        found = best(signatures)
        self.broken = found is not None and found.state == "invalid"

    def stuck(self, problem: str, encryption: str = "") -> None:
        self.readable = False
        self.problem = problem
        self.encryption = encryption or self.encryption


def open_mail(raw: bytes, *, identities: Sequence[Identity], trust: Trust) -> Opened:
    """Decrypt a mail and check its signatures.

    :param raw: the whole mail; one that was cut off counts as damaged.
    :param identities: the keys that open what is encrypted for them; may be empty.
    :param trust: whose signatures are believed.
    """
    progress = _Progress()
    current, layers = raw, 0
    while True:
        entity = Entity.of(current)
        if not _is_layer(entity):
            break
        if layers == LAYERS_LIMIT:
            progress.stuck(f"more than {LAYERS_LIMIT} layers of signatures and encryption: the rest is not opened")
            break
        inner = _within(entity, identities, trust, progress)
        if inner is None:
            break
        current, layers = inner, layers + 1
    if progress.signatures and _is_disguised(raw):
        reason = "a part of S/MIME has the name of another file"
        progress.signatures = list(capped(progress.signatures, "invalid", reason))
    if not layers and not progress.problem and not progress.signatures:
        progress.problem = "only a part of the mail is signed or encrypted, which is not looked at"
        if "smime-signed" in read_structure(RawMail.of(raw).structure, "").protection:
            progress.signatures.append(SignatureOutcome("partial", reason=progress.problem))
    outcome = SmimeOutcome(progress.encryption, tuple(progress.signatures[:SIGNATURES_LIMIT]), progress.problem)
    return Opened(_composed(raw, current) if layers else raw, outcome, progress.readable)


def _is_layer(entity: Entity) -> bool:
    if entity.content_type in _PKCS7:
        return True
    if entity.content_type != "multipart/signed":
        return False
    protocol = entity.parameters.get("protocol", b"").strip().lower().decode("latin-1")
    return protocol in _SIGNATURES or any(Entity.of(part).content_type in _SIGNATURES for part in entity.parts[1:])


def _within(entity: Entity, identities: Sequence[Identity], trust: Trust, progress: _Progress) -> bytes | None:
    """Take one layer off.

    :returns: what is within; ``None`` if that cannot be had.
    """
    if entity.content_type == "multipart/signed":
        return _detached(entity, trust, progress)
    data = decode_transfer(entity.raw[entity.body :], entity.encoding)
    try:
        content = _content_info(data)
        kind = content["content_type"].native
        if kind == "signed_data":
            return _opaque(content["content"], trust, progress)
        if kind in ("enveloped_data", "authenticated_enveloped_data"):
            inner = decrypted(content, identities)
            progress.encryption = "opened"
            return inner
        if kind == "compressed_data":
            return _expanded(content["content"])
        progress.stuck(f"the content is {str(kind).replace('_', ' ')[:60]}, which is not known here", "unsupported")
    except NoKeyError:
        have = "it was encrypted for none of the connection's S/MIME keys"
        have_not = "it is encrypted, and the connection has no S/MIME key (smime_private_key)"
        progress.stuck(have if identities else have_not, "no-key")
    except UnsupportedError as error:
        progress.stuck(str(error), "unsupported")
    except DamagedError as error:
        _broken(entity, progress, str(error))
    except (*UNREADABLE, zlib.error) as error:
        _broken(entity, progress, f"the S/MIME content cannot be read ({type(error).__name__})")
    return None


def _broken(entity: Entity, progress: _Progress, problem: str) -> None:
    """Note what is neither a signature nor an envelope that can be read, as what it says to be."""
    if entity.parameters.get("smime-type", b"").lower() == b"signed-data":
        progress.signed([SignatureOutcome("invalid", reason=problem)])
        progress.stuck(problem)
    else:
        progress.stuck(problem, "damaged")


def _content_info(data: bytes) -> Any:
    if data.lstrip()[:11] == b"-----BEGIN ":
        data = binascii.a2b_base64(b"".join(data.strip().splitlines()[1:-1]))
    check_elements(data)
    return cms.ContentInfo.load(data)


def _opaque(signed: Any, trust: Trust, progress: _Progress) -> bytes | None:
    content = signed["encap_content_info"]["content"]
    if content.native is None:
        progress.stuck("the signed content is not in the mail")
        progress.signed([SignatureOutcome("invalid", reason="the signed content is not in the mail")])
        return None
    inner = bytes(content)
    progress.signed(verified(signed, [inner], trust) or [_unsigned()])
    return inner


def _detached(entity: Entity, trust: Trust, progress: _Progress) -> bytes | None:
    try:
        signed = _signature(entity)
        # It was signed with the line ends that it has on its way (RFC 8551, section 3.1.1); a file may have others.
        text = entity.parts[0]
        forms = list(dict.fromkeys((text, _LONE_LINE_FEED.sub(b"\r\n", text))))
        progress.signed(verified(signed, forms, trust) or [_unsigned()])
    except DamagedError as error:
        progress.signed([SignatureOutcome("invalid", reason=str(error))])
    except UNREADABLE as error:
        reason = f"the signature cannot be read ({type(error).__name__})"
        progress.signed([SignatureOutcome("invalid", reason=reason)])
    else:
        return text
    # Whatever the second part is, it is no signature: a file of somebody else's beside an old signed mail, for example.
    return None


def _signature(entity: Entity) -> Any:
    """Return the SignedData of a mail of two parts, without a content of its own.

    :raises DamagedError: it is not made of a content and a signature.
    """
    if len(entity.parts) != 2:
        raise DamagedError(f"a signed mail has two parts, this one has {len(entity.parts)}")
    part = Entity.of(entity.parts[1])
    if part.content_type not in _SIGNATURES:
        raise DamagedError("the second part is no signature")
    content = _content_info(decode_transfer(part.raw[part.body :], part.encoding))
    if content["content_type"].native != "signed_data":
        raise DamagedError("the signature is none")
    signed = content["content"]
    if signed["encap_content_info"]["content"].native is not None:
        raise DamagedError("the signature brings a content of its own")
    return signed


def _is_disguised(raw: bytes) -> bool:
    """Tell whether a part of S/MIME would be saved as a file of another kind: a signature has room for anything."""
    return any(
        each.content_type in (*_PKCS7, *_SIGNATURES) and each.name and not each.name.lower().endswith(_NAMES)
        for each in read_structure(RawMail.of(raw).structure, "").attachments
    )


def _unsigned() -> SignatureOutcome:
    return SignatureOutcome("invalid", reason="nobody signed it")


def _expanded(compressed: Any) -> bytes:
    content = bytes(compressed["encap_content_info"]["content"])
    expander = zlib.decompressobj()
    inner = expander.decompress(content, EXPANDED_LIMIT)
    if not expander.eof:
        raise DamagedError(f"the compressed content is cut off, or has more than {EXPANDED_LIMIT} bytes")
    return inner


def _composed(raw: bytes, inner: bytes) -> bytes:
    """Return the mail's own header with the content that was within.

    Of the content's header only what describes it is taken: a From or Subject there is not the mail's.
    """
    outer, within = Entity.of(raw), Entity.of(inner)
    own = [line for line in _fields(raw[: outer.body]) if not _CONTENT_FIELD.match(line)]
    described = [line for line in _fields(inner[: within.body]) if _CONTENT_FIELD.match(line)]
    head = b"".join(line if line.endswith(b"\n") else line + b"\r\n" for line in (*own, *described))
    return head + b"\r\n" + inner[within.body :]


def _fields(header: bytes) -> list[bytes]:
    return [line for line in _FIELD_LINES.findall(header) if line.strip()]
