"""Keys, certificates and fingerprints as people paste them.

A password field of a web form drops line breaks, environment variables often carry them as a backslash and an n: both
ruin PEM, and both are repaired here. Nothing is decrypted or verified; files are not opened, for the machine that reads
the settings need not be the one that connects.
"""

from __future__ import annotations

import base64
import binascii
import json
import re

__all__ = ["certificates", "fingerprint", "is_path", "is_pem", "pkcs12", "private_key"]

PEM_LINE = 64  # characters of base64 a line, RFC 7468
SHA1_DIGITS, SHA256_DIGITS = 40, 64
SHA256_BYTES = 32
SHA256_BASE64 = 43  # characters without the padding
SHORTEST_PKCS12 = 200  # characters of base64: an empty PKCS#12 is longer, and no path of that length starts like DER

_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_PRIVATE = re.compile(r"-----BEGIN [^-]*PRIVATE KEY", re.IGNORECASE)
_HEADER = re.compile(r"(Proc-Type: ?4,ENCRYPTED)\s*(DEK-Info: ?[A-Z0-9-]+,[0-9A-Fa-f]+?)(?=\s|\Z)")


def certificates(text: str) -> str:
    """A path, or PEM text with its line breaks in place.

    :raises ValueError: with one sentence that says what is wrong; also for a private key, since fields for certificates
        are shown.
    """
    if "-----BEGIN" in text:
        if _PRIVATE.search(text):
            raise ValueError(
                "it contains a private key; put that into Client private key (client_private_key), which is kept secret"
            )
        return _pem(text)
    return _path(text)


def private_key(text: str) -> str:
    """A path, PEM text with its line breaks in place, PKCS#12 as base64 on one line, or a service account's JSON.

    :raises ValueError: with one sentence that says what is wrong, never with a part of the key in it.
    """
    stripped = text.strip()
    if stripped.startswith("{"):
        return _service_account(stripped)
    if "-----BEGIN" in stripped:
        return _pem(stripped)
    packed = "".join(stripped.split())
    if _looks_packed(packed):
        try:
            base64.b64decode(packed, validate=True)
        except ValueError:  # binascii.Error is one, and so is a character beyond ASCII
            raise ValueError("it looks like PKCS#12, but its base64 is damaged or cut off") from None
        return packed
    return _path(stripped)


def is_pem(material: str) -> bool:
    """Whether it is PEM text."""
    return "-----BEGIN" in material


def pkcs12(material: str) -> bytes | None:
    """The PKCS#12 that a key as :func:`private_key` returns it contains; ``None`` if it is something else."""
    return base64.b64decode(material) if _looks_packed(material) else None


def is_path(material: str) -> bool:
    """Whether certificates or a key, as the functions above return them, are a path."""
    return bool(material) and not is_pem(material) and not _looks_packed(material) and not material.startswith("{")


def _looks_packed(text: str) -> bool:
    return len(text) >= SHORTEST_PKCS12 and text.startswith("M")


def fingerprint(text: str) -> str:
    """A SHA-256 fingerprint as 64 lower-case hexadecimal digits.

    :param text: hexadecimal with or without colons, as OpenSSL or ``sha256sum`` print it, or base64 as in
        ``sha256//…`` (curl), ``SHA256:…`` (OpenSSH) or ``pin-sha256="…"`` (RFC 7469).
    :raises ValueError: with one sentence that says what is wrong.
    """
    value = text.strip().removesuffix(";").rstrip()
    value = re.sub(r"^(pin-)?sha-?256(\s+fingerprint)?\s*(=|:|//?)?\s*", "", value, flags=re.IGNORECASE).strip("\"' ")
    # What follows in the output of sha256sum is the file's name.
    value = re.sub(r"^([0-9A-Fa-f]{64})\s+\*?\S.*$", r"\1", value)
    digits = re.sub(r"[:\s]", "", re.sub(r"^0[xX]", "", value))
    if re.fullmatch(r"[0-9A-Fa-f]+", digits):
        if len(digits) == SHA256_DIGITS:
            return digits.lower()
        if len(digits) == SHA1_DIGITS:
            raise ValueError("this is a SHA-1 fingerprint, which can be forged; take the SHA-256 one")
    try:
        # OpenSSH leaves the padding out.
        decoded = base64.b64decode(f"{value}=" if len(value) == SHA256_BASE64 else value, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) != SHA256_BYTES:
        raise ValueError(
            "a SHA-256 fingerprint has 64 hexadecimal digits, or 44 characters of base64; commas stand between several"
        )
    return decoded.hex()


def _path(text: str) -> str:
    path = text.strip()
    if any(ord(character) < ord(" ") for character in path):
        raise ValueError("it is neither PEM text (-----BEGIN …) nor a path: it contains line breaks")
    return path


def _pem(text: str) -> str:
    text = text.replace("\\n", "\n").replace("\r", "\n")
    blocks = []
    for begin in _BEGIN.finditer(text):
        label = begin.group(1)
        body, end, _ = text[begin.end() :].partition(f"-----END {label}-----")
        if not end:
            raise ValueError(f"the PEM text has no end: -----END {label}----- is missing")
        blocks.append(f"-----BEGIN {label}-----\n{_pem_body(body)}-----END {label}-----\n")
    if not blocks:
        raise ValueError("the PEM text has no -----BEGIN …----- line that can be read")
    return "".join(blocks)


def _pem_body(body: str) -> str:
    header = ""
    if found := _HEADER.search(body):
        header = f"{found.group(1)}\n{found.group(2)}\n\n"
        body = body[found.end() :]
    elif "Proc-Type" in body:
        raise ValueError("the header of the encrypted key lost its line breaks; convert it by openssl pkcs8 -topk8")
    data = "".join(body.split())
    try:
        base64.b64decode(data, validate=True)
    except ValueError:  # binascii.Error is one, and so is a character beyond ASCII
        raise ValueError("the PEM text is damaged or cut off: its base64 cannot be decoded") from None
    lines = (data[start : start + PEM_LINE] for start in range(0, len(data), PEM_LINE))
    return header + "".join(f"{line}\n" for line in lines)


def _service_account(text: str) -> str:
    try:
        account = json.loads(text)
    except (ValueError, RecursionError):  # brackets within brackets
        raise ValueError("it begins like JSON and is none") from None
    if not all(account.get(name) and isinstance(account[name], str) for name in ("client_email", "private_key")):
        raise ValueError("the JSON is no service account's key: client_email or private_key is missing")
    return json.dumps(account)  # one form, whether it came as text or Airflow had made an object of it
