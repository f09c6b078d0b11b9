"""One connection for everybody: pushes, polls, hand-overs between the loop and the workers, and losses."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.mail.conditions import Conditions
from airflow_imap_provider.mailbox import pacing
from airflow_imap_provider.mailbox import watcher as watching
from airflow_imap_provider.mailbox.place import Place, first_place
from airflow_imap_provider.mailbox.reader import BATCH_SECONDS, Batch, Reader, Wish
from airflow_imap_provider.mailbox.watcher import FolderWatcher
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK
from airflow_imap_provider.transport.session import FolderStatus, Session
from tests.mailbox.test_reader import fetched, message
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import Peer, ScriptedServer
from tests.servers.waiting import until
from tests.transport.conftest import settings_for


class Reading:
    """A member that reads whenever it is woken, and keeps the subjects."""

    def __init__(
        self, settings: Settings, *, poll_interval: float = 60.0, idle: bool = True, folder: str = "INBOX"
    ) -> None:
        self.poll_interval, self.idle, self.acts = poll_interval, idle, False
        self.folder = folder
        self.settings = settings
        self.subjects: list[str] = []
        self.wakes = 0
        self._woken = asyncio.Event()
        wish = Wish(conn_id="c", folder=folder, conditions=Conditions([]), server_search=False)
        self._reader = Reader(wish)
        self._place: Place = first_place("all", SYSTEM_CLOCK.now())
        self.watcher: FolderWatcher | None = None
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        self.wakes += 1
        self._woken.set()

    def join(self, key: str = "k") -> None:
        async def settings() -> Settings:
            return self.settings

        self.key = (key, self.folder)
        self.watcher = watching.join(self.key, self, settings)
        self._task = asyncio.get_running_loop().create_task(self._read())

    async def leave(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        await watching.leave(self.key, self)

    async def _read(self) -> None:
        assert self.watcher is not None
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                batch = await self.watcher.read(self, self._reader, self._place)
            except ImapError:
                continue
            self._place = batch.place
            self.subjects += [mail.subject for mail in batch.mails]


@pytest.fixture
async def member(dovecot: Dovecot, user: User) -> AsyncIterator[Reading]:
    reading = Reading(dovecot.settings(user))
    reading.join()
    yield reading
    await reading.leave()


def idling(member: Reading) -> bool:
    return member.watcher is not None and member.watcher._channel is not None


async def test_mail_is_pushed_while_the_connection_rests(dovecot: Dovecot, user: User, member: Reading) -> None:
    await until(lambda: idling(member), "it rests in IDLE")
    for number in range(3):
        dovecot.deliver(user, message(f"mail {number}"))
        await until(lambda: len(member.subjects) == number + 1, "it is read")  # noqa: B023
        await until(lambda: idling(member), "it rests again")


async def test_members_share_one_connection_and_the_last_to_leave_logs_out(
    dovecot: Dovecot, user: User, member: Reading
) -> None:
    other = Reading(dovecot.settings(user))
    other.join()
    dovecot.deliver(user, message("one"))
    await until(lambda: member.subjects == other.subjects == ["one"], "both have read it")
    assert other.watcher is member.watcher
    await other.leave()
    dovecot.deliver(user, message("two"))
    await until(lambda: member.subjects == ["one", "two"], "the other goes on")
    assert other.subjects == ["one"]
    logouts = dovecot.log().count(f"imap({user.login})")
    await member.leave()
    await until(lambda: dovecot.log().count(f"imap({user.login})") > logouts, "the connection is given back")


async def test_work_that_nobody_waits_for_any_more_leaves_the_connection_usable(
    dovecot: Dovecot, user: User, member: Reading
) -> None:
    import threading

    await until(lambda: idling(member), "it rests in IDLE")
    began, go_on = threading.Event(), threading.Event()

    def slow(session: object, status: object) -> None:
        began.set()
        go_on.wait(10)

    assert member.watcher is not None
    session = member.watcher._session
    task = asyncio.ensure_future(member.watcher.use(slow))
    await until(began.is_set, "the work has begun")
    task.cancel()
    await asyncio.wait([task])
    dovecot.deliver(user, message("one"))
    go_on.set()
    await until(lambda: member.subjects == ["one"], "the others read on")
    assert member.watcher._session is session, "over the same connection"


async def test_polling_finds_what_is_not_pushed(dovecot: Dovecot, user: User) -> None:
    member = Reading(dovecot.settings(user), poll_interval=0.1, idle=False)
    member.join()
    await until(lambda: member.wakes > 2, "it is woken by the clock")
    assert not idling(member)
    dovecot.deliver(user, message("one"))
    await until(lambda: member.subjects == ["one"], "it is polled")
    await member.leave()


async def test_a_folder_made_anew_behind_the_back_of_the_session_is_noticed(
    dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted and made again within a second, it leaves Dovecot 2.3's session in the old folder: NOOP and SEARCH go on
    to succeed there for ever, and no mail comes. (Looked at in the middle of it, Dovecot damages the new folder's index
    in one of ten runs, "indexid changed", and the mails are gone for every client: hence neither IDLE nor polls.)"""
    monkeypatch.setattr(pacing, "REOPENING", 0.0)
    member = Reading(dovecot.settings(user), poll_interval=60.0, idle=False, folder="Work")
    dovecot.create_folder(user, "Work")
    dovecot.deliver(user, message("old"), "Work")
    member.join()
    await until(lambda: member.subjects == ["old"], "it is read")
    assert member.watcher is not None
    first = member.watcher._session
    dovecot.delete_folder(user, "Work")
    dovecot.create_folder(user, "Work")
    new = [f"new {number}" for number in range(3)]
    dovecot.deliver_all(user, [message(subject) for subject in new], "Work")
    member.wake()
    await until(lambda: member.subjects == ["old", *new], "the new folder is read")
    assert member.watcher._session is not first, "what was read in the old connection counts no more"
    await member.leave()


