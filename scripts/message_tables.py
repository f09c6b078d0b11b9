"""The tables of docs/messages.md: what to do where that is looked up at run time.

They are printed from the tables, and by the functions, that the errors themselves look into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from airflow_imap_provider.connection.fields import field
from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.transport import dial, endings, remedies
from airflow_imap_provider.transport.auth import _remedy
from airflow_imap_provider.transport.bearer import BEARER_METHODS
from airflow_imap_provider.transport.oauth import remedies as oauth
from airflow_imap_provider.transport.throttling import LIMITS

UNKNOWN = "…"
NAMES = ("SCRAM-SHA-256", "CRAM-MD5", "EXTERNAL", "ANONYMOUS")

# Their headings.
NO_ANSWER, ENDED, ENOUGH = "No answer in time", "The server ends the connection", "The server has had enough"
NO_LOGIN, NO_TOKEN_TAKEN, NO_TOKEN_GIVEN = "The login is refused", "The token is refused", "The endpoint gives no token"
REFUSED = "The server refuses a command"


def see(heading: str) -> str:
    """A reference to a table of this page."""
    return f"See [{heading}](#{heading.lower().replace(' ', '-')})."


def tables() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """What is looked up at run time: by heading the name of the first column, and the rows."""
    silent = {"tcp": dial.MAIL_SERVER.silent, "proxy": dial.PROXY.silent, **remedies._SILENCE}
    greeting = {"greeting, encrypted": endings.SILENT_INSIDE, "greeting, not encrypted": endings.SILENT_GREETING}
    hosts = {"Microsoft": "outlook.office365.com", "Google": "imap.gmail.com", "Yahoo, iCloud, …": "imap.fastmail.com"}
    codes = ("invalid_client", "invalid_grant", "unauthorized_client", "invalid_scope", "access_denied",
             "interaction_required", "login_required", "consent_required", "unsupported_grant_type",
             "another")  # fmt: skip
    return {
        NO_ANSWER: ("Stage", [*silent.items(), *greeting.items(), (UNKNOWN, remedies._SLOW)]),
        ENDED: ("Stage", [*remedies._LOSS.items(), (UNKNOWN, remedies.LATER)]),
        ENOUGH: ("Kind", [(limit.name, limit.remedy) for limit in LIMITS]),
        REFUSED: ("Stage", [*remedies.REFUSED.items(), (UNKNOWN, remedies.ASK_OPERATOR)]),
        NO_LOGIN: (
            "Answer, or server",
            [
                *((f"[{code}]", text) for code, text in remedies._BY_CODE.items()),
                *((name, remedies.login_remedy(host, "")) for name, host in hosts.items()),
                *((f"another, to {name}", _remedy(Settings("", ""), name, "")) for name in ("PLAIN", *NAMES)),
                ("to XOAUTH2, OAUTHBEARER", see(NO_TOKEN_TAKEN)),
            ],
        ),
        NO_TOKEN_TAKEN: (
            "Server and method",
            [
                row
                for server in ("Microsoft", "Google", "another")
                for row in _by_method(server, partial(_token_remedy, hosts.get(server, "")))
            ],
        ),
        NO_TOKEN_GIVEN: (
            "Answer",
            [
                *(
                    (f"AADSTS{code}", text)
                    for code, text in sorted(oauth.MICROSOFT.items(), key=lambda one: int(one[0]))
                ),
                *(row for code in codes for row in _by_method(code, partial(oauth.refusal_remedy, code, ""))),
            ],
        ),
    }


def _token_remedy(host: str, method: str) -> str:
    return remedies.token_remedy(host, method, "")


def _by_method(what: str, remedy: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """A row for each remedy, with the methods that have it."""
    methods = [one for one in field("auth_method").choices if one.value in BEARER_METHODS]
    labels: dict[str, list[str]] = {}
    for method in methods:
        labels.setdefault(remedy(method.value), []).append(method.label)
    for text, names in labels.items():
        yield what if len(names) == len(methods) else f"{what}: {', '.join(names)}", text
