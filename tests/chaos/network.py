"""Scenarios in which the line to the mail server, or the server itself, fails."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

from airflow_imap_provider.transport import dial
from tests.chaos.registry import scenario
from tests.chaos.room import LOST_AFTER, MOVE, Room
from tests.servers.rough_line import plan

KEEPALIVE = dial.KEEPALIVE_IDLE + dial.KEEPALIVE_INTERVAL * dial.KEEPALIVE_PROBES
"""Seconds after which TCP gives up a peer that has vanished."""

HEARD = 25.0
"""Seconds after which a triggerer has certainly heard of a reset."""


@scenario()
def rough_line(room: Room) -> Iterator[None]:
    """The line is cut, reset, stalled, dripping, refused, swallowed and injected into for half a minute, by the seed's
    plan, while mail comes in."""
    plain = room.rng.random() < 0.5
    room.open(f"poll_interval={room.rng.choice([3, 10])}", plain=plain, timeout=5)
    room.remarks.append("plain" if plain else "TLS")
    yield
    faults = plan(room.rng, 25)
    # A generator of its own: two threads that share one would not repeat themselves.
    weather = random.Random(room.rng.random())
    storm = threading.Thread(target=room.rough.suffer, args=(faults, weather, threading.Event()), name="storm")
    storm.start()
    room.deliver(room.rng.randint(25, 35), gap=1.5)
    storm.join()


@scenario()
def black_hole(room: Room) -> Iterator[None]:
    """The line swallows everything and answers nothing; TCP goes on acknowledging, so no keepalive ever notices. It
    lasts until the watcher has noticed, or for longer than keepalive would need. Mail comes meanwhile, and the old
    connections stay dead for ever."""
    room.open("poll_interval=5", timeout=5)
    room.deliver(6)
    yield
    room.await_told()
    room.rough.swallow()
    begun = time.monotonic()
    room.deliver(room.rng.randint(20, 28), gap=0.5)
    room.house.wait(lambda: room.health().get("connected") is False, "the watcher to notice that nobody answers")
    noticed = time.monotonic() - begun
    brief, long = room.rng.uniform(2, 15), KEEPALIVE + room.rng.uniform(5, 20)
    time.sleep(room.rng.choice([brief, max(long - noticed, brief)]))
    room.rough.flow()
    room.remarks.append(f"noticed after {noticed:.0f} s, over after {time.monotonic() - begun:.0f} s")
    room.deliver(4)


@scenario()
def mail_at_every_moment_of_idle(room: Room) -> Iterator[None]:
    """A mail arrives in the very moment in which IDLE is sent, agreed to, left, and has been left; the line holds what
    is on it while the mail is stored. With an hour between polls, or with IDLE renewed every three seconds."""
    poll = room.rng.choice([3, 3600])
    room.open(f"poll_interval={poll}", plain=True)
    room.remarks.append(f"poll every {poll} s")
    yield
    line = room.rough
    lock = threading.Lock()

    def one() -> None:
        with lock:
            room.deliver(1)

    # The line acts on each in its turn, so each mail causes the next moment, too.
    for pattern in (b" IDLE\r\n", b"+ ", b"DONE\r\n", b"OK Idle completed"):
        line.at(pattern, one, times=3)
        line.at(pattern, one, passed=True, times=3)
    one()
    room.house.wait(lambda: not line.moments_left, "all moments of IDLE to come", seconds=200)


@scenario(own_server=True)
def server_restarted(room: Room) -> Iterator[None]:
    """The mail server is restarted, killed, and frozen for longer than the timeout, in a burst each."""
    room.open("poll_interval=5", timeout=5)
    yield
    ways = ["restart", "kill", "freeze"]
    room.rng.shuffle(ways)
    for way in ways:
        room.deliver(room.rng.randint(6, 10))
        room.sleep(0, 2)
        if way == "restart":
            room.dovecot.stop()
            room.sleep(0, 4)
            room.dovecot.start()
        elif way == "kill":
            room.dovecot.kill()
            room.sleep(0, 4)
            room.dovecot.start()
        else:
            with room.dovecot.frozen():
                room.sleep(6, 12)
        room.deliver(room.rng.randint(2, 5))


@scenario(own_server=True)
def server_upgraded_to_another_uidvalidity(room: Room) -> Iterator[None]:
    """The server comes back with another UIDVALIDITY, in a burst of which some mails are told and some are not."""
    # Actions that are owed to mails of before the change are dropped, and the log says so: docs/delivery.md.
    room.open(action="")
    room.deliver(room.rng.randint(8, 14))
    room.await_told()
    yield
    for _ in range(2):
        room.deliver(room.rng.randint(6, 10))
        room.sleep(0, 3)
        room.rough.refuse()
        room.dovecot.set_uidvalidity(room.user, room.rng.randrange(10**8, 2**31), room.folder)
        room.dovecot.restart()
        room.deliver(room.rng.randint(3, 6))
        room.rough.flow()
        room.await_connected()
        room.sleep(2, 5)


@scenario()
def reset_in_a_burst(room: Room) -> Iterator[None]:
    """The server goes away in a burst, in the moment in which an action is sent; while it is away, more mail comes and
    somebody asks for a reset; then it is back."""
    room.open("poll_interval=5", plain=True, timeout=5)
    first = room.deliver(room.rng.randint(4, 7))
    room.await_taken(len(first))
    command = b" UID MOVE " if room.action == MOVE else b" UID STORE "
    room.house.wait(lambda: room.actions()[0] == len(first), "the first mails' actions to be done")
    yield

    def leave() -> None:
        room.rough.refuse()
        room.rough.reset()

    room.rough.at(command, leave)
    room.deliver(room.rng.randint(10, 15), gap=0.4)
    room.house.wait(lambda: not room.rough.moments_left, "an action to be sent")
    room.house.wait(lambda: room.health().get("connected") is False, "the watcher to notice that nobody is there")
    room.deliver(room.rng.randint(2, 5))
    room.reset()
    room.sleep(0, HEARD)
    owed = sum(len(place["todo"]) for place in room.places())
    room.remarks.append(f"{owed or 'nothing'} owed, the server away")
    room.rough.flow()
    between = set(room.deliver(room.rng.randint(2, 5), gap=0.5))
    for consumer in room.consumers.values():
        consumer.again |= between  # told before the new beginning, or not
    room.house.wait(lambda: not room.reset_is_owed(), "the reset to be honoured", LOST_AFTER)
    room.deliver(room.rng.randint(6, 10), gap=0.3)


@scenario()
def connection_edited_in_a_burst(room: Room) -> Iterator[None]:
    """The password is changed in a burst, and the mailbox moves to another port: logins are refused, and then nobody
    answers, until the connection is edited."""
    room.open("poll_interval=5")
    yield
    room.deliver(room.rng.randint(6, 10))
    room.await_told()
    room.user = room.dovecot.add_user(room.user.login, f"changed by {room.seed}")
    room.rough.cut()
    room.deliver(room.rng.randint(6, 10))
    room.house.wait(lambda: room.health().get("connected") is False, "the watcher to be refused")
    room.sleep(0, 5)
    room.lead()
    room.deliver(room.rng.randint(6, 10))
