"""One login for everybody on a folder: triggers with their own conditions, places and start policies, and sensors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_imap_provider.mail.conditions import Conditions, Subject
from airflow_imap_provider.mailbox import watcher as watching
from airflow_imap_provider.mailbox.actions import MarkRead
from airflow_imap_provider.mailbox.reader import Wish
from airflow_imap_provider.triggers.email import EmailTrigger
from airflow_imap_provider.triggers.wait import EmailWaitTrigger
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import until
from tests.triggers.conftest import CONN_ID, message
from tests.triggers.mailbox_state import flags
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]


class Logins:
    """Counts what a user does at the server, beside the deliveries of the test."""

    def __init__(self, dovecot: Dovecot, user: User) -> None:
        self.dovecot, self.user, self.mine = dovecot, user, 0

    def deliver(self, *subjects: str, **options: Any) -> None:
        self.mine += 1
        self.dovecot.deliver_all(self.user, [message(subject) for subject in subjects], **options)

    def count(self) -> int:
        return self.dovecot.log().count(f"Login: user=<{self.user.login}>") - self.mine

    def ended(self) -> int:
        return self.dovecot.log().count(f"imap({self.user.login})") - self.mine


def sensor(conditions: list[Any], start: str = "all") -> asyncio.Task[list[str]]:
    """A deferred sensor on the same folder, as the triggerer runs it."""
    wish = Wish(conn_id=CONN_ID, folder="INBOX", conditions=Conditions(conditions))
    trigger = EmailWaitTrigger(
        wish=wish.to_json(),
        start=start,
        activated=datetime.now(timezone.utc).isoformat(),
        min_count=1,
        poll_interval=60.0,
        idle=True,
    )

    async def wait() -> list[str]:
        async for event in trigger.run():
            return [email["subject"] for email in event.payload["emails"]]
        raise AssertionError("it ended without an event")

    return asyncio.ensure_future(wait())


def place(state: State, name: str, asset: str) -> dict[str, Any]:
    found: dict[str, Any] = state.get(f"imap4:place:{CONN_ID}/INBOX/{name}", asset) or {}
    return found


def told(triggerer: Triggerer, name: str) -> list[str]:
    return [
        email["subject"]
        for event in triggerer.log
        if event["stream"] == f"{CONN_ID}/INBOX/{name}"
        for email in event["emails"]
    ]


async def test_many_sensors_wait_on_one_folder_over_one_login_and_each_gets_its_own_mail(
    dovecot: Dovecot, user: User
) -> None:
    logins, many = Logins(dovecot, user), 60
    waiting = [sensor([Subject.equals(f"answer {number}")]) for number in range(many)]
    everybody = [sensor([Subject.starts_with("answer")]) for _ in range(20)]
    await until(lambda: logins.count() == 1, "they have logged in")
    logins.deliver("something else")
    first, *others = [f"answer {number}" for number in range(many)]
    logins.deliver(first)
    assert await asyncio.wait_for(waiting[0], 60) == [first]
    assert await asyncio.wait_for(asyncio.gather(*everybody), 60) == [[first]] * 20
    assert not any(task.done() for task in waiting[1:])
    logins.deliver(*reversed(others))
    assert await asyncio.wait_for(asyncio.gather(*waiting[1:]), 90) == [[subject] for subject in others]
    assert logins.count() == 1


async def test_watchers_and_sensors_come_and_go_over_one_login_and_the_last_one_logs_out(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    logins = Logins(dovecot, user)
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    logins.deliver("old one", "old two", received=yesterday)
    everything = triggerer.add(trigger(place="everything"), "a")
    await until(lambda: told(triggerer, "everything") == ["old one", "old two"], "the first has the old mails")

    new = triggerer.add(trigger(place="new", start="new"), "b")
    only = triggerer.add(trigger(place="only", conditions=[Subject.contains("two")]), "a")
    since = triggerer.add(trigger(place="since", start=(yesterday - timedelta(hours=1)).isoformat()), "c")
    waiting = sensor([Subject.equals("wanted")])
    await until(lambda: state.get(f"imap4:place:{CONN_ID}/INBOX/new", "b") is not None, "the late ones have joined")
    await until(lambda: told(triggerer, "since") == ["old one", "old two"], "each starts by its own policy")
    assert told(triggerer, "new") == []

    logins.deliver("three", "another two")
    await until(lambda: told(triggerer, "new") == ["three", "another two"], "the new mails are told")
    await until(lambda: told(triggerer, "only") == ["old two", "another two"], "each by its own conditions")
    assert not waiting.done()

    await triggerer.remove(everything)
    acting = triggerer.add(
        trigger(
            place="acting", conditions=[Subject.contains("wanted") | Subject.contains("last")], on_match=[MarkRead()]
        ),
        "d",
    )
    logins.deliver("wanted")
    assert await asyncio.wait_for(waiting, 20) == ["wanted"]
    await until(lambda: told(triggerer, "acting") == ["wanted"], "who came late and wants to act has it")
    await until(lambda: place(state, "acting", "d").get("last_uid") == 5, "its place has moved")
    await until(lambda: place(state, "acting", "d")["todo"] == [], "and the mail is marked")
    logins.mine += 1
    assert "Seen" in flags(dovecot, user)["wanted"]
    assert "Seen" not in flags(dovecot, user)["three"]
    logins.mine += 1

    await until(lambda: logins.count() == 1, "one login, when the server has written its log")
    for number in (new, only, since):
        await triggerer.remove(number)
    logins.deliver("to the last")
    await until(lambda: told(triggerer, "acting") == ["wanted", "to the last"], "the last one still watches")
    await until(lambda: logins.count() == 1, "still one")
    before = logins.ended()
    await triggerer.remove(acting)
    await until(lambda: logins.ended() > before, "the last one has logged out")
    assert watching._watchers == {}
