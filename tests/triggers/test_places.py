"""Places: who moves them, where they are kept, and what happens when the folder is another one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

import pytest

from airflow_imap_provider.mail.conditions import Subject
from airflow_imap_provider.triggers.email import EmailTrigger
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import until
from tests.triggers.conftest import CONN_ID, message
from tests.triggers.mailbox_state import PLACE, committed
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]


async def test_an_inactive_asset_is_waited_for_and_its_place_is_not_overwritten(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_imap_provider.triggers import subscriber

    monkeypatch.setattr(subscriber, "STORE_RETRY", 0.05)
    dovecot.deliver_all(user, [message("handled"), message("not yet")])
    number = triggerer.add(trigger(conditions=[Subject.equals("handled")]))
    await until(lambda: committed(state) == 2, "handled")
    await triggerer.remove(number)
    stored = state.get(PLACE)
    state.active = False
    triggerer.add(trigger())
    dovecot.deliver(user, message("later"))
    await until(lambda: state.refused > 2, "the inactive asset was asked, and asked again")
    state.active = True
    await until(lambda: triggerer.subjects == ["handled", "later"], "it goes on from the stored place")
    assert state.get(PLACE)["activated"] == stored["activated"]


async def test_two_watchers_with_the_same_place_are_an_error_and_the_first_one_works(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from airflow_imap_provider.triggers import subscriber

    monkeypatch.setattr(subscriber, "CONFLICT_WARNING", 0.0)
    first = triggerer.add(trigger(conditions=[Subject.contains("one")]))
    await until(lambda: committed(state) == 0, "the first has its place")
    triggerer.add(trigger(conditions=[Subject.contains("two")]))
    await until(lambda: "same place 'default'" in caplog.text, "the second one is reported")
    dovecot.deliver_all(user, [message("one"), message("two")])
    await until(lambda: committed(state) == 2, "the first one works")
    assert triggerer.subjects == ["one"]
    await triggerer.remove(first)


async def test_a_trigger_that_two_assets_share_moves_both_places(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    dovecot.deliver(user, message("one"))
    number = triggerer.add(trigger(), "a", "b")
    await until(lambda: (state.get(PLACE, "b") or {}).get("last_uid") == 1, "both are stored")
    assert state.get(PLACE, "a") == state.get(PLACE, "b")
    await triggerer.remove(number)
    behind = {**state.get(PLACE, "a"), "last_uid": 0}
    state.set(PLACE, behind, "b")
    triggerer.add(trigger(), "a", "b")
    await until(lambda: triggerer.subjects == ["one", "one"], "the one that is behind gets its mail")


async def test_a_folder_created_anew_repeats_nothing_and_skips_nothing(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, caplog: pytest.LogCaptureFixture
) -> None:
    dovecot.create_folder(user, "Work")
    old = [message(f"old {number}") for number in range(5)]
    received = datetime.now(timezone.utc)
    number = triggerer.add(trigger(folder="Work"))
    key = f"imap4:place:{CONN_ID}/Work/default"
    dovecot.deliver_all(user, old, "Work", received=received)
    await until(lambda: (state.get(key) or {}).get("last_uid") == 5, "told and stored")
    await triggerer.remove(number)
    before = state.get(key)["uidvalidity"]
    dovecot.delete_folder(user, "Work")
    dovecot.create_folder(user, "Work")
    dovecot.deliver_all(user, [message("came meanwhile"), *old], "Work", received=received)
    triggerer.add(trigger(folder="Work"))
    await until(lambda: (state.get(key) or {}).get("last_uid") == 6 and state.get(key)["epoch"] == 1, "all is handled")
    assert state.get(key)["uidvalidity"] != before
    assert sorted(triggerer.taken()) == ["came meanwhile", *[f"old {number}" for number in range(5)]]
    assert caplog.text.count(f"The folder Work of {CONN_ID} has another UIDVALIDITY") == 1
