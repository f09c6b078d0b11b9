"""From a mail on Dovecot to a DAG run, with real Airflow processes, also while they are being killed."""

from __future__ import annotations

import signal

import pytest

from scripts.local_airflow import TRIGGERER
from tests.airflow.conftest import NewInbox
from tests.airflow.inbox import Inbox
from tests.airflow.processes import AirflowUnderTest
from tests.servers.dovecot import Dovecot


def test_a_matching_mail_starts_a_run_and_another_one_does_not(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    inbox.open(trigger="conditions=[From.equals('billing@example.com')], on_match=[MarkRead(), AddKeyword('Taken')]")
    inbox.deliver("nothing to do with it", sender="someone@example.com")
    inbox.deliver("an invoice")
    inbox.await_taken(["an invoice"])
    inbox.airflow.wait(lambda: inbox.place()["last_uid"] == 2 and not inbox.place()["todo"], "the actions to be done")
    with inbox.dovecot.connection(inbox.user) as client:
        client.select("INBOX", readonly=True)
        assert client.uid("SEARCH", "SEEN KEYWORD Taken")[1] == [b"2"]
    assert inbox.state("health")["connected"]


def test_two_parses_leave_one_watcher_with_the_same_trigger(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    inbox.open(
        trigger="conditions=[From.equals('a@example.com') | ~Subject.contains('ü'), Header('X-A').regex('^a+$')], "
        "on_match=[Flag(), AddKeyword('Done')], headers=['X-A', 'X-B']"
    )

    def watchers() -> list[int]:
        return [watcher["trigger_id"] for watcher in inbox.airflow.api.asset(inbox.name)["watchers"]]  # type: ignore[index]

    before = watchers()
    inbox.airflow.reparse(inbox.name)
    inbox.airflow.reparse(inbox.name)
    assert len(before) == 1
    assert watchers() == before


def test_a_burst_of_200_mails_is_taken_whole_without_a_later_one_to_wake_it(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    inbox.open()
    subjects = [f"burst {number}" for number in range(200)]
    inbox.deliver(*subjects)
    inbox.await_taken(subjects)


def test_a_triggerer_killed_twice_in_a_burst_loses_and_doubles_nothing(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    inbox.open(trigger="batch_size=10, on_match=[MarkRead()]")
    subjects = [f"killed {number}" for number in range(120)]
    inbox.deliver(*subjects[:80])
    inbox.airflow.wait(inbox.told, "the burst to be told")
    inbox.airflow.kill(TRIGGERER, signal.SIGKILL)
    inbox.deliver(*subjects[80:])
    inbox.airflow.start(TRIGGERER)
    before = inbox.place()["last_uid"]
    inbox.airflow.wait(lambda: inbox.place()["last_uid"] > before, "a batch to be committed", seconds=90)
    inbox.airflow.kill(TRIGGERER, signal.SIGKILL)
    inbox.airflow.start(TRIGGERER)
    inbox.await_taken(subjects)
    inbox.airflow.wait(lambda: inbox.place()["last_uid"] == 120 and not inbox.place()["todo"], "all to be committed")
    with inbox.dovecot.connection(inbox.user) as client:
        client.select("INBOX", readonly=True)
        assert client.uid("SEARCH", "UNSEEN")[1] == [b""]


def test_a_dag_paused_in_a_burst_and_edited_takes_the_rest_when_it_is_unpaused(new_inbox: NewInbox) -> None:
    inbox = new_inbox()
    inbox.open(trigger="batch_size=10")
    subjects = [f"paused {number}" for number in range(60)]
    inbox.deliver(*subjects[:40])
    inbox.airflow.wait(inbox.told, "the burst to be told")
    inbox.airflow.set_paused(inbox.name, True)
    inbox.deliver(*subjects[40:])
    # The edited trigger is another trigger for Airflow; its place stays.
    inbox.declare(trigger="batch_size=25, conditions=[Subject.contains('paused')]")
    inbox.airflow.set_paused(inbox.name, False)
    inbox.await_taken(subjects)


def test_a_server_that_is_down_at_activation_costs_no_mail(airflow: AirflowUnderTest, new_inbox: NewInbox) -> None:
    server = Dovecot()
    server.start()
    try:
        inbox = Inbox(airflow, server, server.new_user(), "server_down")
        server.stop()
        inbox.declare(trigger="place='other'", start="new")
        inbox.add_dag()
        airflow.wait(lambda: inbox.state("health").get("last_error"), "the error to be reported")
        server.start()
        inbox.deliver("came before anybody could connect")
        inbox.await_taken(["came before anybody could connect"])
        airflow.api.set_paused(inbox.name, True)
    finally:
        server.remove()


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ("conditions=[Subject.regex('(unclosed')]", "(unclosed"),
        ("conditions=['Subject contains invoice']", "Subject contains invoice"),
        ("folder=['A', 'B']", "one AssetWatcher per folder"),
        ("on_match=[Move('')]", "target folder"),
        ("poll_interval=0", "from 1 to 3600"),
    ],
)
def test_a_mistake_in_a_dag_file_is_an_import_error_that_says_what_is_accepted(
    airflow: AirflowUnderTest, new_inbox: NewInbox, trigger: str, words: str
) -> None:
    inbox = new_inbox()
    inbox.declare(trigger=trigger)
    with pytest.raises(AssertionError, match=r"SettingsError|UnusableTriggerError") as error:
        inbox.add_dag()
    assert words in str(error.value)
    airflow.remove_dags(inbox.name)


def test_a_mail_that_was_moved_by_its_action_can_still_be_read_by_the_task(
    airflow: AirflowUnderTest, new_inbox: NewInbox
) -> None:
    inbox = new_inbox()
    inbox.dovecot.create_folder(inbox.user, "Done")
    inbox.open(trigger="on_match=[Move('Done')]")
    mail = (
        b"From: a@example.com\r\nSubject: table\r\nMessage-ID: <table@example.com>\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n'
        b'--b\r\nContent-Type: text/csv\r\nContent-Disposition: attachment; filename="t.csv"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\nYSxiCjEsMgo=\r\n--b--\r\n"
    )
    inbox.dovecot.deliver(inbox.user, mail)
    inbox.await_taken(["table"])
    airflow.wait(lambda: inbox.place()["last_uid"] == 1 and not inbox.place()["todo"], "the mail to be moved")
    [emails] = airflow.results(inbox.name, "emails")
    inbox.add_task(
        "read_moved",
        f"""
        @task
        def read():
            from airflow_imap_provider.hooks.imap4 import Imap4Hook

            with Imap4Hook({inbox.name!r}) as hook:
                return [[part.name, part.content.decode()] for part in hook.attachments({emails[0]!r}, "*.CSV")]

        read()
        """,
    )
    airflow.api.run("read_moved")
    airflow.wait_runs("read_moved")
    assert airflow.results("read_moved", "read") == [[["t.csv", "a,b\n1,2\n"]]]
