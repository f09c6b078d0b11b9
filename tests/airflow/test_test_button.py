"""The Test of a connection as people start it: by the button, whose request this is, and on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from scripts.local_airflow import API_SERVER
from tests.airflow.processes import AirflowUnderTest
from tests.servers.dovecot import Dovecot

PASSWORD = "s3cret-of-the-button"


def body(dovecot: Dovecot, name: str, **changes: Any) -> dict[str, Any]:
    user = dovecot.new_user(PASSWORD)
    extra = {"ca_bundle": dovecot.authority.pem, "timeout": 10}
    fields = {"host": dovecot.host, "port": dovecot.tls_port, "login": user.login, "password": PASSWORD}
    return {"connection_id": name, "conn_type": "imap4", "extra": json.dumps(extra), **fields, **changes}


def pressed(airflow: AirflowUnderTest, asked: dict[str, Any]) -> tuple[bool, str]:
    answer = airflow.api.request("POST", "/connections/test", json=asked)
    return answer["status"], answer["message"]


def test_the_button_shows_one_line_and_the_log_has_the_whole_report(
    airflow: AirflowUnderTest, dovecot: Dovecot
) -> None:
    good, line = pressed(airflow, body(dovecot, "button_good"))
    assert good, line
    assert line.startswith("OK in ")
    good, line = pressed(airflow, body(dovecot, "button_port", port=dovecot.port))
    assert not good
    assert line.startswith("tls: the server speaks IMAP here, but no TLS from the first byte (OK Dovecot")
    assert "Choose Security mode Explicit (STARTTLS)" in line
    good, line = pressed(airflow, body(dovecot, "button_field", extra='{"timeout": "soon"}'))
    assert not good
    assert line.startswith("settings: this connection, tab Main settings: Timeout (timeout) is 'soon'")

    def told() -> bool:
        log = airflow.log_of([API_SERVER])
        return all(words in log for words in ("OK (", "FAILED at tls", "FAILED at settings", "pin of certificate"))

    airflow.wait(told, "the reports in the API server's log")
    assert PASSWORD not in airflow.log_of([API_SERVER])


def test_the_command_line_has_the_report_of_a_stored_connection(airflow: AirflowUnderTest, dovecot: Dovecot) -> None:
    fields = body(dovecot, "on_the_command_line")
    airflow.api.set_connection(fields.pop("connection_id"), fields.pop("conn_type"), **fields)

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "airflow", "imap4", "test", *arguments],
            env=airflow.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    done = command("on_the_command_line", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["ok"], report["steps"][-1]["facts"]) == (True, {"idle": True})
    done = command("on_the_command_line", "--folder", "Nowhere")
    assert done.returncode == 1
    assert "FAILED at folder" in done.stdout
    assert "Check its name" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr
