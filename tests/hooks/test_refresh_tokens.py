"""Where replaced refresh tokens go, and what is said when that does not work; a real Airflow is in tests/airflow."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from airflow.sdk._shared.secrets_masker import should_hide_value_for_key
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CommsDecoder, _ResponseFrame
from cryptography.fernet import Fernet

from airflow_imap_provider.connection.settings import OAuthSettings
from airflow_imap_provider.errors import RefusedError
from airflow_imap_provider.hooks.refresh_tokens import VariableKeeper, variable_name
from airflow_imap_provider.hooks.settings import connection_settings

OAUTH = OAuthSettings(client_id="0000", refresh_token="the-first-refresh-token", endpoint="https://login.example.com/")
NEWEST = "newest-refresh-token-of-all"


def test_the_variables_name_is_one_that_airflow_masks_and_tells_no_token() -> None:
    name = variable_name(OAUTH)
    assert should_hide_value_for_key(name)
    assert name.startswith("imap4_refresh_token_")
    assert len(name) <= 250
    assert "the-first" not in name


# -- without a supervisor: Airflow's own table ------------------------------------------------------------------------

DATABASE = """
import json, sys
from pathlib import Path
from airflow.models.base import Base
from airflow.models.team import Team
from airflow.models.variable import Variable
from airflow.utils.session import create_session
from airflow_imap_provider.connection.settings import OAuthSettings
from airflow_imap_provider.errors import RefusedError
from airflow_imap_provider.hooks.refresh_tokens import VariableKeeper

keeper = VariableKeeper(OAuthSettings(refresh_token="first"), "joe")
said = []

def ask():
    try:
        said.append(keeper.newest())
    except RefusedError as exc:
        said.append(str(exc))

ask()  # there is no table
with create_session() as session:
    Base.metadata.create_all(session.connection(), tables=[Team.__table__, Variable.__table__])
ask()
said.append(keeper.keep("NEWEST"))
ask()
with create_session() as session:
    session.query(Variable).one()._val = "cannot be decrypted"
ask()
with create_session() as session:
    Base.metadata.drop_all(session.connection(), tables=[Variable.__table__])
