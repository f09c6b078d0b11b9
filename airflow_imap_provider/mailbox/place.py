"""A subscriber's place in a folder: what it has handled, and what "new" means from there.

A place is plain, immutable data that is stored as JSON. Everything that decides whether a mail is still to be handled
stands here: the start policies, the floor below which mails of before the activation lie, and what happens when
UIDVALIDITY changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mailbox.actions import Action
from airflow_imap_provider.mailbox.ranges import UidRanges

__all__ = ["Floor", "Place", "Todo", "begin_again", "first_place", "parse_start", "rebase"]

RECENT = 256
"""Fingerprints kept to recognise mails after a change of UIDVALIDITY: about 12 KiB of JSON."""

LOOK_BACK = timedelta(hours=1)
"""How far before the last told mail a change of UIDVALIDITY looks: mails do not arrive in the order of their dates."""

CLOCKS_APART = timedelta(minutes=5)
"""By how much the clocks of this host and the mail server may be apart. Kerberos allows as much."""

PROMPT = timedelta(seconds=10)
"""If the folder is opened so soon after the activation, nothing is taken that the server dates before it."""

POLICIES = ("new", "unread", "all")


@dataclass(frozen=True)
class Floor:
    r"""What lay in the folder before the watching began, and which of it counts.

    :param until: the highest UID there was; mails above it are new, whatever their date.
    :param since: only mails received at this moment or later count.
    :param unread: only mails without ``\Seen`` count.
    :param known: mails whose fingerprints are among the place's recent ones do not count.
    """

    until: int
    since: datetime | None = None
    unread: bool = False
    known: bool = False


@dataclass(frozen=True)
class Todo:
    """Actions that are owed to mails whose event is durable.

    :param tries: how often the server has refused so far.
    """

    uids: UidRanges
    actions: tuple[Action, ...]
    tries: int = 0


@dataclass(frozen=True)
class Place:
    """Where a subscriber stands in a folder.

    :param start: the start policy: ``new``, ``unread``, ``all`` or an ISO 8601 date or date and time.
    :param activated: when the place was made; stored before the first connection, so that ``new`` is meant from then.
    :param uidvalidity: ``None`` until the folder has been opened for the first time.
    :param last_uid: the highest UID that has been handled.
    :param epoch: counts resets and changes of UIDVALIDITY, so that a consumer can tell UIDs of before and after.
    :param told_uid: the last UID of the newest event that was told.
    :param told_in: the generation of that UID: a consumer may still lack it when the folder has been made anew.
    :param last_received: the newest date of a mail that was told.
    :param recent: fingerprints of the mails told last, oldest first, with their dates in seconds since 1970.
    :param reset: the id of the request that this place goes back to; empty if it was never reset.
    :param account: a mark of the mailbox: host, login and alias.
    :param witness: UID and fingerprint's mark of the last mail that was looked at, told or not: where it still is, the
        mailbox is the same under whatever name.
    :param slack: seconds before the activation from which ``new`` is meant if the folder is opened much later: mails
        that came in between are dated by the server's clock.
    """

    start: str
    activated: datetime
    uidvalidity: int | None = None
    last_uid: int = 0
    epoch: int = 0
    floor: Floor | None = None
    told_uid: int = 0
    told_in: str = ""
    last_received: datetime | None = None
    recent: tuple[tuple[int, str], ...] = ()
    todo: tuple[Todo, ...] = ()
    reset: str = ""
    account: str = ""
    slack: float = 0.0
    witness: tuple[int, str] = (0, "")

    @property
    def paid(self) -> Place:
        """The place without what is owed."""
        return replace(self, todo=()) if self.todo else self

    @property
    def generation(self) -> str:
        """Which UIDs are meant: they mean other mails after a reset or a change of UIDVALIDITY."""
        return f"{self.epoch}.{self.uidvalidity}"

    @property
    def covered(self) -> int:
        """The last UID that an event has covered, in this generation."""
        return self.told_uid if self.told_in == self.generation else 0

    def counts(self, mail: Mail) -> bool:
        """Tell whether a mail above ``last_uid`` is to be considered, or lay there before."""
        floor = self.floor
        if floor is None or mail.uid > floor.until:
            return True
        if floor.since is not None and mail.received < floor.since:
            return False
        if floor.unread and "\\Seen" in mail.flags:
            return False
        return not (floor.known and fingerprint(mail)[1] in {mark for _, mark in self.recent})

    def after(
        self,
        last_uid: int,
        told: Iterable[Mail],
        todo: Iterable[Todo] = (),
        *,
        now: datetime,
        last: Mail | None = None,
    ) -> Place:
        """Return the place once everything up to ``last_uid`` is handled, of which ``told`` were sent.

        :param last: the last mail that was looked at.
        """
        mails = tuple(told)
        marks = tuple(fingerprint(mail) for mail in mails)
        # Whoever appends a mail chooses its date: one from the future must not hide what comes before it.
        received = [min(mail.received, now) for mail in mails]
        if self.last_received is not None:
            received.append(self.last_received)
        floor = self.floor if self.floor is not None and last_uid < self.floor.until else None
        return replace(
            self,
            last_uid=max(self.last_uid, last_uid),
            floor=floor,
            told_uid=last_uid if mails else self.told_uid,
            told_in=self.generation if mails else self.told_in,
            last_received=max(received, default=None),
            recent=(*self.recent, *marks)[-RECENT:],
            todo=(*self.todo, *todo),
            witness=(last.uid, fingerprint(last)[1]) if last is not None else self.witness,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        data: dict[str, Any] = {
            "start": self.start,
            "activated": self.activated.isoformat(),
            "uidvalidity": self.uidvalidity,
            "last_uid": self.last_uid,
            "epoch": self.epoch,
            "told_uid": self.told_uid,
            "told_in": self.told_in,
            "last_received": self.last_received.isoformat() if self.last_received else "",
            "recent": [list(mark) for mark in self.recent],
            "todo": [
                {
                    "uids": item.uids.dumps(),
                    "actions": [action.to_json() for action in item.actions],
                    "tries": item.tries,
                }
                for item in self.todo
            ],
            "reset": self.reset,
            "account": self.account,
            "slack": self.slack,
            "witness": list(self.witness),
        }
        if self.floor is not None:
            data["floor"] = {
                "until": self.floor.until,
                "since": self.floor.since.isoformat() if self.floor.since else "",
                "unread": self.floor.unread,
                "known": self.floor.known,
            }
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Place:
        """Rebuild a place from :meth:`to_json`'s form."""
        floor = data.get("floor")
        return cls(
            start=data["start"],
            activated=datetime.fromisoformat(data["activated"]),
            uidvalidity=_uidvalidity(data),
            last_uid=data["last_uid"],
            epoch=data["epoch"],
            told_uid=data["told_uid"],
            told_in=data["told_in"],
            last_received=_moment(data["last_received"]),
            recent=tuple((int(seconds), str(mark)) for seconds, mark in data["recent"]),
            todo=tuple(
                Todo(
                    UidRanges.of(item["uids"]),
                    tuple(Action.from_json(action) for action in item["actions"]),
                    item["tries"],
                )
                for item in data["todo"]
            ),
            reset=data.get("reset", ""),
            account=data.get("account", ""),
            slack=data.get("slack", 0.0),
            witness=(int(data["witness"][0]), str(data["witness"][1])) if "witness" in data else (0, ""),
            floor=floor
            and Floor(
                until=floor["until"],
                since=_moment(floor["since"]),
                unread=floor["unread"],
                known=floor["known"],
            ),
        )


