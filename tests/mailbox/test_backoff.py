"""How long to stay away after which error."""

from __future__ import annotations

import pytest

from airflow_imap_provider.errors import (
    AuthenticationError,
    ImapTimeoutError,
    LostConnectionError,
    RefusedError,
    SettingsError,
)
from airflow_imap_provider.mailbox.backoff import Backoff


def test_back_off_doubles_spreads_and_waits_longer_after_a_refused_login() -> None:
    backoff = Backoff()
    delays = [backoff.next(LostConnectionError("x")) for _ in range(12)]
    assert all(0.7 * 2**number <= delay <= 1.3 * 2**number for number, delay in enumerate(delays[:6]))
    assert all(42 <= delay <= 78 for delay in delays[6:])
    backoff.reset()
    assert backoff.next(LostConnectionError("x")) < 2
    for error in (AuthenticationError("x"), SettingsError("x")):
        backoff.reset()
        assert 20 < backoff.next(error) < 40
    assert max(backoff.next(AuthenticationError("x")) for _ in range(12)) <= 900 * 1.3


@pytest.mark.parametrize("kind", [LostConnectionError, ImapTimeoutError])
def test_logins_without_an_answer_are_soon_taken_for_refused_ones(kind: type[LostConnectionError]) -> None:
    backoff = Backoff()
    error = kind("x", stage="authentication")
    delays = [backoff.next(error) for _ in range(9)]
    assert max(delays[:2]) < 3, "a server that is restarted"
    assert min(delays[2:]) > 60
    assert max(delays) <= 900 * 1.3
    assert sum(delay for delay in delays) > 3600
    backoff.reset()
    assert backoff.next(error) < 2
    assert max(backoff.next(kind("x", stage="IDLE")) for _ in range(9)) <= 78


def test_a_login_ended_with_words_about_a_limit_waits_as_these_call_for() -> None:
    backoff = Backoff()
    error = LostConnectionError("x", stage="authentication", reply="[UNAVAILABLE] later")
    assert max(backoff.next(error) for _ in range(12)) <= 600 * 1.3


def test_a_suggested_time_is_honoured_and_spread_upwards_only() -> None:
    error = RefusedError("x", reply="Request is throttled. Suggested Backoff Time: 299000 milliseconds")
    delays = [Backoff().next(error) for _ in range(200)]
    assert min(delays) >= 299
    assert max(delays) <= 299 * 1.3
    assert max(delays) - min(delays) > 30, "a thousand mailboxes do not come back at once"


def test_a_suggestion_of_milliseconds_that_does_not_help_is_not_repeated_in_a_frenzy() -> None:
    backoff = Backoff()
    error = RefusedError("x", reply="Request is throttled. Suggested Backoff Time: 5 milliseconds")
    delays = [backoff.next(error) for _ in range(8)]
    assert delays[0] >= 1
    assert delays[-1] >= 60


@pytest.mark.parametrize(
    ("words", "first", "most"),
    [
        ("[ALERT] Too many simultaneous connections. (Failure)", 60, 900),
        ("[OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", 300, 3600),
        ("[UNAVAILABLE] later", 30, 600),
        ("User is authenticated but not connected.", 60, 900),
    ],
)
@pytest.mark.parametrize("kind", [RefusedError, LostConnectionError])
def test_a_limit_waits_as_long_as_its_words_call_for(
    kind: type[LostConnectionError], words: str, first: float, most: float
) -> None:
    backoff = Backoff()
    delays = [backoff.next(kind("x", reply=words)) for _ in range(12)]
    assert 0.7 * first <= delays[0] <= 1.3 * first
    assert 0.7 * most <= delays[-1] <= 1.3 * most
