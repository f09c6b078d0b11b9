"""A mail that cannot be read and a server that cannot read: told apart, bounded, quiet and loud in the right places."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.mail.conditions import Body, Condition, Conditions, Subject
from airflow_imap_provider.mailbox import poison
from airflow_imap_provider.mailbox.actions import Action, Delete, Flag, MarkRead, Move
from airflow_imap_provider.mailbox.backoff import Backoff
from airflow_imap_provider.mailbox.place import Place, first_place
from airflow_imap_provider.mailbox.reader import Reader, Wish
from airflow_imap_provider.transport.session import open_session
from airflow_imap_provider.transport.throttling import LIMITS
from tests.mailbox.test_reader import STRUCTURE
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import ClientGoneError, Peer, ScriptedServer
from tests.transport.conftest import settings_for

BEGIN = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
HOUR = 3600.0
PATIENCE = poison.PATIENCE
DROP, GARBLE = "drop", "garble"
SHORT = ("left out", "nothing but flags", "no header", "NIL", "empty", "blank")
"""What an answer that is OK may lack of a mail."""
Trouble = Callable[["Troubled", list[int], str], str]
"""Says for a FETCH of UIDs and items what goes wrong: the words of a NO, a BYE, or one of the above; else nothing."""

SAID = {
    "throttled": "[THROTTLED] too fast",
    "connections": "[LIMIT] enough of you",
    "full": "[OVERQUOTA] full",
    "busy": "Server Unavailable. 15",
    "backend": "User is authenticated but not connected.",
}


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)


class Troubled:
    """A server whose FETCHes go wrong as a test says.

    :param uids: the mails in its folder.
    :param listed: those that it goes on to list although they are gone, until it has been asked twice.
    """

    def __init__(self, uids: list[int], trouble: Trouble, clock: Clock) -> None:
        self.uids, self.trouble, self.clock = uids, trouble, clock
        self.listed = list(uids)
        self.commands: list[str] = []
        self.fetches = 0
        self.connections = 0

    def __call__(self, peer: Peer) -> None:
        self.connections += 1
        peer.let_in()
        peer.open_inbox(exists=len(self.uids))
        while True:
            line = peer.line()
            peer.tag, _, command = line.partition(" ")
            self.commands.append(command)
            if command.startswith("NOOP"):
                peer.ok()
            elif command.startswith("UID SEARCH"):
                first, _, last = re.sub("UID SEARCH UID ", "", command).partition(":")
                top = 10**9 if last == "*" else int(last or first)
                found = [uid for uid in self.listed if int(first) <= uid <= top]
                self.listed = list(self.uids)
                peer.ok("* SEARCH " + " ".join(map(str, found)))
            elif command.startswith("UID FETCH"):
                self.fetches += 1
                self._fetch(peer, command)
            else:
                raise AssertionError(command)

    def _fetch(self, peer: Peer, command: str) -> None:
        _, _, wanted, items = command.split(" ", 3)
        asked = []
        for item in wanted.split(","):
            first, _, last = item.partition(":")
            asked += list(range(int(first), int(last or first) + 1))
        what = self.trouble(self, asked, items)
        if what == DROP or what.startswith("* BYE"):
            if what != DROP:
                peer.send(what)
            peer.close()
            raise ClientGoneError
        if what in SHORT:
            answers = (answer(uid, items, self.trouble(self, [uid], items)) for uid in asked if uid in self.uids)
            peer.ok(*filter(None, answers))
        elif what and what != GARBLE:
            peer.no(what)
        elif what:
            peer.ok(b"* 1 FETCH (UID 2 FLAGS (\\Seen INTERNALDATE (((((")
        else:
            peer.ok(*(answer(uid, items) for uid in asked if uid in self.uids))


def answer(uid: int, items: str, short: str = "") -> bytes:
    """What is asked for of a mail, or less."""
    header = f"Subject: mail {uid}\r\n\r\n".encode()
    given = {"NIL": b"NIL", "empty": b'""', "blank": b"{2}\r\n\r\n"}.get(short)
    values = {
        "FLAGS": b"FLAGS ()",
        "INTERNALDATE": b'INTERNALDATE "01-Nov-2026 00:00:00 +0000"',
        "RFC822.SIZE": b"RFC822.SIZE 50",
        "BODYSTRUCTURE": f"BODYSTRUCTURE {STRUCTURE}".encode(),
        "HEADER.FIELDS": b"BODY[HEADER.FIELDS (SUBJECT)] " + (given or b"{%d}\r\n%s" % (len(header), header)),
        "BODY.PEEK[HEADER]": b"BODY[HEADER]<0> " + (given or b"{%d}\r\n%s" % (len(header), header)),
        "BODY.PEEK[1]": b"BODY[1]<0> {5}\r\nmagic",
        "BODY.PEEK[]": b"BODY[]<0> " + (given or b"{%d}\r\n%smagic" % (len(header) + 5, header)),
    }
    if short == "left out":
        return b""
    if short in ("nothing but flags", "no header"):
        kept = ("FLAGS",) if short == "nothing but flags" else ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODYSTRUCTURE")
        values = {name: values[name] for name in kept}
    told = b" ".join([f"UID {uid}".encode(), *(value for name, value in values.items() if name in items)])
    return b"* %d FETCH (%s)" % (uid, told)


@dataclass
class Outcome:
    """What a reader made of it."""

    place: Place
    subjects: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    held_up: list[str] = field(default_factory=list)
    errors: list[ImapError] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    todo: dict[int, list[str]] = field(default_factory=dict)
    emails: list[dict[str, Any]] = field(default_factory=list)
    ended: float = 0.0


@contextlib.contextmanager
def scene(uids: list[int], trouble: Trouble) -> Iterator[tuple[Troubled, ScriptedServer]]:
    folder = Troubled(uids, trouble, Clock())
    with ScriptedServer(folder) as server:
        yield folder, server


def watch(
    folder: Troubled,
    server: ScriptedServer,
    reader: Reader,
    seconds: float,
    *,
    place: Place | None = None,
    poll: float = 60.0,
) -> Outcome:
    """Read as a watcher does, with its back-off and its polls, for so long by the folder's clock."""
    clock, backoff = folder.clock, Backoff()
    outcome, end, session = Outcome(place or first_place("all", BEGIN)), clock.seconds + seconds, None
    while clock.seconds < end and outcome.place.last_uid < max(folder.uids, default=0):
        try:
            if session is None:
                session = open_session(settings_for(server))
                status = session.select("INBOX", readonly=True)
            batch = reader.read(session, status, outcome.place)
        except ImapError as error:
            outcome.errors.append(error)
            assert session is not None
            session.close()
            session = None
            clock.seconds += backoff.next(error)
            continue
        backoff.reset()
        outcome.place = batch.place.paid
        for todo in batch.place.todo:
            of = [uid for first, last in todo.uids.spans for uid in range(first, last + 1)]
            outcome.todo |= {uid: [action.do for action in todo.actions] for uid in of}
        outcome.emails += batch.emails
        outcome.subjects += [mail.subject for mail in batch.mails]
        outcome.times.update({mail.subject: clock.seconds for mail in batch.mails})
        outcome.incomplete += batch.incomplete
        outcome.held_up += [batch.held_up] if batch.held_up else []
        if not batch.more:
            clock.seconds += poll
    if session is not None:
        session.close()
    outcome.ended = clock.seconds
    return outcome