def _uidvalidity(data: Mapping[str, Any]) -> int | None:
    """Return what is stored; earlier versions have 0 for a folder that was not opened, and there are servers with 0."""
    stored: int | None = data["uidvalidity"]
    return None if stored == 0 and not data["last_uid"] and not data.get("account") else stored


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def fingerprint(mail: Mail) -> tuple[int, str]:
    """Return a mail's date in seconds since 1970 and a mark that survives a change of UIDVALIDITY."""
    seconds = int(mail.received.timestamp())
    text = f"{mail.message_id}\n{seconds}\n{mail.size}"
    return seconds, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def parse_start(start: str | date | datetime) -> str:
    """Check a start policy and return it as it is stored.

    :param start: ``new`` (mail from the activation on), ``unread`` (besides what is unread then), ``all``, or a date,
        a date and time, or either as an ISO 8601 text: mail received since then. Without a time zone it is UTC.
    :raises SettingsError: for anything else.
    """
    if isinstance(start, str) and start in POLICIES:
        return start
    try:
        if isinstance(start, str):
            # Python 3.10 does not know the Z of ISO 8601.
            start = datetime.fromisoformat(start[:-1] + "+00:00" if start.endswith(("Z", "z")) else start)
        elif not isinstance(start, datetime):
            start = datetime.combine(start, time())
    except (ValueError, TypeError) as error:
        raise SettingsError(
            f"start={start!r} is not understood; accepted are {', '.join(map(repr, POLICIES))}, a date, or an ISO 8601 "
            "text such as '2026-11-01' or '2026-11-01T08:00:00+01:00'.",
            stage="settings",
        ) from error
    return (start if start.tzinfo else start.replace(tzinfo=timezone.utc)).isoformat()


