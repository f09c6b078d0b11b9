"""Refresh tokens that are replaced at each use, with an endpoint that refuses used ones."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Keeper, Settings
from airflow_imap_provider.errors import AuthenticationError, ImapTimeoutError, RefusedError
from airflow_imap_provider.transport.oauth import source
from airflow_imap_provider.transport.oauth.cache import TokenCache
from airflow_imap_provider.transport.oauth.keeping import Shelf as KnownTokens
from airflow_imap_provider.transport.session import open_session
from tests.servers.dovecot import User
from tests.servers.token_endpoint import Consent
from tests.servers.waiting import wait_until
from tests.transport.oauth_server import OAuthWorld, oauth_servers, world

__all__ = ["oauth_servers", "world"]

pytestmark = pytest.mark.dovecot


class Shelf:
    """A keeper that several processes share."""

    def __init__(self) -> None:
        self.token: str | None = None
        self.works = True
        self.readable = True
        self.read = 0

    def newest(self) -> str | None:
        self.read += 1
        if not self.readable:
            raise RefusedError("Airflow is away.", stage="token")
        return self.token

    def keep(self, token: str) -> bool:
        if self.works:
            self.token = token
        return self.works


@pytest.fixture(autouse=True)
def rotating(world: OAuthWorld) -> Iterator[None]:
    world.endpoint.rotates = True
    yield
    world.endpoint.reset()


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the process knows nothing of what it did before."""
    monkeypatch.setattr(source, "_cache", TokenCache())
    monkeypatch.setattr("airflow_imap_provider.transport.oauth.rotation._shelf", KnownTokens())


class Mailbox:
    def __init__(self, world: OAuthWorld, keeper: Keeper | None) -> None:
        self.user: User = world.dovecot.new_user()
        self.auth: AuthSettings = world.by_consent(self.user, keeper=keeper)
        self.settings: Settings = world.settings(self.user, self.auth)
        self.consent: Consent = world.endpoint._consents[-1]

    def log_in(self) -> None:
        open_session(self.settings).close()


