"""Deliberate breakages of the production code, each of which the machine must find: they show that it has teeth.

Each is a promise of ``docs/delivery.md`` that is not kept, most of them by a single step left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_imap_provider.mailbox import deciding, pacing, place, poison, reader, refitting, removing, taking, watcher
from airflow_imap_provider.mailbox.place import Place, begin_again, first_place
from airflow_imap_provider.mailbox.ranges import UidRanges
from airflow_imap_provider.operators import email as operators
from airflow_imap_provider.operators.email import ReceiveEmailsOperator
from airflow_imap_provider.triggers import (
    acting,
    beginning,
    committer,
    journal,
    resets,
    store,
    stored_place,
    subscriber,
)
from airflow_imap_provider.triggers.committer import Committer
from airflow_imap_provider.triggers.journal import Journal
from airflow_imap_provider.triggers.nudge import Nudge

Mutation = Callable[[pytest.MonkeyPatch], None]


def commit_without_grace(patch: pytest.MonkeyPatch) -> None:
    """A confirmed event was dropped because the trigger's row had just gone."""
    patch.setattr(committer, "GRACE", 0.0)
    patch.setattr(committer, "GRACE_FACTOR", 0.0)


def commit_without_confirmation(patch: pytest.MonkeyPatch) -> None:
    """The triggerer dies between the event and its way into the database."""
    patch.setattr(Committer, "_waits", lambda _self, _promise: None)


