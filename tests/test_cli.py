"""The command line as Airflow finds it; tests/airflow runs it against a real Airflow's database."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.cli.cli_config import ActionCommand, DefaultHelpParser, GroupCommand
from airflow.cli.cli_parser import AirflowHelpFormatter, _add_command
from airflow.providers_manager import ProvidersManager

from airflow_imap_provider.cli import COMMANDS, get_commands
from airflow_imap_provider.commands import folders
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mail.conditions import Received, Subject
from airflow_imap_provider.transport.folders import Folder
from tests.servers.dovecot import Dovecot, User
from tests.triggers.conftest import connection, message

WANTED = [Subject.contains("x")]
TEMPLATE = [Received.after("{{ ds }}")]


def parser() -> DefaultHelpParser:
    made = DefaultHelpParser(prog="airflow", formatter_class=AirflowHelpFormatter)
    subparsers = made.add_subparsers(dest="subcommand")
    for command in get_commands():
        _add_command(subparsers, command)
    return made


def test_airflow_finds_the_commands() -> None:
    assert get_commands in ProvidersManager().cli_command_functions  # type: ignore[no-untyped-call]
    (group,) = get_commands()
    assert isinstance(group, GroupCommand)
    assert group.name == "imap4"
    assert all(isinstance(command, ActionCommand) for command in group.subcommands)


def test_every_command_has_help_and_a_function() -> None:
    (group,) = get_commands()
    assert isinstance(group, GroupCommand)
    assert [command.name for command in group.subcommands] == list(COMMANDS)
    for command in group.subcommands:
        assert isinstance(command, ActionCommand)
        assert command.help
        assert command.description
        assert callable(COMMANDS[command.name].run)


@pytest.mark.parametrize(
    "line",
    [
        ["test", "mailbox", "--folder", "Archive", "--json"],
        ["folders", "mailbox"],
        ["folders", "mailbox", "--json"],
        ["explain", "--asset", "a", "--watcher", "w", "--uid", "4", "7", "--json"],
        ["explain", "mailbox", "--object", "dags/x.py:trigger", "--folder", "F", "--last", "5"],
        ["explain", "--object", "dags/x.py", "--message-id", "<a@b>"],
        ["state"],
        ["state", "--asset", "a", "--json"],
        ["reset", "--asset", "a", "--stream", "c/INBOX/default", "--to", "2026-11-01", "-y", "--wait", "5"],
        ["reset", "--asset", "a", "--forget-consumer", "dag/task"],
    ],
)
def test_its_arguments_are_parsed(line: list[str]) -> None:
    parser().parse_args(["imap4", *line])


def test_loading_the_commands_loads_nothing_of_a_session() -> None:
    code = (
        "import sys; from airflow_imap_provider.cli import get_commands; "
        "print(*{'airflow', 'imapclient', 'imaplib', 'ssl', 'cryptography'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    capsys.readouterr()
    args = parser().parse_args(["imap4", *arguments])
    # In this process Airflow's log goes to the standard output, too; its main() would see to that.
    with pytest.raises(SystemExit) as end:
        args.func(args)
    return end.value.code, capsys.readouterr().out


def test_the_report_is_the_same_from_hook_command_line_and_as_data(
    dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # which the command sets, and leaves
    for settings, status in ((connection(dovecot, user), 0), (connection(dovecot, user, password="wrong-one"), 1)):
        monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", settings)
        report = Imap4Hook("mailbox").diagnose()
        ended, shown = run(capsys, "test", "mailbox", "--json")
        assert ended == status
        assert without_times(json.loads(shown[shown.index("{\n") :])) == without_times(report.as_dict())
        ended, shown = run(capsys, "test", "mailbox")
        assert ended == status
        for step in report.steps:
            assert f"  {step.stage}" in shown
            assert step.remedy in shown
        good, line = Imap4Hook("mailbox").test_connection()
        assert good is report.ok
        assert line.partition(": ")[2] == report.line().partition(": ")[2]


DAG_FILE = """
from airflow.sdk import Asset, AssetWatcher
from airflow_imap_provider.mail.conditions import *
from airflow_imap_provider.sensors.email import EmailSensor
from airflow_imap_provider.triggers.email import EmailTrigger
from beside import WHO

