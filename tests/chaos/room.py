"""One scenario's share of the house: a mailbox behind a rough line, an asset with its triggers, and DAGs that note
down what they take."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.chaos import mails
from tests.chaos.dags import Dag, module
from tests.chaos.house import House
from tests.chaos.ledger import Consumer, Verdict, judge, notes, number_of
from tests.servers.dovecot import Dovecot
from tests.servers.rough_line import RoughLine

__all__ = ["Room"]

FLAGS = "on_match=[MarkRead(), AddKeyword('Taken')]"
MOVE = "on_match=[Move('Done')]"
FROM_US = f"From.equals('{mails.SENDER}')"

STRANGERS = 8
"""One mail in so many is from somebody whom nobody waits for."""
GLANCE = 0.5
"""Seconds between two looks at the ledger."""
LOST_AFTER = 420.0
"""Seconds from the end of the last fault until a mail that was not taken counts as lost: some ways back go over the
nudge, which comes after a minute and then after two, four, ..."""
ACTIONS_LATE_AFTER = 120.0
"""Seconds from the last mail taken until an action that was not done counts as missing."""


@dataclass
class Room:
    """See the module.

    :param seed: drives everything that is drawn here.
    :param dovecot: a server of its own instead of the house's.
    """

    house: House
    scenario: str
    seed: int
    own_server: bool = False
    rng: random.Random = field(init=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}/{self.scenario}")
        self.name = f"{self.scenario}_{self.seed}"
        self.dovecot = self.house.dovecot
        if self.own_server:
            self.dovecot = Dovecot()
            self.dovecot.start()
        self.user = self.dovecot.add_user(self.name)
        self.ledger: Path = self.house.ledger_folder / self.name
        self.consumers: dict[str, Consumer] = {}
        self.sent: list[str] = []
        self.strangers: list[str] = []
        self.gone: set[str] = set()
        self.remarks: list[str] = []
        self.folder = "INBOX"
        self.action = self.rng.choice([FLAGS, MOVE])
        self.line: RoughLine | None = None
        self.healed = 0.0
        self._files: list[Path] = []
        self.house.departure.callback(self.clear)

    # -- setting up -----------------------------------------------------------------------------------------------

    def open(
        self,
        watchers: str | Sequence[str] = "",
        *,
        plain: bool = False,
        timeout: float = 10,
        folder: str = "INBOX",
        dag: Dag | None = None,
        action: str | None = None,
    ) -> None:
        """Make the mailbox, the connection, one asset and one DAG, and wait until the trigger is connected.

        :param watchers: more arguments of each trigger.
        :param plain: no TLS, so that the line sees what passes.
        :param timeout: the connection's, in seconds.
        :param action: the triggers' action, instead of one that the seed draws.
        """
        self.folder = folder
        if action is not None:
            self.action = action
        self.connect(plain=plain, timeout=timeout)
        self.declare(watchers)
        self.add_dag(dag or Dag(self.name))
        self.await_connected()

    def connect(self, *, plain: bool = False, timeout: float = 10) -> None:
        """Make the folders, the line, and the connection that leads over it."""
        if self.folder != "INBOX":
            self.dovecot.create_folder(self.user, self.folder)
        self.dovecot.create_folder(self.user, "Done")
        self.lead(plain=plain, timeout=timeout)

    def lead(self, *, plain: bool = False, timeout: float = 10) -> None:
        """Make a line, and the connection that leads over it to the user as he is now; an earlier line is no more."""
        if self.line is not None:
            self.line.close()
        self.line = RoughLine(self.dovecot.port if plain else self.dovecot.tls_port)
        self.line.__enter__()
        encryption = {"encryption": "none"} if plain else {"encryption": "ssl", "ca_bundle": self.dovecot.authority.pem}
        self.house.api.set_connection(
            self.name,
            "imap4",
            host=self.line.host,
            port=self.line.port,
            login=self.user.login,
            password=self.user.password,
            extra=json.dumps({**encryption, "timeout": timeout}),
        )

    def declare(self, *assets: str | Sequence[str]) -> None:
        """Write the module with the assets, each with the arguments of its watchers; the first one has the room's name.

        The conditions, the folder, the action and ``start="all"`` are added where the arguments do not say otherwise.
        """
        named = {}
        for number, watchers in enumerate(assets):
            name = self.name if not number else f"{self.name}_{number}"
            named[name] = list(map(self._arguments, [watchers] if isinstance(watchers, str) else watchers))
        self.house.airflow.write_module(f"{self.name}_asset", module(self.name, named))

    def _arguments(self, arguments: str) -> str:
        given = {
            "start": "'all'",
            "folder": repr(self.folder),
            "conditions": f"[{FROM_US}]",
            "batch_size": "5",
            "pace": "1",
            "poll_interval": "15",
        }
        missing = [f"{name}={value}" for name, value in given.items() if not re.search(rf"\b{name}=", arguments)]
        if "on_match" not in arguments and self.action:
            missing.append(self.action)
        return ", ".join(filter(None, [arguments, *missing]))

    def add_dag(self, dag: Dag, dag_id: str = "") -> str:
        """Write a consumer, or write it anew, and wait until Airflow has it."""
        dag_id = dag_id or self.name
        known = dag_id in self.consumers
        self.consumers.setdefault(dag_id, Consumer(dag_id))
        text = dag.source(dag_id, f"{self.name}_asset", self.ledger)
        self._files.append(self.house.airflow.write_dags(dag_id, text))
        (self.house.reparse if known else self.house.wait_dag)(dag_id)
        return dag_id

    def await_connected(self, *assets: str) -> None:
        """Wait until the triggers have opened the folder."""
        for asset in assets or (self.name,):
            self.house.wait(
                lambda asset=asset: (places := self.places(asset)) and all(place["uidvalidity"] for place in places),  # type: ignore[misc]
                f"the trigger of {asset} to open the folder",
            )

    # -- mail -----------------------------------------------------------------------------------------------------

    def deliver(
        self,
        count: int,
        *,
        gap: float = 0.0,
        words: str = "",
        to: Iterable[str] | None = None,
        folder: str = "",
        received: datetime | None = None,
        hard: bool = False,
    ) -> list[str]:
        """Put mails into the folder, with a few strangers' among them; return the numbers of those that are wanted.

        :param gap: seconds between two of them at most.
        :param to: the DAGs that must take them; by default all.
        """
        fresh = []
        batch: list[bytes] = []
        for _ in range(count):
            if not self.rng.randrange(STRANGERS):
                self.strangers.append(f"{self.name}_s-{len(self.strangers):03}")
                batch.append(mails.ordinary(self.strangers[-1], mails.STRANGER, words))
            number = f"{self.name}-{len(self.sent):03}"
            self.sent.append(number)
            fresh.append(number)
            batch.append(mails.hard(number, self.rng) if hard else mails.ordinary(number, words=words))
            for dag_id in self.consumers if to is None else to:
                self.consumers[dag_id].due.add(number)
            if gap:
                self._append(batch, folder, received)
                batch = []
                time.sleep(self.rng.uniform(0, gap))
        self._append(batch, folder, received)
        return fresh

    def _append(self, batch: Sequence[bytes], folder: str, received: datetime | None) -> None:
        if batch:
            self.dovecot.deliver_all(self.user, batch, folder or self.folder, received=received)

    def give_up(self, numbers: Iterable[str]) -> None:
        """These mails were removed by somebody else: taken or not, both are right, but not twice."""
        numbers = set(numbers)
        self.gone |= numbers
        for consumer in self.consumers.values():
            consumer.free |= consumer.due & numbers
            consumer.due -= numbers

    def reset(self) -> None:
        """Ask for a reset to "all" as people do: mails that were taken and stay in the folder come again."""
        for dag_id, consumer in self.consumers.items():
            consumer.again |= consumer.due
            if self.action != MOVE:
                consumer.anew |= {mail for note in notes(self.ledger, dag_id) for mail in note.mails}
        asked = self.house.airflow.command("imap4", "reset", "--asset", self.name, "--to", "all", "--yes")
        assert asked.returncode == 0, asked.stderr

    def reset_is_owed(self) -> bool:
        """Whether a reset was asked for that the trigger has not honoured."""
        state = self.house.api.asset_state(self.name)
        return any(key.startswith(f"imap4:reset:{self.name}/") for key in state)

    def here(self, folder: str = "") -> dict[str, list[tuple[int, str]]]:
        """Return the mails of a folder: by number, their UIDs and flags."""
        found: dict[str, list[tuple[int, str]]] = {}
        with self.dovecot.connection(self.user) as client:
            status, exists = client.select(f'"{folder or self.folder}"', readonly=True)
            assert status == "OK"
            if exists == [b"0"]:
                return {}
            _, rows = client.fetch("1:*", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID SUBJECT)])")
        for row in rows:
            if isinstance(row, tuple):
                head = row[0].decode()
                uid = re.search(r"UID (\d+)", head)
                assert uid is not None
                number = number_of(row[1].decode(errors="replace"))
                found.setdefault(number, []).append((int(uid.group(1)), head))
        return found

    # -- looking --------------------------------------------------------------------------------------------------

    def places(self, asset: str = "") -> list[dict[str, Any]]:
        """Return the stored places of an asset's triggers."""
        state = self.house.api.asset_state(asset or self.name)
        values = [value for key, value in state.items() if key.startswith(f"imap4:place:{self.name}/")]
        return [json.loads(value) if isinstance(value, str) else value for value in values]

    def health(self) -> dict[str, Any]:
        """Return the first trigger's health entry."""
        for key, value in self.house.api.asset_state(self.name).items():
            if key.startswith(f"imap4:health:{self.name}/"):
                entry: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
                return entry
        return {}

    def told(self) -> int:
        """Return how many events have been told so far."""
        return sum(key.startswith("imap4:journal:") for key in self.house.api.asset_state(self.name))

    def taken(self, dag_id: str = "") -> int:
        """Return how many notes the DAG has made so far."""
        return sum(len(note.mails) for note in notes(self.ledger, dag_id or self.name))

    def await_taken(self, count: int, dag_id: str = "", seconds: float = LOST_AFTER) -> None:
        """Wait until a DAG has taken at least so many mails."""
        self.house.wait(lambda: self.taken(dag_id) >= count, f"{dag_id or self.name} to take {count} mails", seconds)

    def await_told(self, more_than: int = 0) -> None:
        """Wait until there are more events than so many."""
        self.house.wait(lambda: self.told() > more_than, f"{self.name} to tell more than {more_than} events")

    def sleep(self, least: float, most: float | None = None) -> None:
        """Let some seconds go by: the length of a fault, drawn by the seed."""
        time.sleep(self.rng.uniform(least, most if most is not None else least))

    @property
    def rough(self) -> RoughLine:
        """The line to the mail server."""
        assert self.line is not None
        return self.line

    # -- the end --------------------------------------------------------------------------------------------------

    def verdict(self) -> Verdict:
        """Return the outcome as of now, without actions."""
        found = Verdict(self.seed, self.scenario, sent=len(self.sent), remarks="; ".join(self.remarks))
        return judge(found, self.consumers.values(), self.ledger, self.healed)

    def settle(self) -> Verdict:
        """Wait until all is calm, and return the outcome."""
        end = self.healed + LOST_AFTER
        while (verdict := self.verdict()).lost and time.monotonic() < end:
            self.house.revive()
            time.sleep(GLANCE)
        end = time.monotonic() + ACTIONS_LATE_AFTER
        actions = self.actions()
        while actions[0] < actions[1] and time.monotonic() < end:
            self.house.revive()
            time.sleep(1)
            actions = self.actions()
        verdict = self.verdict()
        verdict.actions = actions
        return verdict

    def actions(self) -> tuple[int, int]:
        """Return how many of the wanted mails have had their action exactly once, and how many there are."""
        if not self.action:
            return 0, 0
        wanted = set().union(*(consumer.due for consumer in self.consumers.values()))
        here, done = self.here(), self.here("Done")
        touched = [number for number in self.strangers if number in done or any(map(_acted, here.get(number, [])))]
        if touched:
            return -len(touched), len(wanted)
        if self.action == MOVE:
            return sum(len(done.get(number, [])) == 1 and number not in here for number in wanted), len(wanted)
        return sum(bool(here.get(number)) and all(map(_acted, here[number])) for number in wanted), len(wanted)

    def close(self) -> None:
        """Stop the triggers; the files stay until :meth:`clear`: the DAG processor must see that they are paused."""
        for dag_id in self.consumers:
            if self.house.api.dag(dag_id):
                self.house.api.set_paused(dag_id, paused=True)
                self.house.api.reparse(dag_id)

    def clear(self) -> None:
        """Remove the files, the line and an own server."""
        for file in set(self._files):
            file.unlink(missing_ok=True)
        if self.line is not None:
            self.line.close()
        if self.own_server:
            self.dovecot.remove()


def _acted(mail: tuple[int, str]) -> bool:
    return "\\Seen" in mail[1] or "Taken" in mail[1]
