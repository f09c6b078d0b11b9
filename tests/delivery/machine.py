"""The machine: everything that can happen to a mail on its way, in any order, and after it a calm in which it arrives.

A crash is planned by counting operations, so that it hits between any two of them. Hypothesis prints a failing story as
a list of calls; ``docs/development.md`` says how to play it again.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_imap_provider.mailbox.actions import Action, AddKeyword, Copy, Delete, MarkRead, Move
from airflow_imap_provider.mailbox.place import CLOCKS_APART, PROMPT
from tests.delivery.airflow_twin import Fault
from tests.delivery.triggerer import TriggererProcess
from tests.delivery.verdict import Judge
from tests.delivery.world import Plan, World

Deeds = tuple[tuple[Action, ...], tuple[Action, ...], tuple[Action, ...]]
"""For mails that match, for those that do not, and for all."""

DEEDS: tuple[Deeds, ...] = (
    ((), (), ()),
    ((MarkRead(),), (), ()),
    ((MarkRead(), Move("Done")), (), ()),
    ((Copy("Archive"),), (), ()),
    ((MarkRead(), Move("Done")), (Delete(),), (AddKeyword("Seen-here"),)),
    ((Copy("Archive"), Delete()), (Move("Other"),), ()),
    ((), (MarkRead(), Copy("Other")), (Copy("Archive"),)),
)
GONE = ("move", "delete")
"""A second trigger that wants all mails would find none."""
SESSIONS = ("lost", "lost", "old", "new")
"""What becomes of sessions whose folder is made anew."""
RESETS = ("all", "all", "new")
SHORT = (0.005, 0.02, 0.1, 0.5)
LONG = (1.0, 2.0, 4.0, 10.0, 40.0, 90.0, 400.0, 700.0)
UNWELL = ("[THROTTLED] too fast", "Server Unavailable. 15", "System Error")
"""Words of a server that is not well. Only the first ones are known for such."""
SHORT_ANSWERS = ("nothing", "flags", "no header")
CLOCKS = (0.0, -45.0, 75.0, 400.0)
"""By how many seconds clocks are wrong."""

LATEST = 3.0
"""Seconds after which a write that nobody waits for any more is stored at the latest: within the commit's grace. The
store knows no condition on a write, so nothing can be done about one that replaces a newer value much later."""


class DeliveryMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.world: Any = None
        self.judge: Any = None
        self.over = False

    @initialize(
        deeds=st.sampled_from(DEEDS),
        shape=st.sampled_from(("one", "one", "second", "twins")),
        batch_size=st.integers(1, 4),
        max_mails=st.sampled_from((1, 3, 50)),
        turn=st.sampled_from((1.0, 1.0, 3.0)),
        ahead=st.sampled_from(CLOCKS),
        down=st.sampled_from((0.0, 0.0, 40.0)),
        moves=st.booleans(),
        uidvalidity=st.sampled_from((100, 100, 0)),
    )
    def begin(
        self,
        deeds: Deeds,
        shape: str,
        batch_size: int,
        max_mails: int,
        turn: float,
        ahead: float,
        down: float = 0.0,
        moves: bool = True,
        uidvalidity: int = 100,
    ) -> None:
        if shape == "second":
            deeds = tuple(tuple(action for action in part if action.do not in GONE) for part in deeds)  # type: ignore[assignment]
        # The activation is reckoned by the triggerer's clock, and mails are dated by the server's.
        start = "new" if abs(ahead) <= CLOCKS_APART.total_seconds() else "all"
        plan = Plan(*deeds, shape == "second", shape == "twins", batch_size, max_mails, turn, start)
        self.world = World(plan)
        self.world.__enter__()
        self.world.server.moves, self.world.server.folder.uidvalidity = moves, uidvalidity
        if down:
            self._take_down(down)
        self.judge = Judge(self.world)
        for asset in plan.assets:
            # One that wants everything, and of which the trigger knows.
            self.world.manual_run(self.world.add_consumer(asset, history=True))
        self.world.run(3.0)
        self.world.start_triggerer(ahead=ahead)
        self.world.run(PROMPT.total_seconds() + 2.0 if ahead > 0 and start == "new" else 3.0)

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            if not self.over:
                self.judge.calm()
        finally:
            world, self.world = self.world, None
            world.__exit__(None, None, None)

    @invariant()
    def nothing_is_wrong(self) -> None:
        if self.world is not None:
            self.over = True  # unless the following passes
            self.judge.check_now()
            self.over = False

    # --- mails and the server -----------------------------------------------------------------------------------

    @rule(mails=st.lists(st.sampled_from((True, True, False)), min_size=1, max_size=6))
    def mails_arrive(self, mails: list[bool]) -> None:
        for matches in mails:
            self.world.deliver(matches=matches)

    @rule(seconds=st.sampled_from(SHORT))
    def a_moment_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(seconds=st.sampled_from(LONG))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(index=st.integers(0, 5))
    def somebody_removes_a_mail(self, index: int) -> None:
        self.world.remove_mail(index)

    @rule(index=st.integers(0, 5))
    def somebody_marks_a_mail_as_deleted(self, index: int) -> None:
        self.world.mark_mail(index)

    @rule(restored=st.booleans(), sessions=st.sampled_from(SESSIONS))
    def the_folder_is_made_anew(self, restored: bool, sessions: str = "lost") -> None:
        self.world.recreate_folder(restored=restored, sessions=sessions)

    # Consumers keep four generations of UIDs.
    @precondition(lambda self: len(self.world.resets) < 3)
    @rule(index=st.integers(0, 1), to=st.sampled_from(RESETS))
    def somebody_asks_for_a_reset(self, index: int, to: str) -> None:
        self.world.reset(index, to)

    def somebody_moves_an_old_mail_here(self, days_ago: float) -> None:
        """For stories only: before the first opening, or with nothing told there, nobody can know it for new."""
        self.world.deliver(matches=True, days_ago=days_ago)

    # Not for two triggers: the other one wants it, and has nothing to know it by. Each holds the folder up for a
    # quarter of an hour.
    @precondition(lambda self: not self.world.plan.second and len(self.world.server.poison) < 2)
    @rule()
    def a_broken_mail_arrives(self) -> None:
        self.world.deliver_broken()

    # For less than the patience with a broken one.
    @rule(matches=st.booleans(), how=st.sampled_from(SHORT_ANSWERS), seconds=st.sampled_from((0.03, 5.0, 300.0)))
    def a_mail_arrives_that_answers_leave_out_at_first(self, matches: bool, how: str, seconds: float) -> None:
        self.world.deliver_short(matches=matches, how=how, seconds=seconds)

    @rule(words=st.sampled_from(UNWELL), seconds=st.sampled_from((5.0, 90.0, 1000.0)), search=st.booleans())
    def the_server_is_not_well(self, words: str, seconds: float, search: bool) -> None:
        server = self.world.server
        server.unwell, server.unwell_in_search = words, search
        self.world.universe.call_in(seconds, lambda: setattr(server, "unwell", ""))

    @rule(seconds=st.sampled_from((0.0, 5.0, 60.0)), mute=st.booleans())
    def the_connections_are_lost(self, seconds: float, mute: bool) -> None:
        world = self.world
        world.server.mute = mute
        world.server.lose_connections()
        if seconds:
            self._take_down(seconds)

    @rule(stale=st.sampled_from((1, 3, 1000)), seconds=st.sampled_from((40.0, 3000.0)))
    def uidnext_is_told_too_low(self, stale: int, seconds: float) -> None:
        server = self.world.server
        server.stale = stale
        self.world.universe.call_in(seconds, lambda: setattr(server, "stale", 0))

    def _take_down(self, seconds: float) -> None:
        server = self.world.server
        server.up = False
        self.world.universe.call_in(seconds, lambda: setattr(server, "up", True))

    @precondition(lambda self: self.world.plan.acts)
    @rule(count=st.integers(1, 8))
    def the_server_refuses_changes(self, count: int) -> None:
        self.world.server.refusals = count

    @precondition(lambda self: self.world.plan.acts)
    @rule(seconds=st.sampled_from((0.3, 3.0)))
    def changes_take_long(self, seconds: float) -> None:
        server = self.world.server
        server.slow = seconds
        self.world.universe.call_in(90.0, lambda: setattr(server, "slow", 0.0))

    # --- triggerers ---------------------------------------------------------------------------------------------

    def _process(self, index: int) -> TriggererProcess | None:
        alive = self.world.alive
        return alive[index % len(alive)] if alive else None

    @precondition(lambda self: len(self.world.alive) < 3)
    @rule(ahead=st.sampled_from(CLOCKS), straggling=st.sampled_from((0.0, 0.5, 1.5)))
    def a_triggerer_starts(self, ahead: float, straggling: float) -> None:
        self.world.start_triggerer(ahead=ahead, straggling=straggling)

    @rule(index=st.integers(0, 2))
    def a_triggerer_is_killed(self, index: int) -> None:
        if process := self._process(index):
            process.die()

    @rule(
        index=st.integers(0, 2), kind=st.sampled_from(("store", "stored", "imap", "sent", "event")), n=st.integers(0, 9)
    )
    def a_triggerer_will_crash(self, index: int, kind: str, n: int) -> None:
        if process := self._process(index):
            process.crash_at[kind] = n

    @rule(index=st.integers(0, 2))
    def a_triggerer_freezes_or_thaws(self, index: int) -> None:
        if process := self._process(index):
            process.freeze_or_thaw()

    @rule(index=st.integers(0, 2), turns=st.integers(1, 2))
    def confirmations_are_lost(self, index: int, turns: int) -> None:
        if process := self._process(index):
            process.losing_confirmations = turns

    @rule(index=st.integers(0, 2), seconds=st.sampled_from((5.0, 40.0, 400.0)))
    def the_database_does_not_answer(self, index: int, seconds: float) -> None:
        if process := self._process(index):
            process.stalled_until = self.world.universe.now + seconds

    @rule(index=st.integers(0, 1), after=st.sampled_from((0.0, 0.2, 0.7, 1.1, 2.3)))
    def the_dag_is_edited(self, index: int, after: float) -> None:
        names = list(self.world.plan.triggers)
        self.world.universe.call_in(after, lambda: self.world.edit_dag(names[index % len(names)]))

    @rule(index=st.integers(0, 1), seconds=st.sampled_from((0.4, 3.0, 50.0)))
    def the_row_goes_for_a_while(self, index: int, seconds: float) -> None:
        world, names = self.world, list(self.world.plan.triggers)
        name = names[index % len(names)]
        world.database.rows.pop(name, None)
        world.universe.call_in(seconds, lambda: name in world.database.rows or world.database.add_row(name))

    # --- Airflow's store and scheduler --------------------------------------------------------------------------

    @rule(
        n=st.integers(1, 8),
        how=st.sampled_from(("refused", "unanswered", "late")),
        late=st.sampled_from((0.05, 0.6, LATEST)),
    )
    def a_write_will_fail(self, n: int, how: str, late: float) -> None:
        self.world.database.stores.faults[n] = Fault(how, late)

    @rule(slow=st.sampled_from((0.3, 3.0)), seconds=st.sampled_from((15.0, 90.0)))
    def the_store_is_slow(self, slow: float, seconds: float) -> None:
        stores = self.world.database.stores
        stores.slow = slow
        self.world.universe.call_in(seconds, lambda: setattr(stores, "slow", 0.0))

    @rule(seconds=st.sampled_from((2.0, 15.0, 60.0)), index=st.integers(0, 1))
    def an_asset_is_inactive(self, seconds: float, index: int) -> None:
        world = self.world
        asset = world.plan.assets[index % len(world.plan.assets)]
        world.database.stores.inactive.add(asset)
        world.universe.call_in(seconds, lambda: world.database.stores.inactive.discard(asset))

    @rule(seconds=st.sampled_from((3.0, 70.0)))
    def the_scheduler_stands_still(self, seconds: float) -> None:
        world = self.world
        world.database.scheduling = False
        world.universe.call_in(seconds, lambda: setattr(world.database, "scheduling", True))

    # --- consumers ----------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.world.consumers) < 4)
    @rule(ahead=st.sampled_from(CLOCKS), manual=st.booleans())
    def a_consumer_is_new_or_renamed(self, ahead: float, manual: bool) -> None:
        consumer = self.world.add_consumer(ahead=ahead)
        if manual:
            self.world.manual_run(consumer)

    def _consumer(self, index: int) -> Any:
        consumers = list(self.world.consumers.values())
        return consumers[index % len(consumers)]

    @rule(index=st.integers(0, 3), most=st.sampled_from((1, 16)))
    def a_dag_is_paused_or_unpaused(self, index: int, most: int) -> None:
        dag = self._consumer(index).dag
        dag.paused, dag.max_active_runs = not dag.paused, most

    @rule(index=st.integers(0, 3), seconds=st.sampled_from((0.5, 15.0, 90.0)))
    def a_dags_file_is_gone_for_a_while(self, index: int, seconds: float) -> None:
        world, dag = self.world, self._consumer(index).dag
        world.database.lose_file(dag)
        world.universe.call_in(seconds, lambda: world.database.find_file(dag))

    @rule(index=st.integers(0, 3), seconds=st.sampled_from((5.0, 60.0)))
    def no_worker_can_begin(self, index: int, seconds: float) -> None:
        self._consumer(index).broken_until = self.world.universe.now + seconds

    @rule(index=st.integers(0, 3))
    def somebody_starts_a_run(self, index: int) -> None:
        self.world.manual_run(self._consumer(index))

    @rule(index=st.integers(0, 3), run=st.integers(0, 20))
    def somebody_clears_a_run(self, index: int, run: int) -> None:
        consumer = self._consumer(index)
        over = [candidate for candidate in consumer.runs if not candidate.active]
        if over:
            consumer.clear(over[run % len(over)])

    @rule(index=st.integers(0, 3), n=st.integers(0, 24))
    def the_next_intake_will_be_killed(self, index: int, n: int) -> None:
        self._consumer(index).crash_next = n
