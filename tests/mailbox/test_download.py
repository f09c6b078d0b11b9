"""Downloading: decoding in pieces gives what decoding the whole gives, and servers may answer as they like."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.errors import CutOffError, ImapError, LostConnectionError, ProtocolError, RefusedError
from airflow_imap_provider.mail.transfer import decode_transfer
from airflow_imap_provider.mailbox.download import decoded, download, part_content
from airflow_imap_provider.transport import partial
from airflow_imap_provider.transport.session import Session, open_session
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import settings_for

UU = [b"begin 644 a\n", b"#86)C\r\n", b"`\n", b"end\n"]

TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(b"\r\n", b"\n", b"=", b"==", b"=\r\n", b"=3D", b"=4", b" ", b"\t", b"!", b"QUJD", b"QQ=="),
                *(b"Footer", b"\x00\xff", *UU),
            ]
        ),
        st.binary(max_size=20),
    ),
    max_size=30,
).map(b"".join)


@given(
    TEXTS,
    st.sampled_from(["base64", "quoted-printable", "7bit", "x-uuencode", "x-unknown"]),
    st.lists(st.integers(0, 40)),
)
def test_decoding_in_pieces_gives_what_decoding_the_whole_gives(raw: bytes, encoding: str, cuts: list[int]) -> None:
    def pieces() -> Iterator[bytes]:
        begin = 0
        for length in cuts:
            yield raw[begin : begin + length]
            begin += length
        yield raw[begin:]

    assert b"".join(decoded(pieces(), encoding)) == decode_transfer(raw, encoding)


def test_a_line_without_end_is_not_kept_in_memory() -> None:
    pieces = [b"=41" * 30_000] * 10
    chunks = list(decoded(pieces, "Quoted-Printable "))
    assert b"".join(chunks) == b"A" * 300_000
    assert len(chunks) > 5


# --- on a real server ------------------------------------------------------------------------------------------------


def mail_with(content: bytes, encoding: str = "base64") -> bytes:
    coded = base64.encodebytes(content).replace(b"\n", b"\r\n") if encoding == "base64" else content
    return (
        b'Subject: s\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nHello.\r\n--b'
        b"\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=data\r\n"
        b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n\r\n" + coded + b"\r\n--b--\r\n"
    )


@pytest.fixture
def session(dovecot: Dovecot, user: User) -> Iterator[Session]:
    opened = open_session(dovecot.settings(user))
    yield opened
    opened.close()


@pytest.mark.parametrize("size", [0, 1, 100, 3_000_000, partial.PIECE * 57 // 78, 5 * partial.PIECE])
def test_attachments_of_any_size_come_whole(dovecot: Dovecot, user: User, session: Session, size: int) -> None:
    content = random.Random(size).randbytes(size)
    dovecot.deliver(user, mail_with(content))
    session.select("INBOX", readonly=True)
    assert part_content(session, 1, "2", "base64") == content
    session.noop()
    assert session.fetch([1], ["FLAGS"])[1][b"FLAGS"] in ((), (b"\\Recent",))


@pytest.mark.parametrize("content", [b"007", b"NIL", b"12", b'"quoted"', b"{5}", b"()"])
def test_content_that_looks_like_protocol_is_content(
    dovecot: Dovecot, user: User, session: Session, content: bytes
) -> None:
    dovecot.deliver(user, mail_with(content, "7bit"))
    session.select("INBOX", readonly=True)
    assert part_content(session, 1, "2", "7bit") == content


def test_a_download_that_is_broken_off_leaves_the_session_in_order(
    dovecot: Dovecot, user: User, session: Session
) -> None:
    dovecot.deliver(user, mail_with(bytes(6_000_000)))
    session.select("INBOX", readonly=True)
    with closing(download(session, 1, "2", "base64")) as chunks:
        next(chunks)
        with pytest.raises(ImapError, match="in use"):
            session.noop()
    session.noop()
    assert session.search(["ALL"]) == [1]
    assert len(part_content(session, 1, "2", "base64")) == 6_000_000


def test_a_mail_that_is_not_there_is_an_error(session: Session) -> None:
    session.select("INBOX", readonly=True)
    with pytest.raises(ImapError, match="gone"):
        part_content(session, 99, "1", "7bit")
    session.noop()


# --- servers that answer in their own ways ----------------------------------------------------------------------

CONTENT = random.Random(7).randbytes(2_000)
Answer = Callable[[int], "bytes | None"]


def serve(answer: Answer) -> Callable[[Peer], None]:
    """A server that answers the FETCH of an offset; ``None`` is the mail's absence."""

    def script(peer: Peer) -> None:
        peer.serve_inbox()
        while True:
            arguments = peer.expect("UID")
            if not arguments.startswith("FETCH"):
                raise AssertionError(arguments)
            found = re.search(r"<(\d+)\.\d+>", arguments)
            assert found is not None
            given = answer(int(found[1]))
            if given is None:
                peer.ok()
            elif given == b"NO":
                peer.no("behind the end")
            else:
                peer.send_raw(b"* 1 FETCH (UID 1 BODY[2]<%s> {%d}\r\n%s)\r\n" % (found[1].encode(), len(given), given))
                peer.ok()

    return script


