"""Deliberate breakages of the production code, each of which the machine must find: they show that it has teeth.

Each is a promise of ``docs/delivery.md`` that is not kept, most of them by a single step left out.
"""

from __future__ import annotations


from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pytest import MonkeyPatch

from airflow_imap_provider.mailbox import place, taking
from airflow_imap_provider.mailbox.place import Place
from airflow_imap_provider.operators.email import ReceiveEmailsOperator
from airflow_imap_provider.triggers import committer, journal, subscriber
from airflow_imap_provider.triggers.committer import Committer, Promise
from airflow_imap_provider.triggers.journal import Journal
from airflow_imap_provider.triggers.nudge import Nudge
from airflow_imap_provider.triggers.producer import WakeUp
from airflow_imap_provider.triggers.store import Stream

Mutation = Callable[[MonkeyPatch], None]


def commit_without_grace(patch: MonkeyPatch) -> None:
    """A confirmed event was dropped because the trigger's row had just gone."""
    patch.setattr(committer, "GRACE", 0.0)
    patch.setattr(committer, "GRACE_FACTOR", 0.0)


def commit_without_confirmation(patch: MonkeyPatch) -> None:
    """The triggerer dies between the event and its way into the database."""
    patch.setattr(Committer, "_waits", lambda _self, _promise: None)


def commit_although_the_outcome_failed(patch: MonkeyPatch) -> None:
    """``advance`` runs after an acknowledgement timeout as well."""
    real = WakeUp.settle
    patch.setattr(WakeUp, "settle", lambda self, *, clean: real(self, clean=True or clean))  # noqa: SIM222


def go_on_after_a_revocation(patch: MonkeyPatch) -> None:
    """What was revoked is neither committed nor told again."""
    patch.setattr(Promise, "revoked", lambda _self: None)


