"""The code page of the connection, and its override by the task, for text that declares none or a wrong charset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mail.conditions import Conditions, Subject
from airflow_imap_provider.mailbox.place import first_place
from airflow_imap_provider.mailbox.reader import Reader, Wish
from airflow_imap_provider.sensors.email import EmailSensor
from airflow_imap_provider.triggers.email import EmailTrigger
from tests.servers.dovecot import Dovecot, User
from tests.triggers.conftest import connection

WORDS = "Счёт за ноябрь"
RAW = WORDS.encode("koi8-r")
MAILS = {
    "undeclared": b"Subject: " + RAW + b"\r\n\r\n" + RAW + b"\r\n",
    "unknown": b"Subject: " + RAW + b"\r\nContent-Type: text/plain; charset=x-unknown\r\n\r\n" + RAW + b"\r\n",
    "wrong": b"Subject: " + RAW + b"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + RAW + b"\r\n",
    "us-ascii": b"Subject: " + RAW + b"\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n" + RAW + b"\r\n",
}


@pytest.mark.parametrize("declared", MAILS)
@pytest.mark.parametrize(("of_connection", "of_task"), [("koi8-r", ""), ("cp1252", "KOI8_R"), (None, "koi8-r")])
def test_the_task_goes_before_the_connection(
    of_connection: str | None,
    of_task: str,
    declared: str,
    dovecot: Dovecot,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = {"code_page": of_connection}
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, extra=extra))
    dovecot.deliver(user, MAILS[declared])
    with Imap4Hook("mailbox") as hook:
        [fetched] = hook.fetch([1], code_page=of_task)
        [found] = hook.search(Subject.contains("ноябрь"), text=True, code_page=of_task)
        wish = Wish("mailbox", "INBOX", Conditions([Subject.equals(WORDS)]), text=True, code_page=of_task)
        status = hook.session().select("INBOX", readonly=True)
        batch = Reader(wish).read(hook.session(), status, first_place("all", datetime.now(timezone.utc)))
        other = Reader(replace(wish, code_page="cp1251"))
        assert not other.read(hook.session(), status, first_place("all", datetime.now(timezone.utc))).mails
    for mail in (fetched, found, *batch.emails):
        assert (mail["subject"], mail["text"].strip()) == (WORDS, WORDS)


def sensor(**arguments: Any) -> EmailSensor:
    return EmailSensor(task_id="wait", **arguments)


@pytest.mark.parametrize("make", [EmailTrigger, sensor])
def test_trigger_and_sensor_pass_a_code_page_on_and_refuse_what_is_none(make: Callable[..., Any]) -> None:
    assert make(code_page="KOI8_R").code_page == "koi8-r"
    assert make().code_page == ""
    for wrong in ("klingon", "base64", "punycode", 1252):
        with pytest.raises(SettingsError, match=rf"code_page={wrong!r}: .*cp1252, iso-8859-2"):
            make(code_page=wrong)


def test_the_hook_refuses_it_before_it_connects() -> None:
    for call in (lambda: Imap4Hook("none").fetch([1], code_page="x"), lambda: Imap4Hook("none").search(code_page="x")):
        with pytest.raises(SettingsError, match="code_page='x'"):
            call()
