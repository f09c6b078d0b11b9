"""The token that a connection logs in with: from the cache, else from the endpoint that its settings name."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import astuple, replace
from functools import partial
from typing import TypeVar

from airflow_imap_provider.connection.fields import field
from airflow_imap_provider.connection.material import is_path
from airflow_imap_provider.connection.settings import AuthSettings, Settings
from airflow_imap_provider.errors import LoginRefusedError
from airflow_imap_provider.transport.border import Scrubber
from airflow_imap_provider.transport.clock import Clock, Deadline
from airflow_imap_provider.transport.flights import Flights
from airflow_imap_provider.transport.oauth.answers import Refusal, Token, read_answer, refused
from airflow_imap_provider.transport.oauth.cache import Granted, TokenCache
from airflow_imap_provider.transport.oauth.channel import Route, route_of
from airflow_imap_provider.transport.oauth.http import post
from airflow_imap_provider.transport.oauth.limits import FRESH
from airflow_imap_provider.transport.oauth.refusals import Refusals
from airflow_imap_provider.transport.oauth.remedies import TOKEN_STAGE
from airflow_imap_provider.transport.oauth.requests import TokenRequest, token_request
from airflow_imap_provider.transport.oauth.rotation import refreshed
from airflow_imap_provider.transport.trace import Trace

__all__ = ["with_token"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_cache = TokenCache()
_refusals = Refusals()
_reading: Flights[TokenRequest] = Flights()


def with_token(
    settings: Settings,
    clock: Clock,
    deadline: Deadline,
    scrubber: Scrubber,
    trace: Trace,
    log_in: Callable[[Settings], T],
) -> T:
    """Log in with a token; once more, with a new one, if the mail server does not accept one that was in the cache.

    Many mailboxes share an application's token: one that is refused must not cost the others theirs, nor the endpoint
    a request each time. So a new token is tried only if the refused one has some age, and if the last new one did
    not fail at this mailbox too. A curious listener (the Test) gets a new one at once.

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
        if not source.refused(granted):
            raise
        logger.debug("The token from the cache is not accepted, a new one is tried: %s", exc)
    granted = source.token(granted.access_token)
    try:
        return log_in(source.ready(granted))
    except LoginRefusedError:
        source.refused(granted)
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
        return _cache.get(self._key, self._clock, self._deadline, self._fetch, refused_token, fresh=self._trace.curious)

    def ready(self, granted: Granted) -> Settings:
        self._scrubber.add(granted.access_token)
        return replace(self._settings, auth=replace(self._settings.auth, password=granted.access_token))

    def refused(self, granted: Granted) -> bool:
        """Take note of a refusal; whether another token could open the mailbox."""
        auth, now = self._settings.auth, self._clock.monotonic()
        mailbox = (self._key, self._settings.host, auth.alias or auth.login)
        if granted.age < FRESH:
            _refusals.add(mailbox, now)
            return False
        return not _refusals.counts(mailbox, now)

    def _request(self, refresh_token: str, deadline: Deadline) -> TokenRequest:
        auth = self._settings.auth
        make = partial(token_request, auth, self._clock.now(), refresh_token)
        if not is_path(auth.oauth.private_key):
            return make()
        names = (field("oauth_private_key").name,)
        return _reading.run((self._key, refresh_token), make, deadline, tab="Authentication", names=names)

    def _fetch(self, deadline: Deadline) -> Token:
        auth = self._settings.auth
        host = ""

        def send(request: TokenRequest) -> Token | Refusal:
            self._scrubber.add(*request.secrets)
            clean = self._scrubber.clean
            return read_answer(post(request, self._route, deadline, clean), host, clean)

        def ask(refresh_token: str = "") -> Token | Refusal:
            nonlocal host
            request = self._request(refresh_token, deadline)
            host = request.host
            self._trace.told(TOKEN_STAGE, endpoint=host)
            outcome = send(request)
            if isinstance(outcome, Refusal) and outcome.wants_basic and (other := request.by_basic()):
                outcome = send(other)
            if isinstance(outcome, Token):
                self._scrubber.add(outcome.access_token, outcome.refresh_token)
            return outcome

        outcome = refreshed(auth.oauth, ask, deadline) if auth.method == "oauth-refresh-token" else ask()
        if isinstance(outcome, Refusal):
            raise refused(outcome, host, auth.method, self._scrubber.clean)
        logger.debug("%s has given a token for %g s.", host, outcome.lifetime)
        self._trace.told(TOKEN_STAGE, lifetime=f"{outcome.lifetime:g} s")
        return outcome


def _key(auth: AuthSettings, route: Route) -> bytes:
    """Stands for all that decides which token one gets, and how; the secrets among it cannot be read from it."""
    # An application's token opens every mailbox that it may open; a service account's only the one that it is for.
    subject = (auth.alias or auth.login) if auth.method == "oauth-service-account" else ""
    oauth = replace(auth.oauth, keeper=None)
    said = json.dumps([auth.method, subject, astuple(oauth), astuple(route)])
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()
