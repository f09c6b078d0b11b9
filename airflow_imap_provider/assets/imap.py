"""A mail folder as an asset: ``imap://host/folder`` and ``imaps://host/folder``.

Airflow knows an asset by its URI, and what a trigger remembers of a folder hangs on it: the form that
:func:`sanitize_uri` gives must never change. It is therefore narrow (what has no clear meaning is refused, which may
be lifted later) and keeps what people naturally write, because ``Asset.ref(uri=…)`` is compared as written.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, quote, unquote_to_bytes, urlsplit

from airflow.sdk import Asset

from airflow_imap_provider.connection.hosts import host_name
from airflow_imap_provider.connection.limits import HIGHEST_PORT, IMPLICIT_PORT, LOWEST_PORT, PLAIN_PORT

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset
    from pydantic import JsonValue

__all__ = ["convert_asset_to_openlineage", "create_asset", "create_imaps_asset", "lineage_name", "sanitize_uri"]

DEFAULT_PORTS = {"imap": PLAIN_PORT, "imaps": IMPLICIT_PORT}
ACCOUNT = "account"  # the one query parameter: whose mailbox it is, where a server has several

_CALLER = (
    6  # frames up: this module, Airflow's sanitizer and the generated __init__ lie before the line of the DAG file
)

_PORT = re.compile(r"[0-9]+")
_INBOX = "INBOX"
# What RFC 3986 allows in a path besides letters, digits and -._~, without the ";" that RFC 5092 gives a meaning.
_SAFE = "!$&'()*+,=:@"
# The same in the query, without what parts its parameters.
_SAFE_ACCOUNT = "!$'()*+,:@/"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """The one form of a folder's URI; Airflow calls this for every asset of the schemes ``imap`` and ``imaps``.

    - The host is in lower case, IDNA for other alphabets, IPv6 in short form; the scheme's own port is left out.
    - A user name is dropped (with a warning). Write ``?account=…`` to keep two mailboxes on one server apart.
    - The folder's name is UTF-8 with percent-encoding where RFC 3986 demands it and nowhere else. ``/`` stands for
      itself, ``%2F`` for a slash within a name. Only the name ``INBOX`` ignores case, as RFC 9051 has it. Without a
      folder the URI means the server.
    - The account keeps its ``@`` and ``+`` as they are written. It has no blank in it: in a query Airflow takes a
      blank and a ``+`` for the same.

    :raises ValueError: if the host is missing or wrong, the port is not a port, or the rest is no folder.
    """
    account = _account(uri.query)
    folder = _folder(uri.path)
    return SplitResult(uri.scheme, _authority(uri), folder, _query(account), "")


def create_asset(
    *,
    host: str,
    folder: str = _INBOX,
    port: int | None = None,
    account: str = "",
    name: str | None = None,
    extra: dict[str, JsonValue] | None = None,
    scheme: str = "imap",
) -> Asset:
    """An asset for a folder whose name is given as it is, with nothing to encode by hand.

    :param host: DNS name or IP address of the server.
    :param folder: the folder's name, in any alphabet.
    :param port: only needed if it is not the scheme's own.
    :param account: whose mailbox it is; needed where several mailboxes of one server are assets, because Airflow
        wants every active asset to have a URI of its own.
    :param name: the asset's name; the URI if not given.
    :param scheme: ``imap`` or ``imaps``; part of the identity, without effect on how one connects.
    :raises ValueError: as :func:`sanitize_uri`.
    """
    if scheme not in DEFAULT_PORTS:
        raise ValueError(f"the scheme {scheme!r} is not one of {', '.join(DEFAULT_PORTS)}")
    authority = host_name(host)
    authority = f"[{authority}]" if ":" in authority else authority
    if port is not None:
        authority = f"{authority}:{port}"
    path = "/" + _quoted(folder.strip("/"), "/" + _SAFE)
    uri = sanitize_uri(SplitResult(scheme, authority, path, _query(account), "")).geturl()
    return Asset(name=name or uri, uri=uri, extra=extra)


def create_imaps_asset(
    *,
    host: str,
    folder: str = _INBOX,
    port: int | None = None,
    account: str = "",
    name: str | None = None,
    extra: dict[str, JsonValue] | None = None,
) -> Asset:
    """The same with the scheme ``imaps``; Airflow's factories are not told for which scheme they are called."""
    return create_asset(host=host, folder=folder, port=port, account=account, name=name, extra=extra, scheme="imaps")