def tell_without_an_entry_in_the_journal(patch: MonkeyPatch) -> None:
    """The place moves although the entry could not be written."""
    real = Journal.append

    async def append(self: Journal, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            return await real(self, payload)
        except Exception:  # noqa: BLE001
            return {**payload, "at": self._clock.now().isoformat(), "journal": ["", 0]}

    patch.setattr(Journal, "append", append)


def claim_beside_the_ranges(patch: MonkeyPatch) -> None:
    """The record grows first; the claim is stored only when the mails are returned."""
    real = taking.Taking.claim

    def claim(self: taking.Taking, run_id: str) -> taking.Claim | None:
        found = real(self, run_id)
        self.record.claims.pop(run_id, None)
        return found

    patch.setattr(taking.Taking, "claim", claim)


def forget_the_epoch(patch: MonkeyPatch) -> None:
    """UIDs of before and after a change of UIDVALIDITY are taken for the same mails."""
    patch.setattr(taking.Entry, "generation", property(lambda _self: "0.0"))


def forget_what_was_told_when_the_folder_is_remade(patch: MonkeyPatch) -> None:
    """After a change of UIDVALIDITY every mail is new."""
    patch.setattr(place, "fingerprint", lambda mail: (0, f"{mail.uidvalidity}/{mail.uid}"))


def one_journal_for_all(patch: MonkeyPatch) -> None:
    """Two triggerers write entries of the same numbers."""
    real = Journal.__init__

    def init(self: Journal, *arguments: Any) -> None:
        real(self, *arguments)
        self._id = "shared" + self._stream.place

    patch.setattr(Journal, "__init__", init)


def never_nudge(patch: MonkeyPatch) -> None:
    """A consumer that a burst or a pause has left behind waits for ever."""
    patch.setattr(Nudge, "next_in", lambda _self: None)


def nudge_for_ever(patch: MonkeyPatch) -> None:
    """Whoever has taken all is nudged too."""
    patch.setattr(subscriber, "Nudge", _Nagging)


class _Nagging(Nudge):
    async def _who_lacks(self, place: Place) -> frozenset[str]:
        return frozenset({"everybody"})


def start_over_when_the_store_looks_empty(patch: MonkeyPatch) -> None:
    """An inactive asset reads as empty; the first write after it takes the place away."""

    async def load(self: Any) -> Place:
        record = subscriber.furthest_behind(await self._store.read(self._stream.key("place")))
        if record is not None:
            return Place.from_json(record)
        return subscriber.first_place(self._terms.start, self._clock.now())

    patch.setattr(subscriber.Subscriber, "_load_place", load)


def drop_owed_actions(patch: MonkeyPatch) -> None:
    """Actions are no part of the stored place."""
    real = Place.to_json
    patch.setattr(Place, "to_json", lambda self: {**real(self), "todo": []})


def act_on_uids_of_before(patch: MonkeyPatch) -> None:
    """Owed actions are done although the UIDs mean other mails by now."""
    real = committer.perform

    async def perform(self: Committer, item: Any) -> bool:
        item.begun, action = True, item.todo.actions[0]
        uids = [uid for first, last in item.todo.uids.spans for uid in range(first, last + 1)]
        await self._watcher.use(lambda session, _status: real(session, uids, [action]), writing=True)
        return True

    patch.setattr(Committer, "_perform", perform)


def go_on_from_the_asset_that_is_ahead(patch: MonkeyPatch) -> None:
    """With two assets, a crash between two writes loses mails of the second."""
    patch.setattr(
        subscriber,
        "furthest_behind",
        lambda records: max((r for r in records if r), key=lambda r: (r["epoch"], r["last_uid"]), default=None),
    )


def hear_no_last_words(patch: MonkeyPatch) -> None:
    """A journal is closed for its readers as soon as another triggerer takes over, which may have been frozen."""
    patch.setattr(journal, "LAST_WORDS", timedelta(0))


def a_first_run_begins_now(patch: MonkeyPatch) -> None:
    """A new consumer begins at its own clock's time instead of the event that has started it."""
    patch.setattr(ReceiveEmailsOperator, "_triggering_times", lambda _self, _context: [])
    patch.setattr("airflow_imap_provider.operators.email.MANUAL_LOOK_BACK", timedelta(0))


def take_what_others_have_taken(patch: MonkeyPatch) -> None:
    """Nothing is known by its UID, and what is told twice is taken twice."""
    patch.setattr(taking.UidRanges, "__contains__", lambda _self, _uid: False)


def retell_in_the_middle_of_a_commit(patch: MonkeyPatch) -> None:
    """A revocation goes back behind what is just being written."""

    def rewind(self: Committer) -> None:
        if self._queue:
            self._queue.clear()
            self._on_rewind(self.committed)

    patch.setattr(Committer, "rewind", rewind)


def die_of_a_lost_connection(patch: MonkeyPatch) -> None:
    """An error of the network reaches Airflow, which starts the trigger again every two seconds."""

    async def step(self: Any) -> Any:
        return await self._step()

    patch.setattr(subscriber.Subscriber, "_guarded_step", step)


def key_without_the_place(patch: MonkeyPatch) -> None:
    """Two triggers on one folder share their place."""
    patch.setattr(Stream, "key", lambda self, what: f"imap4:{what}:{self.conn_id}/{self.folder}/default")


MUTATIONS: tuple[Mutation, ...] = (
    commit_without_grace,
    commit_without_confirmation,
    commit_although_the_outcome_failed,
    go_on_after_a_revocation,
    tell_without_an_entry_in_the_journal,
    claim_beside_the_ranges,
    forget_the_epoch,
    forget_what_was_told_when_the_folder_is_remade,
    one_journal_for_all,
    never_nudge,
    nudge_for_ever,
    start_over_when_the_store_looks_empty,
    drop_owed_actions,
    act_on_uids_of_before,
    go_on_from_the_asset_that_is_ahead,
    hear_no_last_words,
    a_first_run_begins_now,
    take_what_others_have_taken,
    retell_in_the_middle_of_a_commit,
    die_of_a_lost_connection,
    key_without_the_place,
)
