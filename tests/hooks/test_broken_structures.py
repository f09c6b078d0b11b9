"""No attachment is lost where a server tells no structure, a wrong one, or does not give the parts that it tells."""

from __future__ import annotations

import errno
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk import Context

from airflow_imap_provider.errors import CutOffError, ImapError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mail.conditions import Body
from airflow_imap_provider.mail.raw import RawMail, mail_from_raw
from airflow_imap_provider.mail.transfer import decode_transfer
from airflow_imap_provider.mailbox import spool
from airflow_imap_provider.mailbox.actions import Delete, Forward, MarkRead, Save
from airflow_imap_provider.sensors.email import EmailSensor
from airflow_imap_provider.transport import partial
from tests.mail.corpus.kinds import KINDS
from tests.mail.corpus.pieces import HEADER, attachment, encoded, mixed, part, single, text
from tests.mail.test_corpus import storable
from tests.operators.test_many_mails import Store
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import Peer, ScriptedServer
from tests.servers.smtp import Outbox
from tests.triggers.conftest import connection

PDF = bytes(range(256)) * 40


@pytest.fixture
def hook(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imap4Hook]:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    with Imap4Hook("mailbox") as opened:
        yield opened


@pytest.fixture
def outbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    with Outbox() as box:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", box.connection())
        yield box


def files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]


# --- a real server ---------------------------------------------------------------------------------------------------


def test_of_every_hard_mail_all_attachments_are_listed_downloaded_and_saved(
    dovecot: Dovecot, user: User, hook: Imap4Hook, tmp_path: Path
) -> None:
    few = [kind for kind in KINDS if 0 < kind.attachments < 100]
    dovecot.deliver_all(user, [storable(kind.raw) for kind in few])
    emails = hook.fetch(list(range(1, len(few) + 1)))
    table = encoded(b"a;b\n1;2\n").strip()
    assert len(emails) == len(few)
    for kind, email in zip(few, emails, strict=True):
        contents = [each.content for each in hook.attachments(email)]
        assert len(contents) >= kind.attachments, kind.name
        saved = hook.save(email, tmp_path / str(email["uid"]))
        assert len(saved) == len(contents), kind.name
        assert sorted(files(tmp_path / str(email["uid"]))) == sorted(contents), kind.name
        if table in kind.raw:
            # As it is; or not decoded, in what is too deep to be followed.
            assert any(b"a;b\n1;2\n" in each or table in each for each in contents), kind.name


def test_a_mail_whose_boundary_is_missing_has_text_and_attachments_for_tasks(
    dovecot: Dovecot, user: User, hook: Imap4Hook, tmp_path: Path, outbox: Outbox
) -> None:
    raw = mixed(text(b"Hello"), attachment(content=PDF)).replace(b'; boundary="corpus"', b"")
    dovecot.deliver(user, raw)
    [email] = hook.fetch([1])
    assert email["text"] == "Hello"
    assert [(each["name"], each["part"]) for each in email["attachments"]] == [("invoice.csv", "2")]
    assert [each.content for each in hook.attachments(email)] == [PDF]
    hook.act(email, Save(str(tmp_path)))
    assert files(tmp_path) == [PDF]
    hook.forward(email, "ann@example.com", style="inline")
    shown, file = outbox.messages[0].iter_parts()
    assert "Hello" in shown.get_content()
    assert (file.get_filename(), file.get_content()) == ("invoice.csv", PDF)


