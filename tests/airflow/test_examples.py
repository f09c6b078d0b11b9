"""The example DAGs, as they are but for the connection's id, on a real mailbox and a real SMTP server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.airflow.conftest import NewInbox
from tests.airflow.inbox import Inbox, message
from tests.airflow.test_operators import messages
from tests.hooks.test_saving import mail
from tests.servers.smtp import Outbox

EXAMPLES = Path(__file__).parents[2] / "example_dags"


def install(inbox: Inbox, name: str, **replaced: str) -> None:
    """Put an example where Airflow finds it, leading to the test's mailbox."""
    source = (EXAMPLES / f"{name}.py").read_text()
    for old, new in {"imap4_default": inbox.name, **replaced}.items():
        assert old in source
        source = source.replace(old, new)
    inbox.airflow.write_dags(name, source)
    inbox.airflow.wait_dag(name)


def await_watching(inbox: Inbox, asset: str) -> None:
    def place() -> bool:
        found = inbox.airflow.api.asset_state(asset).items()
        values = [json.loads(value) if isinstance(value, str) else value for key, value in found if ":place:" in key]
        return any(value.get("uidvalidity") for value in values)

    inbox.airflow.wait(place, "the trigger to open the folder", seconds=90)


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
    inbox.airflow.wait(lambda: len(inbox.airflow.api.runs("example_imap4_follow")) >= 1, "a run", seconds=90)
    inbox.airflow.wait_runs("example_imap4_follow", len(inbox.airflow.api.runs("example_imap4_follow")), seconds=240)
    assert messages(inbox, "INBOX") == 1
    assert messages(inbox, "Processing") == 0
    assert messages(inbox, "Done", "SEEN") == 1
    assert messages(inbox, "Failed", "FLAGGED") == 1
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
        inbox.dovecot.deliver(inbox.user, message(f"Re: {question}", "eve@example.com", "yes"))
        inbox.dovecot.deliver(inbox.user, message(f"Re: {question}", "boss@example.com", "Yes, please.\r\n> no?"))
        [run] = inbox.airflow.wait_runs("example_imap4_approval", seconds=240)
    assert run["state"] == "success"
    assert inbox.airflow.results("example_imap4_approval", "publish") == ["published"]
    assert messages(inbox, "Answered", "SEEN") == 1
    assert messages(inbox, "INBOX") == 1