def convert_asset_to_openlineage(asset: Asset, lineage_context: object) -> OpenLineageDataset:  # noqa: ARG001
    """The folder as OpenLineage names data sets.

    :param lineage_context: what Airflow passes to every converter; not needed.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    namespace, name = lineage_name(asset.uri)
    return Dataset(namespace=namespace, name=name)


def lineage_name(uri: str) -> tuple[str, str]:
    """Namespace ``imap://host:port`` and name, the account if there is one and the decoded folder.

    :param uri: in the form that :func:`sanitize_uri` gives.
    """
    parts = urlsplit(uri)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    folder = unquote_to_bytes(parts.path[1:]).decode()
    names = [name for name in (_account(parts.query), folder) if name]
    return f"{parts.scheme}://{host}:{parts.port or DEFAULT_PORTS[parts.scheme]}", "/".join(names) or "/"


def _authority(uri: SplitResult) -> str:
    user, _, place = uri.netloc.rpartition("@")
    if user:
        warnings.warn(
            f"The user name in an {uri.scheme} asset URI has been dropped. To tell two mailboxes on one server apart, "
            f"write ?{ACCOUNT}=… after the folder.",
            UserWarning,
            stacklevel=_CALLER,
        )
    bracketed = place.startswith("[")
    host, _, port = place.rpartition(":") if ":" in place.rpartition("]")[2] else (place, "", "")
    try:
        name = host_name(host)
    except ValueError as error:
        raise ValueError(f"The host in the {uri.scheme} asset URI cannot be used: {error}.") from None
    if "%" in name or bracketed != (":" in name):
        raise ValueError(f"The host in the {uri.scheme} asset URI is neither a name nor an IP address in its brackets.")
    host = f"[{name}]" if bracketed else name
    if not port:
        return host
    if not _PORT.fullmatch(port) or not LOWEST_PORT <= int(port) <= HIGHEST_PORT:
        raise ValueError(
            f"The port in the {uri.scheme} asset URI must be a number from {LOWEST_PORT} to {HIGHEST_PORT}."
        )
    return host if int(port) == DEFAULT_PORTS[uri.scheme] else f"{host}:{int(port)}"


def _folder(path: str) -> str:
    if ";" in path:
        raise ValueError(
            "An asset is a folder: ;UIDVALIDITY=… and the like have no place in its URI. "
            "Write %3B for a semicolon in a folder's name."
        )
    name = "/".join(_segment(segment) for segment in path.strip("/").split("/"))
    return "/" + (_INBOX if name.upper() == _INBOX else name)


def _segment(text: str) -> str:
    try:
        name = unquote_to_bytes(text).decode()
    except UnicodeError:
        raise ValueError("The folder in an imap asset URI must be percent-encoded UTF-8.") from None
    if any(character < " " or character == "\x7f" for character in name):
        raise ValueError("The folder in an imap asset URI contains a control character.")
    return quote(name, safe=_SAFE)


def _query(account: str) -> str:
    return f"{ACCOUNT}={_quoted(account, _SAFE_ACCOUNT)}" if account else ""


def _quoted(text: str, safe: str) -> str:
    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} contains half a character (a lone surrogate).") from None


def _account(query: str) -> str:
    # As Airflow rewrites it before: a blank and a + have both become +, and only the + can be part of an account.
    parameters = parse_qsl(query.replace("+", "%2B"))
    if any(key != ACCOUNT for key, _ in parameters) or len(parameters) > 1:
        raise ValueError(f"The only parameter of an imap asset URI is {ACCOUNT}=…, once.")
    account = parameters[0][1] if parameters else ""
    if any(character <= " " or character == "\x7f" for character in account):
        raise ValueError("The account in an imap asset URI contains a blank or a control character.")
    return account
