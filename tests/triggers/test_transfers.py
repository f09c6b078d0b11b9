"""Saving and forwarding as actions of a trigger: after the commit, beside everything else, recorded mail by mail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mailbox.actions import Delete, Flag, Forward, MarkRead, Move, Save
from airflow_imap_provider.triggers import committer, courier
from airflow_imap_provider.triggers.email import EmailTrigger
from tests.hooks.test_saving import mail, tree
from tests.servers.dovecot import Dovecot, User
from tests.servers.smtp import Outbox
from tests.servers.waiting import until
from tests.triggers.mailbox_state import PLACE, committed, flags
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]


async def test_attachments_are_saved_between_the_actions_before_and_behind(
    dovecot: Dovecot, user: User, state: State, triggerer: Triggerer, trigger: Make, tmp_path: Path
) -> None:
    triggerer.add(trigger(on_match=[MarkRead(), Save(str(tmp_path)), Flag(), Move("Done", create=True)]))
    dovecot.deliver_all(user, [mail((f"{n}.csv", b"x"), subject=f"mail {n}") for n in range(5)])
    await until(lambda: committed(state) == 5 and not state.get(PLACE)["todo"], "all is done", 30)
    assert sorted(Path(name).name for name in tree(tmp_path)) == [f"{n}.csv" for n in range(5)]
    moved = flags(dovecot, user, "Done")
    assert len(moved) == 5
    assert all("Seen" in each and "Flagged" in each for each in moved.values())
    assert flags(dovecot, user) == {}


async def test_a_storage_that_fails_repeats_only_what_is_missing_and_never_lets_a_mail_be_deleted(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(committer, "ACTION_RETRY", (0.05, 0.05))
    (tmp_path / "file").write_text("in the way")
    triggerer.add(trigger(on_match=[Save(str(tmp_path / "file")), Flag(), Delete()]))
    dovecot.deliver_all(user, [mail(("a.csv", b"x"), subject=f"mail {n}") for n in range(2)])
    await until(lambda: committed(state) == 2 and not state.get(PLACE)["todo"], "it is given up", 30)
    assert caplog.text.count("is given up") == 2
    assert "are not deleted" in caplog.text
    assert all("Flagged" in each for each in flags(dovecot, user).values())
    assert len(flags(dovecot, user)) == 2


async def test_a_mail_that_fails_holds_up_no_other(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "mails"
    folder.mkdir()
    (folder / "1.csv").write_text("another")
    triggerer.add(trigger(on_match=[Save(str(folder), folder_per_mail=False, on_exists="fail"), Flag()]))
    dovecot.deliver_all(user, [mail((f"{n}.csv", b"x"), subject=f"mail {n}") for n in range(4)])
    await until(
        lambda: sum("Flagged" in each for each in flags(dovecot, user).values()) == 3, "the others are done", 30
    )
    await until(lambda: [owed["uids"] for owed in state.get(PLACE)["todo"]] == [[[2, 2]]], "one is owed still")
    dovecot.deliver(user, mail(("new.csv", b"x"), subject="new"))
    await until((folder / "new.csv").exists, "and new mail is not held up", 30)
    (folder / "1.csv").unlink()
    await until(lambda: not state.get(PLACE)["todo"], "it is made good", 60)


async def test_new_mail_is_told_while_a_save_takes_its_time(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import threading

    go_on = threading.Event()
    plain = courier.Courier._carry

    def slow(self: courier.Courier, *arguments: object) -> bool:
        assert go_on.wait(60)
        return plain(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(courier.Courier, "_carry", slow)
    triggerer.add(trigger(on_match=[Save(str(tmp_path)), Flag()]))
    dovecot.deliver(user, mail(("1.csv", b"x"), subject="one"))
    await until(lambda: committed(state) == 1, "the save is under way", 30)
    dovecot.deliver(user, mail(("2.csv", b"x"), subject="two"))
    await until(lambda: triggerer.subjects == ["one", "two"] and committed(state) == 2, "told and committed", 30)
    go_on.set()
    await until(lambda: not state.get(PLACE)["todo"], "both are saved", 30)
    assert len(tree(tmp_path)) == 2
    assert all("Flagged" in each for each in flags(dovecot, user).values())


async def test_a_crash_in_a_save_repeats_it_and_doubles_no_file(
    dovecot: Dovecot, user: User, state: State, trigger: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Triggerer(state, [])
    plain = committer.Committer._record

    async def never(self: committer.Committer) -> None:
        import asyncio

        await asyncio.Event().wait()

    monkeypatch.setattr(committer.Committer, "_record", never)
    first.add(trigger(on_match=[Save(str(tmp_path)), Flag()]))
    dovecot.deliver(user, mail(("a.csv", b"x")))
    await until(lambda: bool(tree(tmp_path)), "saved, and not recorded", 30)
    await first.kill()
    monkeypatch.setattr(committer.Committer, "_record", plain)
    second = Triggerer(state, [])
    second.add(trigger(on_match=[Save(str(tmp_path)), Flag()]))
    await until(lambda: not state.get(PLACE)["todo"], "it is made good", 30)
    assert len(tree(tmp_path)) == 1
    assert list(flags(dovecot, user).values()) == [flags(dovecot, user)["s"]]
    assert "Flagged" in flags(dovecot, user)["s"]
    await second.kill()


async def test_of_mails_in_one_message_those_that_can_go_go_once_however_often_it_is_tried(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(committer, "ACTION_RETRY", (0.05, 0.05))
    dovecot.deliver_all(user, [mail((f"{n}.csv", bytes(n)), subject=str(n)) for n in (1, 9000, 2)])
    with Outbox() as outbox:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", outbox.connection())
        forward = Forward("ann@example.com", separate=False, max_size="5 KB")
        triggerer.add(trigger(start="all", on_match=[forward, Delete()]))
        await until(lambda: committed(state) == 3 and not state.get(PLACE)["todo"], "it is given up", 30)
        assert [message["Subject"] for message in outbox.messages] == ["Fwd: 1 (and 1 more)"]
    assert "1 of 3 mails are not forwarded" in caplog.text
    assert set(flags(dovecot, user)) == {"1", "9000", "2"}, "nothing is deleted, since forwarding failed"


def test_a_path_that_is_none_is_named_when_the_dag_file_is_parsed() -> None:
    with pytest.raises(SettingsError, match="absolute path"):
        EmailTrigger(on_match=[Save("mails")])
