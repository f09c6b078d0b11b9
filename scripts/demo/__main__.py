"""Runs the demo: ``python -m scripts.demo``, or ``make demo`` which also sets up what it needs.

With ``ONCE=1`` in the environment it ends by itself, with exit status 0 only if every mail that matches was taken
exactly once and no other was touched.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from airflow_imap_provider.connection.fields import CONNECTION_TYPE, EXTRA_FIELDS
from scripts.demo.folder import DemoFolder
from scripts.demo.letters import SENDER, burst_letters, invoice, single_letters
from scripts.demo.mailbox import HOST, LOGIN, PASSWORD, Mailbox, delivery_command
from scripts.demo.report import ASSET, DAG, Findings, Investigation, Post, Table, counted
from scripts.local_airflow import (
    API_SERVER,
    COMMANDS,
    DAG_PROCESSOR,
    ROOT,
    SCHEDULER,
    START_DEADLINE,
    TRIGGERER,
    LocalAirflow,
    wait_until,
)

CONNECTION = "imap4_default"
# Seconds for all mails delivered to be taken; about 30 on two cores, most of it the DAG's tasks.
MAIL_DEADLINE = 240.0
# Seconds without anything running after all has been taken: a mail that is taken twice would show up by then, since
# the trigger tells new mail at most every 2 s and Airflow starts a run about 1 s later.
QUIET = 6.0
# Seconds between two looks at what Airflow has done.
GLANCE = 0.5

# Seconds between looks whether all processes of Airflow are alive.
LOOK_AFTER = 2.0

Step = Callable[[str], None]


def start(folder: DemoFolder, airflow: LocalAirflow, step: Step) -> Mailbox:
    """Start everything and return the mailbox; Airflow watches it when this returns."""
    step("a mailbox")
    mailbox = Mailbox(folder.home, folder.path / "mailbox.log")
    step("Airflow's database")
    airflow.prepare()
    step("Airflow's API server, scheduler and triggerer")
    for name in (API_SERVER, SCHEDULER, TRIGGERER):
        airflow.launch(name)
    airflow.wait_ready(API_SERVER)
    step(f"the connection {CONNECTION}")
    # All fields as the form itself would store them, switches as they stand: it shows only fields that are stored.
    extra: dict[str, Any] = {
        field.key: field.default if isinstance(field.default, bool) else None for field in EXTRA_FIELDS
    }
    extra["encryption"] = "none"
    airflow.api.set_connection(
        CONNECTION,
        CONNECTION_TYPE,
        host=HOST,
        port=mailbox.port,
        login=LOGIN,
        password=PASSWORD,
        description="The demo's mailbox",
        extra=json.dumps(extra),
    )
    step("the DAGs, and the trigger that watches the mailbox")
    # Not before: a trigger that finds no connection would begin with an error.
    airflow.start(DAG_PROCESSOR)
    airflow.wait_ready(SCHEDULER)
    airflow.wait_ready(TRIGGERER)

    def watching() -> bool:
        if errors := airflow.api.import_errors():
            raise RuntimeError(f"{errors[0]['filename']} cannot be imported:\n{errors[0]['stack_trace']}")
        # The trigger notes where it begins before it connects; mail that comes after that counts.
        return any(key.startswith("imap4:place:") for key in airflow.api.asset_state(ASSET))

    wait_until(watching, "the trigger to watch the mailbox", seconds=START_DEADLINE, details=airflow.tail)
    return mailbox


def watch(post: Post, table: Table, seconds: float) -> bool:
    """Show what becomes of the delivered mails until all is well and quiet, and return whether it is."""
    deadline = time.monotonic() + seconds
    quiet_since: float | None = None
    while True:
        found, verdicts = post.verdicts()
        expected = [verdict for letter, verdict in verdicts if letter.expected]
        bad = any(verdict.final for _, verdict in verdicts)
        strangers = set(found.takings) - set(post.delivered)
        complete = all(verdict.good for _, verdict in verdicts) and not strangers
        # What does not match is shown last: only when all the rest has been taken, it has been passed over for sure.
        for letter, verdict in verdicts:
            if verdict.final or (verdict.good and (letter.expected or complete)):
                table.show(letter, verdict)
        quiet_since = (quiet_since or time.monotonic()) if complete and not found.busy else None
        over = bad or strangers or time.monotonic() > deadline
        if over or (quiet_since is not None and time.monotonic() - quiet_since > QUIET):
            table.end()
            for letter, verdict in verdicts:
                table.show(letter, verdict)
            for stranger in sorted(strangers):
                print(f"  A mail was taken that nobody sent: {stranger}")
            return not over
        progress = progress_line(sum(verdict.good for verdict in expected), len(expected), found)
        # Only while mail is missing: the trigger reports once a minute at most, so this may be over already.
        if len(found.takings) < len(expected) and (complaint := post.investigation.complaint()):
            progress += f"; the trigger's last report: {complaint}"
        table.progress(progress)
        time.sleep(GLANCE)


def progress_line(done: int, expected: int, found: Findings) -> str:
    """Return how it stands, in a few words."""
    if done == expected and not found.busy:
        return "all taken; waiting a moment to see that nothing comes twice"
    taken = sum(len(takings) for takings in found.takings.values())
    return (
        f"{taken} of {counted(expected, 'mail')} taken by {counted(len(found.runs), 'DAG run')}, "
        f"the work on {done} of them is done"
    )


def show_runs(found: Findings) -> None:
    """Print the ids of the runs that the table numbers."""
    print()
    for number, run_id in enumerate(found.runs, start=1):
        taken = sum(taking.run == number for takings in found.takings.values() for taking in takings)
        print(f"  run {number}: {counted(taken, 'mail')}, {run_id}")


def stay(airflow: LocalAirflow, folder: DemoFolder, post: Post, table: Table) -> None:
    """Tell where to look, and deliver another mail at each Enter, until Ctrl-C."""
    listening = sys.stdin is not None and sys.stdin.isatty()
    command = folder.path / "airflow.sh"  # "airflow" is the home
    airflow.write_command(command)
    print(f"""
  Airflow   {airflow.url}   (no login: everybody on this machine is admin)
            {airflow.url}/dags/{DAG}
            {airflow.url}/connections
  Mailbox   imap://{HOST}:{post.mailbox.port}   user {LOGIN}, password {PASSWORD}, no encryption
  DAGs      {ROOT / "example_dags"}   (yours too, if you put them there)
  Files     {airflow.home}
  Commands  {shlex.quote(str(command))} imap4 test {CONNECTION}   (in another terminal)
  Matching  mail from {SENDER} with "invoice" in its subject, that starts {DAG}. One more of them:
            {delivery_command(post.mailbox.port)}

  {"Enter sends another invoice, " if listening else ""}Ctrl-C ends the demo.