trigger = EmailTrigger(imap4_conn_id="mailbox", conditions=[From.equals(WHO), Subject.contains("two")])
inbox = Asset("inbox", watchers=[AssetWatcher(name="one", trigger=trigger)])
{more}
"""

MORE = """
other = EmailTrigger(imap4_conn_id="elsewhere", folder="Nowhere")
wait = EmailSensor(task_id="wait", imap4_conn_id="mailbox", folder=["INBOX", "A"], conditions=Subject.contains("two"))
wanted = [Subject.contains("three")]
"""


@pytest.fixture
def dag_file(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    monkeypatch.setattr(sys, "path", list(sys.path))
    dovecot.deliver_all(user, [message("one"), message("two"), message("three")])
    (tmp_path / "beside.py").write_text('WHO = "billing@example.com"')

    def write(more: str = "") -> Path:
        (tmp_path / "a_dag.py").write_text(DAG_FILE.format(more=more))
        return tmp_path / "a_dag.py"

    return write


def explained(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    args = parser().parse_args(["imap4", "explain", *map(str, arguments)])
    args.func(args)
    return capsys.readouterr().out


def test_the_conditions_of_a_dag_file_are_explained_for_the_last_mails_and_for_some(
    dag_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = dag_file("")
    words = explained(capsys, "--object", file)
    assert "connection mailbox, trigger_on='all'" in words
    assert "mail 2 triggers: 'two'" in words
    assert "  fails  Subject.contains('two'): it is 'three'" in words
    words = explained(capsys, "--object", file, "--uid", 3, 99)
    assert "mail 3 does not trigger" in words
    assert "mail 2" not in words
    assert "Not in the folder, or not any more: UID 99" in words
    words = explained(capsys, "--object", f"{file}:inbox", "--message-id", "<two@example.com>")
    assert "mail 2 triggers" in words
    assert "mail 3" not in words
    assert "No such mail" in explained(capsys, "--object", file, "--message-id", "<nobody@example.com>")
    told = explained(capsys, "--object", file, "--json", "--uid", 3, 99, "--last", 1)
    data = json.loads(told[told.index("{") :])
    assert [mail["triggers"] for mail in data["mails"]] == [False]
    assert (data["conn_id"], data["missing"], data["places"]) == ("mailbox", [99], [])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("inbox", "mail 2 triggers"),
        ("trigger", "mail 2 triggers"),
        ("wait", "mail 2 triggers"),
        ("wanted", "mail 3 triggers"),
        ("Subject", "a_dag.py:Subject has no email trigger. Give a name"),
        ("nothing", "a_dag.py has no 'nothing'"),
        ("", "has several email triggers. Name one: .*a_dag.py:NAME, of trigger, other"),
    ],
)
def test_an_object_is_named(
    name: str, words: str, dag_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = dag_file(MORE)
    try:
        shown = explained(capsys, "mailbox", "--object", f"{file}:{name}" if name else file)
    except SystemExit as end:
        shown = str(end.code)
    assert re.search(words, shown)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Give either --asset NAME"),
        (("--asset", "a", "--object", "b"), "Give either --asset NAME"),
        (("--object", "nowhere.py"), "nowhere.py cannot be imported: FileNotFoundError"),
        (("--object", "no.such.module:x"), "cannot be imported: ModuleNotFoundError"),
        (("--object", "airflow_imap_provider.mail.conditions:TRIGGER_ON"), "'all' is not a condition"),
        (("--object", "tests.test_cli:WANTED"), "these conditions name no connection. Give its id"),
        (
            ("nowhere", "--object", "tests.test_cli:WANTED"),
            "there is no connection 'nowhere'. Add a connection of type IMAP4",
        ),
        (("nowhere", "--object", "tests.test_cli:TEMPLATE"), "there is no connection 'nowhere'|has a template"),
    ],
)
def test_what_cannot_be_explained_is_said(
    arguments: tuple[str, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    with pytest.raises(SystemExit, match=words):
        explained(capsys, *arguments)


def without_times(report: dict[str, object]) -> list[object]:
    steps = report["steps"]
    assert isinstance(steps, list)
    return [
        report["connection"],
        report["failure"],
        report["warnings"],
        [{key: value for key, value in step.items() if key != "seconds"} for step in steps],
    ]


def test_a_connection_that_is_missing_is_a_report_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BAD", '{"conn_type": "imap4", "host": "h", "extra": {"encryptoin": "ssl"}}')
    ended, shown = run(capsys, "test", "bad")
    assert ended == 1
    assert "FAILED at settings" in shown
    assert "Did you mean Cryptographic protocol (encryption)" in shown


def test_the_folders_are_listed_as_they_are_given_with_what_they_are_for(
    dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    with Imap4Hook("mailbox") as hook:
        for name in ("Team/Größen", "Archive"):
            hook.get_conn().create_folder(name)

    def shown(*more: str) -> str:
        capsys.readouterr()
        args = parser().parse_args(["imap4", "folders", "mailbox", *more])
        args.func(args)
        return capsys.readouterr().out

    told = shown("--json")
    data = json.loads(told[told.index("[\n") :])
    assert [each["folder"] for each in data] == ["INBOX", "Archive", "Team", "Team/Größen"]
    assert [each["can_be_opened"] for each in data] == [True, True, False, True], "Team only holds another one"
    assert shown().splitlines()[-3:] == ["INBOX", "Archive", "Team/Größen"]


def test_special_uses_are_shown_and_names_obey_no_terminal() -> None:
    found = [
        Folder("INBOX", "/", ()),
        Folder("Gesendet", "/", ("\\HasNoChildren", "\\SENT")),
        Folder("a\x1b[2J", "/", ("\\Archive", "\\Junk")),
    ]
    assert folders._lines(found) == ["INBOX", "Gesendet    \\Sent", "'a\\x1b[2J'  \\Archive \\Junk"]


def test_folders_that_cannot_be_listed_are_an_error_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    args = parser().parse_args(["imap4", "folders", "nowhere"])
    with pytest.raises(SystemExit, match=r"there is no connection 'nowhere'. Add a connection of type IMAP4"):
        args.func(args)