def reader(folder: Troubled, *conditions: Condition, patient: bool = True, **actions: tuple[Action, ...]) -> Reader:
    wish = Wish(conn_id="c", folder="INBOX", conditions=Conditions(list(conditions)), server_search=False)
    wish = replace(wish, **actions)  # type: ignore[arg-type]
    return Reader(wish, clock=folder.clock, patient=patient)


def on(uid: int, what: str, having: str = "HEADER") -> Trouble:
    """Trouble with one mail."""
    return lambda _folder, uids, items: what if uid in uids and having in items else ""


# --- a server that is not well ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_a_limit_is_the_servers_and_never_a_mails_fault(limit: object) -> None:
    words = SAID[limit.name]  # type: ignore[attr-defined]
    until = 2 * HOUR
    with scene([1, 2, 3], lambda folder, _uids, _items: words if folder.clock.seconds < until else "") as (
        folder,
        server,
    ):
        found = watch(folder, server, reader(folder, Subject.contains("mail")), 6 * HOUR)
    assert found.subjects == ["mail 1", "mail 2", "mail 3"]
    assert found.incomplete == []
    assert found.errors, "the folder was said not to be watched meanwhile"
    assert all(words in error.reply for error in found.errors)
    assert folder.fetches - len(found.errors) <= 6, "one command each time, and then quiet"


