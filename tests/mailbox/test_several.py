"""What is said of several mails of which some failed: each by its key, with what to do, and in bounds."""

from __future__ import annotations

import pickle

import pytest

from airflow_imap_provider.errors import AuthenticationError, ImapError, LostConnectionError, SettingsError
from airflow_imap_provider.mailbox.lookup import NotFoundError
from airflow_imap_provider.mailbox.several import NAMED, Failures, check_missing, kept, raise_all


def test_the_error_names_each_mail_and_what_to_do() -> None:
    failures = Failures("saved", ["a", "b", "c"])
    for key, remedy in (("a", "Do this."), ("c", "Do that.")):
        with failures.of(key):
            raise ImapError(f"no luck with {key}.", stage="save", remedy=remedy)
    with failures.of("b"):
        pass
    assert not failures.hopeless
    with pytest.raises(ImapError) as caught:
        failures.check()
    assert str(caught.value) == (
        "save: 2 of 3 mails are not saved: a: no luck with a; c: no luck with c. Do this. Do that."
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_of_a_single_mail_the_error_is_its_own() -> None:
    failures = Failures("saved", ["a"])
    with failures.of("a"):
        raise NotFoundError("gone")
    with pytest.raises(NotFoundError, match=r"^gone$"):
        failures.check()


def test_without_failures_nothing_is_raised_and_missing_mails_may_be_none() -> None:
    failures = Failures("saved", ["a", "b"], "ignore")
    with failures.of("a"):
        raise NotFoundError("gone")
    failures.check()
    raise_all([])
    with pytest.raises(SettingsError, match="missing='skip'; accepted are 'fail' and 'ignore'"):
        check_missing("skip")


@pytest.mark.parametrize("error", [LostConnectionError("ended"), AuthenticationError("refused")])
def test_without_a_connection_the_rest_is_not_tried_and_named(error: ImapError) -> None:
    failures = Failures("forwarded", ["a", "b", "c"])
    with failures.of("a"):
        raise error
    assert failures.hopeless
    with pytest.raises(ImapError, match=r"3 of 3 mails are not forwarded: a: .*; not tried, .*: b, c"):
        failures.check()


def test_what_is_the_same_for_every_mail_is_raised_at_once() -> None:
    failures = Failures("saved", ["a", "b"])
    with pytest.raises(SettingsError), failures.of("a"):
        raise SettingsError("no key")
    errors: list[ImapError] = []
    with pytest.raises(SettingsError), kept(errors):
        raise SettingsError("no key")


def test_an_error_of_very_many_mails_stays_in_bounds() -> None:
    keys = [f"k{number}" for number in range(NAMED + 20)]
    failures = Failures("saved", keys)
    for key in keys:
        with failures.of(key):
            raise ImapError("no luck", remedy=f"Look at {key}.")
    with pytest.raises(ImapError, match="and 20 more, which the log has") as caught:
        failures.check()
    assert caught.value.remedy == "Look at k0. Look at k1. Look at k2."


def test_errors_of_several_connections_are_said_together() -> None:
    with pytest.raises(LostConnectionError, match=r"^one$"):
        raise_all([LostConnectionError("one")])
    with pytest.raises(ImapError, match="one; two"):
        raise_all([LostConnectionError("one."), ImapError("two.")])