def tell_without_an_entry_in_the_journal(patch: pytest.MonkeyPatch) -> None:
    """The place moves although the entry could not be written."""
    real = Journal.append

    async def append(self: Journal, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            return await real(self, payload)
        except Exception:  # noqa: BLE001
            return {**payload, "at": self._clock.now().isoformat(), "journal": ["", 0]}

    patch.setattr(Journal, "append", append)


def claim_beside_the_ranges(patch: pytest.MonkeyPatch) -> None:
    """The record grows first; the claim is stored only when the mails are returned."""
    real = taking.Taking.claim

    def claim(self: taking.Taking, run_id: str) -> taking.Claim | None:
        found = real(self, run_id)
        self.record.claims.pop(run_id, None)
        return found

    patch.setattr(taking.Taking, "claim", claim)


def forget_the_epoch(patch: pytest.MonkeyPatch) -> None:
    """UIDs of before and after a change of UIDVALIDITY are taken for the same mails."""
    patch.setattr(taking.Entry, "generation", property(lambda _self: "0.0"))


def one_journal_for_all(patch: pytest.MonkeyPatch) -> None:
    """Two triggerers write entries of the same numbers."""
    real = Journal.__init__

    def init(self: Journal, *arguments: Any) -> None:
        real(self, *arguments)
        self._id = "shared" + self._stream.place

    patch.setattr(Journal, "__init__", init)


def never_nudge(patch: pytest.MonkeyPatch) -> None:
    """A consumer that a burst or a pause has left behind waits for ever."""
    patch.setattr(Nudge, "next_in", lambda _self: None)


def nudge_for_the_new_folder_only(patch: pytest.MonkeyPatch) -> None:
    """What was told before UIDVALIDITY changed is asked for under UIDs of after it."""
    real = Nudge._who_lacks

    async def who_lacks(self: Nudge, place: Place) -> frozenset[str]:
        return await real(self, replace(place, told_in=place.generation, told_uid=place.covered))

    patch.setattr(Nudge, "_who_lacks", who_lacks)


def nudge_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Whoever has taken all is nudged too."""
    patch.setattr(subscriber, "Nudge", _Nagging)


class _Nagging(Nudge):
    async def _who_lacks(self, place: Place) -> frozenset[str]:
        return frozenset({"everybody"})


def start_over_when_the_store_looks_empty(patch: pytest.MonkeyPatch) -> None:
    """An inactive asset reads as empty; the first write after it takes the place away."""

    async def load(self: Any) -> Place:
        record = store.furthest_behind(await self._store.read(self._stream.key("place")))
        if record is not None:
            return Place.from_json(record)
        return first_place(self._terms.start, self._clock.now())

    patch.setattr(subscriber.Subscriber, "_load_place", load)


def drop_owed_actions(patch: pytest.MonkeyPatch) -> None:
    """Actions are no part of the stored place."""
    real = Place.to_json
    patch.setattr(Place, "to_json", lambda self: {**real(self), "todo": []})


def a_first_run_begins_now(patch: pytest.MonkeyPatch) -> None:
    """A new consumer begins at its own clock's time instead of the event that has started it."""
    patch.setattr(ReceiveEmailsOperator, "_triggering_entries", lambda _self, _context: [])
    patch.setattr(operators, "MANUAL_LOOK_BACK", timedelta(0))


def pass_over_what_looks_older_than_the_first_run(patch: pytest.MonkeyPatch) -> None:
    """The clock of whoever tells is believed for as long as the consumer lives."""
    real = taking.Taking.feed

    def feed(self: taking.Taking, entry: taking.Entry) -> None:
        if self.record.begin is not None and entry.at < self.record.begin:
            self.record.positions[entry.journal] = entry.number + 1
        else:
            real(self, entry)

    patch.setattr(taking.Taking, "feed", feed)


def compare_clocks_to_the_second(patch: pytest.MonkeyPatch) -> None:
    """What another folder's triggerer has told is taken for older than it is."""
    patch.setattr(taking, "CLOCKS_APART", timedelta(0))


def compare_clocks_in_one_folder(patch: pytest.MonkeyPatch) -> None:
    """The order of UIDs is not used."""
    patch.setattr(operators, "told_before", lambda entry, event: entry.at < event.at - taking.CLOCKS_APART)


def keep_the_first_beginning(patch: pytest.MonkeyPatch) -> None:
    """The run of an earlier event comes after the one with which the consumer has begun."""
    patch.setattr(journal, "passed_over", lambda _record, _told: False)


def take_what_others_have_taken(patch: pytest.MonkeyPatch) -> None:
    """Nothing is known by its UID, and what is told twice is taken twice."""
    patch.setattr(UidRanges, "__contains__", lambda _self, _uid: False)


def die_of_a_lost_connection(patch: pytest.MonkeyPatch) -> None:
    """An error of the network reaches Airflow, which starts the trigger again every two seconds."""

    async def step(self: Any) -> Any:
        return await self._step()

    patch.setattr(subscriber.Subscriber, "_guarded_step", step)


def take_a_mail_again_when_the_folder_was_made_anew(patch: pytest.MonkeyPatch) -> None:
    """Consumers do not recognise what was told before the change of UIDVALIDITY and not committed."""
    patch.setattr(taking, "_mark", lambda email, reset: f"{reset} {email['uidvalidity']}.{email['uid']}")


def do_not_look_for_an_earlier_claim(patch: pytest.MonkeyPatch) -> None:
    """A retry or a cleared run takes other mails than before."""
    patch.setattr(ReceiveEmailsOperator, "_earlier_claim", lambda *_arguments: None)


def step_over_the_next_mail(patch: pytest.MonkeyPatch) -> None:
    """A place one too far, as when a batch is full."""
    real = Place.after
    patch.setattr(
        Place, "after", lambda self, last_uid, told, *rest, **more: real(self, last_uid + 1, told, *rest, **more)
    )


def nobody_registers(patch: pytest.MonkeyPatch) -> None:
    """The trigger does not know whom to wake."""
    patch.setattr(ReceiveEmailsOperator, "_register", lambda _self, _store: None)


def keep_every_claim(patch: pytest.MonkeyPatch) -> None:
    """What is stored grows with every run."""

    def keep(self: Any, _context: Any, kept: Any, _record: Any, run_id: str, claim: taking.Claim) -> None:
        kept.set(self._claim_key(run_id), claim.to_json())

    patch.setattr(ReceiveEmailsOperator, "_keep", keep)


def blame_the_mail(patch: pytest.MonkeyPatch) -> None:
    """Whatever refuses a mail, the mail is taken for broken, and passed over."""
    patch.setattr(poison.Suspects, "_blame", lambda *_arguments, **_more: True)
    patch.setattr(poison, "recognise", lambda _words: None)


def never_give_up(patch: pytest.MonkeyPatch) -> None:
    """A broken mail holds up the folder for ever."""
    patch.setattr(poison, "PATIENCE", float("inf"))


def let_dates_decide(patch: pytest.MonkeyPatch) -> None:
    """After a change of UIDVALIDITY old mails are taken for handled ones, whatever their place in the folder."""
    patch.setattr(refitting, "_last_told", lambda *_arguments: 0)


def believe_uidvalidity(patch: pytest.MonkeyPatch) -> None:
    """As long as it is the same, UIDs mean the same mails."""
    patch.setattr(refitting, "_what_is_wrong", lambda _session, status, *_arguments: ("", status))


def believe_the_clock(patch: pytest.MonkeyPatch) -> None:
    """The server dates mails by the triggerer's clock."""
    patch.setattr(beginning, "CLOCKS_APART", timedelta(0))


def act_before_reading(patch: pytest.MonkeyPatch) -> None:
    """What is owed is done after any opening of the folder, and in any epoch."""
    patch.setattr(acting.Acting, "_may_act", lambda self, opening: True)


def read_nothing_until_a_reset_is_honoured(patch: pytest.MonkeyPatch) -> None:
    """A reset waits for owed actions, which wait for a reading."""

    async def let_go(self: subscriber.Subscriber) -> bool:
        held = self._committer
        if held is not None and not held.idle:
            self._wake_in(subscriber.RESET_RETRY)
            return False
        self._committer = None
        if held is not None:
            await held.stop()
        return True

    patch.setattr(subscriber.Subscriber, "_let_go_of_place", let_go)


def never_look_for_resets(patch: pytest.MonkeyPatch) -> None:
    """Nobody hears of a reset."""
    patch.setattr(resets.Resets, "_begin_look", lambda _self: None)


def begin_with_what_comes_after_the_honouring(patch: pytest.MonkeyPatch) -> None:
    """What comes between a request and its turn is left out."""
    real = begin_again
    patch.setattr(
        resets, "begin_again", lambda place, start, at, reset: real(place, start, at + timedelta(seconds=30), reset)
    )


def believe_in_epochs_alone(patch: pytest.MonkeyPatch) -> None:
    """Who has counted on because the folder was made anew writes over a reset."""
    patch.setattr(stored_place, "_supersedes", lambda record, stored: record["epoch"] > stored["epoch"])


def never_open_again(patch: pytest.MonkeyPatch) -> None:
    """A session stays in the folder that it has opened."""
    patch.setattr(pacing, "REOPENING", float("inf"))


def go_on_after_any_opening(patch: pytest.MonkeyPatch) -> None:
    """A folder that is opened again is taken for the same, and what was read of it for true."""

    def again(session: Any, *, readonly: bool) -> Any:
        before = session.folder
        status = session.select(before.name, readonly=readonly)
        session._status = before
        return status

    patch.setattr(refitting, "reopened", again)
    patch.setattr(watcher, "reopened", again)


def leave_an_action_alone(patch: pytest.MonkeyPatch) -> None:
    """A trigger ends without waiting for what the server is doing."""
    patch.setattr(acting, "FAREWELL", 0.0)


def strike_off_from_memory_only(patch: pytest.MonkeyPatch) -> None:
    """What is done is not stored, and done once more after a restart."""

    async def forget(self: stored_place.StoredPlace, item: stored_place.Owed) -> None:
        self.owed = [other for other in self.owed if other is not item]

    patch.setattr(stored_place.StoredPlace, "forget", forget)


def mistake_the_lists(patch: pytest.MonkeyPatch) -> None:
    """What is due to mails that match is done to the others."""
    real = deciding.due
    patch.setattr(
        reader,
        "due",
        lambda wish, mail, outcome, *, matches, incomplete: real(
            wish, mail, outcome, matches=not matches, incomplete=incomplete
        ),
    )


def compare_with_broken_mails_only(patch: pytest.MonkeyPatch) -> None:
    """Whether the server gives mails is asked of such as it has refused before."""
    real = poison.Suspects._other_works

    def other_works(self: Any, session: Any, uids: Any, items: Any, *, themselves: bool = False) -> bool:
        return real(self, session, uids, items)

    patch.setattr(poison.Suspects, "_other_works", other_works)


def take_who_is_left_out_for_gone(patch: pytest.MonkeyPatch) -> None:
    """An answer that is OK names every mail that there is."""
    patch.setattr(poison, "still_there", lambda *_arguments: [])


def take_who_has_no_header_for_one_without_subject(patch: pytest.MonkeyPatch) -> None:
    """An answer that is OK has everything that was asked for."""
    patch.setattr(poison, "tells", lambda answer, _items: bool(answer))


def believe_uidnext(patch: pytest.MonkeyPatch) -> None:
    """A server that tells it too low begins anew at each opening, and all is done once more."""
    patch.setattr(refitting, "_with_uidnext_proven", lambda _session, status, _place: status)


def take_a_deleted_mail_for_a_copied_one(patch: pytest.MonkeyPatch) -> None:
    """Whoever has marked a mail, a move that is repeated expunges it."""
    patch.setattr(removing, "copied_mark", lambda _folder: removing.DELETED)


def take_a_uidvalidity_of_zero_for_none(patch: pytest.MonkeyPatch) -> None:
    """A folder that was opened is opened for the first time after every restart."""
    patch.setattr(place, "_uidvalidity", lambda data: data["uidvalidity"] or None)
