"""When the health entry is written: soon where somebody may look for it, and never often."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, cast

from airflow_imap_provider.mailbox.outage import WatcherState
from airflow_imap_provider.mailbox.place import first_place
from airflow_imap_provider.mailbox.reader import Batch
from airflow_imap_provider.triggers.health import CONFIRM, FIRST_LOOK, OFTENEST, OFTENEST_NEWS, Health
from airflow_imap_provider.triggers.store import AssetStore, Stream
from tests.mail.builders import mail
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import until
from tests.triggers.conftest import message
from tests.triggers.test_delivery import Make
from tests.triggers.triggerer import State, Triggerer

STREAM = Stream("mailbox", "INBOX", "default")
BEGAN = datetime(2026, 11, 23, 18, 45, tzinfo=timezone.utc)
CONNECTED = WatcherState(connected=True, since=BEGAN)
ACTIONS = {"pending_actions": 0, "failed_actions": 0, "last_action_error": ""}


class Hours:
    """A clock that is set, and a store that counts what is written into it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.entry: dict[str, Any] = {}
        self.writes = 0
        self.away = False
        self.health = Health(cast("AssetStore", self), STREAM, self, "")

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def read(self, _: str) -> list[dict[str, Any]]:
        return []

    async def write(self, key: str, value: dict[str, Any]) -> None:
        assert key == STREAM.key("health")
        self.writes += 1
        if self.away:
            raise ConnectionError("away")
        self.entry = value

    def look(self, mails: int = 0) -> None:
        place = first_place("all", BEGAN)
        self.health.caught_up(Batch(start=place, place=place, mails=tuple(mail() for _ in range(mails))))

    async def note(self, seconds: float, state: WatcherState = CONNECTED) -> float | None:
        """Go on by so many seconds, then note."""
        self.seconds += seconds
        return await self.health.note(state, ACTIONS, 1)


async def test_the_first_entry_tells_of_the_first_look() -> None:
    hours = Hours()
    assert await hours.note(0.0) is None
    assert hours.writes == 0, "it would say no more than that there is a connection"
    hours.look()
    assert await hours.note(2.0) is None
    assert hours.writes == 1
    assert hours.entry["last_catch_up"] == "2026-11-23T18:45:00+00:00"
    assert hours.entry["noted"] == "2026-11-23T18:45:02+00:00"


async def test_a_first_look_that_takes_long_is_not_waited_for() -> None:
    hours = Hours()
    await hours.note(0.0)
    await hours.note(FIRST_LOOK)
    assert (hours.entry["connected"], hours.entry["last_catch_up"]) == (True, "")
    hours.look()
    assert await hours.note(1.0) == OFTENEST_NEWS - 1.0
    await hours.note(OFTENEST_NEWS - 1.0)
    assert hours.entry["last_catch_up"]


async def test_a_mail_after_a_quiet_minute_is_counted_within_seconds_and_the_next_ones_within_a_minute() -> None:
    hours = Hours()
    hours.look()
    await hours.note(0.0)
    hours.look(mails=1)
    wait = await hours.note(2.0)
    assert wait == OFTENEST_NEWS - 2.0
    assert await hours.note(wait) is None
    assert hours.entry["told"] == 1
    hours.look(mails=2)
    wait = await hours.note(1.0)
    assert wait == OFTENEST - 1.0
    assert await hours.note(wait) is None
    assert hours.entry["told"] == 3


async def test_a_stream_that_tells_all_the_time_is_written_about_once_a_minute() -> None:
    hours = Hours()
    for _ in range(600):
        hours.look(mails=1)
        await hours.note(2.0)
    assert 1_200 / OFTENEST <= hours.writes <= 1_200 / OFTENEST + 1


async def test_an_unchanged_state_is_confirmed_and_asks_for_nothing() -> None:
    hours = Hours()
    hours.look()
    for _ in range(61):
        assert await hours.note(30.0) is None
    assert hours.writes == 1 + 1_830 // CONFIRM


async def test_an_airflow_that_is_away_is_asked_once_a_minute() -> None:
    hours = Hours()
    hours.away = True
    hours.look()
    assert await hours.note(0.0) == OFTENEST
    for _ in range(int(OFTENEST) - 1):
        hours.look(mails=1)
        await hours.note(1.0)
    assert hours.writes == 1
    hours.away = False
    await hours.note(1.0)
    assert (hours.writes, hours.entry["told"]) == (2, OFTENEST - 1)


async def test_a_running_trigger_notes_its_first_look_and_each_mail_told(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make
) -> None:
    def entry() -> dict[str, Any]:
        found: dict[str, Any] = state.get(STREAM.key("health")) or {}
        return found

    triggerer.add(trigger())
    await until(lambda: bool(entry().get("last_catch_up")), "the first look is noted, without any mail")
    dovecot.deliver(user, message("one"))
    await until(lambda: entry()["told"] == 1, "the mail is counted, without another one", 30)
