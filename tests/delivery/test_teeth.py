"""The machine finds deliberate breakages of the production code: its invariants can fail, and its world gets there."""

from __future__ import annotations

import pytest

from tests.delivery.machine import DeliveryMachine
from tests.delivery.mutations import Mutation
from tests.delivery.stories import OTHERS, TEETH
from tests.delivery.telling import Story

HOUR = 3600.0


def told(story: Story) -> None:
    """Play a story on the machine, and the calm after it."""
    machine = DeliveryMachine()
    try:
        story(machine)
        machine.judge.patience = 2 * HOUR  # nothing here was nudged in vain for long
    except BaseException:
        machine.over = True
        raise
    finally:
        machine.teardown()


@pytest.mark.parametrize(
    "story", [*dict.fromkeys(story for story, _ in TEETH), *OTHERS], ids=lambda story: story.__name__
)
def test_a_story_ends_well(story: Story) -> None:
    told(story)


@pytest.mark.parametrize(("story", "mutation"), TEETH, ids=lambda part: part.__name__)
def test_a_breakage_is_found(story: Story, mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation(monkeypatch)
    with pytest.raises(AssertionError) as found:
        told(story)
    # The breakage itself must run: an error in it would be found as well.
    assert not any(word in str(found.value) for word in ("TypeError", "NameError", "AttributeError")), found.value
