"""Two intakes of one task at once, which the scheduler prevents and other commands do not: no mail is taken twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.delivery.consumer import STARTING, Consumer
from tests.delivery.world import Plan, World

MAILS = 12
APART = [0.0, 0.014, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5]
"""Seconds from one's beginning to the other's: some 14 ms are one operation of the store."""


@pytest.fixture
def world() -> Iterator[World]:
    with World(Plan(batch_size=1, max_mails=500)) as world:
        consumer = world.add_consumer(history=True)
        world.manual_run(consumer)
        world.run(3.0)
        world.start_triggerer()
        world.run(30.0)
        consumer.dag.paused = True
        for _ in range(MAILS):
            world.deliver(matches=True)
        world.run(120.0)
        yield world


def two(world: World, seconds: float) -> Consumer:
    """Have two intakes begin so many seconds apart."""
    (consumer,) = world.consumers.values()
    for after in (0.0, seconds):
        world.run(after)
        world.manual_run(consumer)
        run = consumer.runs[-1]
        world.universe.call_in(STARTING - 0.001, lambda run=run: consumer.attempt(run, beside=True))  # type: ignore[misc]
    return consumer


def taken(consumer: Consumer) -> list[str]:
    return sorted(email["message_id"] for run in consumer.runs for email in run.returned or ())


@pytest.mark.parametrize("apart", APART)
def test_a_dag_that_is_tested_beside_its_own_run_takes_no_mail_twice(world: World, apart: float) -> None:
    consumer = two(world, apart)
    world.run(120.0)
    assert len(taken(consumer)) == len(set(taken(consumer))) == MAILS
    assert not world.failures


@pytest.mark.parametrize("apart", APART)
def test_nor_does_one_that_was_marked_as_failed_and_still_works(world: World, apart: float) -> None:
    (consumer,) = world.consumers.values()
    world.manual_run(consumer)
    world.run(STARTING + apart)
    first = consumer.runs[-1]
    world.manual_run(consumer)
    second = consumer.runs[-1]
    consumer.attempt(second, beside=True)
    world.run(120.0)
    assert len(taken(consumer)) == len(set(taken(consumer))) == MAILS
    assert {first.state, second.state} <= {"success", "skipped"}
    assert not world.failures