def fetched(answer: Answer, octets: int = 0) -> bytes:
    with ScriptedServer(serve(answer)) as server:
        session = open_session(settings_for(server))
        try:
            session.select("INBOX", readonly=True)
            return part_content(session, 1, "2", "7bit", octets=octets)
        finally:
            session.close()


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if request.node.name.startswith("test_a_server"):
        monkeypatch.setattr(partial, "PIECE", 100)


def test_a_server_that_gives_less_than_asked_for_gives_all_in_the_end() -> None:
    assert fetched(lambda offset: CONTENT[offset : offset + 37]) == CONTENT


def test_a_server_that_gives_more_than_asked_for_doubles_nothing() -> None:
    assert fetched(lambda offset: CONTENT[offset : offset + 150]) == CONTENT


def test_a_server_that_refuses_what_lies_behind_the_end_has_given_all() -> None:
    assert fetched(lambda offset: CONTENT[offset : offset + 100] or b"NO", octets=len(CONTENT)) == CONTENT
    with pytest.raises(RefusedError):
        fetched(lambda offset: CONTENT[offset : offset + 100] if offset < 500 else b"NO", octets=len(CONTENT))


def test_a_server_whose_mail_vanishes_in_the_middle_is_no_end() -> None:
    with pytest.raises(ImapError, match="gone"):
        fetched(lambda offset: CONTENT[offset : offset + 100] if offset < 500 else None)


def test_a_server_that_gives_an_empty_piece_in_the_middle_is_asked_again() -> None:
    asked: list[int] = []

    def hole(offset: int) -> bytes:
        asked.append(offset)
        return b"" if offset == 300 and asked.count(300) == 1 else CONTENT[offset : offset + 100]

    assert fetched(hole, octets=len(CONTENT)) == CONTENT


def test_a_server_that_stops_after_a_full_piece_far_before_the_end_has_not_given_the_mail() -> None:
    def hole(offset: int) -> bytes:
        return CONTENT[offset : offset + 100] if offset < 300 else b""

    with pytest.raises(ProtocolError, match=f"gives 300 of the {len(CONTENT)} bytes"):
        fetched(hole, octets=len(CONTENT))
    assert fetched(hole, octets=330) == CONTENT[:300], "sizes may be reckoned"
    assert fetched(hole) == CONTENT[:300]