""")
    while True:
        for name in COMMANDS:
            if not airflow.running(name):
                print(f"  {name} has ended; starting it again. Its log: {airflow.log_file(name)}", flush=True)
                airflow.start(name)
        if not listening:
            time.sleep(LOOK_AFTER)
        elif select.select([sys.stdin], [], [], LOOK_AFTER)[0]:
            if not sys.stdin.readline():
                listening = False
                continue
            post.deliver([invoice(len(post.letters), positions=2)])
            watch(post, table, MAIL_DEADLINE)


def run(folder: DemoFolder, *, once: bool) -> bool:
    """Run the demo in this folder and return whether all mails went the right way."""
    began = time.monotonic()

    def step(what: str) -> None:
        print(f"  {time.monotonic() - began:5.1f} s  {what}", flush=True)

    airflow = LocalAirflow(folder.home, dags_folder=ROOT / "example_dags")
    mailbox: Mailbox | None = None
    try:
        print(f"Starting in {folder.path}:")
        mailbox = start(folder, airflow, step)
        step("ready")
        post = Post(mailbox, Investigation(airflow.api))
        print("\nA mail that matches, one that does not, then 30 at once:\n")
        table = Table()
        post.deliver(single_letters())
        good = watch(post, table, MAIL_DEADLINE)
        if good:
            print()
            post.deliver(burst_letters())
            good = watch(post, table, MAIL_DEADLINE)
        show_runs(post.investigation.findings())
        expected = sum(letter.expected for letter in post.letters)
        if good:
            print(
                f"\nPASSED: each of the {expected} mails that match was taken exactly once, "
                f"the {len(post.letters) - expected} that does not was left alone."
            )
        else:
            print(f"\nFAILED: see the table. What Airflow said last:\n{airflow.tail()}")
        if not once:
            stay(airflow, folder, post, table)
        return good
    finally:
        # The second Ctrl-C of an impatient person must not leave processes behind.
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        print("\nStopping …", flush=True)
        airflow.shut_down()
        if mailbox is not None:
            mailbox.stop()


# Ctrl-C, a closed terminal, a polite kill.
ENDINGS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End the demo the way Ctrl-C does, whatever signal asks for it."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo and return the exit status."""
    for number in ENDINGS:
        signal.signal(number, interrupt)
    try:
        with DemoFolder() as folder:
            good = run(folder, once=os.environ.get("ONCE", "") not in ("", "0"))
    except KeyboardInterrupt:
        return 130 if os.environ.get("ONCE") else 0
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
