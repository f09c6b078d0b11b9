"""Saving on a real server, to a real folder and to an object store in memory: names, choice, repetition, failure."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.io import attach
from airflow.sdk.io.store import _STORE_CACHE
from fsspec.implementations.local import LocalFileOpener
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mailbox.actions import MarkRead, Move, Save
from tests.servers.dovecot import Dovecot, User
from tests.triggers.conftest import connection


def mail(*attachments: tuple[str, bytes], subject: str = "s") -> bytes:
    head = (
        f"From: a@example.com\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.com>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello.\r\n'
    ).encode()
    parts = b"".join(
        b"--b\r\nContent-Type: text/csv\r\nContent-Transfer-Encoding: base64\r\n"
        + b"Content-Disposition: attachment; filename*=utf-8''"
        + "".join(f"%{byte:02X}" for byte in name.encode()).encode()
        + b"\r\n\r\n"
        + base64.encodebytes(content).replace(b"\n", b"\r\n")
        for name, content in attachments
    )
    return head + parts + b"--b--\r\n"


@pytest.fixture
def hook(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imap4Hook]:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    with Imap4Hook("mailbox") as opened:
        yield opened


@pytest.fixture
def deliver(dovecot: Dovecot, user: User, hook: Imap4Hook) -> Any:
    def delivered(*attachments: tuple[str, bytes], subject: str = "s") -> dict[str, Any]:
        dovecot.deliver(user, mail(*attachments, subject=subject))
        return hook.search()[-1]

    return delivered


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_attachments_and_message_are_saved_with_their_sums(hook: Imap4Hook, deliver: Any, tmp_path: Path) -> None:
    email = deliver(("Größe.csv", b"a,b\r\n"), ("empty.csv", b""))
    saved = hook.save(email, tmp_path, what="both")
    assert [each["name"] for each in saved] == ["", "Größe.csv", "empty.csv"]
    assert saved[1] == {
        "key": email["key"],
        "path": f"file://{tmp_path}/{email['key']}/Größe.csv",
        "name": "Größe.csv",
        "part": "2",
        "content_type": "text/csv",
        "size": 5,
        "sha256": hashlib.sha256(b"a,b\r\n").hexdigest(),
        "existed": False,
    }
    files = tree(tmp_path / email["key"])
    assert files.keys() == {"message.eml", "Größe.csv", "empty.csv"}
    assert files["message.eml"] == mail(("Größe.csv", b"a,b\r\n"), ("empty.csv", b""))
    assert hook.fetch([email["uid"]])[0]["flags"] == []


def test_doing_it_again_changes_nothing(hook: Imap4Hook, deliver: Any, tmp_path: Path) -> None:
    email = deliver(("same.csv", b"1"), ("SAME.csv", b"1"), ("same.csv", b"2"))
    folder = tmp_path / email["key"]
    written: dict[str, tuple[int, int]] = {}
    for on_exists in ("overwrite", "number", "fail", "overwrite"):
        saved = hook.save(email, str(tmp_path), on_exists=on_exists)
        assert all(each["existed"] is bool(written) for each in saved)
        there = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}
        written = written or there
        assert there == written
        files = tree(folder)
        assert files == {"same.csv": b"1", "SAME (2).csv": b"1", "same (3).csv": b"2"}
        assert [Path(each["path"]).name for each in saved] == ["same.csv", "SAME (2).csv", "same (3).csv"]


def test_a_file_with_another_content_is_numbered_replaced_or_an_error(
    hook: Imap4Hook, deliver: Any, tmp_path: Path
) -> None:
    email = deliver(("DATA.csv", b"mine"))
    (tmp_path / "data.csv").write_bytes(b"else")
    [saved] = hook.save(email, tmp_path, folder_per_mail=False)
    assert saved["path"].endswith("/DATA (2).csv")
    with pytest.raises(ImapError, match="is there already"):
        hook.save(email, tmp_path, folder_per_mail=False, on_exists="fail")
    for existed in (False, True):
        [saved] = hook.save(email, tmp_path, folder_per_mail=False, on_exists="overwrite")
        assert saved["existed"] is existed
    assert tree(tmp_path) == {"data.csv": b"mine", "DATA (2).csv": b"mine"}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"names": "*.CSV"}, ["a.csv", "B.CSV"]),
        ({"names": "*.CSV", "match_case": True}, ["B.CSV"]),
        ({"names": "a.* | b.*"}, ["a.csv", "B.CSV"]),
        ({"regex": "^[ab]"}, ["a.csv", "B.CSV"]),
        ({"regex": "^[ab]", "match_case": True}, ["a.csv"]),
        ({"larger": "1 KB"}, ["B.CSV", "c.txt"]),
        ({"smaller": 1000}, ["a.csv"]),
        ({"larger": "1 KB", "smaller": "1 MiB"}, ["B.CSV"]),
        ({"smaller": "1 KB", "larger": "1 MB", "sizes": "or"}, ["a.csv", "c.txt"]),
        ({"what": "message"}, [""]),
        ({"names": "nothing"}, []),
    ],
)
def test_what_is_saved_is_chosen_by_name_and_size(
    hook: Imap4Hook, deliver: Any, tmp_path: Path, options: dict[str, Any], names: list[str]
) -> None:
    email = deliver(("a.csv", b"x" * 100), ("B.CSV", b"x" * 10_000), ("c.txt", b"x" * 2_000_000))
    assert [each["name"] for each in hook.save(email, tmp_path, **options)] == names


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"what": "everything"}, "'attachments', 'message', 'both'"),
        ({"larger": "10 apples"}, "larger='10 apples'"),
        ({"larger": "10 KB", "smaller": "1 KB"}, "Swap the two"),
        ({"regex": "("}, "no regular expression"),
        ({"folder_per_mail": "yes"}, "True or False"),
        ({"overwrite": True}, "no option of saving"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_fetched(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Save("/data", **options)


def test_a_relative_path_is_refused(hook: Imap4Hook, deliver: Any) -> None:
    with pytest.raises(SettingsError, match="absolute path"):
        hook.save(deliver(("a", b"a")), "mails")


def test_names_that_senders_choose_stay_inside_of_the_folder(hook: Imap4Hook, deliver: Any, tmp_path: Path) -> None:
    names = ["../../etc/passwd", "/etc/passwd", "C:\\boot.ini", "..", "", "CON", "nul.txt", "a\u202etxt.exe", "x" * 500]
    email = deliver(*((name, name.encode()) for name in names))
    saved = hook.save(email, tmp_path / "in")
    assert len(saved) == len(names)
    assert len(list((tmp_path / "in" / email["key"]).iterdir())) == len(names)
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]


def test_a_key_that_somebody_made_up_leads_nowhere(hook: Imap4Hook, deliver: Any, tmp_path: Path) -> None:
    email = deliver(("a.csv", b"a"))
    for what in ("attachments", "message"):
        for per_mail in (True, False):
            with pytest.raises(SettingsError, match=r"key='\.\./\.\./out' of a mail"):
                hook.save(email | {"key": "../../out"}, tmp_path / "a" / "b", what=what, folder_per_mail=per_mail)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_a_sender_chose_is_no_template_where_its_path_is_handed_on(
    hook: Imap4Hook, deliver: Any, tmp_path: Path
) -> None:
    email = deliver(("{{ conn.smtp_default.password }}{% x %}{# y #}.csv", b"a"))
    [saved] = hook.save(email, tmp_path)
    assert not any(mark in saved["path"] for mark in ("{{", "{%", "{#"))
    assert saved["name"] == "{{ conn.smtp_default.password }}{% x %}{# y #}.csv"


def test_a_mail_that_was_moved_is_saved_under_the_key_that_it_came_with(
    dovecot: Dovecot, user: User, hook: Imap4Hook, deliver: Any, tmp_path: Path
) -> None:
    email = deliver(("a.csv", b"a"))
    hook.act(email, [Save(str(tmp_path)), MarkRead(), Move("Done", create=True)])
    assert tree(tmp_path) == {f"{email['key']}/a.csv": b"a"}
    [saved] = hook.save([email], tmp_path)
    assert (saved["existed"], saved["key"]) == (True, email["key"])


def test_a_full_disk_leaves_nothing_half_written(
    hook: Imap4Hook, deliver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = deliver(("small.csv", b"first"), ("big.csv", bytes(3_000_000)))
    written = 0
    plain = LocalFileOpener.write

    def write(self: Any, data: bytes) -> int:
        nonlocal written
        written += len(data)
        if written > 1_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(plain(self, data))

    monkeypatch.setattr(LocalFileOpener, "write", write, raising=True)
    with pytest.raises(ImapError, match="No space left on device"):
        hook.save(email, tmp_path)
    monkeypatch.undo()
    assert tree(tmp_path) == {f"{email['key']}/small.csv": b"first"}
    hook.session().noop()  # the session is in order
    hook.save(email, tmp_path)
    assert len(tree(tmp_path)) == 2


def test_a_connection_that_ends_in_the_middle_leaves_nothing_half_written(
    dovecot: Dovecot, user: User, hook: Imap4Hook, deliver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = deliver(("big.csv", bytes(3_000_000)))
    plain = LocalFileOpener.write

    def write(self: Any, data: bytes) -> int:
        hook.session().close()
        return int(plain(self, data))

    monkeypatch.setattr(LocalFileOpener, "write", write, raising=True)
    with pytest.raises(ImapError, match="closed"):
        hook.save(email, tmp_path)
    assert tree(tmp_path) == {}


def test_another_file_system_works_alike(hook: Imap4Hook, deliver: Any) -> None:
    attach("memory", fs=MemoryFileSystem())  # as an installed provider of Airflow would
    email = deliver(("a [1].csv", b"a"))
    for existed in (False, True):
        [saved] = hook.save(email, "memory://bucket/mails")
        assert (saved["path"], saved["existed"]) == (f"memory:///bucket/mails/{email['key']}/a [1].csv", existed)
    assert list(MemoryFileSystem.store) == [f"/bucket/mails/{email['key']}/a [1].csv"]


class Upload(AbstractBufferedFile):  # type: ignore[misc]  # fsspec brings no types
    """An upload in parts, as S3's and GCS's are: there is nothing to see until it is committed."""

    def _initiate_upload(self) -> None:
        self.fs.under_way[id(self)] = b""

    def _upload_chunk(self, final: bool = False) -> bool:
        self.buffer.seek(0)
        self.fs.under_way[id(self)] += self.buffer.read()
        if len(self.fs.under_way[id(self)]) > self.fs.room:
            raise OSError(errno.EDQUOT, "the bucket is full")
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        if "x" in self.mode and self.path in self.fs.objects:
            raise FileExistsError(self.path)
        self.fs.objects[self.path] = self.fs.under_way.pop(id(self))

    def discard(self) -> None:
        self.fs.under_way.pop(id(self), None)


class ObjectStore(AbstractFileSystem):  # type: ignore[misc]
    """An object store without folders, whose uploads can be given up."""

    protocol = "s3"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.under_way: dict[int, bytes] = {}
        self.room = 100_000_000
        self.readable = True

    def _open(self, path: str, mode: str = "rb", block_size: int = 0, autocommit: bool = True, **options: Any) -> Any:
        if mode == "rb":
            if not self.readable:
                raise PermissionError(path)
            return io.BytesIO(self.objects[path])
        return Upload(self, path, mode, block_size=100_000, autocommit=autocommit)

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[str]:
        found = [name for name in self.objects if name.startswith(f"{path}/")]
        if not found:
            raise FileNotFoundError(path)
        return found

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return {"name": path, "size": len(self.objects[path]), "type": "file"}

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        raise AssertionError("a bucket is not made")

    makedirs = mkdir


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    made = ObjectStore()
    attach("s3", fs=made)
    yield made
    _STORE_CACHE.pop("s3")


def test_an_upload_to_an_object_store_is_completed_at_its_end_or_given_up(
    hook: Imap4Hook, deliver: Any, store: ObjectStore
) -> None:
    email = deliver(("small.csv", b"s"), ("big.csv", bytes(1_000_000)), ("empty.csv", b""))
    store.room = 500_000
    with pytest.raises(ImapError, match="the bucket is full"):
        hook.save(email, "s3://bucket/mails")
    assert (list(store.objects), store.under_way) == ([f"bucket/mails/{email['key']}/small.csv"], {})
    store.room = 2_000_000
    saved = hook.save(email, "s3://bucket/mails")
    assert [each["existed"] for each in saved] == [True, False, False]
    assert [len(content) for content in store.objects.values()] == [1, 1_000_000, 0]
    assert saved[1]["path"] == f"s3://bucket/mails/{email['key']}/big.csv"
    for on_exists in ("number", "overwrite"):
        before = dict(store.objects)
        assert all(each["existed"] for each in hook.save(email, "s3://bucket/mails", on_exists=on_exists))
        assert store.under_way == {}
        assert all(store.objects[name] is content for name, content in before.items())


def test_what_may_be_written_and_not_read_is_overwritten(
    hook: Imap4Hook, deliver: Any, store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    email = deliver(("a.csv", b"mine"))
    path = f"bucket/mails/{email['key']}/a.csv"
    store.objects[path] = b"else"
    store.readable = False
    [saved] = hook.save(email, "s3://bucket/mails", on_exists="overwrite")
    assert (saved["existed"], store.objects[path], store.under_way) == (False, b"mine", {})
    assert "cannot be compared with what is saved, and is overwritten" in caplog.text
    with pytest.raises(ImapError, match="PermissionError"):
        hook.save(email, "s3://bucket/mails", on_exists="number")
