"""Scenarios in which the mailbox itself changes under the watcher's hands, or holds what is hard to read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from tests.chaos.dags import Dag
from tests.chaos.mails import ordinary
from tests.chaos.registry import scenario
from tests.chaos.room import FLAGS, MOVE, Room


@scenario()
def folder_deleted_and_made_again(room: Room) -> Iterator[None]:
    """The folder is deleted with its mails and made again; new mail comes, and mails that were handled are restored
    from a backup."""
    room.open(folder="Orders", action="")
    yield
    sent_at = datetime.now(timezone.utc) - timedelta(minutes=1)
    first = room.deliver(room.rng.randint(10, 15), received=sent_at)
    room.await_taken(len(first))
    room.house.wait(
        lambda: all(len(room.here()) <= place["last_uid"] for place in room.places()), "all to be committed"
    )
    before = room.places()
    never_seen = room.deliver(room.rng.randint(0, 3))
    room.dovecot.delete_folder(room.user, "Orders")
    room.give_up(never_seen)
    room.sleep(2, 6)  # within a second Dovecot may damage the index of the new folder: its mails are gone for everybody
    room.dovecot.create_folder(room.user, "Orders")
    back = room.rng.sample(first, len(first) // 2)
    room.dovecot.deliver_all(room.user, [ordinary(number) for number in back], "Orders", received=sent_at)
    room.deliver(room.rng.randint(10, 15), gap=0.3)
    room.house.wait(lambda: room.places() != before, "the new folder to be seen")
    room.remarks.append(f"{len(back)} restored")


@scenario()
def removed_between_hint_and_fetch(room: Room) -> Iterator[None]:
    """Another client expunges some mails and moves others away after the server's hint and before they are fetched."""
    room.open(plain=True, action=FLAGS)
    yield
    room.dovecot.create_folder(room.user, "Elsewhere")
    for _ in range(2):
        fresh = set(room.deliver(room.rng.randint(12, 16)))

        def remove(fresh: set[str] = fresh) -> None:
            here = {number: mails[0][0] for number, mails in room.here().items() if number in fresh}
            chosen = room.rng.sample(sorted(here), len(here) // 2)
            room.give_up(chosen)
            away, gone = chosen[::2], chosen[1::2]
            with room.dovecot.connection(room.user) as client:
                client.select("INBOX")
                client.uid("MOVE", ",".join(str(here[number]) for number in away), "Elsewhere")
            room.dovecot.expunge(room.user, [here[number] for number in gone])

        room.rough.at(b" UID FETCH ", remove)
        room.deliver(1)
        room.house.wait(lambda: not room.rough.moments_left, "the mails to be fetched")
        room.sleep(1, 3)
    room.remarks.append(f"{len(room.gone)} removed")


@scenario()
def poison_in_the_middle(room: Room) -> Iterator[None]:
    """Mails that are hard to read stand in the middle of a burst, and a burst of nothing else follows."""
    room.open("headers=['X-Long', 'Subject'], text=True")
    yield
    room.deliver(room.rng.randint(8, 12))
    room.deliver(3, hard=True)
    room.deliver(room.rng.randint(8, 12))
    room.deliver(room.rng.randint(8, 12), hard=True)


@scenario()
def two_conditions_on_one_folder(room: Room) -> Iterator[None]:
    """Two assets with different conditions watch one folder; a DAG on each, and both share one connection."""
    second = f"{room.name}_1"
    room.connect()
    room.action = FLAGS
    red, green = (
        f"conditions=[From.equals('billing@example.com'), Subject.contains('{word}')]" for word in ("red", "green")
    )
    room.declare(red, green)
    room.add_dag(Dag(room.name))
    room.add_dag(Dag(second), second)
    room.await_connected(room.name, second)
    yield
    for _ in range(3):
        room.deliver(room.rng.randint(4, 7), words="red", to=[room.name], gap=0.2)
        room.deliver(room.rng.randint(4, 7), words="green", to=[second])
        room.deliver(room.rng.randint(2, 3), words="red and green")
        room.rough.cut()
    room.sleep(1)


@scenario()
def two_conditions_on_one_asset(room: Room) -> Iterator[None]:
    """One asset with two watchers of different conditions, each with a place of its own, and two DAGs that both take
    all."""
    room.connect()
    room.action = MOVE
    both = [
        f"place='{word}', conditions=[From.equals('billing@example.com'), Subject.contains('{word}')]"
        for word in ("red", "green")
    ]
    room.declare(both)
    other = f"{room.name}_other"
    room.add_dag(Dag(room.name))
    room.add_dag(Dag(room.name), other)
    room.await_connected()
    room.house.wait(lambda: len(room.places()) == 2, "both triggers to have a place")
    yield
    room.deliver(room.rng.randint(3, 5), words="red")
    room.await_taken(3)
    room.await_taken(3, other)
    for _ in range(3):
        room.deliver(room.rng.randint(4, 6), words="red", gap=0.3)
        room.deliver(room.rng.randint(4, 6), words="green")
        room.rough.reset()