def test_a_file_that_is_a_mail_of_its_own_without_mime_version_is_a_file(
    dovecot: Dovecot, user: User, hook: Imap4Hook
) -> None:
    """Scanners and old gateways write such mails; Dovecot takes them for plain text (RFC 2045, section 4)."""
    bare = HEADER.replace(b"MIME-Version: 1.0\r\n", b"")
    raws = [
        single(
            b"Content-Type: application/pdf; name=scan.pdf\r\nContent-Transfer-Encoding: base64", encoded(PDF), bare
        ),
        single(
            b"Content-Disposition: attachment; filename=a.bin\r\nContent-Transfer-Encoding: base64", encoded(PDF), bare
        ),
        single(b"Content-Type: text/csv\r\nContent-Transfer-Encoding: base64", encoded(PDF), bare),
    ]
    dovecot.deliver_all(user, raws)
    emails = hook.search()
    assert [len(email["attachments"]) for email in emails] == [1, 1, 1]
    for email in emails:
        assert [each.content for each in hook.attachments(email)] == [PDF]
    dovecot.deliver(
        user, single(b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64", encoded(b"Hi"), bare)
    )
    assert hook.fetch([4])[0]["text"] == "Hi"


@pytest.mark.parametrize("encoding", [b"base-64", b"base64;", b'"base64"', b"Base64 ; x=y", b"x-gzip64"])
def test_an_encoding_that_is_written_wrong_is_understood_or_told(
    dovecot: Dovecot, user: User, hook: Imap4Hook, tmp_path: Path, encoding: bytes
) -> None:
    raw = mixed(text(b"Hello"), attachment(content=PDF)).replace(b"Encoding: base64", b"Encoding: " + encoding)
    assert encoding in raw
    dovecot.deliver(user, raw)
    [email] = hook.search()
    hook.save(email, tmp_path)
    known = encoding != b"x-gzip64"
    assert files(tmp_path) == [PDF if known else encoded(PDF)]
    told = ["part 2: unknown transfer encoding x-gzip64: the attachment is not decoded"]
    assert [each for each in email["defects"] if "encoding" in each] == ([] if known else told)


# --- servers that tell something else than they have -----------------------------------------------------------------

MAIL = mixed(text(b"Hello"), attachment(b"filename=a.pdf", PDF), attachment(b"filename=b.csv"))
TEXT = '("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1)'
FILE = '("APPLICATION" "OCTET-STREAM" NIL NIL NIL "BASE64" %d NIL ("ATTACHMENT" ("FILENAME" "%s")) NIL NIL)'
TRUE = f'({TEXT}{FILE % (len(encoded(PDF)), "a.pdf")}{FILE % (14, "b.csv")} "MIXED" ("BOUNDARY" "corpus") NIL NIL)'


class Liar:
    """A server with one mail.

    :param structure: what it tells as the mail's structure.
    :param parts: its answer to FETCH of a part: the part's whole content, ``None`` for NIL, ``"NO"`` for a refusal, and
        ``""`` for an OK without the part. That of the mail itself is named ``""``, and is the mail if it is left out.
    :param size: what it tells as the mail's size; the true one if it is left out.
    """

    def __init__(
        self, structure: str, parts: dict[str, bytes | str | None], mail: bytes = MAIL, *, size: int = 0
    ) -> None:
        self.structure, self.parts, self.mail, self.size = structure, parts, mail, size or len(mail)
        self.commands: list[str] = []

    def __call__(self, peer: Peer) -> None:
        peer.let_in()
        while True:
            line = peer.line()
            peer.tag, _, command = line.partition(" ")
            self.commands.append(command)
            if command.startswith("UID SEARCH"):
                peer.ok("* SEARCH 1")
            elif command.startswith(("SELECT", "EXAMINE")):
                access = "READ-ONLY" if command.startswith("EXAMINE") else "READ-WRITE"
                peer.ok("* 1 EXISTS", "* OK [UIDVALIDITY 7] valid", "* OK [UIDNEXT 2] next", words=f"[{access}]")
            elif command.startswith("UID FETCH"):
                self.fetch(peer, command)
            elif command.startswith("LOGOUT"):
                peer.send("* BYE")
                peer.ok()
                return
            else:
                peer.ok()

    def fetch(self, peer: Peer, command: str) -> None:
        head = self.mail.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        if "BODYSTRUCTURE" in command and self.structure == "NO":
            peer.no("cannot parse it")
            return
        if name := re.search(r"BODY\.PEEK\[(HEADER(?:\.FIELDS)?)[] ]", command):
            told = f"RFC822.SIZE {self.size} "
            if "BODYSTRUCTURE" in command:
                told += f"BODYSTRUCTURE {self.structure} "
            section = name[1] + " (SUBJECT)" * (name[1] != "HEADER")
            data = b"BODY[%b] {%d}\r\n%b)" % (section.encode(), len(head), head)
            peer.ok(f'* 1 FETCH (UID 1 FLAGS () INTERNALDATE "01-Nov-2026 00:00:00 +0000" {told}'.encode() + data)
            return
        if "BODY" not in command:
            peer.ok('* 1 FETCH (UID 1 FLAGS () INTERNALDATE "01-Nov-2026 00:00:00 +0000")')
            return
        asked = re.search(r"BODY\.PEEK\[([^]]*)\]<(\d+)\.(\d+)>", command)
        assert asked is not None, command
        begin, length = int(asked[2]), int(asked[3])
        whole = self.parts.get(asked[1], None if asked[1] else self.mail)
        if whole == "NO":
            peer.no("cannot")
        elif whole == "":
            peer.ok("* 1 FETCH (UID 1 FLAGS ())")
        elif whole is None:
            peer.ok(f"* 1 FETCH (UID 1 BODY[{asked[1]}]<{begin}> NIL)")
        else:
            assert isinstance(whole, bytes)
            piece = whole[begin : begin + length]
            peer.ok(f"* 1 FETCH (UID 1 BODY[{asked[1]}]<{begin}> {{{len(piece)}}}\r\n".encode() + piece + b")")


@contextmanager
def mailbox(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imap4Hook]:
    with ScriptedServer(liar) as server:
        extra = {"encryption": "none", "timeout": 5}
        stored = {"conn_type": "imap4", "host": server.host, "port": server.port, "login": "me", "password": "pw"}
        monkeypatch.setenv("AIRFLOW_CONN_LIAR", json.dumps({**stored, "extra": extra}))
        with Imap4Hook("liar") as hook:
            yield hook


def contents(hook: Imap4Hook, email: dict[str, Any]) -> list[tuple[str, bytes]]:
    return [(each.name, each.content) for each in hook.attachments(email)]


WHOLE = [("a.pdf", PDF), ("b.csv", b"a;b\n1;2\n")]
GIVEN: dict[str, bytes | str | None] = {"1": b"Hello", "2": encoded(PDF), "3": encoded(b"a;b\n1;2\n")}


@pytest.mark.parametrize(
    "structure",
    ["NIL", "()", "NO", TEXT, f'({TEXT} "MIXED" ("BOUNDARY" "corpus") NIL NIL)'],
    ids=["none", "empty", "refused", "one part", "too few parts"],
)
def test_a_structure_that_does_not_fit_the_mail_is_not_believed(
    structure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outbox: Outbox
) -> None:
    large = MAIL.replace(b"\r\n\r\nHello", b"\r\n\r\nHello" + b"\r\nline" * 20_000)
    mail = large if "MIXED" in structure else MAIL
    with mailbox(Liar(structure, {}, mail), monkeypatch) as hook:
        [email] = hook.fetch([1])
        assert [each["name"] for each in email["attachments"]] == ["a.pdf", "b.csv"]
        assert email["text"].startswith("Hello")
        assert contents(hook, email) == WHOLE
        assert [each["name"] for each in hook.save(email, tmp_path)] == ["a.pdf", "b.csv"]
        hook.forward(email, "ann@example.com", style="inline")
    assert [each.get_filename() for each in outbox.messages[0].iter_attachments()] == ["a.pdf", "b.csv"]
    assert files(tmp_path) == [PDF, b"a;b\n1;2\n"]


@pytest.mark.parametrize("answer", [None, b"", "NO", ""], ids=["NIL", "empty", "refused", "left out"])
def test_a_part_that_the_server_tells_and_does_not_give_is_taken_from_the_whole_mail(
    answer: bytes | str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outbox: Outbox
) -> None:
    with mailbox(Liar(TRUE, {**GIVEN, "2": answer}), monkeypatch) as hook:
        [email] = hook.fetch([1], text=False)
        assert contents(hook, email) == WHOLE
        hook.save(email, tmp_path)
        hook.forward(email, "ann@example.com", style="inline")
    assert files(tmp_path) == [PDF, b"a;b\n1;2\n"]
    assert [each.get_content() for each in outbox.messages[0].iter_attachments()] == [PDF, b"a;b\n1;2\n"]


BIG = bytes(range(256)) * 8_000
BIG_MAIL = mixed(text(b"Hello"), attachment(b"filename=a.pdf", BIG))
BIG_TOLD = f'({TEXT}{FILE % (len(encoded(BIG)), "a.pdf")} "MIXED" ("BOUNDARY" "corpus") NIL NIL)'
CUT = [100, 77, partial.PIECE, 900_000]


def deletes(liar: Liar) -> bool:
    return any("EXPUNGE" in command for command in liar.commands)


@pytest.mark.parametrize("given", CUT)
def test_a_part_of_which_the_server_gives_a_beginning_is_taken_from_the_whole_mail(
    given: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outbox: Outbox
) -> None:
    liar = Liar(BIG_TOLD, {"1": b"Hello", "2": encoded(BIG)[:given]}, BIG_MAIL)
    with mailbox(liar, monkeypatch) as hook:
        [email] = hook.search()
        assert contents(hook, email) == [("a.pdf", BIG)]
        hook.forward(email, "ann@example.com", style="inline")
        hook.act(email, [Save(str(tmp_path)), Delete()])
    assert files(tmp_path) == [BIG]
    assert [each.get_content() for each in outbox.messages[0].iter_attachments()] == [BIG]
    assert deletes(liar)


@pytest.mark.parametrize("given", CUT)
def test_a_mail_of_which_the_server_gives_a_beginning_is_neither_saved_nor_forwarded_and_so_not_deleted(
    given: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outbox: Outbox
) -> None:
    liar = Liar(BIG_TOLD, {"1": b"Hello", "2": encoded(BIG)[:given], "": BIG_MAIL[:given]}, BIG_MAIL)
    with mailbox(liar, monkeypatch) as hook:
        [email] = hook.search()
        for action in (
            Save(str(tmp_path), what="message"),
            Save(str(tmp_path)),
            Forward("ann@example.com", max_size="100 MB"),
            Forward("ann@example.com", style="inline", max_size="100 MB"),
        ):
            with pytest.raises(ImapError, match=f"gives {given} of the .* bytes that it announces"):
                hook.act(email, [action, Delete()])
    assert files(tmp_path) == []
    assert outbox.messages == []
    assert not deletes(liar)


PLAIN = single(b"Content-Type: text/plain", b"Hello, this is all.\r\n" * 20)
PLAIN_TOLD = '("TEXT" "PLAIN" NIL NIL NIL "7BIT" 420 20)'


@pytest.mark.parametrize(("structure", "mail"), [(TRUE, MAIL), (PLAIN_TOLD, PLAIN)], ids=["multipart", "one part"])
def test_a_mail_whose_size_is_reckoned_far_too_large_is_saved_if_all_of_it_is_there(
    structure: str, mail: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = Liar(structure, {}, mail, size=len(mail) * 2)
    with mailbox(liar, monkeypatch) as hook:
        hook.act(hook.search(), [Save(str(tmp_path), what="message"), Delete()])
    assert files(tmp_path) == [mail]
    assert deletes(liar)
    cut = Liar(structure, {"": mail[: -len(mail) // 3]}, mail, size=len(mail) * 2)
    with mailbox(cut, monkeypatch) as hook, pytest.raises(CutOffError):
        hook.act(hook.search(), [Save(str(tmp_path), what="message", on_exists="overwrite"), Delete()])
    assert not deletes(cut)


def test_a_part_whose_size_is_told_far_too_large_is_whole_where_the_next_boundary_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = TRUE.replace(str(len(encoded(PDF))), str(2 * len(encoded(PDF))))
    liar = Liar(told, GIVEN)
    with mailbox(liar, monkeypatch) as hook:
        hook.act(hook.search(), [Save(str(tmp_path)), Delete()])
    assert files(tmp_path) == [PDF, b"a;b\n1;2\n"]


def test_a_part_that_differs_from_its_beginning_in_the_whole_mail_is_not_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = Liar(TRUE, {**GIVEN, "2": b"QUJD" + encoded(PDF)[4:100]})
    with mailbox(liar, monkeypatch) as hook, pytest.raises(CutOffError):
        hook.act(hook.search(), [Save(str(tmp_path)), Delete()])
    assert files(tmp_path) == []
    assert not deletes(liar)


def test_parts_that_the_server_counts_in_another_way_are_recognised_by_name_and_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = f'({TEXT}({TEXT} "MIXED" NIL NIL NIL){FILE % (14, "b.csv")} "MIXED" ("BOUNDARY" "corpus") NIL NIL)'
    raw = mixed(text(b"Hello"), attachment(b"filename=b.csv"))
    with mailbox(Liar(other, {"1": b"Hello", "3": None}, raw), monkeypatch) as hook:
        [email] = hook.fetch([1], text=False)
        assert [(each["name"], each["part"]) for each in email["attachments"]] == [("b.csv", "3")]
        assert contents(hook, email) == [("b.csv", b"a;b\n1;2\n")]


def test_an_attachment_that_cannot_be_had_in_any_way_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mailbox(Liar(TRUE, {**GIVEN, "2": "NO"}, mixed(text(b"Hello"))), monkeypatch) as hook:
        [email] = hook.fetch([1], text=False)
        with pytest.raises(ImapError, match="cannot"):
            hook.save(email, tmp_path)
    assert files(tmp_path) == []


def test_an_attachment_that_is_empty_stays_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = mixed(text(b"Hello"), part(b"Content-Disposition: attachment; filename=empty.csv", b""))
    told = f'({TEXT}{FILE % (0, "empty.csv")} "MIXED" ("BOUNDARY" "corpus") NIL NIL)'
    with mailbox(Liar(told, {"1": b"Hello", "2": None}, empty), monkeypatch) as hook:
        [email] = hook.fetch([1], text=False)
        assert contents(hook, email) == [("empty.csv", b"")]


@pytest.mark.parametrize("answer", [None, b""], ids=["NIL", "empty"])
@pytest.mark.parametrize("structure", [TRUE, "NIL"], ids=["told", "not told"])
def test_a_mail_that_the_server_does_not_give_is_neither_saved_nor_forwarded_and_so_not_deleted(
    answer: bytes | None, structure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outbox: Outbox
) -> None:
    saves = [Save(str(tmp_path), what="message"), Save(str(tmp_path))]
    forwards = [Forward("ann@example.com"), Forward("ann@example.com", style="inline")]
    liar = Liar(structure, {"1": answer, "2": answer, "3": answer, "": answer})
    with mailbox(liar, monkeypatch) as hook:
        [email] = hook.search()
        for action in (*saves, *forwards):
            with pytest.raises(ImapError, match="does not give"):
                hook.act(email, [action, Delete()])
    assert files(tmp_path) == []
    assert outbox.messages == []
    assert not any("STORE" in command or "EXPUNGE" in command for command in liar.commands)


def test_a_sensor_does_not_delete_a_mail_of_which_it_has_not_seen_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for parts, deleted in (({**GIVEN, "1": "NO"}, False), (GIVEN, True)):
        liar = Liar(TRUE, parts)
        with mailbox(liar, monkeypatch) as hook:
            hook.close()
            sensor = EmailSensor(
                task_id="wait",
                imap4_conn_id="liar",
                conditions=~Body.contains("paid"),
                start="all",
                on_match=[MarkRead(), Delete()],
                deferrable=False,
            )
            found = sensor.execute(cast("Context", {"task_state_store": Store()}))
        assert [email.get("incomplete", False) for email in found] == [not deleted]
        assert any("\\Seen" in command for command in liar.commands)
        assert any("EXPUNGE" in command for command in liar.commands) == deleted


def test_a_text_that_the_server_tells_and_does_not_give_is_forwarded_from_the_whole_mail(
    monkeypatch: pytest.MonkeyPatch, outbox: Outbox
) -> None:
    for answer in (None, b""):
        with mailbox(Liar(TRUE, {**GIVEN, "1": answer}), monkeypatch) as hook:
            hook.forward(hook.search(), "ann@example.com", style="inline")
        shown, *_ = outbox.messages[-1].iter_parts()
        assert "Hello" in shown.get_content()


def test_the_whole_mail_tells_the_same_parts_as_the_files_saved(
    dovecot: Dovecot, user: User, hook: Imap4Hook, tmp_path: Path
) -> None:
    """Beyond what is held in memory elsewhere: the attachments behind the first 16 MiB are there, too."""
    big = b"".join(b"%07d\n" % number for number in range(2_500_000))
    raw = mixed(text(), attachment(b"filename=big.csv", big), attachment(b"filename=last.csv"))
    raw = raw.replace(b'; boundary="corpus"', b"")
    dovecot.deliver(user, raw)
    [email] = hook.search()
    saved = hook.save(email, tmp_path)
    assert [(each["name"], each["size"]) for each in saved] == [("big.csv", len(big)), ("last.csv", 8)]
    own = mail_from_raw(raw)
    parsed = RawMail.of(raw)
    assert files(tmp_path) == [decode_transfer(parsed.part(each.part), each.encoding) for each in own.attachments]


# --- the temporary file ----------------------------------------------------------------------------------------------


def test_a_mail_whose_lines_end_with_carriage_returns_has_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Macintosh(Liar):
        def fetch(self, peer: Peer, command: str) -> None:
            self.mail = MAIL if "HEADER.FIELDS" in command else MAIL.replace(b"\r\n", b"\r")
            super().fetch(peer, command)

    with mailbox(Macintosh("NIL", {}), monkeypatch) as hook:
        [email] = hook.fetch([1], text=False)
        assert contents(hook, email) == WHOLE


def test_a_mail_that_is_too_large_for_a_temporary_file_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SPOOL_LIMIT", 1_000)
    with mailbox(Liar("NIL", {}), monkeypatch) as hook:
        [email] = hook.fetch([1], text=False)
        with pytest.raises(ImapError, match=r"more than 1000 bytes.*what='message'"):
            hook.save(email, tmp_path)
        assert [each["size"] for each in hook.save(email, tmp_path, what="message")] == [len(MAIL)]


def test_a_temporary_folder_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spool, "TemporaryFile", lambda **options: Full())
    with mailbox(Liar("NIL", {}), monkeypatch) as hook:
        [email] = hook.fetch([1], text=False)
        with pytest.raises(ImapError, match=r"temporary file.*No space left on device.*TMPDIR"):
            hook.save(email, tmp_path)
        assert hook.fetch([1], text=False) == [email], "the session is in order"
