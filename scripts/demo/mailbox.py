"""The demo's mailbox: pymap in a process of its own, everything in memory, on a free loopback port.

Mails come in over IMAP APPEND, as another client would put them there.
"""

from __future__ import annotations

import imaplib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from scripts.demo.letters import Letter
from scripts.local_airflow import ROOT, free_port, wait_until

HOST = "127.0.0.1"
LOGIN = "demo"
PASSWORD = "demo-password"  # noqa: S105 - of a mailbox in memory, on loopback
# Seconds. pymap starts in one.
START_DEADLINE = 30.0
STOP_DEADLINE = 5.0
ANSWER_DEADLINE = 30.0


def _connect(port: int) -> imaplib.IMAP4:
    client = imaplib.IMAP4(HOST, port, timeout=ANSWER_DEADLINE)
    client.login(LOGIN, PASSWORD)
    return client


def deliver(port: int, letters: Iterable[Letter]) -> dict[str, float]:
    """Put mails into the INBOX of a demo, and return when each one was there (seconds since the epoch), by Message-ID.

    :param port: where the demo's mailbox listens.
    """
    delivered = {}
    client = _connect(port)
    for letter in letters:
        status, answer = client.append("INBOX", "", "", letter.as_bytes())
        if status != "OK":
            raise RuntimeError(f"the mailbox does not take the mail: {answer!r}")
        delivered[letter.message_id] = time.time()
    client.logout()
    return delivered


def delivery_command(port: int) -> str:
    """Return a shell command that delivers an invoice: for who has no terminal in which Enter does."""
    checkout, python = shlex.quote(str(ROOT)), shlex.quote(sys.executable)
    return f"(cd {checkout} && {python} -m scripts.demo.deliver {port})"


class Mailbox:
    """A running IMAP server with one account and an empty INBOX.

    :param home: goes into the process's environment, by which a killed demo's processes are found.
    :param log: file for what the server prints.
    """

    def __init__(self, home: Path, log: Path) -> None:
        self.port = free_port()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    # Without garbage collection: pymap 0.36 holds no reference to the tasks that serve its
                    # connections, so on Python 3.13 they may be collected, which cuts an idle connection.
                    *(sys.executable, "-c", "import gc; gc.disable(); from pymap.main import main; main()"),
                    *("--host", HOST, "--port", str(self.port), "--no-tls"),
                    *("dict", "--demo-user", LOGIN, "--demo-password", PASSWORD),
                ],
                # FQDN: its greeting would ask DNS for this machine's name, which may be slow.
                env={**os.environ, "AIRFLOW_HOME": str(home), "FQDN": "localhost"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def greets() -> bool:
            if self._process.poll() is not None:
                raise RuntimeError(f"the mailbox ended at once:\n{log.read_text()}")
            try:
                self._connect().logout()
            except OSError:
                return False
            return True

        wait_until(greets, "the mailbox to answer", seconds=START_DEADLINE)

    def _connect(self) -> imaplib.IMAP4:
        return _connect(self.port)

    def deliver(self, letters: Iterable[Letter]) -> dict[str, float]:
        """Put the mails into INBOX and return when each one was there (seconds since the epoch), by Message-ID."""
        return deliver(self.port, letters)

    def seen(self) -> set[str]:
        """Return the Message-IDs of the mails that are marked as read."""
        client = self._connect()
        client.select("INBOX", readonly=True)
        numbers = client.search(None, "SEEN")[1][0].split()
        found = set()
        if numbers:
            answer = client.fetch(b",".join(numbers).decode(), "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1]
            headers = [part[1].decode() for part in answer if isinstance(part, tuple)]
            found = {header.partition(":")[2].strip() for header in headers}
        client.logout()
        return found

    def stop(self) -> None:
        """End the process; the mails go with it."""
        self._process.terminate()
        try:
            self._process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
