"""S/MIME on a real server: conditions on signers, the text of encrypted mails, with the key and without it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_imap_provider.connection.settings import SmimeSettings
from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mail.conditions import (
    Body,
    Condition,
    Conditions,
    Encrypted,
    Signed,
    SmimeSignature,
    SmimeSigner,
    Subject,
)
from airflow_imap_provider.mailbox import fetcher, unwrapping
from airflow_imap_provider.mailbox.actions import Save
from airflow_imap_provider.mailbox.explaining import explain
from airflow_imap_provider.mailbox.place import first_place
from airflow_imap_provider.mailbox.reader import Batch, Reader, Wish
from airflow_imap_provider.operators.email import SaveEmailOperator
from airflow_imap_provider.transport.diagnosis import diagnose
from airflow_imap_provider.transport.session import open_session
from tests.mail.smime.people import BOSS, CLERK, CURVED, NOW, ROOT, SENDER, encrypted, mail, signed
from tests.servers.dovecot import Dovecot, User
from tests.triggers.conftest import connection

FORGED = b"Content-Type: text/plain\r\n\r\nPay invoice 4711, please.\r\n"
WITH_FILE = (
    b"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nSee the secret list.\r\n--m\r\n"
    b"Content-Type: text/csv\r\nContent-Disposition: attachment; filename=list.csv\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\naXRlbSxwcmljZQpwYXBlciw0Cg==\r\n--m--\r\n"
)


@pytest.fixture
def mails(dovecot: Dovecot, user: User, tmp_path: Path) -> None:
    """Signed by the boss, detached and opaque; by the clerk; by nobody; encrypted; encrypted and signed."""
    entities = [
        signed(tmp_path),
        signed(tmp_path, CURVED, opaque=True),
        signed(tmp_path, CLERK),
        FORGED,
        encrypted(tmp_path),
        encrypted(tmp_path, content=signed(tmp_path, content=WITH_FILE)),
    ]
    dovecot.deliver_all(user, [mail(each) for each in entities])


def read(dovecot: Dovecot, user: User, *conditions: Condition, key: str = "", **changes: object) -> Batch:
    smime = SmimeSettings(private_key=key, issuers=ROOT.pem)
    session = open_session(replace(dovecot.settings(user), smime=smime))
    try:
        wish = Wish(conn_id="c", folder="INBOX", conditions=Conditions(list(conditions)))
        wish = replace(wish, **changes)  # type: ignore[arg-type]
        wish = Wish.from_json(json.loads(json.dumps(wish.to_json())))
        return Reader(wish).read(session, session.select("INBOX", readonly=True), first_place("all", NOW))
    finally:
        session.close()


def uids(batch: Batch) -> list[int]:
    return [each.uid for each in batch.mails]


KEY = CLERK.pem + CLERK.key_pem


@pytest.mark.usefixtures("mails")
def test_a_condition_on_the_signer_takes_only_what_is_proved(dovecot: Dovecot, user: User) -> None:
    assert uids(read(dovecot, user, SmimeSigner.equals(SENDER))) == [1, 2]
    assert uids(read(dovecot, user, SmimeSigner.ends_with("@example.com"), key=KEY)) == [1, 2, 6]
    assert uids(read(dovecot, user, SmimeSignature.is_valid(), key=KEY)) == [1, 2, 6]
    assert uids(read(dovecot, user, SmimeSignature.equals("other-sender"))) == [3]
    assert uids(read(dovecot, user, ~SmimeSignature.is_valid() & Signed("smime"))) == [3]
    # The server tells as much of the structure of these.
    assert uids(read(dovecot, user, Encrypted("smime"))) == [5, 6]


@pytest.mark.usefixtures("mails")
def test_the_text_of_an_encrypted_mail_is_compared_and_told_only_if_asked_for(dovecot: Dovecot, user: User) -> None:
    found = read(dovecot, user, Body.contains("invoice 4711"), key=KEY)
    assert uids(found) == [1, 2, 3, 4, 5]
    assert "4711" not in json.dumps(found.emails)
    [email] = read(dovecot, user, Body.contains("secret list"), key=KEY, text=True).emails
    assert email["text"].strip() == "See the secret list."
    assert [each["name"] for each in email["attachments"]] == ["smime.p7m"]


@pytest.mark.usefixtures("mails")
def test_without_the_key_the_mail_is_told_all_the_same_and_says_why_it_has_no_text(
    dovecot: Dovecot, user: User
) -> None:
    assert uids(read(dovecot, user, Body.contains("invoice 4711"))) == [1, 2, 3, 4]
    told = read(dovecot, user, Subject.equals("Hello"), text=True).emails
    assert [each["uid"] for each in told] == [1, 2, 3, 4, 5, 6]
    assert "text" not in told[4]
    assert "S/MIME: it is encrypted, and the connection has no S/MIME key (smime_private_key)" in told[4]["defects"]
    assert told[4]["smime"]["encryption"] == "no-key"


@pytest.mark.usefixtures("mails")
def test_the_outcome_is_in_the_payload_if_asked_for(dovecot: Dovecot, user: User) -> None:
    told = read(dovecot, user, smime=True, key=KEY).emails
    assert [each.get("smime", {}).get("signature") for each in told] == [
        "valid",
        "valid",
        "other-sender",
        None,
        "",
        "valid",
    ]
    first = told[0]["smime"]
    assert (first["signer"], first["subject"], first["issuer"]) == ([SENDER], "CN=Boss", "CN=Issuer")
    assert (first["encryption"], first["reason"]) == ("", "")
    assert told[5]["smime"]["encryption"] == "opened"
    assert not {"text"} & told[5].keys()
    [minimal, *_] = read(dovecot, user, smime=True, style="minimal").emails
    assert set(minimal["smime"]) == {"signature", "encryption", "signed_at", "reason"}
    assert "smime" not in read(dovecot, user).emails[0]


@pytest.mark.usefixtures("mails")
def test_explanations_show_the_states(dovecot: Dovecot, user: User) -> None:
    session = open_session(replace(dovecot.settings(user), smime=SmimeSettings(issuers=ROOT.pem)))
    told = str(explain(session, [SmimeSignature.is_valid(), SmimeSigner.equals(SENDER)], conn_id="c", last=5))
    session.close()
    assert "holds  SmimeSignature.is_valid(): it is 'valid'" in told
    assert "it is 'other-sender: the certificate names clerk@example.com, and not every author of the mail'" in told
    assert "SmimeSigner.equals('boss@example.com'): not asked; no server checks signatures" in told


def test_a_mail_that_is_too_large_is_told_without_being_looked_at(
    dovecot: Dovecot, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dovecot.deliver(user, mail(signed(tmp_path)))
    monkeypatch.setattr(fetcher, "RAW_LIMIT", 1_000)
    [email] = read(dovecot, user, smime=True).emails
    assert email["smime"]["signature"] == "unsupported"
    assert "S/MIME is not looked at: the mail has 1000 bytes or more" in email["defects"]


def test_without_the_extra_who_asks_for_it_is_told(
    dovecot: Dovecot, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dovecot.deliver(user, mail(encrypted(tmp_path)))
    monkeypatch.setattr(unwrapping, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'airflow-imap-provider\[smime\]'"):
        read(dovecot, user, SmimeSignature.is_valid())
    with pytest.raises(SettingsError, match="asn1crypto"):
        read(dovecot, user, Body.contains("x"), key=KEY)
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    with Imap4Hook("mailbox") as hook:
        with pytest.raises(SettingsError, match="asn1crypto"):
            hook.fetch([1], smime=True)
        [email] = hook.fetch([1])
        assert "S/MIME is not looked at: the extra smime is not installed" in email["defects"]
        with pytest.raises(SettingsError, match="asn1crypto"):
            list(hook.attachments(email, decrypt=True))
    [email] = read(dovecot, user, text=True).emails
    assert "S/MIME is not looked at: the extra smime is not installed" in email["defects"]


def test_a_wrong_passphrase_shows_in_the_test_of_the_connection(dovecot: Dovecot, user: User) -> None:
    wrong = SmimeSettings(private_key=KEY, passphrase="wrong")
    report = diagnose(replace(dovecot.settings(user), smime=wrong))
    assert not report.ok
    assert report.line().startswith("settings: ")
    assert "S/MIME key's passphrase (smime_private_key_passphrase)" in report.text()
    assert KEY.splitlines()[-3] not in report.text()


def test_the_hook_opens_text_and_attachments(
    dovecot: Dovecot, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"smime_private_key": KEY, "ca_bundle": dovecot.authority.pem + ROOT.pem}
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, extra=extra))
    inner = signed(tmp_path, BOSS, content=WITH_FILE)
    dovecot.deliver_all(user, [mail(encrypted(tmp_path, content=inner)), mail(FORGED)])
    with Imap4Hook("mailbox") as hook:
        first, second = hook.search(smime=True)
        opened, plain = hook.open_smime(first), hook.open_smime(second)
    assert first["smime"]["signature"] == "valid"
    assert (opened.smime.signature, opened.smime.encryption, opened.smime.signers) == ("valid", "opened", (SENDER,))
    assert opened.text.strip() == "See the secret list."
    assert [(each.name, each.content) for each in opened.attachments] == [("list.csv", b"item,price\npaper,4\n")]
    assert opened.content.startswith(b"From: The Boss <boss@example.com>\r\n")
    assert "secret" not in repr(opened)
    assert (plain.text.strip(), plain.smime.signature, plain.attachments) == ("Pay invoice 4711, please.", "", ())


def test_what_is_within_an_encrypted_mail_is_fetched_downloaded_and_saved_if_asked_for(
    dovecot: Dovecot, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"smime_private_key": KEY, "ca_bundle": dovecot.authority.pem + ROOT.pem}
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user, extra=extra))
    table = b"item,price\npaper,4\n"
    inner = signed(tmp_path, BOSS, content=WITH_FILE)
    # Of the last one Dovecot does not tell that it is encrypted.
    bare = mail(encrypted(tmp_path, content=inner)).replace(b"MIME-Version: 1.0\r\n", b"", 1)
    assert b"MIME-Version" not in bare
    assert b"MIME-Version" in mail(encrypted(tmp_path, content=inner))
    dovecot.deliver_all(user, [mail(encrypted(tmp_path, content=inner)), mail(WITH_FILE), mail(inner), bare])
    with Imap4Hook("mailbox") as hook:
        emails = hook.fetch([1, 2, 3, 4], smime=True)
        assert [each["text"].strip() for each in emails] == ["See the secret list."] * 4
        assert [each.get("smime", {}).get("signature") for each in emails] == ["valid", None, "valid", "valid"]
        assert [each.content for each in hook.attachments(emails[0], decrypt=True)] == [table]
        assert [each.name for each in hook.attachments(emails[0])] == ["smime.p7m"]
        closed = hook.save(emails, tmp_path / "closed")
        assert [each["name"] for each in closed] == ["smime.p7m", "list.csv", "list.csv", "smime.p7s", "smime.p7m"]
    saved = SaveEmailOperator(task_id="files", emails=emails, path=str(tmp_path / "open"), what="both", decrypt=True)
    files = [Path(each["path"].removeprefix("file://")) for each in saved.execute({})]
    assert [each.name for each in files] == ["message.eml", "list.csv"] * 4
    assert [each.read_bytes() for each in files if each.name == "list.csv"] == [table] * 4
    assert all(b"See the secret list." in each.read_bytes() for each in files if each.name == "message.eml")


def test_an_encrypted_mail_that_cannot_be_opened_is_an_error_if_its_files_are_asked_for(
    dovecot: Dovecot, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    dovecot.deliver(user, mail(encrypted(tmp_path)))
    with Imap4Hook("mailbox") as hook:
        [email] = hook.fetch([1])
        with pytest.raises(ImapError, match=r"no S/MIME key.*smime_private_key.*decrypt=False"):
            hook.act(email, Save(str(tmp_path / "files"), decrypt=True))
        assert not (tmp_path / "files").exists()
        assert [each["name"] for each in hook.save(email, tmp_path / "files")] == ["smime.p7m"]


def test_a_mail_that_is_too_large_to_be_opened_says_what_to_do_and_the_hook_goes_on(
    dovecot: Dovecot, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    dovecot.deliver_all(user, [mail(signed(tmp_path)), mail(FORGED)])
    monkeypatch.setattr(unwrapping, "WHOLE_LIMIT", 1_000)
    with Imap4Hook("mailbox") as hook:
        first, second = hook.search()
        with pytest.raises(ImapError, match=r"more than 1000 bytes.*attachments\(\)"):
            hook.open_smime(first)
        assert hook.open_smime(second).text.strip() == "Pay invoice 4711, please."
