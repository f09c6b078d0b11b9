"""Lost, wrong and edited connections: reported once, tried again, and no mail is missed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest

from airflow_imap_provider.triggers.email import EmailTrigger
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import until
from tests.triggers.conftest import connection, message
from tests.triggers.mailbox_state import HEALTH, committed
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]


async def test_a_lost_connection_is_made_again_and_nothing_is_missed(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    triggerer.add(trigger())
    for number in range(1, 4):
        await until(lambda: committed(state) == number - 1, "stored")  # noqa: B023
        dovecot.kick(user)
        dovecot.deliver(user, message(f"mail {number}"))
        await until(lambda: triggerer.subjects[-1:] == [f"mail {number}"], "told after the reconnect", 20)  # noqa: B023


async def test_a_wrong_password_is_one_clear_error_and_the_mail_comes_once_it_is_right(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from airflow_imap_provider.mailbox.backoff import Backoff

    monkeypatch.setattr(Backoff, "REFUSED", (0.1, 0.1))
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, password="not-this-one"))
    dovecot.deliver(user, message("waits"))
    triggerer.add(trigger())
    await until(lambda: (state.get(HEALTH) or {}).get("last_error", "").startswith("authentication"), "it is reported")
    await until(lambda: dovecot.log().count(f"user=<{user.login}>, method=PLAIN") > 3, "it keeps trying", 20)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "not watching INBOX of mailbox: authentication" in errors[0].getMessage()
    assert "not-this-one" not in caplog.text + json.dumps(state.values)
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    await until(lambda: triggerer.subjects == ["waits"], "the edited connection is used")


async def test_an_edited_connection_is_used_without_waiting_for_the_back_off_of_the_wrong_one(
    dovecot: Dovecot, user: User, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    from airflow_imap_provider.mailbox import pacing

    monkeypatch.setattr(pacing, "SETTINGS_GLANCE", 0.1)
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, password="not-this-one"))
    dovecot.deliver(user, message("waits"))
    triggerer.add(trigger())
    await until(lambda: (state.get(HEALTH) or {}).get("last_error", "").startswith("authentication"), "it is reported")
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    await until(lambda: triggerer.subjects == ["waits"], "seconds later, and not half a minute")


async def test_an_edited_connection_is_used_although_the_old_one_works(
    dovecot: Dovecot, user: User, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    from airflow_imap_provider.mailbox import pacing

    monkeypatch.setattr(pacing, "SETTINGS_RENEWAL", 0.1)
    triggerer.add(trigger(poll_interval=1.0))
    await until(lambda: committed(state) == 0, "it watches")
    other = dovecot.new_user()
    dovecot.deliver(other, message("in another mailbox"))
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, other))
    await until(lambda: triggerer.subjects == ["in another mailbox"], "the other mailbox is opened", 20)


@pytest.mark.parametrize(
    ("arguments", "fields", "words"),
    [
        ({"folder": "Nowhere"}, {}, "Nowhere"),
        ({}, {"host": "does-not-exist.invalid"}, "does-not-exist.invalid"),
        ({}, {"port": 1}, "127.0.0.1"),
        ({}, {"extra": {"timeout": "soon"}}, "Timeout (timeout)"),
        ({"imap4_conn_id": "missing"}, {}, "'missing'"),
    ],
    ids=["folder", "host", "port", "field", "connection"],
)
async def test_bad_settings_are_one_clear_error_and_the_trigger_lives_on(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    arguments: dict[str, object],
    fields: dict[str, object],
    words: str,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, **fields))
    number = triggerer.add(trigger(**arguments))
    await until(lambda: "not watching" in caplog.text, "it is reported", 20)
    (error,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert words in error
    assert not triggerer.runner.triggers[number]["task"].done()
    assert user.password not in caplog.text
