"""The session against a second server with a mind of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Settings
from airflow_imap_provider.errors import AuthenticationError
from tests.servers.pymap_server import PymapServer
from tests.servers.waiting import until
from tests.transport.conftest import Opener

MAIL = b"Subject: hello\r\n\r\ntext\r\n"


@pytest.fixture
def settings() -> Iterator[Settings]:
    with PymapServer("alice", "s3cret") as server:
        auth = AuthSettings(login="alice", password="s3cret")
        yield Settings(conn_id="pymap", host=server.host, port=server.port, security="none", timeout=5, auth=auth)


def test_mails_are_found_read_and_changed(opened: Opener, settings: Settings) -> None:
    session = opened(settings)
    session.client.append("INBOX", MAIL)
    assert session.select("INBOX", readonly=False).exists == 1
    (uid,) = session.search(["SUBJECT", "hello"])
    assert session.fetch([uid], ["BODY.PEEK[]"])[uid][b"BODY[]"] == MAIL
    session.add_flags([uid], [r"\Deleted"])
    session.expunge([uid])
    assert session.search(["ALL"]) == []


async def test_idle_announces_mail(opened: Opener, settings: Settings) -> None:
    session = await asyncio.to_thread(opened, settings)
    await asyncio.to_thread(session.select, "INBOX", readonly=True)
    seen: list[bool] = []
    channel = session.idle_channel()
    channel.start(asyncio.get_running_loop(), lambda: seen.append(True), lambda _: None)
    other = await asyncio.to_thread(opened, settings)
    await asyncio.to_thread(other.client.append, "INBOX", MAIL)
    await until(lambda: bool(seen), "the announcement")
    await channel.stop()
    assert len(await asyncio.to_thread(session.search, ["ALL"])) == 1


def test_a_wrong_password_is_refused(opened: Opener, settings: Settings) -> None:
    wrong = Settings(
        conn_id="pymap",
        host=settings.host,
        port=settings.port,
        security="none",
        auth=AuthSettings(login="alice", password="x"),
    )
    with pytest.raises(AuthenticationError):
        opened(wrong)
