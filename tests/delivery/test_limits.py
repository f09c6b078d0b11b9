"""A server that has had enough of changes is left alone for as long as it asks for, and nothing is given up early."""

from __future__ import annotations

import pytest

from airflow_imap_provider.mailbox.actions import MarkRead
from tests.delivery.world import Plan, World

DAY = 86_400.0


@pytest.mark.parametrize(
    "words",
    ["Request is throttled. Suggested Backoff Time: 299961 milliseconds", "[OVERQUOTA] Quota exceeded"],
)
def test_an_action_waits_for_as_long_as_the_server_has_had_enough(words: str) -> None:
    with World(Plan(actions=(MarkRead(),))) as world:
        world.start_triggerer()
        world.add_consumer()
        world.run(10.0)
        world.server.refusal, world.server.refusals = words, 7
        world.deliver(matches=True)
        world.run(200.0)
        assert world.server.refusals == 6, "asked once, and not again for some five minutes"
        world.run(6 * 3600.0)
        assert world.server.refusals == 0
        assert all("\\Seen" in mail.flags for mail in world.server.inbox.values())
        assert not world.given_up


def test_an_action_that_is_always_too_much_is_given_up_after_a_day_and_reported() -> None:
    with World(Plan(actions=(MarkRead(),))) as world:
        world.start_triggerer()
        world.add_consumer()
        world.run(10.0)
        world.server.refusal, world.server.refusals = "[OVERQUOTA] Quota exceeded", 1000
        world.deliver(matches=True)
        world.run(0.8 * DAY)
        assert not world.given_up
        world.run(0.6 * DAY)
        assert world.given_up
        assert 1000 - world.server.refusals < 50