@pytest.mark.parametrize("longest", [100, 37])
def test_a_server_that_stops_anywhere_far_before_the_end_is_asked_again_and_has_not_given_the_mail(
    longest: int,
) -> None:
    asked: list[int] = []

    def stops(offset: int) -> bytes:
        asked.append(offset)
        return CONTENT[:333][offset : offset + longest]

    with pytest.raises(CutOffError, match=f"gives 333 of the {len(CONTENT)} bytes"):
        fetched(stops, octets=len(CONTENT))
    assert asked.count(333) == 2

    def pauses(offset: int) -> bytes:
        asked.append(offset)
        return CONTENT[offset : offset + 37] if offset != 37 * 9 or asked.count(offset) > 1 else b""

    asked.clear()
    assert fetched(pauses, octets=len(CONTENT)) == CONTENT
    assert fetched(stops, octets=350) == CONTENT[:333], "sizes may be reckoned"


def test_a_server_that_ignores_the_offset_and_gives_far_too_little_has_not_given_the_mail() -> None:
    def script(peer: Peer) -> None:
        peer.serve_inbox()
        for _ in range(2):
            peer.expect("UID")
            peer.send_raw(b"* 1 FETCH (UID 1 BODY[2] {%d}\r\n%s)\r\n" % (100, CONTENT[:100]))
            peer.ok()

    with ScriptedServer(script) as server:
        session = open_session(settings_for(server))
        session.select("INBOX", readonly=True)
        with pytest.raises(CutOffError, match="gives 100 of the 2000"):
            part_content(session, 1, "2", "7bit", octets=len(CONTENT))
        assert session.usable
        session.close()


def test_a_server_that_ignores_the_offset_is_believed_once() -> None:
    def script(peer: Peer) -> None:
        peer.serve_inbox()
        for _ in range(2):
            peer.expect("UID")
            peer.send_raw(b"* 1 FETCH (UID 1 BODY[2] {%d}\r\n%s)\r\n" % (len(CONTENT), CONTENT))
            peer.ok()

    with ScriptedServer(script) as server:
        session = open_session(settings_for(server))
        session.select("INBOX", readonly=True)
        assert part_content(session, 1, "2", "7bit") == CONTENT
        session.close()


def test_a_server_that_goes_away_in_the_middle_is_a_lost_connection() -> None:
    def script(peer: Peer) -> None:
        peer.serve_inbox()
        peer.expect("UID")
        peer.send_raw(b"* 1 FETCH (UID 1 BODY[2]<0> {100}\r\n" + CONTENT[:50])
        peer.close()

    with ScriptedServer(script) as server:
        session = open_session(settings_for(server))
        session.select("INBOX", readonly=True)
        with pytest.raises(LostConnectionError):
            part_content(session, 1, "2", "7bit")
        assert not session.usable
        session.close()


def emptied(size: bytes) -> Callable[[Peer], None]:
    """A server that gives nothing of its mail, and tells its size so."""

    def script(peer: Peer) -> None:
        peer.serve_inbox()
        while True:
            arguments = peer.expect("UID")
            if "RFC822.SIZE" in arguments:
                peer.ok(b"* 1 FETCH (UID 1 %s)" % size)
            else:
                peer.ok('* 1 FETCH (UID 1 BODY[]<0> "")')

    return script


@pytest.mark.parametrize(
    ("size", "octets"),
    [(b"RFC822.SIZE 50000", 50_000), (b"RFC822.SIZE 50000", 0), (b"FLAGS ()", 0)],
    ids=["told", "not known", "not told"],
)
def test_a_mail_of_which_nothing_comes_is_an_error(size: bytes, octets: int) -> None:
    with ScriptedServer(emptied(size)) as server:
        session = open_session(settings_for(server))
        session.select("INBOX", readonly=True)
        with pytest.raises(ImapError, match="does not give"):
            part_content(session, 1, "", "7bit", octets=octets)
        assert session.usable
        session.close()


def test_a_mail_that_is_empty_is_empty() -> None:
    with ScriptedServer(emptied(b"RFC822.SIZE 0")) as server:
        session = open_session(settings_for(server))
        session.select("INBOX", readonly=True)
        assert part_content(session, 1, "", "7bit") == b""
        session.close()
