"""Trust and ages through the reader, on a real server: only what the named server added last lets a mail in."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow_imap_provider.mail.conditions import AllowedSenders, AuthenticationResults, Conditions, Received
from airflow_imap_provider.mailbox.place import first_place
from airflow_imap_provider.mailbox.reader import Batch, Reader, Wish
from airflow_imap_provider.transport.session import open_session
from tests.servers.dovecot import Dovecot, User

GATE = AuthenticationResults("mx.example.org").dmarc.passes()
PASS = b"Authentication-Results: mx.example.org; dmarc=pass header.from=example.com\r\n"
FAIL = b"Authentication-Results: mx.example.org; dmarc=fail header.from=example.com\r\n"
OTHER = b"Authentication-Results: mx.evil.example; dmarc=pass header.from=example.com\r\n"
HOP = b"Received: from a by b; Sat, 31 Jan 2026 12:00:00 +0100\r\n"
REST = b"From: billing@example.com\r\nSubject: invoice\r\n\r\nHello.\r\n"


def read(dovecot: Dovecot, user: User, wanted: Conditions) -> Batch:
    session = open_session(dovecot.settings(user))
    try:
        status = session.select("INBOX", readonly=True)
        wish = Wish(conn_id="c", folder="INBOX", conditions=wanted)
        return Reader(wish).read(session, status, first_place("all", datetime.now(timezone.utc)))
    finally:
        session.logout()


def test_only_the_named_servers_last_results_let_a_mail_in(dovecot: Dovecot, user: User) -> None:
    blocks = [HOP + PASS + HOP, HOP + FAIL + HOP + PASS, FAIL + PASS, OTHER, b"", HOP + HOP + PASS, OTHER + PASS]
    dovecot.deliver_all(user, [block + REST for block in blocks])
    batch = read(dovecot, user, Conditions([GATE, AllowedSenders(["@example.com"])]))
    assert [email["uid"] for email in batch.emails] == [1, 6, 7]
    assert batch.emails[0]["trust"] == {"authentication": {"mx.example.org": {"dmarc": "pass"}}}
    assert batch.emails[0]["headers"] == {}, "fetched for the decision, not asked for"


def test_ages_are_counted_from_the_moment_of_reading(dovecot: Dovecot, user: User) -> None:
    now = datetime.now(timezone.utc)
    for hours in (1, 47, 49, 200):
        # More than are looked at without asking the server first.
        dovecot.deliver_all(user, [REST] * 10, received=now - timedelta(hours=hours))
    young = read(dovecot, user, Conditions([Received.newer_than("2 days")]))
    old = read(dovecot, user, Conditions([Received.older_than("2 days")]))
    assert [email["uid"] for email in young.emails] == list(range(1, 21))
    assert [email["uid"] for email in old.emails] == list(range(21, 41))
    assert young.seen < 40, "the server has left out the oldest"
