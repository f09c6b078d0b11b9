"""Saving what is within S/MIME: only if asked for, and never the wrapping instead of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mailbox.actions import Save
from tests.hooks.test_saving import mail as plain_mail
from tests.hooks.test_saving import tree
from tests.mail.smime.people import BOSS, CLERK, ROOT, encrypted, mail, signed
from tests.mailbox.test_smime import WITH_FILE
from tests.servers.dovecot import Dovecot, User
from tests.triggers.conftest import connection

CONTENT = b"item,price\npaper,4\n"
Connect = Callable[[str], Imap4Hook]


@pytest.fixture
def connect(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    opened: list[Imap4Hook] = []

    def connected(key: str) -> Imap4Hook:
        extra = {"smime_private_key": key, "ca_bundle": dovecot.authority.pem + ROOT.pem}
        monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, extra=extra))
        opened.append(Imap4Hook("mailbox"))
        return opened[-1]

    yield connected
    for hook in opened:
        hook.close()


def test_the_files_within_an_encrypted_mail_are_saved_only_if_that_is_asked_for(
    dovecot: Dovecot, user: User, connect: Connect, tmp_path: Path
) -> None:
    inner = signed(tmp_path, BOSS, content=WITH_FILE)
    dovecot.deliver(user, mail(encrypted(tmp_path, content=inner)))
    hook = connect(CLERK.pem + CLERK.key_pem)
    [email] = hook.search()
    folder = email["key"]
    assert list(tree_of(hook, email, tmp_path / "as it is")) == [f"{folder}/smime.p7m"]
    [saved] = hook.save(email, str(tmp_path / "opened"), decrypt=True, names="*.csv", smaller="1 KB")
    assert (saved["name"], saved["content_type"], saved["size"]) == ("list.csv", "text/csv", len(CONTENT))
    assert tree(tmp_path / "opened") == {f"{folder}/list.csv": CONTENT}
    hook.act(email, [Save(str(tmp_path / "action"), decrypt=True, what="message")])
    [message] = tree(tmp_path / "action").values()
    assert message.startswith(b"From: The Boss <boss@example.com>\r\n")
    assert b"See the secret list." in message
    again = hook.save(email, str(tmp_path / "opened"), decrypt=True)
    assert [each["existed"] for each in again] == [True]


def tree_of(hook: Imap4Hook, email: dict[str, object], path: Path) -> dict[str, bytes]:
    hook.save(email, str(path))
    files = tree(path)
    assert all(CONTENT not in content for content in files.values())
    return files


def test_a_mail_that_is_only_signed_gives_its_files_without_the_signature(
    dovecot: Dovecot, user: User, connect: Connect, tmp_path: Path
) -> None:
    dovecot.deliver_all(
        user,
        [mail(signed(tmp_path, content=WITH_FILE)), mail(signed(tmp_path, content=WITH_FILE, opaque=True))],
    )
    hook = connect("")
    hook.save(hook.search(), str(tmp_path / "files"), decrypt=True)
    files = tree(tmp_path / "files")
    assert {name.split("/")[1] for name in files} == {"list.csv"}
    assert list(files.values()) == [CONTENT, CONTENT]


def test_without_the_key_nothing_is_saved_and_the_error_says_why(
    dovecot: Dovecot, user: User, connect: Connect, tmp_path: Path
) -> None:
    dovecot.deliver(user, mail(encrypted(tmp_path, content=WITH_FILE)))
    hook = connect("")
    with pytest.raises(ImapError, match=r"cannot be opened: .*no S/MIME key.*smime_private_key"):
        hook.save(hook.search(), str(tmp_path / "files"), decrypt=True)
    assert not (tmp_path / "files").exists()


def test_other_mails_are_saved_as_ever(dovecot: Dovecot, user: User, connect: Connect, tmp_path: Path) -> None:
    dovecot.deliver(user, plain_mail(("a.csv", b"a")))
    hook = connect("")
    [saved] = hook.save(hook.search(), str(tmp_path), decrypt=True)
    assert saved["name"] == "a.csv"
