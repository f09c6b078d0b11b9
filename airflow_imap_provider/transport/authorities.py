"""The certificates of trusted issuers, for what is no TLS: signatures of mails.

TLS itself lets OpenSSL load them (see ``tls``); both look in the same places.
"""

from __future__ import annotations

import re
import ssl
from functools import lru_cache
from pathlib import Path

from airflow_imap_provider.connection.material import is_pem
from airflow_imap_provider.errors import SettingsError

__all__ = ["trusted_issuers"]

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
        return _of_path(bundle, _stamp(bundle))
    places = ssl.get_default_verify_paths()
    for place in (places.cafile, places.capath):
        if place and Path(place).exists():
            try:
                return _of_path(place, _stamp(place))
            except SettingsError:
                continue  # an empty file beside a folder that has them
    return ()


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = Path(path).stat()
    except OSError as exc:
        raise _no_issuers(f"{path!r} cannot be read ({exc.strerror}).") from None
    except ValueError:
        raise _no_issuers("this cannot be a path.") from None
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=SETS_KEPT)
def _of_path(path: str, stamp: tuple[int, int]) -> tuple[bytes, ...]:  # noqa: ARG001 - when it changes it is read again
    try:
        place = Path(path)
        files = sorted(place.iterdir())[:FILES_LIMIT] if place.is_dir() else [place]
        texts = []
        for file in files:
            if file.is_file():
                with file.open(encoding="ascii", errors="replace") as opened:
                    texts.append(opened.read(BUNDLE_LIMIT))
    except OSError as exc:
        raise _no_issuers(f"{path!r} cannot be read ({exc.strerror}).") from None
    return _read("\n".join(texts))


@lru_cache(maxsize=SETS_KEPT)
def _read(text: str) -> tuple[bytes, ...]:
    found: dict[bytes, None] = {}
    for block in _CERTIFICATE.findall(text):
        if "TRUSTED" in block:
            continue  # OpenSSL's own form, which says for what; nobody has it in a bundle
        try:
            found[ssl.PEM_cert_to_DER_cert(block)] = None
        except ValueError:
            continue
    if not found:
        raise _no_issuers("it holds no certificate that can be read.")
    return tuple(found)


def _no_issuers(problem: str) -> SettingsError:
    return SettingsError(
        f"Encryption, CA bundle (ca_bundle): {problem}",
        stage="settings",
        remedy="Give the path of a PEM file (or folder) on this machine, or the PEM text itself.",
    )
