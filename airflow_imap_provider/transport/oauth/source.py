"""The token that a connection logs in with: from the cache, else from the endpoint that its settings name."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import astuple, replace
from typing import TypeVar

from airflow_imap_provider.connection.settings import AuthSettings, Settings
from airflow_imap_provider.errors import LoginRefusedError
from airflow_imap_provider.transport.border import Scrubber
from airflow_imap_provider.transport.clock import Clock, Deadline
from airflow_imap_provider.transport.oauth.answers import Refusal, Token, read_answer, refused
from airflow_imap_provider.transport.oauth.cache import Granted, TokenCache
from airflow_imap_provider.transport.oauth.channel import Route, route_of
from airflow_imap_provider.transport.oauth.http import post
from airflow_imap_provider.transport.oauth.remedies import TOKEN_STAGE
from airflow_imap_provider.transport.oauth.requests import token_request
from airflow_imap_provider.transport.oauth.rotation import refreshed
from airflow_imap_provider.transport.trace import Trace

__all__ = ["with_token"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_cache = TokenCache()


def with_token(
    settings: Settings,
    clock: Clock,
    deadline: Deadline,
    scrubber: Scrubber,
    trace: Trace,
    log_in: Callable[[Settings], T],
) -> T:
    """Log in with a token; once more, with a new one, if the mail server does not accept one that was in the cache.

    :param deadline: limits all of it.
    :param scrubber: gets to know every secret that is used.
    :param trace: who listens to what happens.
    :param log_in: opens the connection with settings that have the token in the password's place.
    :raises ImapError: there is no token (stage ``token``), or what *log_in* raises.
    """
    source = _Source(settings, clock, deadline, scrubber, trace)
    granted = source.token()
    try:
        return log_in(source.ready(granted))
    except LoginRefusedError as exc:
        source.forget(granted)
        if not granted.cached:
            raise
        logger.debug("The token from the cache is not accepted, a new one is tried: %s", exc)
    granted = source.token(granted.access_token)
    try:
        return log_in(source.ready(granted))
    except LoginRefusedError:
        # So that the next attempt begins with a new one, and costs one login and not two.
        source.forget(granted)
        raise


class _Source:
    def __init__(self, settings: Settings, clock: Clock, deadline: Deadline, scrubber: Scrubber, trace: Trace) -> None:
        self._settings = settings
        self._clock = clock
        self._deadline = deadline
        self._scrubber = scrubber
        self._trace = trace
        self._route = route_of(settings)
        self._key = _key(settings.auth, self._route)

    def token(self, refused_token: str = "") -> Granted:
        self._trace.enter(TOKEN_STAGE)
        granted = _cache.get(self._key, self._clock, self._deadline, self._fetch, refused_token)
        self._trace.told(TOKEN_STAGE, token="from an earlier request" if granted.cached else "new")
        return granted

    def ready(self, granted: Granted) -> Settings:
        self._scrubber.add(granted.access_token)
        return replace(self._settings, auth=replace(self._settings.auth, password=granted.access_token))

    def forget(self, granted: Granted) -> None:
        _cache.forget(self._key, granted.access_token)

    def _fetch(self, deadline: Deadline) -> Token:
        auth = self._settings.auth
        host = ""

        def ask(refresh_token: str = "") -> Token | Refusal:
            nonlocal host
            request = token_request(auth, self._clock.now(), refresh_token)
            host = request.host
            self._scrubber.add(*request.secrets)
            clean = self._scrubber.clean
            outcome = read_answer(post(request, self._route, deadline, clean), host, clean)
            if isinstance(outcome, Token):
                self._scrubber.add(outcome.access_token, outcome.refresh_token)
            return outcome

        outcome = refreshed(auth.oauth, ask, deadline) if auth.method == "oauth-refresh-token" else ask()
        if isinstance(outcome, Refusal):
            raise refused(outcome, host, auth.method, self._scrubber.clean)
        logger.debug("%s has given a token for %g s.", host, outcome.lifetime)
        self._trace.told(TOKEN_STAGE, endpoint=host, lifetime=f"{outcome.lifetime:g} s")
        return outcome


def _key(auth: AuthSettings, route: Route) -> bytes:
    """Stands for all that decides which token one gets, and how; the secrets among it cannot be read from it."""
    # An application's token opens every mailbox that it may open; a service account's only the one that it is for.
    subject = (auth.alias or auth.login) if auth.method == "oauth-service-account" else ""
    oauth = replace(auth.oauth, keeper=None)
    said = json.dumps([auth.method, subject, astuple(oauth), astuple(route)])
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()
