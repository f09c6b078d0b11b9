"""Arguments that are none are answered before anything is asked of a server."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.hooks.emails import listed_emails
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mailbox.actions import MarkRead
from airflow_imap_provider.operators.email import EmailActionOperator

EMAIL: dict[str, Any] = {"key": "c-1-2", "folder": "INBOX", "uid": 2, "uidvalidity": 1}


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("most", [-1, "3", 1.0, True, None, 10**5_000], ids=range(6))
def test_how_many_mails_to_return_is_a_number(most: Any, newest_first: bool) -> None:
    with pytest.raises(SettingsError, match="most is "):
        Imap4Hook("nowhere").search(most=most, newest_first=newest_first)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("uid", value) for value in ("1", True, None, 1.0, 0, -1, 2**32, 10**5_000, [1])),
        *(("uidvalidity", value) for value in ("1", True, None, -1, 2**32)),
        *(("folder", value) for value in ("", None, 5, ["INBOX"])),
        ("key", "../1"),
    ],
    ids=range(19),
)
def test_a_mail_of_a_runs_conf_has_the_values_that_mails_have(field: str, value: Any) -> None:
    assert listed_emails(EMAIL) == [EMAIL]
    with pytest.raises(SettingsError, match=field):
        listed_emails([EMAIL, {**EMAIL, field: value}])


@pytest.mark.parametrize("look_in", [5, None, b"Archive", {"Archive": 1}])
def test_folders_to_look_into_are_a_list(look_in: Any) -> None:
    with pytest.raises(SettingsError, match="look_in="):
        EmailActionOperator(task_id="t", emails=[EMAIL], actions=MarkRead(), look_in=look_in)
