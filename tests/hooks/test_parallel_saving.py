"""Several save into one folder at the same time: nobody's file takes the place of another's, whatever the storage."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.io import attach
from airflow.sdk.io.store import _STORE_CACHE
from fsspec.implementations.local import LocalFileOpener
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.hooks.storage import ObjectStorage
from tests.hooks.test_saving import ObjectStore, Upload, mail, tree
from tests.servers.dovecot import Dovecot, User
from tests.triggers.conftest import connection

SAVERS = 4


class Meeting:
    """Lets the first write of each saver wait until all have come as far: by then each has chosen a name."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(SAVERS)
        self._met = threading.local()

    def __call__(self) -> None:
        if not getattr(self._met, "done", False):
            self._met.done = True
            self._barrier.wait(60)


@pytest.fixture
def save_all(
    dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[list[dict[str, Any]] | ImapError]]:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))

    def saved(path: str, contents: list[bytes], **options: Any) -> list[list[dict[str, Any]] | ImapError]:
        dovecot.deliver_all(user, [mail(("report.csv", content)) for content in contents])
        with Imap4Hook("mailbox") as hook:
            emails = hook.search()

        def one(email: dict[str, Any]) -> list[dict[str, Any]] | ImapError:
            try:
                with Imap4Hook("mailbox") as own:
                    return own.save(email, path, folder_per_mail=False, **options)
            except ImapError as error:
                return error

        with ThreadPoolExecutor(SAVERS) as pool:
            return list(pool.map(one, emails))

    return saved


@pytest.fixture(params=["links", "no links"])
def local(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting, plain = Meeting(), LocalFileOpener.write

    def write(self: Any, data: bytes) -> int:
        meeting()
        return int(plain(self, data))

    monkeypatch.setattr(LocalFileOpener, "write", write)
    if request.param == "no links":

        def refused(*arguments: Any, **options: Any) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refused)


CONTENTS = [b"one", b"two", b"three", b"four"]
NAMES = ["report (2).csv", "report (3).csv", "report (4).csv", "report.csv"]


@pytest.mark.usefixtures("local")
def test_files_of_one_name_get_numbers(save_all: Any, tmp_path: Path) -> None:
    results = save_all(str(tmp_path), CONTENTS)
    files = tree(tmp_path)
    assert sorted(files) == NAMES
    told = {Path(saved["path"]).name: content for [saved], content in zip(results, CONTENTS, strict=True)}
    assert files == told


@pytest.mark.usefixtures("local")
def test_with_fail_one_has_the_name_and_the_others_are_told(save_all: Any, tmp_path: Path) -> None:
    results = save_all(str(tmp_path), CONTENTS, on_exists="fail")
    errors = [result for result in results if isinstance(result, ImapError)]
    assert len(errors) == SAVERS - 1
    assert all("is there already, with another content" in str(error) for error in errors)
    [[saved]] = [result for result in results if not isinstance(result, ImapError)]
    assert tree(tmp_path) == {"report.csv": CONTENTS[results.index([saved])]}


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize("local", ["links"], indirect=True)
@pytest.mark.parametrize("on_exists", ["number", "fail"])
def test_the_same_content_is_there_once(save_all: Any, tmp_path: Path, on_exists: str) -> None:
    results = save_all(str(tmp_path), [b"same"] * SAVERS, on_exists=on_exists)
    assert tree(tmp_path) == {"report.csv": b"same"}
    assert sorted(saved["existed"] for [saved] in results) == [False, True, True, True]


@pytest.mark.usefixtures("local")
def test_with_overwrite_the_last_one_stays(save_all: Any, tmp_path: Path) -> None:
    save_all(str(tmp_path), CONTENTS, on_exists="overwrite")
    [(name, content)] = tree(tmp_path).items()
    assert name == "report.csv"
    assert content in CONTENTS


class Refusing(Upload):
    """What stores do that know the header If-None-Match and refuse it, and s3fs makes of it."""

    def commit(self) -> None:
        if "x" in self.mode:
            cause = RuntimeError("NotImplemented")
            cause.response = {"Error": {"Code": "NotImplemented"}}  # type: ignore[attr-defined]
            raise OSError(
                errno.ENOSYS, "A header you provided implies functionality that is not implemented"
            ) from cause
        super().commit()


