"""Operators for mails: taking what the Email Trigger has told, and (from ``email_action``) doing something with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mailbox.taking import Claim, Entry, Record, Taking, told_before
from airflow_imap_provider.operators.email_action import EmailActionOperator, ForwardEmailOperator, SaveEmailOperator
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK
from airflow_imap_provider.triggers import journal
from airflow_imap_provider.triggers.store import CONSUMERS, consumer_key

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "EmailActionOperator",
    "ForwardEmailOperator",
    "ReceiveEmailsOperator",
    "SaveEmailOperator",
    "TakenMeanwhileError",
]

MANUAL_LOOK_BACK = timedelta(hours=1)
"""How far before its start a consumer's very first run looks if no event but a person has started it."""

RETRIES = 3
"""Attempts after a failed one, at least."""

RETRY_DELAY = timedelta(seconds=10)
"""Airflow's default of five minutes would hold back mails that are claimed already."""

MOST = 1000
"""Mails in one run at most: Airflow's ``[core] max_map_length`` is 1,024 by default."""

CLAIMS_KEPT = 1000
"""Runs whose claims stay in the asset's state store, beside those in the task's own."""

REVISIT = timedelta(days=1)
"""How often a consumer renews its entry in the list of consumers."""


class TakenMeanwhileError(RuntimeError):
    """Another intake of the same task has taken mails at the same time. The next attempt takes what it has left."""


