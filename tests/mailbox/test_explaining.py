"""Explanations: what holds and fails and on what value, what the server is asked and why not more."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mail.conditions import (
    Attachment,
    AuthenticationResults,
    Body,
    Conditions,
    Encrypted,
    Flags,
    From,
    Header,
    Received,
    Sent,
    Size,
    Subject,
)
from airflow_imap_provider.mail.explain import explain_mail, explain_search
from airflow_imap_provider.mailbox.explaining import explain
from airflow_imap_provider.transport.session import open_session
from tests.mail.builders import RECEIVED, mail
from tests.servers.dovecot import Dovecot, User
from tests.triggers.conftest import connection

NOW = RECEIVED + timedelta(hours=1)


def test_each_condition_is_told_with_what_it_looked_at() -> None:
    wanted = Conditions(
        [
            From.equals("billing@example.com"),
            Subject.contains("report") | ~Attachment.name.glob("*.csv"),
            Header("X-Tag").exists(),
            Received.newer_than("2 hours"),
        ],
        trigger_on="any",
    )
    told = explain_mail(wanted, mail(), NOW)
    assert (told.triggers, told.outcome) == (True, ("any",))
    first, joined, header, age = told.verdicts
    assert (first.holds, first.values[0]) == (True, "billing@example.com")
    assert (joined.holds, [each.holds for each in joined.inner]) == (False, [False, False])
    subject, negated = joined.inner
    assert subject.values == ("Your invoice 4711",)
    assert [(each.condition, each.holds, each.values) for each in negated.inner] == [
        ("Attachment.name.glob('*.csv')", True, ("invoice.csv",))
    ]
    assert (header.holds, header.values) == (False, ())
    assert (age.holds, age.values) == (True, ("2026-01-31T11:30:00+00:00",))
    assert told.lines() == [
        "mail 7 triggers: 'Your invoice 4711' from Billing Team <billing@example.com>, 2026-01-31 11:30:00 UTC",
        "  holds  From.equals('billing@example.com'): it is 'billing@example.com' | 'Billing Team' | "
        "'Billing Team <billing@example.com>'",
        "  fails  (Subject.contains('report') | ~Attachment.name.glob('*.csv'))",
        "    fails  Subject.contains('report'): it is 'Your invoice 4711'",
        "    fails  ~Attachment.name.glob('*.csv')",
        "      holds  Attachment.name.glob('*.csv'): it is 'invoice.csv'",
        "  fails  Header('x-tag').exists(): the mail has nothing there",
        "  holds  Received.newer_than('2 hours'): it is '2026-01-31T11:30:00+00:00'",
    ]
    json.dumps(told.to_json(), allow_nan=False)


def test_long_values_are_shortened() -> None:
    told = explain_mail(Conditions([Body.contains("x")]), mail(text="word " * 10_000), NOW)
    [value] = told.verdicts[0].values
    assert len(value) == 200
    assert value.endswith("…")


def test_what_the_server_is_asked_is_told_with_reasons() -> None:
    wanted = Conditions(
        [
            From.ends_with("@example.com"),
            Received.newer_than("2 days") & Size.larger_than("1 MB"),
            Flags.lacks("\\Seen"),
            *(Subject.contains("x"), Body.contains("x"), ~From.equals("a@example.org"), From.regex("x")),
            *(From.equals("Billing"), Sent.newer_than("1 day"), Attachment.exists(), Encrypted()),
            AuthenticationResults("mx").dmarc.passes(),
        ]
    )
    told = explain_search(wanted, text=True, now=NOW)
    assert told.criteria == ("HEADER From example HEADER From com SINCE 28-Jan-2026 LARGER 1000000 UNSEEN")
    by_condition = {each.condition: each for each in told.conditions}
    assert by_condition["From.ends_with('@example.com')"].criteria == "HEADER From example HEADER From com"
    assert "a day of margin" in by_condition["Received.newer_than('2 days')"].reason
    assert by_condition["~Flags.has('\\\\Seen')"].criteria == "UNSEEN"
    for condition, reason in (
        ("Subject.contains('x')", "encoded words"),
        ("Body.contains('x')", "HTML source"),
        ("~From.equals('a@example.org')", "leave out too much"),
        ("From.regex('x')", "patterns"),
        ("From.equals('Billing')", "has an @"),
        ("Sent.newer_than('1 day')", "Date headers"),
        ("Attachment.count.at_least(1)", "attachments"),
        ("Encrypted()", "no server searches"),
        ("AuthenticationResults('mx').dmarc.passes()", "whom to believe"),
    ):
        assert by_condition[condition].criteria == ""
        assert reason in by_condition[condition].reason
    unknown = explain_search(wanted, text=False, now=NOW)
    assert unknown.criteria == "SINCE 28-Jan-2026 UNSEEN"
    assert "not known" in {each.condition: each for each in unknown.conditions}["Size.larger_than(1000000)"].reason


def test_why_nothing_is_asked_is_told() -> None:
    assert "every mail triggers" in explain_search(Conditions([]), text=True, now=NOW).lines()[1]
    assert "nothing can be asked" in explain_search(Conditions([Subject.contains("x")]), text=True, now=NOW).reason
    none = explain_search(Conditions([Received.after("2026-01-31")], "none"), text=True, now=NOW)
    assert none.criteria == "BEFORE 3-Feb-2026"
    assert none.conditions[0].criteria == "BEFORE 3-Feb-2026"


def test_the_last_mails_of_a_folder_are_explained_and_none_is_marked(
    dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    mails = [f"From: a@example.com\r\nSubject: mail {number}\r\n\r\nHello.\r\n".encode() for number in range(6)]
    dovecot.deliver_all(user, mails, received=datetime.now(timezone.utc) - timedelta(hours=5))
    dovecot.expunge(user, [2])
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    with Imap4Hook("mailbox") as hook:
        told = hook.explain(
            [Subject.contains("mail 5"), Body.contains("hello"), Received.older_than("4 hours")], "INBOX", 3
        )
        assert [(each.uid, each.triggers) for each in told.mails] == [(4, False), (5, False), (6, True)]
        assert [verdict.holds for verdict in told.mails[0].verdicts] == [False, True, True]
        assert "mail 6 triggers: 'mail 5'" in str(told)
        assert "SEARCH BEFORE" in str(told)
        json.dumps(told.to_json(), allow_nan=False)
        assert len(hook.explain(Subject.contains("mail"), last=100).mails) == 5
        assert hook.explain([], last=0).mails == ()
        with pytest.raises(SettingsError, match="last is -1"):
            hook.explain([], last=-1)
        assert [mail["flags"] for mail in hook.search()] == [[]] * 5


def test_an_empty_folder_has_nothing_to_explain(dovecot: Dovecot, user: User) -> None:
    session = open_session(dovecot.settings(user))
    try:
        assert explain(session, Subject.contains("x"), conn_id="c").mails == ()
    finally:
        session.logout()
