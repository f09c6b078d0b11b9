"""The delivery protocol in a world where everything goes wrong, and each single mail all the same taken once.

``DELIVERY_EXAMPLES=20000`` tells more stories, other ones every time; without it they are always the same few hundred.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.delivery.machine import DeliveryMachine

EXAMPLES = int(os.environ.get("DELIVERY_EXAMPLES", "0"))
STEPS = int(os.environ.get("DELIVERY_STEPS", "30"))

ALWAYS_THE_SAME = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

DEEP = settings(
    max_examples=max(EXAMPLES, 1),
    stateful_step_count=STEPS,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(0)
def test_every_mail_is_taken_exactly_once_whatever_happens() -> None:
    run_state_machine_as_test(DeliveryMachine, settings=DEEP if EXAMPLES else ALWAYS_THE_SAME)
