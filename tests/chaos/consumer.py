"""Scenarios in which the consuming DAG is paused, edited, held back, failed, cleared or killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.chaos.dags import Dag
from tests.chaos.registry import scenario
from tests.chaos.room import FROM_US, Room


@scenario()
def consumer_paused(room: Room) -> Iterator[None]:
    """The only DAG is paused in a burst, which takes the trigger away, and unpaused later."""
    room.open()
    yield
    room.deliver(room.rng.randint(12, 18), gap=0.2)
    room.await_told()
    room.house.set_paused(room.name, paused=True)
    room.deliver(room.rng.randint(8, 12))
    room.sleep(2, 8)
    room.house.set_paused(room.name, paused=False)
    room.deliver(room.rng.randint(3, 6))


@scenario()
def consumer_paused_beside_another(room: Room) -> Iterator[None]:
    """One of two DAGs on the asset is paused, while the other one keeps the trigger at work; unpaused, it takes what it
    missed."""
    room.open()
    other = room.add_dag(Dag(room.name), f"{room.name}_other")
    # A new consumer begins with its first event: let both have one before anything is paused.
    first = len(room.deliver(2))
    room.await_taken(first)
    room.await_taken(first, other)
    yield
    room.deliver(room.rng.randint(6, 9), gap=0.2)
    room.house.set_paused(other, paused=True)
    room.deliver(room.rng.randint(6, 9), gap=0.5)
    room.sleep(1, 4)
    room.house.set_paused(other, paused=False)
    room.deliver(room.rng.randint(3, 5))


@scenario()
def consumer_edited(room: Room) -> Iterator[None]:
    """The DAG and the trigger's conditions are edited in a burst: another trigger for Airflow, the same place."""
    room.open()
    yield
    for edition in range(2):
        room.deliver(room.rng.randint(8, 12), gap=0.2)
        room.declare(f"batch_size={7 + edition}, conditions=[{FROM_US}, Subject.contains('mail-')]")
        room.add_dag(Dag(room.name, operator=f"max_mails={20 + edition}"))
        room.deliver(room.rng.randint(3, 6))
        room.sleep(1, 4)


@scenario()
def consumer_at_max_active_runs(room: Room) -> Iterator[None]:
    """The DAG may run once at a time, takes few mails in a run, and takes long, while a burst comes in."""
    slow = f"time.sleep({room.rng.uniform(0.5, 3):.1f})"
    room.open(dag=Dag(room.name, active=1, before_the_note=slow, operator=f"max_mails={room.rng.randint(6, 12)}"))
    yield
    for _ in range(3):
        room.deliver(room.rng.randint(8, 12), gap=0.1)
        room.sleep(0, 4)


@scenario()
def consumer_failed_and_cleared(room: Room) -> Iterator[None]:
    """The task behind the intake fails; its runs, and one that was good, are cleared."""
    broken = Path(f"{room.ledger}.broken")
    fail = f"assert not os.path.exists({str(broken)!r}), 'broken'"
    room.open(dag=Dag(room.name, retries=0, before_the_note=fail))
    first = len(room.deliver(3))
    room.await_taken(first)
    yield
    broken.touch()
    room.deliver(room.rng.randint(10, 16), gap=0.3)
    room.house.wait(lambda: _in_state(room, "failed"), "a run to fail")
    room.deliver(room.rng.randint(5, 8))
    room.sleep(2, 5)
    broken.unlink()
    good = _in_state(room, "success")[:1]
    room.house.wait(lambda: not _in_state(room, "running", "queued"), "all runs to end")
    failed = _in_state(room, "failed")
    for run_id in good + failed:
        room.house.api.request(
            "POST",
            f"/dags/{room.name}/clearTaskInstances",
            json={"dry_run": False, "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True},
        )
    room.remarks.append(f"{len(failed)} failed")


def _in_state(room: Room, *states: str) -> list[str]:
    return [run["dag_run_id"] for run in room.house.api.runs(room.name) if run["state"] in states]


@scenario()
def intake_killed_between_claim_and_return(room: Room) -> Iterator[None]:
    """The first attempt of every intake is killed with SIGKILL when it has claimed its mails and not yet returned
    them."""
    die = "if context['ti'].try_number == 1: os.kill(os.getpid(), signal.SIGKILL)"
    room.open(dag=Dag(room.name, after_the_claim=die))
    yield
    for _ in range(2):
        room.deliver(room.rng.randint(12, 16), gap=0.2)
        room.sleep(1, 4)
