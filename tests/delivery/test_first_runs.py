"""Where a consumer begins, and what becomes of mails that were told before its intake has worked for the first time.

Until then the trigger does not know of it, and nobody nudges it: only Airflow remembers what it was woken for.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.delivery.consumer import Consumer
from tests.delivery.verdict import settle
from tests.delivery.world import Plan, World

LONG = 7200.0
"""Seconds in which whoever is nudged was nudged."""


@pytest.fixture
def world() -> Iterator[World]:
    with World(Plan(start="new")) as world:
        world.manual_run(world.add_consumer(history=True))  # keeps the trigger busy all the time
        world.start_triggerer()
        world.run(10.0)
        yield world


def mail(world: World) -> None:
    world.deliver(matches=True)
    world.run(30.0)


def taken(consumer: Consumer) -> list[str]:
    return [email["subject"] for run in consumer.runs for email in run.returned or ()]


def test_a_new_consumer_begins_with_the_event_that_wakes_it(world: World) -> None:
    mail(world)
    new = world.add_consumer()
    mail(world)
    mail(world)
    assert taken(new) == ["invoice 2", "invoice 3"]


def test_a_renamed_one_takes_nothing_again_although_the_triggerer_has_just_been_restarted(world: World) -> None:
    mail(world)
    world.alive[0].die()
    world.start_triggerer()
    world.run(60.0)
    mail(world)
    renamed = world.add_consumer()
    world.alive[0].die()
    world.start_triggerer()
    world.run(60.0)
    mail(world)
    assert taken(renamed) == ["invoice 3"]


def test_what_came_while_the_new_dag_was_paused_comes_with_the_next_mail(world: World) -> None:
    new = world.add_consumer()
    new.dag.paused = True
    mail(world)
    new.dag.paused = False
    world.run(LONG)
    assert taken(new) == [], "nobody knows of it, and nobody nudges it"
    mail(world)
    assert taken(new) == ["invoice 1", "invoice 2"]


def test_a_queue_that_airflow_has_lost_before_the_first_run_is_made_good_by_the_next_mail(world: World) -> None:
    new = world.add_consumer()
    world.database.scheduling = False
    mail(world)
    new.dag.queued, world.database.scheduling = None, True
    mail(world)
    assert taken(new) == ["invoice 1", "invoice 2"]


def test_a_first_run_that_dies_for_good_has_begun_for_the_next_one(world: World) -> None:
    new = world.add_consumer(ahead=75.0)
    new.crash_next = 4  # when it has settled where it begins
    world.deliver(matches=True)
    world.run(5.0)
    new.broken_until = world.universe.now + 60.0
    world.run(LONG)
    assert [run.state for run in new.runs] == ["failed", "success"], "the trigger knows of it, and nudges it"
    assert taken(new) == ["invoice 1"]
    new.clear(new.runs[0])
    world.run(60.0)
    assert new.runs[0].state == "skipped", "there is nothing left for it"


def test_a_first_run_that_never_began_takes_its_mails_when_it_is_cleared(world: World) -> None:
    new = world.add_consumer()
    new.broken_until = world.universe.now + 60.0
    mail(world)
    world.run(60.0)
    mail(world)
    assert taken(new) == ["invoice 2"]
    assert new.runs[0].state == "failed", "somebody sees it"
    new.clear(new.runs[0])
    world.run(60.0)
    assert taken(new) == ["invoice 1", "invoice 2"]


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_file_that_was_gone_before_the_first_run_has_airflow_forget_and_a_run_by_hand_helps(
    world: World, by_hand: bool
) -> None:
    """The documented limit: references that are made anew know of no earlier event, and the trigger of no consumer."""
    new = world.add_consumer()
    world.database.scheduling = False
    mail(world)
    world.database.lose_file(new.dag)
    world.database.scheduling = True
    world.run(30.0)
    world.database.find_file(new.dag)
    if by_hand:
        world.manual_run(new)
        world.run(30.0)
    mail(world)
    assert taken(new) == (["invoice 1", "invoice 2"] if by_hand else ["invoice 2"])


def test_the_same_after_the_first_run_costs_a_nudge_only(world: World) -> None:
    new = world.add_consumer()
    mail(world)
    world.database.scheduling = False
    mail(world)
    world.database.lose_file(new.dag)
    settle(world)
    world.run(LONG)
    assert taken(new) == ["invoice 1", "invoice 2"]