class ReceiveEmailsOperator(BaseOperator):
    """Takes the mails of an asset that this task has not taken yet, whatever event has started the run.

    Every mail that the asset's :class:`~airflow_imap_provider.triggers.email.EmailTrigger` tells comes out of this
    operator exactly once, in bursts, after crashes and after pauses. A retry or a cleared run returns the same mails
    again. A run that finds nothing to take is skipped.

    Its place belongs to the DAG's and the task's id: renaming either begins anew, at the event that starts the first
    run.

    :param asset: the watched asset. Import the object that the DAG is scheduled on; do not declare it a second time.
    :param max_mails: mails in one run at most (1 to 1,000). If more are waiting, an event of the asset wakes its DAGs
        again at once.
    :param retries: at least 3, whatever is given.
    :param retry_delay: 10 seconds, unless something else is given here or in ``default_args``.
    :param history: at the very first run, take everything that was told and is still kept (30 days at least).
    :return: a list of dicts, one per mail, as in ``docs/payload.md``.
    """

    ui_color = "#d7e8f7"

    def __init__(
        self,
        *,
        asset: Asset,
        max_mails: int = 500,
        history: bool = False,
        retries: int | None = None,
        retry_delay: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(asset, Asset):
            raise SettingsError(
                f"asset={asset!r}; the Asset object with the watcher is accepted (a reference by name keeps no watcher "
                "alive): import it from the module that declares it.",
                stage="settings",
            )
        if isinstance(max_mails, bool) or not isinstance(max_mails, int) or not 1 <= max_mails <= MOST:
            raise SettingsError(f"max_mails={max_mails!r}; a number from 1 to {MOST} is accepted.", stage="settings")
        # Whatever default_args say: an intake that died is repeated, with the same mails, and never runs twice at once.
        kwargs["max_active_tis_per_dag"] = 1
        kwargs["retries"] = max(retries or 0, RETRIES)
        kwargs["retry_delay"] = RETRY_DELAY if retry_delay is None else retry_delay
        inlets, outlets = _listed(kwargs.pop("inlets", None)), _listed(kwargs.pop("outlets", None))
        super().__init__(
            # The asset as an inlet keeps its state store alive while a DAG file is missing for a moment.
            inlets=inlets if asset in inlets else [*inlets, asset],
            outlets=outlets,
            **kwargs,
        )
        # An alias of its own: two tasks that use one for the first time in the same moment both write that it leads to
        # the asset, and Airflow 3.3.2 answers the second by failing the task, without a retry (UniqueViolation in
        # asset_alias_asset, update_state of the execution API). Known only now that the task has its DAG.
        self._remainder = AssetAlias(name=f"imap4-remainder:{self.dag_id}/{self.task_id}")
        self.add_outlets([self._remainder])
        self.asset = asset
        self.max_mails = max_mails
        self.history = history

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Claim, move on, return.

        :raises AirflowSkipException: if there is nothing to take.
        :raises AirflowFailException: if a cleared run's mails are no longer kept, or the task is mapped.
        :raises TakenMeanwhileError: if another intake of this task runs beside it, which Airflow's scheduler prevents.
        """
        map_index = context["ti"].map_index
        if map_index is not None and map_index >= 0:
            raise AirflowFailException(
                "ReceiveEmailsOperator cannot be mapped, nor stand in a mapped task group: expand over its output."
            )
        store: Any = context["asset_state_store"][self.asset]
        self._register(store)
        key, run_id = consumer_key(self.dag_id, self.task_id), str(context["run_id"])
        stored = store.get(key)
        record = Record.from_json(stored) if stored else Record()
        claim = self._earlier_claim(context, store, record, run_id)
        if claim is not None:
            emails = self._again(store, claim)
        else:
            emails, claim = self._take(context, store, key, record, stored)
        if claim is None:
            raise AirflowSkipException("No mails that this task has not taken yet.")
        # Also after a retry: the attempt before may have ended between its claim and here.
        self._keep(context, store, record, run_id, claim)
        if self._more(store, record):
            self.log.info("More mails are waiting: waking the DAG again.")
            context["outlet_events"][self._remainder].add(self.asset, extra={"imap4": "remainder"})
        return emails

    def _take(
        self, context: Context, store: Any, key: str, record: Record, stored: Any
    ) -> tuple[list[dict[str, Any]], Claim | None]:
        stored = self._begin(context, store, key, record, stored)
        taking = Taking(record, self.max_mails)
        for entry in journal.entries(store, record, SYSTEM_CLOCK.now()):
            taking.feed(entry)
            if taking.enough:
                break
        claim = taking.claim(str(context["run_id"]))
        for old_run, old in taking.outgoing.items():
            # The run that made it may not have had the time to store it elsewhere.
            store.set(self._claim_key(old_run), old.to_json())
        # The claim and the ranges stand in one value: there is no moment at which a mail is taken and nobody's.
        if record.to_json() != stored:
            _replace(store, key, stored, record.to_json())
        self.log.info("Mails taken: %s", [email["key"] for email in taking.emails])
        return taking.emails, claim

    def _more(self, store: Any, record: Record) -> bool:
        """Tell whether mails are left for another run."""
        rest = Taking(Record.from_json(record.to_json()), 0)
        for entry in journal.entries(store, rest.record, SYSTEM_CLOCK.now()):
            rest.feed(entry)
            if rest.enough:
                return True
        return False

    def _begin(self, context: Context, store: Any, key: str, record: Record, stored: Any) -> Any:
        """Settle at the first run where this consumer begins; return the stored record.

        The run of a later event may come before the run of the first one, or that one may have failed before its intake
        began, and is cleared: then the beginning moves back to it.
        """
        events = self._triggering_entries(context)
        if stored and not any(journal.passed_over(record, event) for event in events):
            return stored
        run: Any = context["dag_run"]
        moment = min((event.at for event in events), default=run.run_after - MANUAL_LOOK_BACK)

        def before(entry: Entry) -> bool:
            return all(told_before(entry, event) for event in events) if events else entry.at < moment

        if stored or not self.history:
            journal.begin(store, record, moment, before)
        # At once: if this run comes to nothing, the next one begins here and not at its own event.
        begun = record.to_json()
        _replace(store, key, stored, begun)
        return begun

    def _triggering_entries(self, context: Context) -> list[Entry]:
        """Return what was told that has started this run; a person or another event has told nothing."""
        triggering = context["triggering_asset_events"].get(self.asset, ())
        payloads: list[Any] = [(event.extra or {}).get("payload") for event in triggering]
        return [
            Entry(payload["journal"][0], payload["journal"][1], payload)
            for payload in payloads
            if isinstance(payload, dict) and isinstance(payload.get("journal"), list)
        ]

    # --- claims -------------------------------------------------------------------------------------------------

    def _earlier_claim(self, context: Context, store: Any, record: Record, run_id: str) -> Claim | None:
        """Return what this run has taken already, if it is a retry or was cleared."""
        if run_id in record.claims:
            return record.claims[run_id]
        data: Any = context["task_state_store"].get("claim") or store.get(self._claim_key(run_id))
        return Claim.from_json(data) if data else None

    def _again(self, store: Any, claim: Claim) -> list[dict[str, Any]]:
        found = (journal.entry(store, name, number) for name, number in claim.numbers())
        emails = claim.collect(entry for entry in found if entry is not None)
        if len(emails) != claim.count:
            raise AirflowFailException(
                f"This run has taken {claim.count} mails before, and only {len(emails)} of them are still kept: they "
                f"are dropped {journal.RETENTION.days} days after the trigger that told them has ended."
            )
        self.log.info("This run has taken mails before (%s); here they are again.", claim.count)
        return emails

    def _keep(self, context: Context, store: Any, record: Record, run_id: str, claim: Claim) -> None:
        """Keep the claim for as long as the run can be cleared, in bounded space."""
        context["task_state_store"].set("claim", claim.to_json(), retention=NEVER_EXPIRE)
        if claim.number + CLAIMS_KEPT <= record.runs:
            return  # its slot belongs to a newer run by now
        slot = consumer_key(self.dag_id, self.task_id, f"slot:{claim.number % CLAIMS_KEPT}")
        mine, before = self._claim_key(run_id), store.get(slot)
        if before == mine:
            return
        if before:
            store.delete(before)
        store.set(mine, claim.to_json())
        store.set(slot, mine)

    def _claim_key(self, run_id: str) -> str:
        return consumer_key(self.dag_id, self.task_id, f"claim:{hashlib.sha256(run_id.encode()).hexdigest()[:24]}")

    def _register(self, store: Any) -> None:
        """Enter this task into the list of consumers, by which the trigger knows whom to wake."""
        name = f"{self.dag_id}/{self.task_id}"
        now = SYSTEM_CLOCK.now()
        # Two tasks may write the list at once: whoever is missing afterwards writes again.
        for _ in range(3):
            consumers = store.get(CONSUMERS) or {}
            entry = consumers.get(name)
            if entry and now - datetime.fromisoformat(entry["seen"]) < REVISIT:
                return
            entry = {"dag_id": self.dag_id, "task_id": self.task_id, "seen": now.isoformat()}
            store.set(CONSUMERS, {**consumers, name: entry})


def _replace(store: Any, key: str, before: Any, after: dict[str, Any]) -> None:
    """Write a record unless somebody else has written it since it was read.

    Airflow's scheduler has one intake at a time, and no more: ``airflow dags test`` asks nobody, and an intake that is
    marked as failed, or whose run has timed out, works until its next heartbeat. The store knows no condition on a
    write, so this looks as late as it can, and once more afterwards: the other one may have looked before this one
    wrote, and written after it.

    :raises TakenMeanwhileError: if somebody has.
    """
    unchanged = store.get(key) == before
    if unchanged:
        store.set(key, after)
        unchanged = store.get(key) == after
    if not unchanged:
        raise TakenMeanwhileError(
            "Another run of this task takes mails at the same time (by 'airflow dags test', or it was marked as failed "
            "and still works): nothing was taken here, and the next attempt takes what is left."
        )


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
