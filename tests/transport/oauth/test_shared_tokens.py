"""Mailboxes that share an application's token: what one of them costs the others, the endpoint and the log."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import unquote_plus

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, OAuthSettings, Settings
from airflow_imap_provider.errors import AuthenticationError, LoginRefusedError, RefusedError, SettingsError
from airflow_imap_provider.transport.border import Scrubber
from airflow_imap_provider.transport.clock import Deadline
from airflow_imap_provider.transport.oauth.source import with_token
from airflow_imap_provider.transport.recorder import Recorder
from airflow_imap_provider.transport.trace import NO_TRACE, Trace
from tests.servers.token_endpoint import Handler, TokenEndpoint
from tests.transport.clocks import HandClock

SECRET = "s3cret+/ & ü:"


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with TokenEndpoint(b"k" * 32) as running:
        yield running


class Tenant:
    """An application whose token opens some mailboxes.

    :ivar logins: who has tried to log in, in order.
    """

    def __init__(self, endpoint: TokenEndpoint, **changes: str) -> None:
        client_id = endpoint.register("application", secret=SECRET)
        self.oauth = OAuthSettings(client_id=client_id, client_secret=SECRET, endpoint=endpoint.url, scope="mail")
        self.oauth = replace(self.oauth, **changes)
        self.clock = HandClock()
        self.logins: list[str] = []
        self.dead_tokens: set[str] = set()

    def log_in(self, name: str, trace: Trace = NO_TRACE) -> bool:
        """Whether that worked; names that begin with "bad" are let in by no token."""
        auth = AuthSettings("oauth-client-credentials", name, oauth=self.oauth)
        settings = Settings("mail", "mail.example.com", auth=auth)

        def knock(ready: Settings) -> bool:
            self.logins.append(name)
            if name.startswith("bad") or ready.auth.password in self.dead_tokens:
                raise LoginRefusedError("no.", stage="authentication")
            return True

        deadline = Deadline(self.clock, settings.timeout)
        try:
            return with_token(settings, self.clock, deadline, Scrubber(settings), trace, knock)
        except LoginRefusedError:
            return False


def test_a_refused_mailbox_costs_the_others_no_token(endpoint: TokenEndpoint) -> None:
    tenant = Tenant(endpoint)
    for _ in range(10):
        assert tenant.log_in("good")
        assert not tenant.log_in("bad")
    assert len(endpoint.forms) == 1
    assert len(tenant.logins) == 20


def test_many_refused_mailboxes_ask_for_a_new_token_once_between_them(endpoint: TokenEndpoint) -> None:
    tenant = Tenant(endpoint)
    assert tenant.log_in("good")
    tenant.clock.forward(120)
    for number in range(20):
        assert not tenant.log_in(f"bad-{number}")
    assert len(endpoint.forms) == 2
    # Only the first of them had a reason to try twice.
    assert len(tenant.logins) == 1 + 21


def test_a_token_that_no_longer_counts_is_replaced_for_all_by_the_first_who_is_refused(endpoint: TokenEndpoint) -> None:
    tenant = Tenant(endpoint)
    assert tenant.log_in("one")
    assert tenant.log_in("two")
    tenant.clock.forward(120)
    tenant.dead_tokens.add(endpoint.issued[0])
    assert tenant.log_in("one")
    assert tenant.log_in("two")
    assert len(endpoint.forms) == 2
    assert tenant.logins == ["one", "two", "one", "one", "two"]


def test_an_endpoint_that_asks_to_wait_is_asked_once_by_all_mailboxes(endpoint: TokenEndpoint) -> None:
    tenant = Tenant(endpoint)
    endpoint.misbehave = lambda peer: peer.answer(429, {"error": "slow_down"}, Retry_After="90")
    for number in range(10):
        with pytest.raises(RefusedError, match="asks to wait 90 s"):
            tenant.log_in(f"mailbox-{number}")
        tenant.clock.forward(8)
    assert len(endpoint.forms) == 1
    endpoint.misbehave = None
    tenant.clock.forward(15)
    assert tenant.log_in("mailbox-0")


def test_the_test_of_a_connection_asks_the_endpoint_although_there_is_a_token(endpoint: TokenEndpoint) -> None:
    tenant = Tenant(endpoint)
    assert tenant.log_in("good")
    endpoint.misbehave = lambda peer: peer.answer(400, {"error": "invalid_client"})
    recorder = Recorder(tenant.clock, str)
    with pytest.raises(AuthenticationError, match="gives no token"):
        tenant.log_in("good", recorder)
    endpoint.misbehave = None
    assert tenant.log_in("good", Recorder(tenant.clock, str))
    # The others go on with what it got.
    assert tenant.log_in("good")
    assert len(endpoint.forms) == 3


def test_the_test_tells_each_stage_once_also_if_the_known_token_is_dead(endpoint: TokenEndpoint) -> None:
    tenant = Tenant(endpoint)
    assert tenant.log_in("good")
    tenant.clock.forward(120)
    tenant.dead_tokens.add(endpoint.issued[0])
    recorder = Recorder(tenant.clock, str)
    assert tenant.log_in("good", recorder)
    recorder.over()
    [step] = recorder.steps("mail")
    assert step.stage == "token"
    assert "lifetime" in step.facts
    assert tenant.logins == ["good", "good"]


# -- how the application proves itself --------------------------------------------------------------------------------


def wants_basic(peer: Handler) -> None:
    """An endpoint that knows HTTP Basic only, as RFC 6749 section 2.3.1 allows."""
    sent = peer.headers.get("Authorization", "")
    form = peer.endpoint.forms[-1]
    if not sent.startswith("Basic "):
        peer.answer(401, {"error": "invalid_client"}, WWW_Authenticate='Basic realm="tokens"')
        return
    client_id, _, secret = base64.b64decode(sent.removeprefix("Basic ")).decode("ascii").partition(":")
    assert "client_secret" not in form
    if unquote_plus(secret) != SECRET:
        peer.answer(401, {"error": "invalid_client"}, WWW_Authenticate="Basic")
        return
    peer.answer(200, peer.endpoint.grant({**form, "client_id": unquote_plus(client_id), "client_secret": SECRET}))


def test_an_endpoint_that_knows_only_basic_gets_the_secret_that_way(endpoint: TokenEndpoint) -> None:
    tenant = Tenant(endpoint)
    endpoint.misbehave = wants_basic
    assert tenant.log_in("good")
    assert [form.get("client_secret") for form in endpoint.forms] == [SECRET, None]


def test_a_wrong_secret_is_refused_after_the_second_way_and_shows_in_neither(
    endpoint: TokenEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    tenant = Tenant(endpoint, client_secret="wrong-" + SECRET)

    def echo(peer: Handler) -> None:
        said = peer.headers.get("Authorization", "")
        words = {"error": "invalid_client", "error_description": f"you said {said}"}
        peer.answer(401, words, WWW_Authenticate="Basic")

    endpoint.misbehave = echo
    with caplog.at_level(logging.DEBUG), pytest.raises(AuthenticationError, match="invalid_client") as caught:
        tenant.log_in("good")
    assert len(endpoint.forms) == 2
    assert "you said Basic ***" in str(caught.value)
    sent = endpoint.headers[-1]["Authorization"].removeprefix("Basic ")
    assert sent not in str(caught.value) + caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"client_secret": "s3cret-\ud800-half"},
        {"endpoint": "https://localhost/\x01"},
        {"endpoint": "https://localhost/" + "x" * 70_000},
    ],
    ids=["half a character", "control character", "long"],
)
def test_what_cannot_be_written_into_a_request_is_an_error_of_ours(
    changes: dict[str, str], endpoint: TokenEndpoint
) -> None:
    tenant = Tenant(endpoint)
    tenant.oauth = replace(tenant.oauth, **changes)
    with pytest.raises(SettingsError, match="no request to the token endpoint localhost can be made") as caught:
        tenant.log_in("good")
    assert caught.value.__context__ is None
    assert "half" not in str(caught.value)
    assert endpoint.forms == []


def test_an_address_with_a_key_in_its_query_is_not_in_the_log(
    endpoint: TokenEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("httpx", "httpcore", "airflow_imap_provider"):
        caplog.set_level(logging.DEBUG, logger=name)
    tenant = Tenant(endpoint)
    tenant.oauth = replace(tenant.oauth, endpoint=f"{endpoint.url}?code=FunctionKey123")
    assert tenant.log_in("good")
    assert "has given a token" in caplog.text
    assert "FunctionKey123" not in caplog.text
