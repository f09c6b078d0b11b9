"""What a large folder costs: finding one new mail among many, and working off a folder from its first mail on.

Run it with ``python -m benchmarks.large_mailbox`` (``--sizes 1000,10000,100000``). Against a real Dovecot it shows, for
each size, the round trips, the bytes and the seconds from connecting to the payload of one new mail; then it lets the
largest folder flow through the trigger with ``start="all"`` and through a consumer of it, in Airflow's own trigger
runner, and shows how the memory of that process grows. Airflow's state store is a file there: it is not in the process
that is measured, and there is neither a scheduler nor a pause between events.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import selectors
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import psutil

from airflow_imap_provider.mail.conditions import Conditions
from airflow_imap_provider.mailbox.place import first_place
from airflow_imap_provider.mailbox.reader import Reader, Wish
from airflow_imap_provider.mailbox.taking import Record, Taking
from airflow_imap_provider.transport.session import open_session
from airflow_imap_provider.triggers.email import EmailTrigger
from tests.servers.dovecot import HOST, Dovecot, User
from tests.triggers.conftest import connection, message
from tests.triggers.triggerer import State, Triggerer

CHUNK = 500
"""Mails appended without waiting for an answer."""
TAKEN_AT_ONCE = 500
"""Mails that a consumer takes in a run, as ReceiveEmailsOperator does unless told otherwise."""


def fill(server: Dovecot, user: User, first: int, count: int) -> None:
    """Append mails, many at a time."""
    with server.connection(user) as client:
        stream = client.file
        for start in range(first, first + count, CHUNK):
            numbers = range(start, min(start + CHUNK, first + count))
            mails = [message(f"mail {number}") for number in numbers]
            client.send(b"".join(b"x APPEND INBOX {%d+}\r\n%s\r\n" % (len(mail), mail) for mail in mails))
            for _ in numbers:
                while not (line := stream.readline()).startswith(b"x "):
                    pass
                if not line.startswith(b"x OK"):
                    raise RuntimeError(line)


class Meter:
    """A line to the server that counts what goes over it.

    :ivar turns: how often the client said something after the server had spoken.
    :ivar sent: bytes from the client.
    :ivar received: bytes from the server.
    """

    def __init__(self, port: int) -> None:
        self.turns = self.sent = self.received = 0
        self._server = port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection((HOST, self._server)) as server, selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ)
            ready.register(server, selectors.EVENT_READ)
            servers_turn = False
            while True:
                for key, _ in ready.select():
                    if not (data := key.fileobj.recv(65536)):  # type: ignore[union-attr]
                        return
                    if key.fileobj is client:
                        server.sendall(data)
                        self.sent += len(data)
                        self.turns += not servers_turn
                        servers_turn = True
                    else:
                        client.sendall(data)
                        self.received += len(data)
                        servers_turn = False


def find_one(server: Dovecot, user: User, count: int) -> tuple[int, int, int, float]:
    """Connect with a place before the newest mail and make its payload; return round trips, bytes and seconds."""
    wish = Wish(conn_id="mailbox", folder="INBOX", conditions=Conditions([]))
    reader = Reader(wish)
    settings = server.settings(user, security="none")
    session = open_session(settings)
    status = session.select("INBOX", readonly=True)
    place = first_place("new", datetime.now(timezone.utc))
    while (batch := reader.read(session, status, place)).more:
        place = batch.place
    place = batch.place
    session.logout()
    fill(server, user, count, 1)
    meter = Meter(server.port)
    began = time.monotonic()
    session = open_session(server.settings(user, security="none", port=meter.port))
    batch = reader.read(session, session.select("INBOX", readonly=True), place)
    seconds = time.monotonic() - began
    session.logout()
    assert [email["subject"] for email in batch.emails] == [f"mail {count}"]
    return meter.turns, meter.sent, meter.received, seconds


class FileValues(MutableMapping[str, str]):
    """One asset's values, in a file."""

    def __init__(self, path: Path) -> None:
        self._table = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._table.execute("CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT)")
        self._table.execute("PRAGMA synchronous = OFF")

    def __getitem__(self, key: str) -> str:
        row = self._table.execute("SELECT value FROM state WHERE name = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return str(row[0])

    def __setitem__(self, key: str, value: str) -> None:
        self._table.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, value))

    def __delitem__(self, key: str) -> None:
        self._table.execute("DELETE FROM state WHERE name = ?", (key,))

    def __iter__(self) -> Iterator[str]:
        return (str(row[0]) for row in self._table.execute("SELECT name FROM state"))

    def __len__(self) -> int:
        return int(self._table.execute("SELECT count(*) FROM state").fetchone()[0])


async def flow(count: int, folder: Path) -> None:
    """Let a folder flow through trigger and consumer in this process, and print how its memory grew."""
    process = psutil.Process()
    state = State()
    state.values["inbox"] = FileValues(folder / "state.db")  # type: ignore[assignment]
    triggerer = Triggerer(state)
    triggerer.add(EmailTrigger(imap4_conn_id="mailbox", start="all", pace=0.0, batch_size=200))
    record, uids, shown = Record(), 0, 0
    began = time.monotonic()
    while uids < count:
        await asyncio.sleep(0.2)
        taking: Taking = triggerer.take(record, TAKEN_AT_ONCE)
        record = Record.from_json(json.loads(json.dumps(taking.record.to_json())))
        uids += len(taking.emails)
        triggerer.log.clear()
        if uids * 10 // count > shown:
            shown = uids * 10 // count
            rss, seconds = process.memory_info().rss / 2**20, time.monotonic() - began
            print(f"  {uids:7} mails taken after {seconds:6.1f} s, process {rss:6.1f} MiB", flush=True)
    await triggerer.kill()


@contextmanager
def filled(sizes: list[int]) -> Iterator[tuple[Dovecot, User]]:
    """A server, and a mailbox that grows while it is measured."""
    server = Dovecot(more="mail_fsync = never\n")  # filling the folder is not what is measured
    server.start()
    user, there = server.new_user(), 0
    print(f"{'mails':>8} {'round trips':>12} {'bytes sent':>11} {'bytes received':>15} {'seconds':>8}")
    try:
        for size in sizes:
            fill(server, user, there, size - there)
            turns, sent, received, seconds = find_one(server, user, size)
            print(f"{size:8} {turns:12} {sent:11} {received:15} {seconds:8.3f}", flush=True)
            there = size + 1
        yield server, user
    finally:
        server.remove()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000", help="numbers of mails, ascending")
    parser.add_argument("--flow", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.flow:
            asyncio.run(flow(arguments.flow, Path(folder)))
            return
        sizes = [int(size) for size in arguments.sizes.split(",")]
        with filled(sizes) as (server, user):
            print(f"{sizes[-1] + 1} mails from the first one on, through the trigger and a consumer:", flush=True)
            environment = {**os.environ, "AIRFLOW_CONN_MAILBOX": connection(server, user), "AIRFLOW_HOME": folder}
            command = [sys.executable, "-m", "benchmarks.large_mailbox", "--flow", str(sizes[-1] + 1)]
            subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
