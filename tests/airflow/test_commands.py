"""``airflow imap4 state`` and ``reset`` on a running Airflow: what they show, and that triggers and tasks obey."""

from __future__ import annotations

import json
from typing import Any

from tests.airflow.conftest import NewInbox
from tests.airflow.inbox import Inbox


def state(inbox: Inbox) -> dict[str, Any]:
    shown = inbox.airflow.command("imap4", "state", "--asset", inbox.name, "--json")
    assert shown.returncode == 0, shown.stderr
    (asset,) = json.loads(shown.stdout[shown.stdout.index("[\n") :])
    found: dict[str, Any] = asset
    return found


def test_a_reset_of_a_running_trigger_has_all_mails_come_again_as_new_ones(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    inbox.open(trigger="on_match=[MarkRead()]")
    subjects = ["one", "two", "three"]
    inbox.deliver(*subjects)
    inbox.await_taken(subjects)
    inbox.airflow.wait(lambda: inbox.place()["last_uid"] == 3 and not inbox.place()["todo"], "all to be committed")

    seen = state(inbox)
    (stream,) = seen["streams"]
    assert stream["stream"] == f"{inbox.name}/INBOX/default"
    assert stream["health"]["connected"]
    assert (stream["place"]["last_uid"], stream["place"]["epoch"], stream["place"]["owed_actions"]) == (3, 0, 0)
    (consumer,) = seen["consumers"]
    assert (consumer["consumer"], consumer["untaken"]) == (f"{inbox.name}/emails", 0)
    assert sum(journal["entries"] for journal in seen["journals"]) == inbox.told()
    words = inbox.airflow.command("imap4", "state").stdout
    assert f"Asset {inbox.name}\n  Stream {inbox.name}/INBOX/default\n    connection  connected since" in words
    assert f"Consumer {inbox.name}/emails: 0 mails untaken" in words

    asked = inbox.airflow.command("imap4", "reset", "--asset", inbox.name, "--to", "all")
    assert asked.returncode == 1
    assert "Nothing was done" in asked.stderr, "nobody has confirmed it"
    asked = inbox.airflow.command("imap4", "reset", "--asset", inbox.name, "--to", "all", "--yes", "--wait", "120")
    assert asked.returncode == 0, asked.stderr
    assert "It has begun anew." in asked.stdout
    inbox.airflow.wait(lambda: len(inbox.taken()) >= 6, "all mails to be taken once more", seconds=120)
    inbox.deliver("four")
    inbox.airflow.wait(lambda: "four" in inbox.taken(), "the next mail to be taken", seconds=120)
    inbox.airflow.wait_runs(inbox.name)
    assert sorted(inbox.taken()) == sorted([*subjects, *subjects, "four"])
    inbox.airflow.wait(lambda: state(inbox)["streams"][0]["place"]["last_uid"] == 4, "the place to follow")
    seen = state(inbox)
    assert seen["streams"][0]["place"]["epoch"] == 1
    assert seen["streams"][0]["reset_asked_for"] == {}


def test_a_reset_of_a_trigger_that_is_down_waits_for_it(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    inbox.open()
    inbox.deliver("one")
    inbox.await_taken(["one"])
    inbox.airflow.wait(lambda: inbox.place()["last_uid"] == 1, "it to be committed")
    explained = inbox.airflow.command("imap4", "explain", "--asset", inbox.name, "--uid", "1", "9", "--json")
    assert explained.returncode == 0, explained.stderr
    told = json.loads(explained.stdout[explained.stdout.index("{") :])
    assert (told["conn_id"], told["folder"], told["missing"]) == (inbox.name, "INBOX", [9])
    assert [(mail["subject"], mail["triggers"]) for mail in told["mails"]] == [("one", True)]
    assert [place["last_uid"] for place in told["places"]] == [1]
    inbox.airflow.set_paused(inbox.name, True)
    asked = inbox.airflow.command("imap4", "reset", "--asset", inbox.name, "--to", "all", "-y")
    assert asked.returncode == 0, asked.stderr
    assert state(inbox)["streams"][0]["reset_asked_for"]["to"] == "all"
    inbox.airflow.set_paused(inbox.name, False)
    inbox.airflow.wait(lambda: inbox.taken() == ["one", "one"], "the mail to be taken once more", seconds=120)


def test_a_consumer_that_is_gone_can_be_forgotten(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    inbox.open()
    other = inbox.add_dag(f"{inbox.name}_other")
    inbox.deliver("one")
    inbox.await_taken(["one"])
    inbox.await_taken(["one"], other)
    inbox.airflow.remove_dags(other)
    assert [consumer["dag_id"] for consumer in state(inbox)["consumers"]] == [inbox.name, other]

    asked = inbox.airflow.command("imap4", "reset", "--asset", inbox.name, "--forget-consumer", "nobody/emails", "-y")
    assert asked.returncode == 1
    assert f"it has: {inbox.name}/emails, {other}/emails" in asked.stderr
    asked = inbox.airflow.command("imap4", "reset", "--asset", inbox.name, "--forget-consumer", f"{other}/emails", "-y")
    assert asked.returncode == 0, asked.stderr
    assert [consumer["dag_id"] for consumer in state(inbox)["consumers"]] == [inbox.name]
    left = [key for key in inbox.airflow.api.asset_state(inbox.name) if other in key]
    assert left == []
    inbox.deliver("two")
    inbox.await_taken(["one", "two"])


def test_what_is_wrong_is_said_with_what_is_accepted(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    inbox.open()

    def refused(*arguments: str) -> str:
        ended = inbox.airflow.command("imap4", *arguments)
        assert ended.returncode != 0
        assert "Traceback" not in ended.stderr
        return ended.stderr

    assert "accepted are new, unread, all, or an ISO 8601 date" in refused(
        "reset", "--asset", inbox.name, "--to", "yesterday", "-y"
    )
    assert "Give either --to" in refused("reset", "--asset", inbox.name)
    assert f"has: {inbox.name}/INBOX/default" in refused(
        "reset", "--asset", inbox.name, "--stream", "x/y/z", "--to", "all"
    )
    assert "no state of an email trigger" in refused("state", "--asset", "nothing")
    assert "no email trigger is stored for an asset 'nothing'" in refused("explain", "--asset", "nothing")
    assert "It has: inbox" in refused("explain", "--asset", inbox.name, "--watcher", "other")
    assert "no place of an email trigger" in refused("reset", "--asset", "nothing", "--to", "all")
