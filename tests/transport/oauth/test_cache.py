"""The cache of tokens by itself: one request for all, early renewal, and what happens when there is no answer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from airflow_imap_provider.errors import (
    AuthenticationError,
    ImapError,
    ImapTimeoutError,
    LostConnectionError,
    RefusedError,
    SettingsError,
)
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Deadline
from airflow_imap_provider.transport.oauth import cache as module
from airflow_imap_provider.transport.oauth.answers import Token
from airflow_imap_provider.transport.oauth.cache import Granted, TokenCache
from tests.servers.waiting import wait_until
from tests.transport.clocks import HandClock

KEY = b"key"


class Endpoint:
    """Gives numbered tokens, or fails."""

    def __init__(self, lifetime: float = 3600) -> None:
        self.lifetime = lifetime
        self.asked = 0
        self.failure: BaseException | None = None
        self.deadlines: list[Deadline] = []

    def __call__(self, deadline: Deadline) -> Token:
        self.asked += 1
        self.deadlines.append(deadline)
        if self.failure is not None:
            raise self.failure
        return Token(f"token-{self.asked}", self.lifetime)


class World:
    def __init__(self, lifetime: float = 3600) -> None:
        self.clock = HandClock()
        self.cache = TokenCache()
        self.endpoint = Endpoint(lifetime)

    def get(self, refused: str = "", key: bytes = KEY, *, fresh: bool = False) -> Granted:
        return self.cache.get(key, self.clock, Deadline(self.clock, 60), self.endpoint, refused, fresh=fresh)


def test_a_token_is_asked_for_once_and_renewed_five_minutes_before_its_end() -> None:
    world = World()
    assert world.get() == Granted("token-1", cached=False)
    assert world.get() == Granted("token-1", cached=True)
    world.clock.forward(3600 - 301)
    assert world.get() == Granted("token-1", cached=True)
    world.clock.forward(2)
    assert world.get() == Granted("token-2", cached=False)
    assert world.endpoint.asked == 2


def test_a_token_of_a_short_life_is_renewed_at_half_of_it() -> None:
    world = World(lifetime=60)
    world.get()
    world.clock.forward(29)
    assert world.get().access_token == "token-1"
    world.clock.forward(2)
    assert world.get().access_token == "token-2"


@pytest.mark.parametrize("lifetime", [0, -5])
def test_a_token_that_has_ended_already_is_used_once(lifetime: float) -> None:
    world = World(lifetime)
    assert world.get() == Granted("token-1", cached=False)
    assert world.get() == Granted("token-2", cached=False)


def test_what_is_asked_for_differently_is_another_token() -> None:
    world = World()
    assert world.get(key=b"one") != world.get(key=b"two")
    assert world.get(key=b"one").cached


def test_a_refused_token_is_replaced_once_for_all() -> None:
    world = World()
    first = world.get().access_token
    assert world.get(refused=first) == Granted("token-2", cached=False)
    # Who was refused with the same one a moment later gets the new one, without another request.
    assert world.get(refused=first) == Granted("token-2", cached=True)
    assert world.endpoint.asked == 2


def test_who_asks_for_a_fresh_one_gets_it_and_all_others_too() -> None:
    world = World()
    world.get()
    assert world.get(fresh=True) == Granted("token-2", cached=False)
    assert world.get() == Granted("token-2", cached=True)


TEMPORARY = [RefusedError("busy"), LostConnectionError("gone"), ImapTimeoutError("slow")]


@pytest.mark.parametrize("failure", TEMPORARY, ids=str)
def test_a_temporary_failure_does_not_matter_while_the_token_is_good(failure: ImapError) -> None:
    world = World()
    world.get()
    world.endpoint.failure = failure
    world.clock.forward(3600 - 200)
    assert world.get() == Granted("token-1", cached=True)
    # Half of the time is left to log in with it.
    assert world.endpoint.deadlines[-1].remaining("x") == 30
    # The next attempt comes a while later, not with the next login.
    world.clock.forward(29)
    assert world.get() == Granted("token-1", cached=True)
    assert world.endpoint.asked == 2
    world.clock.forward(2)
    assert world.get() == Granted("token-1", cached=True)
    assert world.endpoint.asked == 3
    world.clock.forward(200)
    with pytest.raises(type(failure)):
        world.get()


def test_a_token_that_ends_while_it_is_being_renewed_is_not_given_to_anybody() -> None:
    world = World(lifetime=600)
    world.get()
    world.clock.forward(590)

    def hang(_: Deadline) -> Token:
        world.clock.forward(29.9)
        raise ImapTimeoutError("slow")

    with pytest.raises(ImapTimeoutError):
        world.cache.get(KEY, world.clock, Deadline(world.clock, 60), hang)


@pytest.mark.parametrize("failure", [AuthenticationError("revoked"), SettingsError("no key")], ids=str)
def test_a_failure_that_somebody_has_to_mend_is_told_although_the_token_is_still_good(failure: ImapError) -> None:
    world = World()
    world.get()
    world.endpoint.failure = failure
    world.clock.forward(3600 - 200)
    with pytest.raises(type(failure)):
        world.get()


def busy(retry_after: float) -> RefusedError:
    error = RefusedError("busy", stage="token", reply="slow", remedy="Wait.")
    error.retry_after = retry_after
    return error


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (RefusedError("busy"), 5),
        (AuthenticationError("revoked"), 5),
        (busy(0), 5),
        (busy(120), 120),
        (busy(999_999), 300),
    ],
)
def test_a_failure_counts_for_all_who_come_within_the_time_that_the_endpoint_asks_for(
    failure: ImapError, seconds: float
) -> None:
    world = World()
    world.endpoint.failure = failure
    with pytest.raises(type(failure)) as first:
        world.get()
    world.endpoint.failure = None
    world.clock.forward(seconds - 1)
    with pytest.raises(type(failure)) as second:
        world.get()
    assert first.value is not second.value
    assert str(first.value) == str(second.value)
    assert world.endpoint.asked == 1
    world.clock.forward(2)
    assert world.get() == Granted("token-2", cached=False)


def test_a_failure_does_not_count_for_who_asks_for_a_fresh_one_nor_after_a_success() -> None:
    world = World(lifetime=0)
    world.endpoint.failure = busy(120)
    with pytest.raises(RefusedError):
        world.get()
    world.endpoint.failure = None
    assert world.get(fresh=True) == Granted("token-2", cached=False)
    assert world.get() == Granted("token-3", cached=False)


def test_an_endpoint_that_asks_to_wait_is_not_asked_to_renew_a_good_token_either() -> None:
    world = World()
    world.get()
    world.clock.forward(3600 - 290)
    world.endpoint.failure = busy(200)
    for _ in range(4):
        assert world.get() == Granted("token-1", cached=True)
        world.clock.forward(49)
    assert world.endpoint.asked == 2


def test_a_time_that_ran_out_is_no_failure_for_who_has_more() -> None:
    world = World()
    world.endpoint.failure = ImapTimeoutError("slow")
    with pytest.raises(ImapTimeoutError):
        world.get()
    world.endpoint.failure = None
    assert world.get() == Granted("token-2", cached=False)


def test_an_interruption_of_who_asks_is_nobody_elses() -> None:
    world = World()
    world.endpoint.failure = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        world.get()
    world.endpoint.failure = None
    assert world.get().access_token == "token-2"


def test_the_number_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_TOKENS", 3)
    world = World()
    for number in range(5):
        world.get(key=bytes([number]))
    assert len(world.cache._entries) == 3
    assert world.get(key=bytes([4])).cached
    assert not world.get(key=bytes([0])).cached


def test_whose_token_is_asked_for_is_kept_although_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_TOKENS", 2)
    world = World()

    def nested(depth: int) -> Token:
        """Each asks while the one before is still under way."""
        if depth:
            world.cache.get(bytes([depth]), world.clock, Deadline(world.clock, 60), lambda _: nested(depth - 1))
        return Token(f"token-{depth}", 3600)

    nested(3)
    assert set(world.cache._entries) == {bytes([1]), bytes([2]), bytes([3])}
    assert world.get(key=bytes([1])).cached


# -- several at once --------------------------------------------------------------------------------------------------


class Crowd:
    """Threads that all want the same token, and an endpoint that answers when it is told to."""

    def __init__(self, cache: TokenCache, size: int, fetch: Callable[[Deadline], Token], seconds: float = 10) -> None:
        self.results: list[Granted | BaseException] = []
        self._cache, self._fetch, self._seconds = cache, fetch, seconds
        self._threads = [threading.Thread(target=self._want) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def _want(self) -> None:
        try:
            self.results.append(self._cache.get(KEY, SYSTEM_CLOCK, Deadline(SYSTEM_CLOCK, self._seconds), self._fetch))
        except BaseException as exc:  # noqa: BLE001 - looked at by the test
            self.results.append(exc)

    def wait(self) -> list[Granted | BaseException]:
        for thread in self._threads:
            thread.join(20)
        return self.results


def test_twenty_who_want_a_token_at_once_cost_one_request() -> None:
    answer, asked = threading.Event(), []

    def fetch(_: Deadline) -> Token:
        asked.append(1)
        answer.wait(10)
        return Token("token", 3600)

    crowd = Crowd(TokenCache(), 20, fetch)
    wait_until(lambda: bool(asked), "somebody asks")
    answer.set()
    granted = crowd.wait()
    assert len(granted) == 20
    assert {grant.access_token for grant in granted if isinstance(grant, Granted)} == {"token"}
    assert len(asked) == 1


def test_who_waits_shares_the_failure_each_with_an_error_of_its_own() -> None:
    cache, answer = TokenCache(), threading.Event()

    def fetch(_: Deadline) -> Token:
        wait_until(lambda: waiting(cache) == 4, "the others wait")
        raise AuthenticationError("revoked.", stage="token", reply="invalid_grant", remedy="Consent again.")

    failures = Crowd(cache, 5, fetch).wait()
    answer.set()
    assert [str(failure) for failure in failures] == [
        "token: revoked. (answer: invalid_grant) Consent again."
    ] * 5  # fmt: skip
    assert len({id(failure) for failure in failures}) == 5


def waiting(cache: TokenCache) -> int:
    """How many wait for the request that is under way."""
    flight = cache._entries[KEY].flight
    assert flight is not None
    return len(flight.over._cond._waiters)  # type: ignore[attr-defined]


def test_who_waits_obeys_the_own_deadline() -> None:
    cache, answer = TokenCache(), threading.Event()

    def fetch(_: Deadline) -> Token:
        answer.wait(10)
        return Token("token", 3600)

    patient = Crowd(cache, 1, fetch)
    wait_until(lambda: KEY in cache._entries, "somebody asks")
    with pytest.raises(ImapTimeoutError) as caught:
        cache.get(KEY, SYSTEM_CLOCK, Deadline(SYSTEM_CLOCK, 0.1), fetch)
    assert caught.value.stage == "token"
    answer.set()
    assert patient.wait() == [Granted("token", cached=False)]


def test_who_still_has_time_asks_again_when_the_first_has_run_out_of_it() -> None:
    cache, asked = TokenCache(), []

    def fetch(_: Deadline) -> Token:
        asked.append(1)
        if len(asked) == 1:
            wait_until(lambda: waiting(cache) == 1, "the other waits")
            raise ImapTimeoutError("too late")
        return Token("token", 3600)

    results = Crowd(cache, 2, fetch).wait()
    assert sorted(type(result).__name__ for result in results) == ["Granted", "ImapTimeoutError"]
    assert len(asked) == 2


def test_nobody_waits_for_a_renewal_while_the_token_is_still_good() -> None:
    cache, clock, answer = TokenCache(), HandClock(), threading.Event()
    cache.get(KEY, clock, Deadline(clock, 60), lambda _: Token("old", 3600))
    clock.forward(3600 - 200)
    renewed: list[Granted] = []

    def slow(_: Deadline) -> Token:
        answer.wait(10)
        return Token("new", 3600)

    thread = threading.Thread(target=lambda: renewed.append(cache.get(KEY, clock, Deadline(clock, 60), slow)))
    thread.start()
    wait_until(lambda: cache._entries[KEY].flight is not None, "the renewal is under way")
    assert cache.get(KEY, clock, Deadline(clock, 60), slow) == Granted("old", cached=True)
    answer.set()
    thread.join(10)
    assert renewed == [Granted("new", cached=False)]
