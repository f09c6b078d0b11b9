"""The example DAGs, as they are but for the connection's id, on a real mailbox and a real SMTP server."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tests.airflow.conftest import NewInbox
from tests.airflow.inbox import Inbox, message
from tests.airflow.test_operators import messages
from tests.airflow.test_receive_emails import clear
from tests.hooks.test_saving import mail
from tests.servers.smtp import Outbox

EXAMPLES = Path(__file__).parents[2] / "example_dags"


def install(inbox: Inbox, name: str, *dag_ids: str, **replaced: str) -> None:
    """Put an example where Airflow finds it, leading to the test's mailbox.

    :param dag_ids: the example's DAGs, if it is not one of the example's name.
    """
    source = (EXAMPLES / f"{name}.py").read_text()
    for old, new in {"imap4_default": inbox.name, **replaced}.items():
        assert old in source
        source = source.replace(old, new)
    inbox.airflow.write_dags(name, source)
    for dag_id in dag_ids or [name]:
        inbox.airflow.wait_dag(dag_id)


def await_results(inbox: Inbox, dag_id: str, task_id: str, wanted: list[Any]) -> None:
    """Wait until the instances of a mapped task have returned this, over all runs, and nothing else."""

    def returned() -> list[Any]:
        done = [task for task in inbox.airflow.api.task_instances(dag_id) if task["task_id"] == task_id]
        found = [
            inbox.airflow.api.xcom(dag_id, task["dag_run_id"], task_id, map_index=task["map_index"])
            for task in done
            if task["state"] == "success"
        ]
        return sorted(found)

    inbox.airflow.wait(lambda: len(returned()) >= len(wanted), f"{dag_id} to handle {wanted}", seconds=120)
    inbox.airflow.wait_runs(dag_id)
    assert returned() == wanted


def await_messages(inbox: Inbox, folder: str, key: str, count: int) -> None:
    inbox.airflow.wait(lambda: messages(inbox, folder, key) == count, f"{count} mails {key} in {folder}")


def await_watching(inbox: Inbox, asset: str) -> None:
    def place() -> bool:
        found = inbox.airflow.api.asset_state(asset).items()
        values = [json.loads(value) if isinstance(value, str) else value for key, value in found if ":place:" in key]
        return any(value.get("uidvalidity") for value in values)

    inbox.airflow.wait(place, "the trigger to open the folder", seconds=90)


def await_deferred(inbox: Inbox, dag_id: str) -> None:
    inbox.airflow.wait(
        lambda: any(task["state"] == "deferred" for task in inbox.airflow.api.task_instances(dag_id)),
        "the sensor to wait in the triggerer",
    )


def report(content: str) -> bytes:
    made = mail(("report.csv", content.encode()), subject=content)
    return made.replace(b"From: a@", b"From: reports@")


def test_the_csv_files_of_a_mail_are_read_by_the_dag_that_it_starts(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    install(inbox, "example_imap4_trigger")
    await_watching(inbox, "invoices")
    inbox.dovecot.deliver(
        inbox.user,
        mail(("a.csv", b"\xef\xbb\xbfno,sum\n7,1\n"), ("b.png", b"x"), subject="your invoice").replace(
            b"a@example.com", b"billing@example.com"
        ),
    )
    inbox.deliver("lunch")
    inbox.airflow.wait_runs("example_imap4_trigger")
    [run] = inbox.airflow.api.runs("example_imap4_trigger")
    rows = inbox.airflow.api.xcom("example_imap4_trigger", run["dag_run_id"], "rows", map_index=0)
    assert rows == [{"no": "7", "sum": "1"}]
    await_messages(inbox, "INBOX", "SEEN", 1)
    inbox.airflow.api.set_paused("example_imap4_trigger", True)


def test_attachments_go_to_object_storage_and_are_loaded(new_inbox: NewInbox, tmp_path: Path) -> None:
    inbox = new_inbox()
    install(inbox, "example_imap4_save", **{"file:///tmp/example_imap4_save": f"file://{tmp_path}"})
    await_watching(inbox, "sales")
    attachments = [("north.csv", b"a,b\n1,2\n3,4\n"), ("../south.csv", b"a,b\n5,6\n"), ("logo.png", b"x")]
    inbox.dovecot.deliver(inbox.user, mail(*attachments, subject="sales of today"))
    inbox.airflow.wait_runs("example_imap4_save")
    [run] = inbox.airflow.api.runs("example_imap4_save")
    loaded = [inbox.airflow.api.xcom("example_imap4_save", run["dag_run_id"], "load", map_index=n) for n in range(2)]
    assert loaded == [{"name": "north.csv", "rows": 2}, {"name": "../south.csv", "rows": 1}]
    assert sorted(path.name for path in tmp_path.rglob("*.csv")) == ["_._south.csv", "north.csv"]
    inbox.airflow.api.set_paused("example_imap4_save", True)


def test_a_mail_follows_its_run(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    install(inbox, "example_imap4_follow")
    await_watching(inbox, "orders")
    inbox.deliver("order 1", "order 2, which is broken", "nothing to do with it")
    # The two orders may come in one run or in two.
    await_messages(inbox, "Done", "SEEN", 1)
    await_messages(inbox, "Failed", "FLAGGED", 1)
    await_messages(inbox, "Processing", "ALL", 0)
    assert messages(inbox, "INBOX") == 1
    inbox.airflow.api.set_paused("example_imap4_follow", True)


def test_an_answer_lets_the_run_go_on(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    with Outbox() as outbox:
        extra = json.dumps(json.loads(outbox.connection())["extra"])
        inbox.airflow.api.set_connection(f"{inbox.name}_smtp", "smtp", host="127.0.0.1", port=outbox.port, extra=extra)
        install(inbox, "example_imap4_approval", smtp_default=f"{inbox.name}_smtp")
        inbox.airflow.api.run("example_imap4_approval")
        inbox.airflow.wait(lambda: outbox.envelopes, "the question", seconds=120)
        question = outbox.messages[0]["Subject"]
        proven = b"Authentication-Results: mx.example.com; dmarc=pass header.from=example.com\r\n"
        for head, sender, text in [
            (proven, "eve@example.com", "yes"),
            (b"", "boss@example.com", "yes, says somebody else"),
            (proven + b"Auto-Submitted: auto-replied\r\n", "boss@example.com", "I am out of office."),
            (proven, "boss@example.com", "\r\n Yes.\r\n> no?"),
        ]:
            inbox.dovecot.deliver(inbox.user, head + message(f"Re: {question}", sender, text))
        [run] = inbox.airflow.wait_runs("example_imap4_approval", seconds=240)
    assert run["state"] == "success"
    assert inbox.airflow.results("example_imap4_approval", "publish") == ["published"]
    assert messages(inbox, "Answered", "SEEN") == 1
    assert messages(inbox, "INBOX") == 3


def test_what_the_official_sensor_and_operator_did_is_done_for_the_mail_that_was_found(
    new_inbox: NewInbox, tmp_path: Path
) -> None:
    inbox = new_inbox()
    dag_id = "example_imap4_migration"
    inbox.dovecot.deliver(inbox.user, report("yesterday"), received=datetime.now(timezone.utc) - timedelta(days=1))
    install(inbox, dag_id, **{"file:///tmp/example_imap4_migration": f"file://{tmp_path}"})
    inbox.airflow.api.run(dag_id)
    await_deferred(inbox, dag_id)
    inbox.dovecot.deliver(inbox.user, report("forged").replace(b"reports@", b"eve@"))
    inbox.dovecot.deliver(inbox.user, report("today"))
    [run] = inbox.airflow.wait_runs(dag_id)
    assert run["state"] == "success"
    assert inbox.airflow.results(dag_id, "loaded") == [f"file://{tmp_path}/report.csv"]
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.csv", "today")]


def test_a_run_goes_on_when_the_mail_that_it_waits_for_has_come(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    dag_id = "example_imap4_sensor"
    install(inbox, dag_id)
    inbox.airflow.api.run(dag_id)
    await_deferred(inbox, dag_id)
    inbox.deliver("approved", sender="eve@example.com")
    inbox.deliver("Re: approved", sender="boss@example.com")
    [run] = inbox.airflow.wait_runs(dag_id)
    assert run["state"] == "success"
    assert inbox.airflow.results(dag_id, "publish") == ["boss@example.com"]
    assert messages(inbox, "INBOX", "SEEN") == 1


def test_each_mail_has_a_run_of_its_own_and_never_a_second_one(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    airflow, taker, handler = inbox.airflow, "example_imap4_run_per_mail", "example_imap4_run_per_mail_handle"
    install(inbox, taker, taker, handler)
    await_watching(inbox, "tickets")
    # What looks like a template is text that a stranger wrote.
    subjects = ["ticket 1", "ticket {{ 6 * 7 }}"]
    inbox.deliver(*subjects, "lunch")
    airflow.wait(lambda: len(airflow.api.runs(handler)) >= len(subjects), "a run for each mail", seconds=120)
    runs = airflow.wait_runs(handler, len(subjects), seconds=120)
    assert sorted(airflow.results(handler, "handle")) == subjects
    takers = airflow.wait_runs(taker)
    told = [email for emails in airflow.results(taker, "emails") for email in emails or []]
    assert sorted(run["dag_run_id"] for run in runs) == sorted(email["key"] for email in told)

    for run in takers:
        clear(airflow, taker, run["dag_run_id"])

    def again() -> bool:
        starts = [task for task in airflow.api.task_instances(taker) if task["task_id"] == "start"]
        # One that is not mapped belongs to a run that had nothing to take.
        return [task["state"] for task in starts if task["map_index"] >= 0] == ["skipped"] * len(subjects)

    airflow.wait(again, "the tasks that start runs to be skipped", seconds=120)
    assert {run["state"] for run in airflow.wait_runs(taker)} == {"success"}
    assert [(run["dag_run_id"], run["start_date"]) for run in airflow.api.runs(handler)] == [
        (run["dag_run_id"], run["start_date"]) for run in runs
    ]
    airflow.api.set_paused(taker, True)


def test_payment_mail_counts_only_if_the_own_server_has_proven_its_sender(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    payer, warner = "example_imap4_dmarc", "example_imap4_dmarc_doubtful"
    install(inbox, payer, payer, warner)
    await_watching(inbox, "payments")
    await_watching(inbox, "doubtful_payments")
    passes, fails, foreign = (
        f"Authentication-Results: {server}; dmarc={result} header.from=example.com\r\n"
        for server, result in [("mx.example.com", "pass"), ("mx.example.com", "fail"), ("mx.example.net", "pass")]
    )
    received = "Received: from anywhere by mx.example.com; Sun, 1 Feb 2026 12:00:00 +0000\r\n"
    for subject, sender, head in [
        ("payment 1", "a@example.com", passes),
        ("payment failed", "a@example.com", fails),
        ("payment foreign", "a@example.com", foreign),
        ("payment forged", "a@example.com", fails + received + passes),
        ("payment stranger", "a@example.net", passes.replace("example.com\r\n", "example.net\r\n")),
        ("lunch", "a@example.com", ""),
    ]:
        inbox.dovecot.deliver(inbox.user, head.encode() + message(subject, sender))
    await_results(inbox, payer, "pay", ["payment 1"])
    doubtful = ["payment failed", "payment foreign", "payment forged", "payment stranger"]
    await_messages(inbox, "INBOX", "ALL", 2)
    await_messages(inbox, "INBOX", "SEEN", 1)
    assert messages(inbox, "Quarantine", "FLAGGED") == len(doubtful)
    inbox.airflow.wait(
        lambda: sum(len(each or []) for each in inbox.airflow.results(warner, "warn")) >= len(doubtful),
        "all warnings",
        seconds=120,
    )
    warnings = sorted(text for each in inbox.airflow.results(warner, "warn") for text in each or [])
    assert [text.split(":")[0] for text in warnings] == doubtful
    assert [text.split(": ", 1)[1] for text in warnings] == [
        "{'dmarc': 'fail'}",
        "{}",
        "{'dmarc': 'fail'}",
        "{'dmarc': 'pass'}",
    ]
    for dag_id in (payer, warner):
        inbox.airflow.api.set_paused(dag_id, True)


def test_two_teams_share_a_mailbox_and_each_takes_its_own_mails(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    support, buying = "example_imap4_two_teams_support", "example_imap4_two_teams_buying"
    install(inbox, "example_imap4_two_teams", support, buying)
    await_watching(inbox, "support_mails")
    await_watching(inbox, "buying_mails")
    inbox.deliver("an offer", "help me", "help with the offer", "lunch")
    await_results(inbox, support, "work", ["help me", "help with the offer"])
    await_results(inbox, buying, "work", ["an offer", "help with the offer"])
    await_messages(inbox, "INBOX", "KEYWORD Support", 2)
    await_messages(inbox, "INBOX", "KEYWORD Buying", 2)
    await_messages(inbox, "INBOX", "KEYWORD Support KEYWORD Buying", 1)
    assert messages(inbox, "INBOX") == 4
    for dag_id in (support, buying):
        inbox.airflow.api.set_paused(dag_id, True)
