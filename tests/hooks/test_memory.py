"""Memory: a large attachment passes through and is never held."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.attachments import mail_with, measure, place
from tests.servers.dovecot import Dovecot

LIMIT = 8
"""MiB that saving may add to the process's peak, whatever the size of the attachment."""


def test_saving_50_mb_over_tls_adds_less_than_8_mib_to_the_peak(dovecot: Dovecot, tmp_path: Path) -> None:
    content = random.Random(3).randbytes(50_000_000)
    user, small = dovecot.new_user(), dovecot.new_user()
    dovecot.deliver(user, mail_with(content))
    dovecot.deliver(small, mail_with(content[:100_000]))
    where = place(dovecot, user, small, tmp_path, content)
    assert measure("this package, save", where, str(tmp_path))["added"] < LIMIT
    # That it is measured at all: this one holds the mail several times over.
    assert measure("IMAPClient, whole mail", where, str(tmp_path))["added"] > 50