class Conflicting(Upload):
    """What S3 answers to an upload that ends while another one of the same name does."""

    def commit(self) -> None:
        if self.path in self.fs.objects:
            cause = RuntimeError("ConditionalRequestConflict")
            cause.response = {"Error": {"Code": "ConditionalRequestConflict"}}  # type: ignore[attr-defined]
            raise OSError(errno.EIO, "The conditional request cannot succeed due to a conflicting operation") from cause
        super().commit()


class Early(Upload):
    """An upload of GCS: the condition is looked at when it begins, too."""

    def _initiate_upload(self) -> None:
        if "x" in self.mode and self.path in self.fs.objects:
            raise FileExistsError(self.path)
        super()._initiate_upload()


class Store(ObjectStore):
    kind: type[Upload] = Upload
    modes: tuple[str, ...] = ("wb", "xb")

    def __init__(self) -> None:
        super().__init__()
        self.meeting = Meeting()
        self.opened: list[str] = []

    def _open(self, path: str, mode: str = "rb", block_size: int = 0, autocommit: bool = True, **options: Any) -> Any:
        if mode == "rb":
            return super()._open(path, mode)
        if mode not in self.modes:
            raise NotImplementedError("File mode not supported")
        self.opened.append(mode)
        if not autocommit:
            self.meeting()
        return self.kind(self, path, mode, block_size=4, autocommit=autocommit)


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    attach("s3", fs=made)
    yield made
    _STORE_CACHE.pop("s3")


@pytest.mark.parametrize("kind", [Upload, Conflicting, Early])
def test_an_upload_is_completed_on_the_condition_that_the_name_is_free(
    save_all: Any, store: Store, kind: type[Upload], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "kind", kind)
    results = save_all("s3://bucket", CONTENTS)
    assert sorted(store.objects) == [f"bucket/{name}" for name in NAMES]
    assert sorted(store.objects.values()) == sorted(CONTENTS)
    assert all(len(result) == 1 for result in results)
    assert set(store.opened) == {"xb"}
    assert store.under_way == {}


@pytest.mark.parametrize("content", [b"", b"x", b"xxxxxxxx"])
def test_an_upload_of_any_size_leaves_what_is_there(
    store: Store, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(Store, "_open", ObjectStore._open)
    draft = ObjectStorage("s3://bucket").draft("a", replace=False)
    draft.write(content)
    store.objects["bucket/a"] = b"another's"
    assert not draft.commit("a")
    draft.discard()
    assert (store.objects, store.under_way) == ({"bucket/a": b"another's"}, {})


@pytest.mark.parametrize(("kind", "modes"), [(Refusing, ("wb", "xb")), (Upload, ("wb",))])
def test_a_store_without_conditions_gets_the_files_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, save_all: Any, kind: type[Upload], modes: tuple[str, ...]
) -> None:
    monkeypatch.setattr(Store, "kind", kind)
    monkeypatch.setattr(Store, "modes", modes)
    monkeypatch.setattr(store, "meeting", lambda: None)
    for content in CONTENTS:
        storage = ObjectStorage("s3://bucket")
        for _ in range(2):
            draft = storage.draft("a", replace=False)
            draft.write(content)
            if draft.commit("a"):
                break
            draft.discard()
    assert store.objects == {"bucket/a": CONTENTS[0]}
    assert "wb" in store.opened


def test_where_there_is_only_a_move_what_is_there_by_now_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    attach("memory", fs=MemoryFileSystem())
    storage = ObjectStorage("memory://parallel")
    first, second = storage.draft("a", replace=False), storage.draft("a", replace=False)
    for draft, content in ((first, b"1"), (second, b"2")):
        draft.write(content)
    assert first.commit("a")
    assert not second.commit("a")
    assert second.commit("b")
    kept: dict[str, MemoryFile] = MemoryFileSystem.store
    assert {name: file.getvalue() for name, file in kept.items()} == {"/parallel/a": b"1", "/parallel/b": b"2"}


def test_a_name_that_cannot_be_given_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = ObjectStorage(str(tmp_path)).draft("a", replace=False)
    draft.write(b"x")

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "hardlink_to", full)
    with pytest.raises(ImapError, match="No space left"):
        draft.commit("a")
    draft.discard()
    assert tree(tmp_path) == {}