ask()
said.append(keeper.keep("NEWEST"))
Path(sys.argv[1]).write_text(json.dumps(said))
"""


def run_with_database(script: str, where: str, folder: Path) -> list[Any]:
    """What a script has to say in a process of its own with this database."""
    answer = folder / "said.json"
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": where,
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, str(answer)], env=environment, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    said: list[Any] = json.loads(answer.read_text())
    return said


def test_what_was_kept_is_found_and_what_cannot_be_read_is_not_taken_for_nothing(tmp_path: Path) -> None:
    without, empty, kept, found, damaged, gone, unkept = run_with_database(
        DATABASE, f"sqlite:///{tmp_path}/airflow.db", tmp_path
    )
    assert (empty, kept, found, unkept) == (None, True, "NEWEST", False)
    for problem in (without, gone):
        assert "cannot be read from the Variable" in problem
        assert "(OperationalError)" in problem
    assert "(it cannot be decrypted)" in damaged


def test_a_database_that_is_away_is_no_database_without_the_token(tmp_path: Path) -> None:
    asking = DATABASE[: DATABASE.index("ask()  #")] + "ask()\nPath(sys.argv[1]).write_text(json.dumps(said))"
    [said] = run_with_database(asking, "sqlite:////nowhere/at/all/airflow.db", tmp_path)
    assert "cannot be read from the Variable imap4_refresh_token_" in said


# -- in a task: over the supervisor -----------------------------------------------------------------------------------


class Supervisor:
    """The other end of a task's channel to Airflow; answers each question as it is told to.

    :ivar answers: bodies or errors to send, in this order.
    :ivar asked: the questions.
    """

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        self.comms: CommsDecoder[Any, Any] = CommsDecoder(socket=theirs)
        self.answers: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        file = self._ours.makefile("rb")
        while length := file.read(4):
            number, body = msgspec.msgpack.decode(file.read(int.from_bytes(length, "big")))[:2]
            # The masks of the values come in between and are not waited for.
            if body["type"] == "MaskSecret":
                self._ours.sendall(_ResponseFrame(id=number).as_bytes())
                continue
            self.asked.append(body)
            self._ours.sendall(_ResponseFrame(id=number, **self.answers.pop(0)).as_bytes())

    def close(self) -> None:
        self.comms.socket.close()
        self._thread.join(10)
        self._ours.close()


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    running = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", running.comms, raising=False)
    yield running
    running.close()


def error(kind: str, detail: str = "") -> dict[str, Any]:
    return {"type": "ErrorResponse", "error": kind, "detail": {"message": detail}}


KEEPER = VariableKeeper(OAUTH, "joe@example.com")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"body": {"type": "VariableResult", "key": KEEPER.name, "value": NEWEST}}, NEWEST),
        ({"body": error("VARIABLE_NOT_FOUND")}, None),
        ({"error": error("VARIABLE_NOT_FOUND")}, None),
    ],
)
def test_a_task_asks_the_supervisor(answer: dict[str, Any], found: str | None, supervisor: Supervisor) -> None:
    supervisor.answers = [answer]
    assert KEEPER.newest() == found
    assert supervisor.asked == [{"type": "GetVariable", "key": KEEPER.name}]


OUTAGES = [
    ({"error": error("API_SERVER_ERROR", NEWEST)}, "API_SERVER_ERROR"),
    ({"body": error("API_SERVER_ERROR", NEWEST)}, "API_SERVER_ERROR"),
    ({"body": error("PERMISSION_DENIED")}, "PERMISSION_DENIED"),
    ({"body": error("GENERIC_ERROR")}, "GENERIC_ERROR"),
    ({"body": {"type": "VariableResult", "key": KEEPER.name, "value": None}}, "VariableResult"),
]


@pytest.mark.parametrize(("answer", "words"), OUTAGES)
def test_an_outage_is_a_temporary_error_and_not_taken_for_nothing(
    answer: dict[str, Any], words: str, supervisor: Supervisor
) -> None:
    supervisor.answers = [answer]
    with pytest.raises(RefusedError, match=rf"cannot be read from the Variable .* \({words}\)") as caught:
        KEEPER.newest()
    assert caught.value.stage == "token"
    assert caught.value.__context__ is None
    assert NEWEST not in str(caught.value)


def test_a_supervisor_that_has_gone_is_an_error_too(supervisor: Supervisor) -> None:
    supervisor.close()
    with pytest.raises(RefusedError, match="cannot be read from the Variable"):
        KEEPER.newest()


@pytest.mark.parametrize(("answer", "words"), OUTAGES[:2])
def test_a_token_that_cannot_be_stored_is_an_error_in_the_log_that_says_what_it_means(
    answer: dict[str, Any], words: str, supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.answers = [answer, {}]
    with caplog.at_level(logging.DEBUG):
        assert KEEPER.keep(NEWEST) is False
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR and "imap" in record.name]
    for word in ("joe@example.com", words, "consent again", "(oauth_refresh_token)"):
        assert word in record.getMessage()
    assert NEWEST not in caplog.text
    assert KEEPER.keep(NEWEST) is True
    stored = supervisor.asked[-1]
    assert (stored["type"], stored["key"], stored["value"]) == ("PutVariable", KEEPER.name, NEWEST)
    assert "joe@example.com" in stored["description"]


@pytest.mark.parametrize(("method", "kept"), [("oauth-refresh-token", True), ("oauth-client-credentials", False)])
def test_only_a_connection_with_a_refresh_token_has_one_to_keep(
    method: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {
        "auth_method": method,
        "oauth_client_id": "0000",
        "oauth_client_secret": "s3cret",
        "oauth_refresh_token": "the-first-refresh-token",
        "oauth_endpoint": "https://login.example.com/",
        "oauth_scope": "mail",
    }
    connection = {"conn_type": "imap4", "host": "mail.example.com", "login": "joe", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", json.dumps(connection))
    keeper = connection_settings("mailbox").auth.oauth.keeper
    assert isinstance(keeper, VariableKeeper) == kept
    assert not kept or (isinstance(keeper, VariableKeeper) and keeper.name == variable_name(OAUTH))