def test_a_hundred_mails_and_a_server_that_asks_for_quiet_are_one_command() -> None:
    with scene(list(range(1, 101)), lambda *_: "[THROTTLED] too fast") as (folder, server):
        found = watch(folder, server, reader(folder), 1.0)
    assert folder.fetches == len(found.errors) == 1
    assert found.ended > 200, "and it is left alone for minutes"


@pytest.mark.parametrize("words", ["System Error", "* BYE Internal error occurred.", DROP])
def test_a_storage_that_is_away_for_hours_costs_no_mail(words: str) -> None:
    """Flags and dates, and the headers of old mails, come from an index meanwhile."""

    def away(folder: Troubled, uids: list[int], items: str) -> str:
        stored = "BODY.PEEK[]" in items or ("HEADER" in items and max(uids) > 2)
        return words if stored and folder.clock.seconds < 5 * HOUR else ""

    with scene([1, 2, 3], away) as (folder, server):
        place = first_place("all", BEGIN)
        found = watch(folder, server, reader(folder, Subject.contains("mail")), 9 * HOUR, place=place)
    assert found.subjects == ["mail 1", "mail 2", "mail 3"]
    assert found.incomplete == []
    assert found.times["mail 3"] > 4 * HOUR


def test_a_batch_that_an_ailing_server_refuses_is_a_handful_of_commands() -> None:
    with scene(list(range(1, 201)), lambda *_: "System Error") as (folder, server):
        found = watch(folder, server, reader(folder), 0.5)
    assert len(found.errors) == 1
    assert len(folder.commands) <= 10


def test_what_was_read_before_the_server_had_enough_is_handed_out_and_not_read_again() -> None:
    def enough(folder: Troubled, uids: list[int], _items: str) -> str:
        return "[THROTTLED] too fast" if max(uids) > 100 and folder.clock.seconds < 100 else ""

    with scene(list(range(1, 121)), enough) as (folder, server):
        found = watch(folder, server, reader(folder), HOUR)
    assert found.subjects == [f"mail {uid}" for uid in range(1, 121)]
    assert found.times["mail 50"] == 0.0
    assert len(found.errors) == 1