async def test_a_folder_whose_uids_begin_anew_under_the_same_uidvalidity_is_noticed_when_it_is_opened_again(
    dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Reading(dovecot.settings(user), poll_interval=60.0, idle=False, folder="Work")
    dovecot.create_folder(user, "Work")
    dovecot.deliver_all(user, [message(f"old {number}") for number in range(5)], "Work")
    member.join()
    await until(lambda: len(member.subjects) == 5, "all are read")
    assert member.watcher is not None
    assert member.watcher.opening is not None
    uidvalidity = member.watcher.opening.uidvalidity
    dovecot.delete_folder(user, "Work")
    await asyncio.sleep(1.5)  # Dovecot damages an index that is made anew within a second
    dovecot.create_folder(user, "Work")
    dovecot.set_uidvalidity(user, uidvalidity, "Work")
    new = [f"new {number}" for number in range(3)]
    dovecot.deliver_all(user, [message(subject) for subject in new], "Work")
    monkeypatch.setattr(pacing, "REOPENING", 0.0)
    member.wake()
    await until(lambda: member.subjects[5:] == new, "the new ones are read")
    assert member.watcher.connects == 2
    await member.leave()


async def test_a_member_that_lacks_something_takes_the_folder_from_nobody(dovecot: Dovecot, user: User) -> None:
    class Lacking(Reader):
        def read(self, *_: object, **__: object) -> Batch:
            raise SettingsError("the extra is not installed.", stage="settings")

    wish = Wish(conn_id="c", folder="INBOX", conditions=Conditions([]))
    lacking, other = (Reading(dovecot.settings(user), poll_interval=0.5) for _ in range(2))
    lacking._reader = Lacking(wish)
    for member in (lacking, other):
        member.join()
    for number in range(3):
        dovecot.deliver(user, message(f"mail {number}"))
        await until(lambda: len(other.subjects) == number + 1, "the other reads it")  # noqa: B023
    assert other.watcher is not None
    assert other.watcher.connects == 1
    for member in (lacking, other):
        await member.leave()


async def test_a_session_that_is_lost_is_not_kept_in_an_outage(dovecot: Dovecot, user: User, member: Reading) -> None:
    dovecot.deliver(user, message("one"))
    await until(lambda: member.subjects == ["one"], "it is read")
    await until(lambda: idling(member), "it rests in IDLE")
    assert member.watcher is not None
    lost = weakref.ref(member.watcher._session)
    member.settings = replace(member.settings, port=1)
    dovecot.kick(user)

    def gone() -> bool:
        gc.collect()
        return lost() is None

    await until(gone, "nobody knows it any more")
    assert not member.watcher.state.connected


async def test_a_folder_that_is_opened_again_stays_as_it_was(
    dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "REOPENING", 0.0)
    member = Reading(dovecot.settings(user), poll_interval=0.2)
    member.join()
    for number in range(3):
        dovecot.deliver(user, message(f"mail {number}"))
        await until(lambda: len(member.subjects) == number + 1, "it is read")  # noqa: B023
    wakes = member.wakes
    await until(lambda: member.wakes > wakes + 3, "it is polled")
    assert member.watcher is not None
    assert member.watcher.connects == 1
    assert member.watcher.opening is not None
    assert member.watcher.opening.readonly
    assert member.subjects == [f"mail {number}" for number in range(3)]
    await member.leave()


async def test_who_only_polls_does_not_end_idle_for_the_others(dovecot: Dovecot, user: User) -> None:
    polling = Reading(dovecot.settings(user), poll_interval=0.2, idle=False)
    resting = Reading(dovecot.settings(user))
    for member in (polling, resting):
        member.join()
    await until(lambda: idling(resting), "the connection rests in IDLE")
    wakes = polling.wakes
    await until(lambda: polling.wakes > wakes + 2, "the other one is woken by the clock all the same")
    dovecot.deliver(user, message("one"))
    await until(lambda: polling.subjects == resting.subjects == ["one"], "both have read it")
    await resting.leave()
    await until(lambda: polling.wakes > wakes + 6, "it goes on alone")
    assert not idling(polling)
    await polling.leave()


async def test_those_who_share_a_slow_connection_share_the_time_of_a_batch(dovecot: Dovecot, user: User) -> None:
    members = [Reading(dovecot.settings(user)) for _ in range(5)]
    for member in members:
        member.join()
    await until(lambda: all(idling(member) for member in members), "the connection rests in IDLE")
    shares: list[float | None] = []

    class Noting(Reader):
        def read(self, session: Session, status: FolderStatus, place: Place, *, seconds: float | None = None) -> Batch:
            shares.append(seconds)
            return super().read(session, status, place, seconds=seconds)

    first = members[0]
    assert first.watcher is not None
    noting = Noting(Wish(conn_id="c", folder="INBOX", conditions=Conditions([])))
    await first.watcher.read(first, noting, first_place("all", SYSTEM_CLOCK.now()))
    for member in members:
        await member.leave()
    assert shares == [BATCH_SECONDS / 5]


async def test_a_frozen_server_is_noticed_by_a_round_trip_and_left(dovecot: Dovecot, user: User) -> None:
    member = Reading(dovecot.settings(user, timeout=1), poll_interval=0.2)
    member.join()
    await until(lambda: idling(member), "it rests in IDLE")
    assert member.watcher is not None
    with dovecot.frozen():
        await until(lambda: not member.watcher.state.connected, "the silence is noticed")  # type: ignore[union-attr]
    dovecot.deliver(user, message("one"))
    await until(lambda: member.subjects == ["one"], "it is read after the reconnect", 20)
    await member.leave()


def scripted_member(server: ScriptedServer, **options: float) -> Reading:
    return Reading(settings_for(server), **options)  # type: ignore[arg-type]


async def test_mail_announced_in_the_middle_of_another_command_is_not_forgotten() -> None:
    """It is announced once only: not again when IDLE begins (RFC 3501, section 7.3.1)."""

    def script(peer: Peer) -> None:
        peer.let_in()
        peer.open_inbox(exists=0)
        peer.expect("NOOP")
        peer.ok()
        peer.expect("UID SEARCH")
        peer.ok("* SEARCH")
        peer.expect("UID SEARCH")
        peer.ok("* SEARCH", "* 1 EXISTS")
        line = peer.line()
        while not line.endswith("NOOP"):
            peer.tag = line.split()[0]
            peer.send("+ idling")
            assert peer.line() == "DONE"
            peer.ok()
            line = peer.line()
        peer.tag = line.split()[0]
        peer.ok()
        peer.expect("UID SEARCH")
        peer.ok("* SEARCH 1")
        peer.expect("UID FETCH")
        peer.ok(fetched(1, "announced in passing"))
        peer.line()  # IDLE again, or the farewell

    with ScriptedServer(script) as server:
        member = scripted_member(server)
        member.join("scripted")
        await until(lambda: member.subjects == ["announced in passing"], "it is read at once")
        await member.leave()


async def test_a_server_that_announces_idle_and_refuses_it_is_polled_over_the_same_connection() -> None:
    def script(peer: Peer) -> None:
        peer.serve_inbox()
        polls = refusals = 0
        while polls < 6:
            line = peer.line()
            peer.tag, _, command = line.partition(" ")
            if command == "IDLE":
                refusals += 1
                assert refusals <= watching.SHORT_IDLES, "IDLE is not asked for again"
                peer.no("not here")
            elif command == "NOOP":
                polls += 1
                peer.ok()
            else:
                peer.ok("* SEARCH")
        played.set()
        peer.line()

    import threading

    played = threading.Event()
    with ScriptedServer(script) as server:
        member = scripted_member(server, poll_interval=0.1)
        member.join("scripted")
        await until(played.is_set, "it polls")
        await member.leave()


async def test_a_folder_that_the_server_opens_for_reading_only_is_opened_for_writing_once() -> None:
    """Shared mailboxes are such; what the server refuses there is the action's trouble, and tried again at leisure."""
    opened: list[str] = []

    def script(peer: Peer) -> None:
        peer.let_in()
        while True:
            line = peer.line()
            peer.tag, _, command = line.partition(" ")
            if command.startswith(("SELECT", "EXAMINE")):
                opened.append(command.split()[0])
                peer.ok("* 0 EXISTS", "* OK [UIDVALIDITY 7] valid", "* OK [UIDNEXT 1] next", words="[READ-ONLY]")
            elif command.startswith("UID SEARCH"):
                peer.ok("* SEARCH")
            elif command.startswith("UID STORE"):
                peer.no("[NOPERM] read-only")
            else:
                peer.ok()

    with ScriptedServer(script) as server:
        member = scripted_member(server, idle=False)
        member.join("scripted")
        await until(lambda: member._place.uidvalidity == 7, "it is read")
        assert member.watcher is not None
        openings = []
        for _ in range(3):
            with pytest.raises(ImapError, match="open for reading only"):
                await member.watcher.use(lambda session, status: session.add_flags([1], ["\\Seen"]), writing=True)
            openings.append(member.watcher.opening)
        assert opened == ["EXAMINE", "SELECT"]
        assert openings == [openings[0]] * 3
        assert all(opening is openings[0] for opening in openings)
        assert member.watcher.connects == 1
        await member.leave()