def test_the_newest_refresh_token_is_kept_and_used_by_the_next_process(
    world: OAuthWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf()
    mailbox = Mailbox(world, shelf)
    for number in range(1, 4):
        another_process(monkeypatch)
        mailbox.log_in()
        assert shelf.token == mailbox.consent.valid
        assert len(mailbox.consent.used) == number
    assert len(world.endpoint.forms) == 3


def test_an_endpoint_that_keeps_its_refresh_tokens_leaves_nothing_to_keep(world: OAuthWorld) -> None:
    world.endpoint.rotates = False
    shelf = Shelf()
    mailbox = Mailbox(world, shelf)
    mailbox.log_in()
    assert shelf.token is None
    world.endpoint.more = {"refresh_token": mailbox.consent.valid}
    mailbox.log_in()
    assert shelf.token is None


def test_without_a_keeper_the_newest_lasts_as_long_as_the_process(
    world: OAuthWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox = Mailbox(world, None)
    world.endpoint.lifetime = 0
    mailbox.log_in()
    mailbox.log_in()
    another_process(monkeypatch)
    with pytest.raises(AuthenticationError, match="invalid_grant"):
        mailbox.log_in()


def test_who_is_overtaken_by_another_process_takes_the_token_that_it_got(
    world: OAuthWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf()
    mailbox = Mailbox(world, shelf)
    # The other process has used the token, and stores its successor only after this one has been refused.
    another = world.endpoint.grant(
        {
            "grant_type": "refresh_token",
            "client_id": mailbox.auth.oauth.client_id,
            "client_secret": mailbox.auth.oauth.client_secret,
            "refresh_token": mailbox.consent.valid,
        }
    )

    def store_when_the_second_look_comes() -> None:
        while shelf.read < 2:
            threading.Event().wait(0.01)
        shelf.keep(another["refresh_token"])

    thread = threading.Thread(target=store_when_the_second_look_comes)
    thread.start()
    mailbox.log_in()
    thread.join(10)
    assert [form["refresh_token"] for form in world.endpoint.forms] == [
        mailbox.auth.oauth.refresh_token,
        another["refresh_token"],
    ]
    assert shelf.token == mailbox.consent.valid


def test_where_a_token_that_comes_twice_ends_the_consent_two_processes_at_the_same_moment_end_it(
    world: OAuthWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.endpoint.detects_reuse = True
    shelf = Shelf()
    mailbox = Mailbox(world, shelf)
    another = world.endpoint.grant(
        {
            "grant_type": "refresh_token",
            "client_id": mailbox.auth.oauth.client_id,
            "client_secret": mailbox.auth.oauth.client_secret,
            "refresh_token": mailbox.consent.valid,
        }
    )

    def store_when_the_second_look_comes() -> None:
        while shelf.read < 2:
            threading.Event().wait(0.01)
        shelf.keep(another["refresh_token"])

    thread = threading.Thread(target=store_when_the_second_look_comes)
    thread.start()
    with pytest.raises(AuthenticationError, match="consent again"):
        mailbox.log_in()
    thread.join(10)
    # One after the other is well.
    again = world.endpoint.consent(mailbox.user.login, mailbox.auth.oauth.client_id)
    oauth = replace(mailbox.auth.oauth, refresh_token=again.valid, keeper=Shelf())
    mailbox.settings = world.settings(mailbox.user, replace(mailbox.auth, oauth=oauth))
    for _ in range(3):
        another_process(monkeypatch)
        mailbox.log_in()


def test_a_consent_that_has_ended_is_told_after_one_request(world: OAuthWorld) -> None:
    shelf = Shelf()
    mailbox = Mailbox(world, shelf)
    mailbox.consent.valid = "revoked"
    with pytest.raises(AuthenticationError, match="consent again"):
        mailbox.log_in()
    assert len(world.endpoint.forms) == 1


def test_a_new_consent_in_the_form_goes_before_what_was_kept(world: OAuthWorld) -> None:
    mailbox = Mailbox(world, Shelf())
    mailbox.log_in()
    again = world.endpoint.consent(mailbox.user.login, mailbox.auth.oauth.client_id)
    oauth = replace(mailbox.auth.oauth, refresh_token=again.valid, keeper=Shelf())
    mailbox.settings = world.settings(mailbox.user, replace(mailbox.auth, oauth=oauth))
    mailbox.log_in()
    assert world.endpoint.forms[-1]["refresh_token"] == again.used[0]


def test_a_token_that_cannot_be_kept_is_used_by_this_process_and_kept_later(world: OAuthWorld) -> None:
    shelf = Shelf()
    shelf.works = False
    mailbox = Mailbox(world, shelf)
    world.endpoint.lifetime = 0
    mailbox.log_in()
    mailbox.log_in()
    assert shelf.token is None
    shelf.works = True
    mailbox.log_in()
    assert shelf.token == mailbox.consent.valid


def test_who_cannot_read_what_was_kept_does_not_use_up_an_old_token(world: OAuthWorld) -> None:
    shelf = Shelf()
    shelf.readable = False
    mailbox = Mailbox(world, shelf)
    with pytest.raises(RefusedError, match="Airflow is away"):
        mailbox.log_in()
    assert world.endpoint.forms == []


# -- an Airflow that hangs --------------------------------------------------------------------------------------------


class HangingShelf(Shelf):
    """A keeper that answers when it is told to."""

    def __init__(self, *, reads: bool = True) -> None:
        super().__init__()
        self.reads = reads
        self.go = threading.Event()
        self.kept: list[str] = []

    def newest(self) -> str | None:
        if not self.reads:
            self.go.wait(30)
        return super().newest()

    def keep(self, token: str) -> bool:
        self.go.wait(30)
        self.kept.append(token)
        return super().keep(token)


def test_an_airflow_that_does_not_answer_is_named_in_time_and_no_token_is_used_up(world: OAuthWorld) -> None:
    shelf = HangingShelf(reads=False)
    mailbox = Mailbox(world, shelf)
    mailbox.settings = replace(mailbox.settings, timeout=1)
    began = time.monotonic()
    with pytest.raises(ImapTimeoutError, match="Airflow does not say in time") as caught:
        mailbox.log_in()
    assert time.monotonic() - began < 10, "thirty is how long it hangs"
    assert caught.value.stage == "token"
    assert "endpoint" not in str(caught.value)
    assert world.endpoint.forms == []
    shelf.go.set()
    mailbox.log_in()


def test_a_hanging_airflow_holds_a_few_threads_however_many_mailboxes_ask(world: OAuthWorld) -> None:
    shelves = [HangingShelf(reads=False) for _ in range(12)]
    mailboxes = [Mailbox(world, shelf) for shelf in shelves]
    failures: list[ImapTimeoutError] = []

    def log_in(mailbox: Mailbox) -> None:
        mailbox.settings = replace(mailbox.settings, timeout=1)
        try:
            mailbox.log_in()
        except ImapTimeoutError as exc:
            failures.append(exc)

    threads = [threading.Thread(target=log_in, args=(mailbox,)) for mailbox in mailboxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(failures) == 12
    assert len([thread for thread in threading.enumerate() if thread.name == "imap-refresh-token"]) == 8
    for shelf in shelves:
        shelf.go.set()
    wait_until(lambda: "imap-refresh-token" not in {thread.name for thread in threading.enumerate()}, "they are over")
    mailboxes[0].log_in()


def test_a_token_that_is_stored_too_late_is_used_meanwhile_and_the_last_one_is_what_stays(world: OAuthWorld) -> None:
    shelf = HangingShelf()
    mailbox = Mailbox(world, shelf)
    mailbox.settings = replace(mailbox.settings, timeout=2)
    world.endpoint.lifetime = 0
    mailbox.log_in()
    mailbox.log_in()
    assert shelf.token is None
    assert len(mailbox.consent.used) == 2
    shelf.go.set()
    wait_until(lambda: shelf.token == mailbox.consent.valid, "what counts is stored")
    # In the order in which they came, the first one at most before it.
    assert shelf.kept == [mailbox.consent.used[1], mailbox.consent.valid]
    mailbox.log_in()
    assert shelf.token == mailbox.consent.valid


def test_what_is_kept_and_read_is_a_secret(world: OAuthWorld, caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    mailbox = Mailbox(world, shelf)
    with caplog.at_level(logging.DEBUG):
        mailbox.log_in()
    shown = caplog.text + repr(mailbox.settings)
    for token in (mailbox.consent.valid, *mailbox.consent.used):
        assert token not in shown
    assert "Shelf" not in repr(mailbox.settings)