def first_place(start: str, now: datetime, *, slack: timedelta = timedelta(0)) -> Place:
    """Return the place of a subscriber that begins now.

    :param start: as :func:`parse_start` returns it.
    :param slack: see :class:`Place`.
    """
    # INTERNALDATE has whole seconds: a mail of this very second counts as new.
    return Place(start=start, activated=now.replace(microsecond=0), slack=slack.total_seconds())


def begin_again(place: Place, start: str, at: datetime, reset: str) -> Place:
    """Return the place of a subscriber that begins anew, in an epoch of its own: its mails count as new ones.

    :param start: as :func:`parse_start` returns it.
    :param at: the moment from which ``new`` is meant.
    :param reset: the id of the request.
    """
    return replace(first_place(start, at), epoch=place.epoch + 1, reset=reset)


def rebase(place: Place, uidvalidity: int, highest: int, *, now: datetime | None = None, anew: bool = False) -> Place:
    """Fit a place to a folder that is opened for the first time, or whose UIDVALIDITY has changed.

    After a change the UIDs mean other mails (RFC 3501, section 2.3.1.1). Mails that were told are recognised by
    Message-ID, date and size; what came in the meantime is taken.

    :param highest: the highest UID in the folder now, or that of the last mail that is known to be told: what lies
        above is new, whatever its date.
    :param now: when the folder is opened; the moment of the activation if left out.
    :param anew: whether the UIDs mean other mails although UIDVALIDITY is the same.
    """
    if place.uidvalidity == uidvalidity and not anew:
        return place
    if place.uidvalidity is None or place.last_received is None:
        return replace(
            place,
            uidvalidity=uidvalidity,
            last_uid=0,
            epoch=place.epoch + (place.uidvalidity is not None),
            floor=_first_floor(place, highest, now or place.activated),
            todo=(),
            witness=(0, ""),
        )
    since = _earlier(place.last_received, LOOK_BACK)
    if len(place.recent) == RECENT:
        # Older mails could not be recognised any more.
        since = max(since, datetime.fromtimestamp(place.recent[0][0], timezone.utc))
    return replace(
        place,
        uidvalidity=uidvalidity,
        last_uid=0,
        epoch=place.epoch + 1,
        floor=Floor(until=highest, since=since, known=True),
        # The UIDs of owed actions mean other mails now; doing them would hit the wrong ones.
        todo=(),
        witness=(0, ""),
    )


def _earlier(moment: datetime, by: timedelta) -> datetime:
    """Return a moment before another one, or the first there is: whoever appends a mail chooses its date."""
    try:
        return moment - by
    except OverflowError:
        return datetime.min.replace(tzinfo=timezone.utc)


def _first_floor(place: Place, highest: int, now: datetime) -> Floor | None:
    if place.start == "all" or highest <= 0:
        return None
    if place.start == "unread":
        return Floor(until=highest, unread=True)
    if place.start == "new":
        late = not timedelta(0) <= now - place.activated <= PROMPT
        return Floor(until=highest, since=_earlier(place.activated, timedelta(seconds=place.slack if late else 0)))
    since = datetime.fromisoformat(place.start)
    return Floor(until=highest, since=since)
