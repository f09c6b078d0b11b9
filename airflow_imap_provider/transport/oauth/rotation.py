"""Refresh tokens that are replaced at each use (RFC 6749 section 6): which one is the newest, and where it goes.

Several processes use one consent: triggerer, tasks, the Test button. What one of them gets is kept for all, and who was
a moment too late looks again before believing that the consent has ended.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from airflow_imap_provider.connection.settings import OAuthSettings
from airflow_imap_provider.transport.clock import Deadline
from airflow_imap_provider.transport.oauth.answers import Refusal, Token
from airflow_imap_provider.transport.oauth.limits import CACHED_TOKENS, RACE_GLANCES, RACE_PAUSE
from airflow_imap_provider.transport.oauth.remedies import TOKEN_STAGE

__all__ = ["refreshed"]

Ask = Callable[[str], "Token | Refusal"]


class _Memory:
    """The newest refresh tokens that this process has seen, by consent, and which of them nobody keeps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: OrderedDict[str, tuple[str, bool]] = OrderedDict()

    def get(self, consent: str) -> tuple[str, bool]:
        with self._lock:
            return self._tokens.get(consent, ("", True))

    def set(self, consent: str, token: str, *, kept: bool) -> None:
        with self._lock:
            self._tokens[consent] = (token, kept)
            self._tokens.move_to_end(consent)
            while len(self._tokens) > CACHED_TOKENS:
                self._tokens.popitem(last=False)


_memory = _Memory()


def refreshed(oauth: OAuthSettings, ask: Ask, deadline: Deadline) -> Token | Refusal:
    """Use the newest refresh token, and keep the one that replaces it.

    :param ask: sends a request with a refresh token.
    :raises ImapError: what *ask* raises; or the newest token cannot be read.
    """
    used = _newest(oauth)
    outcome = ask(used)
    if (
        isinstance(outcome, Refusal)
        and outcome.code == "invalid_grant"
        and (other := _overtaken(oauth, used, deadline))
    ):
        used = other
        outcome = ask(used)
    if isinstance(outcome, Token) and outcome.refresh_token and outcome.refresh_token != used:
        _keep(oauth, outcome.refresh_token)
    return outcome


def _newest(oauth: OAuthSettings) -> str:
    token, kept = _memory.get(oauth.fingerprint())
    if not kept:
        # It could not be kept when it came; nobody else has a newer one.
        _keep(oauth, token)
        return token
    stored = oauth.keeper.newest() if oauth.keeper is not None else None
    return stored or token or oauth.refresh_token


def _overtaken(oauth: OAuthSettings, used: str, deadline: Deadline) -> str:
    """The token of another process that has used the same one a moment before; empty if there is none."""
    if oauth.keeper is None:
        return ""
    for glance in range(RACE_GLANCES):
        if glance:
            time.sleep(min(RACE_PAUSE, deadline.remaining(TOKEN_STAGE)))
        stored = oauth.keeper.newest()
        if stored and stored != used:
            return stored
    return ""


def _keep(oauth: OAuthSettings, token: str) -> None:
    _memory.set(oauth.fingerprint(), token, kept=oauth.keeper is None or oauth.keeper.keep(token))