# --- a mail that is broken ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what", ["cannot convert this message", "Server Unavailable. 15", "* BYE Internal error", DROP]
)
def test_a_poison_mail_holds_the_folder_up_for_a_quarter_of_an_hour_and_is_named(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with scene([1, 2, 3], on(2, what)) as (folder, server):
        found = watch(folder, server, reader(folder), 6 * HOUR)
    assert found.subjects == ["mail 1", "", "mail 3"]
    assert found.times["mail 1"] < 300, "those before it do not wait"
    # The last attempt may begin just before, and the back-off of a busy server behind it is up to thirteen minutes.
    assert PATIENCE <= found.times["mail 3"] < 2 * PATIENCE
    assert found.held_up
    assert set(found.held_up) <= {f"UID 2: {error}" for error in found.errors} | {found.held_up[0]}
    assert [line.split(":")[0] for line in found.incomplete] == ["UID 2, without its header"]
    assert "mail 2 cannot be read, and the folder is not read beyond it" in caplog.text
    assert "mail 2 is handled without its header" in caplog.text
    assert folder.fetches < 80, "it is not asked for at every poll"
    assert folder.connections < 40


def test_a_mail_whose_answer_makes_no_sense_is_not_waited_for() -> None:
    with scene([1, 2, 3], on(2, GARBLE)) as (folder, server):
        found = watch(folder, server, reader(folder), 1.0)
    assert found.subjects == ["mail 1", "", "mail 3"]
    assert len(found.incomplete) == 1


def test_a_structure_that_is_refused_costs_nothing() -> None:
    with scene([1, 2, 3], on(2, "cannot convert this message", "BODYSTRUCTURE")) as (folder, server):
        found = watch(folder, server, reader(folder), 1.0)
    assert found.subjects == ["mail 1", "mail 2", "mail 3"]


def test_a_text_that_is_not_given_for_a_while_is_waited_for() -> None:
    def away(folder: Troubled, uids: list[int], items: str) -> str:
        return "not now" if uids == [2] and "BODY.PEEK[1]" in items and folder.clock.seconds < 0.5 * PATIENCE else ""

    with scene([1, 2, 3], away) as (folder, server):
        found = watch(folder, server, reader(folder, Body.contains("magic")), 6 * HOUR)
    assert found.subjects == ["mail 1", "mail 2", "mail 3"]
    assert found.incomplete == []


def test_a_text_that_is_never_given_is_named() -> None:
    with scene([1, 2, 3], on(2, "not this one", "BODY.PEEK[1]")) as (folder, server):
        found = watch(folder, server, reader(folder, Body.contains("magic")), 6 * HOUR)
    assert found.subjects == ["mail 1", "mail 3"]
    assert [line.split(":")[0] for line in found.incomplete] == ["UID 2, without its text"]


HEADER, TEXT = "HEADER", "BODY.PEEK[1]"


@pytest.mark.parametrize("patient", [True, False], ids=["trigger", "sensor"])
@pytest.mark.parametrize(
    ("missing", "condition"),
    [(HEADER, Subject.contains("mail")), (TEXT, Body.contains("magic"))],
    ids=["header", "text"],
)
def test_a_mail_that_is_given_up_is_not_removed_for_what_was_not_read(
    missing: str, condition: Condition, *, patient: bool, caplog: pytest.LogCaptureFixture
) -> None:
    removals = [
        ({"on_no_match": (MarkRead(), Delete())}, ["mark_read"], None),
        ({"on_no_match": (MarkRead(), Move("Others"))}, ["mark_read"], None),
        ({"on_match": (Move("Done"),), "always": (Flag(), Delete())}, ["flag"], ["flag", "move"]),
    ]
    for actions, of_broken, of_whole in removals:
        with scene([1, 2, 3], on(2, "not this one", missing)) as (folder, server):
            found = watch(folder, server, reader(folder, condition, patient=patient, **actions), 6 * HOUR)
        assert found.todo == {2: of_broken, **({1: of_whole, 3: of_whole} if of_whole else {})}
        assert len(found.incomplete) == 1
    assert caplog.text.count("mail 2 is left where it is") == 3


def test_a_mail_that_matches_by_what_is_missing_is_told_as_incomplete_and_not_deleted() -> None:
    with scene([1, 2, 3], on(2, "not this one", TEXT)) as (folder, server):
        found = watch(folder, server, reader(folder, ~Body.contains("magic"), on_match=(Flag(), Delete())), 6 * HOUR)
        assert found.todo == {2: ["flag"]}
        assert [(email["uid"], email["incomplete"]) for email in found.emails] == [(2, True)]
        found = watch(folder, server, reader(folder, on_match=(Flag(), Delete())), 1.0)
        assert found.todo == {uid: ["flag", "delete"] for uid in (1, 2, 3)}, "its text was not asked for"
        assert not any("incomplete" in email for email in found.emails)


def test_a_mail_that_becomes_readable_within_that_time_is_whole() -> None:
    trouble = on(2, "System Error")
    until = 0.8 * PATIENCE
    with scene(
        [1, 2, 3], lambda folder, uids, items: trouble(folder, uids, items) if folder.clock.seconds < until else ""
    ) as (folder, server):
        found = watch(folder, server, reader(folder), 6 * HOUR)
    assert found.subjects == ["mail 1", "mail 2", "mail 3"]
    assert found.incomplete == []


def test_a_mail_without_company_waits_for_the_next_one() -> None:
    """Nobody can tell whose fault it is, and nobody is held up."""
    with scene([2], on(2, "System Error")) as (folder, server):
        reading = reader(folder)
        found = watch(folder, server, reading, 3 * HOUR)
        assert found.subjects == []
        folder.uids.append(3)
        folder.listed.append(3)
        found = watch(folder, server, reading, 6 * HOUR, place=found.place)
    assert found.subjects == ["", "mail 3"]


def test_one_bad_mail_among_a_hundred_is_found_with_few_commands() -> None:
    uids = list(range(1, 101))
    with scene(uids, on(37, "System Error")) as (folder, server):
        found = watch(folder, server, reader(folder), 1.0)
        assert found.subjects == [f"mail {uid}" for uid in range(1, 37)]
        assert folder.fetches <= 16
        later = watch(folder, server, reader(folder), 6 * HOUR, place=found.place)
    assert len(later.subjects) == 64
    assert later.subjects.count("") == 1


def test_a_bad_mail_among_many_is_found_where_a_bad_one_is_all_that_was_there_before() -> None:
    """Handled mails are moved away, and the broken one stays: it is no proof that the server is not well."""

    def trouble(_folder: Troubled, uids: list[int], _items: str) -> str:
        return "System Error" if {1, 12} & set(uids) else ""

    with scene([1, 2], trouble) as (folder, server):
        found = watch(folder, server, reader(folder), 6 * HOUR)
        assert found.subjects == ["", "mail 2"]
        folder.uids[:] = folder.listed[:] = [1, *range(5, 30)]
        found = watch(folder, server, reader(folder), 6 * HOUR, place=found.place)
    assert len(found.subjects) == 25
    assert found.subjects.count("") == 1


def test_who_comes_back_to_a_mail_does_not_wait() -> None:
    with scene([1, 2, 3], on(2, "System Error")) as (folder, server):
        found = watch(folder, server, reader(folder, patient=False), 1.0)
    assert found.subjects == ["mail 1", "", "mail 3"]


def test_who_comes_back_is_told_that_the_server_is_not_well() -> None:
    with scene([1, 2, 3], lambda *_: "System Error") as (folder, server):
        found = watch(folder, server, reader(folder, patient=False), 1.0)
    assert found.subjects == []
    assert found.errors


# --- an OK that does not tell what was asked for ------------------------------------------------------------------


@pytest.mark.parametrize("short", SHORT)
@pytest.mark.parametrize("removal", [Delete(), Move("Junk")], ids=lambda action: action.do)
def test_a_mail_that_is_answered_short_for_a_while_is_whole_and_not_removed(short: str, removal: Action) -> None:
    """An index that is ahead of its storage, say."""
    trouble = on(2, short, "")

    def ahead(folder: Troubled, uids: list[int], items: str) -> str:
        return trouble(folder, uids, items) if folder.clock.seconds < 0.5 * PATIENCE else ""

    with scene([1, 2, 3], ahead) as (folder, server):
        reading = reader(folder, Subject.contains("mail"), on_no_match=(removal,))
        found = watch(folder, server, reading, 6 * HOUR)
    assert found.subjects == ["mail 1", "mail 2", "mail 3"]
    assert (found.todo, found.incomplete) == ({}, [])
    assert found.held_up


@pytest.mark.parametrize("patient", [True, False], ids=["trigger", "sensor"])
@pytest.mark.parametrize("short", SHORT)
def test_a_mail_that_is_always_answered_short_is_named_and_not_removed(short: str, *, patient: bool) -> None:
    with scene([1, 2, 3], on(2, short, "")) as (folder, server):
        reading = reader(folder, Subject.contains("mail"), on_no_match=(Delete(),), patient=patient)
        found = watch(folder, server, reading, 6 * HOUR)
    assert found.subjects == ["mail 1", "mail 3"]
    assert found.todo == {}
    assert [line.split(":")[0] for line in found.incomplete] == ["UID 2, without its header"]
    assert (found.times["mail 3"] >= PATIENCE) is patient
    assert folder.fetches < 60


def test_a_header_that_is_given_when_it_is_asked_for_once_more_is_enough() -> None:
    with scene([1, 2, 3], on(2, "blank", "HEADER.FIELDS")) as (folder, server):
        found = watch(folder, server, reader(folder), 1.0)
    assert found.subjects == ["mail 1", "mail 2", "mail 3"]
    assert (found.incomplete, found.held_up) == ([], [])


def test_a_mail_that_is_whole_again_is_read_although_all_others_are_broken() -> None:
    def trouble(folder: Troubled, uids: list[int], items: str) -> str:
        broken = on(3, "System Error")(folder, uids, items) or on(4, "System Error")(folder, uids, items)
        return broken or (on(2, "no header", "")(folder, uids, items) if folder.clock.seconds < 30 else "")

    with scene([1, 2, 3, 4], trouble) as (folder, server):
        reading = reader(folder)
        found = watch(folder, server, reading, 1.0)
        assert found.subjects == ["mail 1"]
        folder.uids.remove(1)
        folder.listed.remove(1)
        found = watch(folder, server, reading, 0.5 * PATIENCE, place=found.place)
    assert found.subjects == ["mail 2"]
    assert found.incomplete == []


def test_a_mail_that_goes_while_it_is_waited_for_holds_nobody_up() -> None:
    with scene([1, 2, 3], on(2, "left out", "")) as (folder, server):
        reading = reader(folder)
        found = watch(folder, server, reading, 1.0)
        assert found.held_up
        folder.uids.remove(2)
        folder.listed.remove(2)
        found = watch(folder, server, reading, 300.0, place=found.place)
    assert found.subjects == ["mail 3"]
    assert found.incomplete == []


def test_a_server_that_gives_no_header_at_all_is_no_reason_to_pass_a_mail() -> None:
    until = 5 * HOUR
    with scene([1, 2, 3], lambda folder, *_: "NIL" if folder.clock.seconds < until else "") as (folder, server):
        found = watch(folder, server, reader(folder, Subject.contains("mail")), 9 * HOUR)
    assert found.subjects == ["mail 1", "mail 2", "mail 3"]
    assert found.incomplete == []


def test_a_mail_without_any_header_is_no_broken_one(dovecot: Dovecot, user: User) -> None:
    for raw in (b"\r\nno header at all\r\n", b"X-Only: this\r\n\r\nnone that is asked for\r\n"):
        dovecot.deliver(user, raw)
    session = open_session(dovecot.settings(user))
    try:
        wish = Wish(conn_id="c", folder="INBOX", conditions=Conditions([]), text=True)
        batch = Reader(wish, patient=True).read(
            session, session.select("INBOX", readonly=True), first_place("all", BEGIN)
        )
    finally:
        session.close()
    assert [mail.text for mail in batch.mails] == ["no header at all\n", "none that is asked for\n"]
    assert (batch.incomplete, batch.held_up) == ((), "")


# --- a mail that is gone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uids", [[1, 3], []])
def test_a_mail_that_is_gone_is_no_mail(uids: list[int]) -> None:
    """Some servers refuse to fetch it, without [EXPUNGEISSUED], and refuse the others with it."""
    gone = on(2, "Some of the requested messages no longer exist.", "FLAGS")
    with scene(uids, gone) as (folder, server):
        folder.listed = [*uids, 2]
        found = watch(folder, server, reader(folder), 1.0, place=first_place("all", BEGIN))
        folder.uids = [*uids, 4]
        folder.listed = [*uids, 2, 4]
        found = watch(folder, server, reader(folder), 1.0, place=first_place("all", BEGIN))
    assert found.subjects == [f"mail {uid}" for uid in [*uids, 4]]
    assert found.incomplete == []


def test_a_slow_server_is_asked_for_fewer_mails_at_once() -> None:
    def slow(folder: Troubled, uids: list[int], _items: str) -> str:
        folder.clock.seconds += len(uids) * 2.0
        return ""

    with scene(list(range(1, 151)), slow) as (folder, server):
        found = watch(folder, server, reader(folder), HOUR)
    assert len(found.subjects) == 150
    assert max(map(_asked_for, [command for command in folder.commands if "FETCH" in command][2:])) <= poison.SLOW


def _asked_for(command: str) -> int:
    first, _, last = command.split()[2].partition(":")
    return int(last or first) - int(first) + 1
