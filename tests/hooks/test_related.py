"""Files in a multipart/related on a real server: told, matched, saved and forwarded, also from within S/MIME."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mail.conditions import Attachment
from airflow_imap_provider.mailbox.actions import Delete, Save
from tests.hooks.test_saving import tree
from tests.mail.corpus.structures import ENVELOPE, FORMS, HTML_TEXT, PICTURE, SCAN, related
from tests.mail.smime.people import BOSS, CLERK, ROOT, encrypted, signed
from tests.mail.smime.people import mail as smime_mail
from tests.servers.dovecot import Dovecot, User
from tests.servers.smtp import Outbox
from tests.triggers.conftest import connection

SOAP = related(ENVELOPE, SCAN, parameters=b'; type="text/xml"')
REPORT = related(FORMS, PICTURE, SCAN)
NEWSLETTER = related(HTML_TEXT, PICTURE)

XML, PDF = b"<Envelope>\xc3\xbc</Envelope>", b"%PDF-1.7 scan"


@pytest.fixture
def hook(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imap4Hook]:
    extra = {"smime_private_key": CLERK.pem + CLERK.key_pem, "ca_bundle": dovecot.authority.pem + ROOT.pem}
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, extra=extra))
    with Imap4Hook("mailbox") as opened:
        yield opened


@pytest.mark.parametrize(
    ("raw", "files", "text"),
    [
        (SOAP, {"attachment-1.xml": XML, "attachment-2.pdf": PDF}, ""),
        (REPORT, {"attachment-3.pdf": PDF}, "See"),
    ],
    ids=["SOAP", "HTML"],
)
def test_what_is_no_picture_is_saved_before_the_mail_is_deleted(
    dovecot: Dovecot, user: User, hook: Imap4Hook, tmp_path: Path, raw: bytes, files: dict[str, bytes], text: str
) -> None:
    dovecot.deliver(user, raw)
    [email] = hook.search(Attachment.exists(), text=True)
    assert (len(email["attachments"]), email.get("text", "").strip(), email["defects"]) == (len(files), text, [])
    assert [each.content for each in hook.attachments(email)] == list(files.values())
    [done] = hook.follow(email, [Save(str(tmp_path)), Delete()])
    assert tree(tmp_path) == {f"{email['key']}/{name}": content for name, content in files.items()}
    assert [each["size"] for each in done["files"]] == [len(content) for content in files.values()]
    assert hook.search() == []


def test_a_newsletter_with_pictures_has_no_attachment(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    dovecot.deliver_all(user, [NEWSLETTER, REPORT, SOAP])
    assert [email["uid"] for email in hook.search(Attachment.exists())] == [2, 3]
    assert [email["uid"] for email in hook.search(Attachment.type.equals("application/pdf"))] == [2, 3]
    assert [email["uid"] for email in hook.search(~Attachment.exists())] == [1]


def test_files_of_a_related_go_along_with_a_forward(
    dovecot: Dovecot, user: User, hook: Imap4Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    dovecot.deliver_all(user, [SOAP, REPORT])
    with Outbox() as outbox:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", outbox.connection())
        hook.forward(hook.search(), "ann@example.com", style="inline")
        parts = [[part.get_content_type() for part in message.iter_parts()] for message in outbox.messages]
    assert parts == [["text/plain", "text/xml", "application/pdf"], ["text/plain", "application/pdf"]]


@pytest.mark.parametrize(
    ("raw", "files"), [(SOAP, {"attachment-1.xml": XML, "attachment-2.pdf": PDF}), (REPORT, {"attachment-3.pdf": PDF})]
)
def test_files_of_a_related_within_smime_are_saved(
    dovecot: Dovecot, user: User, hook: Imap4Hook, tmp_path: Path, raw: bytes, files: dict[str, bytes]
) -> None:
    within = raw[raw.index(b"Content-Type:") :]
    dovecot.deliver(user, smime_mail(encrypted(tmp_path, content=signed(tmp_path, BOSS, content=within))))
    [email] = hook.search()
    hook.save(email, str(tmp_path / "saved"), decrypt=True)
    assert tree(tmp_path / "saved") == {f"{email['key']}/{name}": content for name, content in files.items()}
    opened = hook.open_smime(email)
    assert [each.content for each in opened.attachments] == list(files.values())
