"""Refresh tokens that are replaced at each use (RFC 6749 section 6): which one is the newest, and where it goes.

Several processes use one consent: triggerer, tasks, the Test button. What one of them gets is kept for all, and who was
a moment too late looks again before believing that the consent has ended. The keeper is asked in threads of its own,
so that one that hangs takes no more time than the login has.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_imap_provider.connection.settings import OAuthSettings
from airflow_imap_provider.errors import ImapTimeoutError
from airflow_imap_provider.transport.clock import Deadline
from airflow_imap_provider.transport.oauth.answers import Refusal, Token
from airflow_imap_provider.transport.oauth.keeping import Shelf
from airflow_imap_provider.transport.oauth.limits import RACE_GLANCES, RACE_PAUSE
from airflow_imap_provider.transport.oauth.remedies import TOKEN_STAGE

__all__ = ["refreshed"]

Ask = Callable[[str], "Token | Refusal"]

_shelf = Shelf()


def refreshed(oauth: OAuthSettings, ask: Ask, deadline: Deadline) -> Token | Refusal:
    """Use the newest refresh token, and keep the one that replaces it.

    :param ask: sends a request with a refresh token.
    :param deadline: what the keeper takes of it is never all: the endpoint and the login need the rest.
    :raises ImapError: what *ask* raises; or the newest token cannot be read.
    """
    used = _shelf.newest(oauth, deadline)
    outcome = ask(used)
    if (
        isinstance(outcome, Refusal)
        and outcome.code == "invalid_grant"
        and (other := _overtaken(oauth, used, deadline))
    ):
        used = other
        outcome = ask(used)
    if isinstance(outcome, Token) and outcome.refresh_token and outcome.refresh_token != used:
        _shelf.keep(oauth, outcome.refresh_token, deadline)
    return outcome


def _overtaken(oauth: OAuthSettings, used: str, deadline: Deadline) -> str:
    """The token of another process that has used the same one a moment before; empty if there is none."""
    if oauth.keeper is None:
        return ""
    patience = deadline.part(2, TOKEN_STAGE)
    for glance in range(RACE_GLANCES):
        if glance:
            try:
                time.sleep(min(RACE_PAUSE, patience.remaining(TOKEN_STAGE)))
            except ImapTimeoutError:
                # As many looks as there was time for: the refusal is what the user has to know.
                break
        stored = _shelf.stored(oauth.keeper, deadline)
        if stored and stored != used:
            return stored
    return ""
