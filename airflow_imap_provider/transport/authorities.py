"""The certificates of trusted issuers: what a CA bundle holds, for TLS and for the signatures of mails.

A folder is read file by file, hashed or not: OpenSSL itself looks only for files that ``openssl rehash`` has named, and
verifies nothing in silence where there are none. The system's own authorities TLS lets OpenSSL load.
"""

from __future__ import annotations

import logging
import re
import ssl
from functools import lru_cache
from pathlib import Path

from airflow_imap_provider.connection.files import Stamp, look
from airflow_imap_provider.connection.material import is_pem
from airflow_imap_provider.errors import SettingsError

__all__ = ["bad_bundle", "bundle_stamp", "load_bundle", "trusted_issuers"]

logger = logging.getLogger(__name__)

BUNDLE_LIMIT = 8 * 1024 * 1024
"""Bytes of trusted issuers that are read. The system's file has 220 KiB."""

SETS_KEPT = 16
"""Sets of trusted issuers kept. A process has few connections that differ in them."""

FILES_LIMIT = 2_000
"""Files of a folder that are read. Debian's has about 300, each issuer twice."""

_CERTIFICATE = re.compile(
    r"-----BEGIN (?:TRUSTED )?CERTIFICATE-----.*?-----END (?:TRUSTED )?CERTIFICATE-----", re.DOTALL
)


def trusted_issuers(bundle: str) -> tuple[bytes, ...]:
    """Return the certificates of the trusted issuers, DER.

    :param bundle: path of a PEM file or folder, or PEM text; empty for the system's.
    :raises SettingsError: it cannot be read, or holds none. The system's may be none.
    """
    if is_pem(bundle):
        return _read(bundle)
    if bundle:
        return _of_path(bundle, bundle_stamp(bundle))
    places = ssl.get_default_verify_paths()
    for place in (places.cafile, places.capath):
        if place and Path(place).exists():
            try:
                return _of_path(place, bundle_stamp(place))
            except SettingsError:
                continue  # an empty file beside a folder that has them
    return ()


def load_bundle(context: ssl.SSLContext, bundle: str) -> None:
    """Let a TLS context trust these issuers, besides those that it trusts already.

    :param bundle: path of a PEM file or folder, or PEM text.
    :raises SettingsError: it cannot be read, or holds no certificate.
    """
    if not is_pem(bundle) and Path(bundle).is_dir():
        _load_folder(context, bundle)
        return
    try:
        if is_pem(bundle):
            context.load_verify_locations(cadata=bundle)
        else:
            context.load_verify_locations(cafile=bundle)
    except (OSError, ValueError) as exc:
        what = "the text" if is_pem(bundle) else repr(bundle)
        reason = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or type(exc).__name__
        raise bad_bundle(f"{what} holds no certificate that can be read ({reason}).") from None


def _load_folder(context: ssl.SSLContext, folder: str) -> None:
    loaded = 0
    for certificate in _of_path(folder, bundle_stamp(folder)):
        try:
            context.load_verify_locations(cadata=certificate)
        except ssl.SSLError as exc:
            # One that OpenSSL cannot read must not take the others with it.
            logger.warning("CA bundle (ca_bundle): a certificate in %r cannot be read (%s).", folder, exc.reason)
        else:
            loaded += 1
    if not loaded:
        raise bad_bundle(f"the folder {folder!r} holds no certificate that can be read.")


def bundle_stamp(path: str) -> Stamp:
    """What a bundle's file or folder is known by.

    :raises SettingsError: it cannot be read.
    """
    stamp, problem = look(path, folder=True)
    if problem:
        raise bad_bundle(f"{path!r} cannot be read ({problem}).")
    return stamp


@lru_cache(maxsize=SETS_KEPT)
def _of_path(path: str, stamp: Stamp) -> tuple[bytes, ...]:  # noqa: ARG001 - when it changes it is read again
    try:
        place = Path(path)
        files = sorted(place.iterdir())[:FILES_LIMIT] if place.is_dir() else [place]
        texts = [_text(file, alone=file is place) for file in files if file.is_file()]
    except OSError as exc:
        raise bad_bundle(f"{path!r} cannot be read ({exc.strerror}).") from None
    return _read("\n".join(texts), f"the folder {path!r}" if place.is_dir() else repr(path))


def _text(file: Path, *, alone: bool) -> str:
    try:
        with file.open(encoding="ascii", errors="replace") as opened:
            return opened.read(BUNDLE_LIMIT)
    except OSError as exc:
        if alone:
            raise
        # A key, perhaps, that lies beside the certificates and is nobody's business.
        logger.warning("CA bundle (ca_bundle): %s cannot be read (%s) and is passed over.", file, exc.strerror)
        return ""


@lru_cache(maxsize=SETS_KEPT)
def _read(text: str, what: str = "the text") -> tuple[bytes, ...]:
    found: dict[bytes, None] = {}
    for block in _CERTIFICATE.findall(text):
        if "TRUSTED" in block:
            continue  # OpenSSL's own form, which says for what; nobody has it in a bundle
        try:
            found[ssl.PEM_cert_to_DER_cert(block)] = None
        except ValueError:
            continue
    if not found:
        raise bad_bundle(f"{what} holds no certificate that can be read.")
    return tuple(found)


def bad_bundle(problem: str) -> SettingsError:
    """The error for a CA bundle that cannot be used."""
    return SettingsError(
        f"Encryption, CA bundle (ca_bundle): {problem}",
        stage="settings",
        remedy="Give the path of a PEM file (or folder) on this machine, or the PEM text itself.",
    )
