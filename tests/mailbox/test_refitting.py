"""UIDs that mean other mails: noticed with and without a change of UIDVALIDITY, said, and nothing new is dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_imap_provider.connection.settings import AuthSettings
from airflow_imap_provider.errors import LostConnectionError
from airflow_imap_provider.mail.conditions import Conditions
from airflow_imap_provider.mailbox import refitting
from airflow_imap_provider.mailbox.place import CLOCKS_APART, Place, first_place
from airflow_imap_provider.mailbox.reader import Batch, Reader, Wish
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Clock
from airflow_imap_provider.transport.session import open_session
from tests.mailbox.test_poison import answer
from tests.mailbox.test_reader import message
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import settings_for

NOW = datetime.now(timezone.utc).replace(microsecond=0)


def reader(clock: Clock = SYSTEM_CLOCK) -> Reader:
    return Reader(Wish(conn_id="c", folder="INBOX", conditions=Conditions([]), server_search=False), clock=clock)


def read(dovecot: Dovecot, user: User, place: Place, clock: Clock = SYSTEM_CLOCK) -> Batch:
    session = open_session(dovecot.settings(user))
    try:
        status, reading = session.select("INBOX", readonly=True), reader(clock)
        first = batch = reading.read(session, status, place)
        emails, mails = first.emails, first.mails
        while batch.more:
            batch = reading.read(session, status, batch.place)
            emails, mails = emails + batch.emails, mails + batch.mails
        return replace(first, place=batch.place, emails=emails, mails=mails)
    finally:
        session.close()


def subjects(batch: Batch) -> list[str]:
    return [mail.subject for mail in batch.mails]


@pytest.fixture
def told(dovecot: Dovecot, user: User) -> Place:
    """The place after two mails of today, in a folder that has older ones of before the activation."""
    old = NOW - timedelta(days=400)
    dovecot.deliver_all(user, [message("of before"), message("of before too")], received=old)
    dovecot.deliver_all(user, [message("one"), message("two")], received=NOW)
    batch = read(dovecot, user, first_place("new", NOW))
    assert subjects(batch) == ["one", "two"]
    return replace(batch.place, todo=())


def test_a_mail_of_years_ago_that_was_moved_here_meanwhile_is_new_when_uidvalidity_has_changed(
    dovecot: Dovecot, user: User, told: Place
) -> None:
    dovecot.deliver(user, message("moved here"), received=NOW - timedelta(days=900))
    dovecot.set_uidvalidity(user, told.uidvalidity + 100)  # type: ignore[operator]
    batch = read(dovecot, user, told)
    assert subjects(batch) == ["moved here"]
    assert "has another UIDVALIDITY" in batch.notice
    assert (batch.place.epoch, batch.place.last_uid) == (1, 5)
    assert read(dovecot, user, batch.place).notice == ""


def test_where_nothing_told_is_found_dates_decide_and_what_they_leave_out_is_said(
    dovecot: Dovecot, user: User, told: Place
) -> None:
    dovecot.expunge(user, [3, 4])
    dovecot.deliver(user, message("moved here"), received=NOW - timedelta(days=900))
    dovecot.deliver(user, message("new"), received=NOW)
    dovecot.set_uidvalidity(user, told.uidvalidity + 100)  # type: ignore[operator]
    batch = read(dovecot, user, told)
    assert subjects(batch) == ["new"]
    assert "3 older mails, received before" in batch.notice
    assert "airflow imap4 reset --to" in batch.notice


def test_an_edited_host_or_login_of_the_same_mailbox_changes_nothing(dovecot: Dovecot, user: User, told: Place) -> None:
    assert told.account
    batch = read(dovecot, user, replace(told, account="another"))
    assert (batch.notice, batch.emails, batch.place) == ("", (), told)


def test_a_place_of_before_accounts_were_noted_is_believed(dovecot: Dovecot, user: User, told: Place) -> None:
    batch = read(dovecot, user, replace(told, account="", recent=()))
    assert (batch.notice, batch.emails, batch.place.account) == ("", (), told.account)


def test_another_mailbox_with_the_same_uidvalidity_is_noticed(dovecot: Dovecot, user: User, told: Place) -> None:
    dovecot.expunge(user, [4])
    other = replace(
        told,
        account="another",
        last_uid=3,
        told_uid=2,
        last_received=NOW - timedelta(hours=3),
        recent=((1, "x"),),
        witness=(3, "x"),
    )
    batch = read(dovecot, user, other)
    assert subjects(batch) == ["one"]
    assert "host, login or alias of the connection was edited" in batch.notice


@pytest.mark.parametrize(("uidvalidity", "epoch"), [(None, 0), (7, 1)], ids=["a time", "counted"])
def test_where_the_last_mail_is_gone_the_same_uidvalidity_means_the_same_mailbox_if_it_is_a_time(
    dovecot: Dovecot, user: User, told: Place, uidvalidity: int | None, epoch: int
) -> None:
    dovecot.deliver(user, message("three"), received=NOW)
    dovecot.expunge(user, [4])
    if uidvalidity is not None:
        dovecot.set_uidvalidity(user, uidvalidity)
        told = replace(told, uidvalidity=uidvalidity)
    assert told.witness[0] == 4
    batch = read(dovecot, user, replace(told, account="another name"))
    assert subjects(batch) == ["three"]
    assert batch.place.epoch == epoch
    assert bool(batch.notice) == bool(epoch)


def test_the_mark_of_an_account_is_about_whose_mailbox_it_is(dovecot: Dovecot, user: User, told: Place) -> None:
    settings = dovecot.settings(user)
    session = open_session(settings)
    try:
        status = session.select("INBOX", readonly=True)
        for changed in (replace(settings, auth=replace(settings.auth, password="another")), replace(settings, port=1)):
            session.settings = changed
            assert reader().read(session, status, told).place.account == told.account
        session.settings = replace(settings, auth=AuthSettings(login="somebody else"))
        assert reader().read(session, status, told).place.account != told.account
    finally:
        session.close()


# --- UIDs that begin anew under the same UIDVALIDITY, which no sound server has -------------------------------------


def numbered_anew(uids: list[int], opened: list[int]) -> Callable[[Peer], None]:
    """A server with UIDVALIDITY 7 and these mails; ``opened`` says for each opening how many mails it has then."""

    def script(peer: Peer) -> None:
        peer.let_in()
        peer.open_inbox(exists=opened.pop(0))
        while True:
            line = peer.line()
            peer.tag, _, command = line.partition(" ")
            if command.startswith("NOOP"):
                peer.ok()
            elif command.startswith("EXAMINE"):
                exists = opened.pop(0)
                peer.ok(f"* {exists} EXISTS", "* OK [UIDVALIDITY 7] v", f"* OK [UIDNEXT {exists + 1}] n")
            elif command.startswith("UID SEARCH"):
                first, _, last = command.split()[3].partition(":")
                top = max(uids) if last == "*" else int(last)
                low = min(int(first), top) if last == "*" else int(first)
                before = "BEFORE" in command
                peer.ok("* SEARCH " + " ".join(str(uid) for uid in uids if low <= uid <= max(top, low) and not before))
            else:
                wanted, items = command.split(" ", 3)[2:]
                first, _, last = wanted.partition(":")
                peer.ok(*(answer(uid, items) for uid in uids if int(first) <= uid <= int(last or first)))

    return script


HANDLED = Place(
    start="new",
    activated=NOW - timedelta(days=900),
    uidvalidity=7,
    last_uid=50_000,
    last_received=datetime(2026, 10, 1, tzinfo=timezone.utc),
)


def test_a_place_above_all_uids_begins_anew_and_loudly() -> None:
    with ScriptedServer(numbered_anew([1, 2, 3], [3, 3])) as server:
        session = open_session(settings_for(server))
        batch = reader().read(session, session.select("INBOX", readonly=True), HANDLED)
        session.close()
    assert subjects(batch) == ["mail 1", "mail 2", "mail 3"]
    assert "the next UID is 4, and 50000 was handled" in batch.notice
    assert (batch.place.epoch, batch.place.last_uid) == (1, 3)


def test_a_mail_that_was_told_with_the_first_date_there_is_does_not_stop_the_folder_that_is_made_anew() -> None:
    told = replace(
        HANDLED,
        uidvalidity=6,
        last_uid=2,
        last_received=datetime(1, 1, 1, tzinfo=timezone.utc),
        recent=((-62135596800, "x"),),
    )
    with ScriptedServer(numbered_anew([1, 2], [2])) as server:
        session = open_session(settings_for(server))
        batch = reader().read(session, session.select("INBOX", readonly=True), told)
        session.close()
    assert "has another UIDVALIDITY" in batch.notice
    assert len(batch.mails) == 2


@pytest.mark.parametrize(("known", "openings"), [(False, 3), (True, 2)], ids=["by search", "by the last mail"])
def test_a_uidnext_that_is_told_wrong_is_not_believed_and_said_once(
    known: bool, openings: int, caplog: pytest.LogCaptureFixture
) -> None:
    place = replace(HANDLED, last_uid=8)
    if known:
        with ScriptedServer(numbered_anew([1, 2, 9], [9])) as server:
            session = open_session(settings_for(server))
            place = reader().read(session, session.select("INBOX", readonly=True), place).place
            session.close()
        assert place.witness[0] == 9
    place = replace(place, last_uid=9)
    opened = [3] * 6  # UIDNEXT is 4 each time
    refitting._told_wrong.clear()
    with ScriptedServer(numbered_anew([1, 2, 9], opened)) as server:
        for _ in range(2):
            before, session, reading = len(opened), open_session(settings_for(server)), reader()
            session.select("INBOX", readonly=True)
            for _ in range(3):
                batch = reading.read(session, session.folder, place)
                assert (batch.notice, batch.emails, batch.place.epoch, batch.place.last_uid) == ("", (), 0, 9)
            session.close()
            assert before - len(opened) == openings, "for each opening, and not for each reading"
    assert caplog.text.count("that is not believed") == 1


def test_two_that_share_a_session_do_not_open_the_folder_in_turns_where_uidnext_is_wrong() -> None:
    opened = [3] * 4
    with ScriptedServer(numbered_anew([1, 2, 9], opened)) as server:
        session = open_session(settings_for(server))
        session.select("INBOX", readonly=True)
        readings = [reader(), reader()]
        for _ in range(5):
            for reading in readings:
                assert reading.read(session, session.folder, replace(HANDLED, last_uid=9)).notice == ""
        session.close()
    assert opened == [3], "once at first, and twice to prove it"


def test_a_mail_that_comes_just_then_is_no_proof_against_uidnext() -> None:
    """It has the UID that was told as the next one."""
    opened = [2, 2, 3]
    with ScriptedServer(numbered_anew([1, 2, 3], opened)) as server:
        session = open_session(settings_for(server))
        batch = reader().read(session, session.select("INBOX", readonly=True), replace(HANDLED, last_uid=9))
        session.close()
    assert "numbers its mails anew" in batch.notice
    assert batch.place.epoch == 1
    assert opened == []


def test_a_status_that_is_older_than_the_place_is_asked_for_again_once() -> None:
    """Another trigger has read on in the same session."""
    opened = [3, 5]
    with ScriptedServer(numbered_anew([1, 2, 3, 4, 5, 6], opened)) as server:
        session = open_session(settings_for(server))
        session.select("INBOX", readonly=True)
        reading, place = reader(), replace(HANDLED, last_uid=5)
        for _ in range(3):
            batch = reading.read(session, session.folder, place)
            place = batch.place
            assert batch.notice == ""
        session.close()
    assert place.last_uid == 6
    assert opened == []


@pytest.mark.parametrize(("uidvalidity", "uidnext"), [(8, 4), (7, 2)], ids=["made anew", "numbered anew"])
def test_a_folder_that_is_another_one_when_it_is_opened_again_costs_the_connection(
    uidvalidity: int, uidnext: int
) -> None:
    """Others who share the session owe actions to mails of before, which must not be done to those that are there."""
    opened = [(7, 3), (uidvalidity, uidnext)]

    def script(peer: Peer) -> None:
        peer.let_in()
        while True:
            line = peer.line()
            peer.tag, _, command = line.partition(" ")
            if command.startswith("EXAMINE"):
                valid, following = opened.pop(0)
                peer.ok("* 2 EXISTS", f"* OK [UIDVALIDITY {valid}] valid", f"* OK [UIDNEXT {following}] next")
            elif command.startswith("UID SEARCH"):
                peer.ok("* SEARCH")
            else:
                peer.ok()

    with ScriptedServer(script) as server:
        session = open_session(settings_for(server))
        session.select("INBOX", readonly=True)
        place = replace(HANDLED, uidvalidity=7, last_uid=5)
        with pytest.raises(LostConnectionError, match="made anew"):
            reader().read(session, session.folder, place)
        session.close()


# --- clocks -------------------------------------------------------------------------------------------------------


class Late:
    """The system's time, so many minutes after the module's beginning."""

    def __init__(self, minutes: int) -> None:
        self._now = NOW + timedelta(minutes=minutes)

    def monotonic(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return self._now


@pytest.mark.parametrize(("minutes", "found"), [(0, []), (20, ["a minute before"])])
def test_mail_that_came_while_the_folder_could_not_be_opened_is_new_although_clocks_are_apart(
    dovecot: Dovecot, user: User, minutes: int, found: list[str]
) -> None:
    dovecot.deliver(user, message("long before"), received=NOW - timedelta(minutes=10))
    dovecot.deliver(user, message("a minute before"), received=NOW - timedelta(seconds=75))
    batch = read(dovecot, user, first_place("new", NOW, slack=CLOCKS_APART), Late(minutes))
    assert subjects(batch) == found
