"""What hard mails cost: thousands of random changes of the corpus, read from their bytes and from Dovecot over TLS.

Run it with ``python -m benchmarks.hard_mails`` (``--count N``, ``--seed N``). Of each mail all that the package does is
done: it is read, described, explained, and each attachment is downloaded, decoded and given a safe name. What must be
so for any mail is checked as the tests do. It tells the CPU seconds of the dearest mails, this process's only.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from airflow_imap_provider.mail.conditions import Conditions
from airflow_imap_provider.mail.message import Attachment, Mail
from airflow_imap_provider.mailbox.contents import opened_contents
from airflow_imap_provider.mailbox.lookup import mails_by_uid
from airflow_imap_provider.mailbox.names import NAME_BYTES, safe_name, typed_name
from airflow_imap_provider.mailbox.reader import Reader, Wish
from airflow_imap_provider.transport.session import FolderStatus, Session, open_session
from tests.mail.corpus.kinds import KINDS
from tests.mail.corpus.mutations import mutations
from tests.mail.test_corpus import EVERYTHING, TRUST, check, check_raw, storable
from tests.servers.dovecot import Dovecot

CHUNK = 500
"""Mails in one folder at a time."""


class Costs:
    """CPU seconds of each mail in one way."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.seconds: list[tuple[float, str]] = []
        self.attachments = 0

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        before = time.process_time()
        try:
            yield
        except Exception as error:
            raise AssertionError(f"{self.way}: {name}") from error
        self.seconds.append((time.process_time() - before, name))

    def tell(self) -> None:
        ordered = sorted(self.seconds, reverse=True)
        total = sum(seconds for seconds, _ in ordered)
        print(
            f"{self.way}: {len(ordered)} mails, {self.attachments} attachments, {total:.1f} s CPU; median "
            f"{ordered[len(ordered) // 2][0] * 1000:.2f} ms, "
            f"1 of 100 above {ordered[len(ordered) // 100][0] * 1000:.1f} ms"
        )
        for seconds, name in ordered[:5]:
            print(f"    {seconds * 1000:8.1f} ms  {name}")


def check_name(attachment: Attachment) -> None:
    name = safe_name(attachment.name, typed_name(f"attachment-{attachment.part}", attachment.content_type))
    assert 0 < len(name.encode()) <= NAME_BYTES, name
    assert name == name.strip(" ")
    assert name not in {".", ".."}
    assert not set(name) & set('/\\:*?"<>|\r\n\0')
    assert name.isprintable(), name


def from_bytes(mails: list[tuple[str, bytes]]) -> None:
    costs = Costs("from bytes")
    for name, raw in mails:
        with costs.of(name):
            mail = check_raw(raw)
            for attachment in mail.attachments:
                check_name(attachment)
        costs.attachments += len(mail.attachments)
    costs.tell()


def from_dovecot(mails: list[tuple[str, bytes]]) -> None:
    reading, taking = Costs("read from Dovecot"), Costs("every attachment downloaded from Dovecot")
    dovecot = Dovecot()
    dovecot.start()
    try:
        for begin in range(0, len(mails), CHUNK):
            chunk = mails[begin : begin + CHUNK]
            user = dovecot.new_user()
            dovecot.deliver_all(user, [storable(raw) for _, raw in chunk])
            with closing(open_session(dovecot.settings(user, timeout=60))) as session:
                status = session.select("INBOX", readonly=True)
                for uid, (name, _) in enumerate(chunk, 1):
                    with reading.of(name):
                        mail = read(session, status, uid)
                    reading.attachments += len(mail.attachments)
                    with taking.of(name):
                        taking.attachments += download(session, status, mail)
    finally:
        dovecot.remove()
    reading.tell()
    taking.tell()


def read(session: Session, status: FolderStatus, uid: int) -> Mail:
    wish = Wish("corpus", "INBOX", EVERYTHING, text=True, headers=TRUST, code_page="windows-1252")
    [mail] = Reader(wish).mails(session, status, [uid])
    check(mail)
    return mail


def download(session: Session, status: FolderStatus, seen: Mail) -> int:
    """Download all attachments as a task does, and compare them with those that the trigger tells."""
    [mail] = mails_by_uid(session, status, [seen.uid], "corpus")
    with opened_contents(mail, lambda: session) as contents:
        found = contents.mail.attachments
        assert [each.part for each in found] == [each.part for each in seen.attachments]
        for attachment in found:
            check_name(attachment)
            content = contents.content(attachment)
            assert content or attachment.size < 100, attachment
    return len(found)


def main() -> None:
    """Do it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=4711)
    options = parser.parse_args()
    print(f"load before: {os.getloadavg()}; conditions: {len(Conditions.loads(EVERYTHING.dumps()).conditions)}")
    corpus = [(kind.name, kind.raw) for kind in KINDS]
    changed = [(f"seed {seed}", raw) for seed, raw in mutations(options.count, options.seed)]
    from_bytes(corpus + changed)
    from_dovecot(corpus + changed)
    print(f"load after: {os.getloadavg()}")


if __name__ == "__main__":
    main()
