"""SOCKS4, SOCKS4a and SOCKS5 as transcripts, compared with PySocks where PySocks is right."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
import socks
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.errors import ProxyAuthenticationError, ProxyError
from airflow_imap_provider.transport.proxy.credentials import Credentials
from airflow_imap_provider.transport.proxy.refusals import UnreachableError
from airflow_imap_provider.transport.proxy.socks4 import socks4_connect
from airflow_imap_provider.transport.proxy.socks5 import socks5_connect
from tests.transport.proxy.transcript import check_refusal, play

JOE = Credentials("joe", "s3cret")
GRANTED4 = b"\0\x5a" + b"\0" * 6
DONE5 = b"\5\0\0\1\x7f\0\0\1\x04\xd2"
GREETING = b"* OK ready\r\n"


def test_socks4_asks_for_an_address_as_a_user() -> None:
    happened = play(socks4_connect("192.0.2.7", 993, JOE), GRANTED4 + GREETING)
    assert happened.sent == [b"\x04\x01\x03\xe1\xc0\x00\x02\x07joe\0"]
    assert happened.left == GREETING


def test_socks4a_asks_for_a_name() -> None:
    happened = play(socks4_connect("imap.example.com", 143, None), GRANTED4)
    assert happened.sent == [b"\x04\x01\x00\x8f\0\0\0\1\0imap.example.com\0"]


def test_socks4_cannot_carry_ipv6() -> None:
    with pytest.raises(ProxyError, match="no IPv6") as caught:
        play(socks4_connect("2001:db8::1", 993, None), b"")
    assert "socks5" in caught.value.remedy


@pytest.mark.parametrize("code", [0x5B, 0x5C, 0x5D, 0x77])
def test_a_refusal_of_socks4_is_explained(code: int) -> None:
    with pytest.raises(ProxyError, match=str(code)) as caught:
        play(socks4_connect("192.0.2.7", 993, None), bytes([0, code]) + b"\0" * 6)
    assert caught.value.remedy
    assert caught.value.stage == "proxy"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed"),
        (b"\0", "closed"),
        (GRANTED4[:-1], "closed"),
        (b"HTTP/1.1 400", "is an HTTP proxy or a web server"),
        (b"\5\xff", "is a SOCKS5 proxy"),
    ],
)
def test_another_answer_than_socks4s_is_an_error(answer: bytes, words: str) -> None:
    with pytest.raises(ProxyError, match=words):
        play(socks4_connect("192.0.2.7", 993, None), answer)


@pytest.mark.parametrize(
    ("host", "destination"),
    [
        ("192.0.2.7", b"\1\xc0\0\2\7"),
        ("2001:db8::1", b"\4\x20\1\x0d\xb8" + b"\0" * 11 + b"\1"),
        ("imap.example.com", b"\3\x10imap.example.com"),
        ("x" * 63 + ".example.com", b"\3\x4b" + b"x" * 63 + b".example.com"),
    ],
)
def test_socks5_asks_without_a_login(host: str, destination: bytes) -> None:
    happened = play(socks5_connect(host, 993, None), [b"\5\0", DONE5, GREETING])
    assert happened.sent == [b"\5\1\0", b"\5\1\0" + destination + b"\x03\xe1"]
    assert happened.left == GREETING


def test_socks5_logs_in_if_the_proxy_wants_it() -> None:
    happened = play(socks5_connect("192.0.2.7", 993, JOE), [b"\5\2", b"\1\0", DONE5])
    assert happened.sent[:2] == [b"\5\2\0\2", b"\1\3joe\6s3cret"]


def test_socks5_keeps_the_password_to_itself_if_the_proxy_does_not_want_it() -> None:
    happened = play(socks5_connect("192.0.2.7", 993, JOE), [b"\5\0", DONE5])
    assert b"s3cret" not in b"".join(happened.sent)


def test_credentials_of_255_bytes_and_an_empty_password_are_sent_as_they_are() -> None:
    long = Credentials("ü" * 127, "p" * 255)
    login = play(socks5_connect("192.0.2.7", 993, long), [b"\5\2", b"\1\0", DONE5]).sent[1]
    assert login == b"\1\xfe" + "ü".encode() * 127 + b"\xff" + b"p" * 255
    login = play(socks5_connect("192.0.2.7", 993, Credentials("joe")), [b"\5\2", b"\1\0", DONE5]).sent[1]
    assert login == b"\1\3joe\0"


@pytest.mark.parametrize("credentials", [Credentials("j" * 256, "p"), Credentials("joe", "ü" * 128)])
def test_longer_credentials_are_refused_before_anything_is_sent(credentials: Credentials) -> None:
    with pytest.raises(ProxyAuthenticationError, match="256 bytes; SOCKS5 carries 255"):
        play(socks5_connect("192.0.2.7", 993, credentials), b"")


@pytest.mark.parametrize(
    ("credentials", "answer", "words"),
    [
        (None, b"\5\xff", "wants a login"),
        (JOE, b"\5\xff", "neither a connection without a login"),
        (JOE, b"\5\2\1\1", "does not accept the login"),
    ],
)
def test_a_login_that_is_missing_or_refused_says_what_to_do(
    credentials: Credentials | None, answer: bytes, words: str
) -> None:
    with pytest.raises(ProxyAuthenticationError, match=words) as caught:
        play(socks5_connect("192.0.2.7", 993, credentials), answer)
    assert caught.value.remedy
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("code", [*range(1, 9), 200])
def test_a_refusal_of_socks5_is_explained(code: int) -> None:
    # Only the beginning of the answer, as some proxies do.
    with pytest.raises(ProxyError, match=f"{code}: ") as caught:
        play(socks5_connect("192.0.2.7", 993, None), [b"\5\0", bytes([5, code])])
    assert caught.value.remedy
    assert isinstance(caught.value, UnreachableError) == (code in {1, 3, 4, 5, 6, 8})


@pytest.mark.parametrize(
    "bound", [b"\1\x7f\0\0\1", b"\4" + b"\0" * 16, b"\3\x09proxy.lan", b"\3\0"], ids=["ipv4", "ipv6", "name", "empty"]
)
def test_the_address_that_the_proxy_tells_is_read_to_its_last_byte(bound: bytes) -> None:
    happened = play(socks5_connect("192.0.2.7", 993, None), [b"\5\0", b"\5\0\0" + bound + b"\x04\xd2", GREETING])
    assert happened.left == GREETING


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed"),
        (b"\5", "closed"),
        (b"HT", "does not speak SOCKS5"),
        (b"\5\2", "was not offered"),
        (b"\5\1", "was not offered"),
        (b"\5\0", "closed"),
        (b"\5\0\5", "closed"),
        (b"\5\0\4\0", "does not speak SOCKS5"),
        (b"\5\0\5\0\0", "closed"),
        (b"\5\0" + DONE5[:-1], "closed"),
        (b"\5\0\5\0\0\3", "closed"),
        (b"\5\0\5\0\0\7", "unknown type 7"),
    ],
)
def test_another_answer_than_socks5s_is_an_error(answer: bytes, words: str) -> None:
    with pytest.raises(ProxyError, match=words):
        play(socks5_connect("192.0.2.7", 993, None), answer)


def test_a_proxy_that_closes_after_the_login_may_not_accept_it() -> None:
    for answer in (b"\5\2", b"\5\2\1"):
        with pytest.raises(ProxyAuthenticationError, match="Proxy password"):
            play(socks5_connect("192.0.2.7", 993, JOE), answer)


@given(st.binary(max_size=40), st.sampled_from([b"", b"\5\0", b"\5\2\1\0", b"\0\x5a"]))
def test_no_answer_raises_anything_else(answer: bytes, beginning: bytes) -> None:
    for handshake in (socks4_connect("192.0.2.7", 993, JOE), socks5_connect("imap.example.com", 993, JOE)):
        try:
            play(handshake, beginning + answer)
        except ProxyError as exc:
            check_refusal(exc)


# -- PySocks as a second opinion --------------------------------------------------------------------------------------


def said_by_pysocks(kind: int, host: str, answers: list[tuple[int, bytes]], **options: Any) -> bytes:
    """What PySocks sends to a proxy that gives each answer after so many bytes."""
    heard = bytearray()

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as peer:
            peer.settimeout(10)
            for size, answer in answers:
                heard.extend(peer.recv(size, socket.MSG_WAITALL))
                peer.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with socks.socksocket() as client:
            client.settimeout(10)
            client.set_proxy(kind, *listener.getsockname(), **options)
            client.connect((host, 993))
        thread.join(10)
    return bytes(heard)


@pytest.mark.parametrize("host", ["192.0.2.7", "imap.example.com"])
@pytest.mark.parametrize("login", [None, Credentials("joe"), Credentials("ü" * 200)])
def test_socks4_is_byte_for_byte_what_pysocks_sends(host: str, login: Credentials | None) -> None:
    ours = b"".join(play(socks4_connect(host, 993, login), GRANTED4).sent)
    options = {"username": login.login} if login else {}
    assert said_by_pysocks(socks.SOCKS4, host, [(len(ours), GRANTED4)], rdns=True, **options) == ours


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::1", "imap.example.com"])
@pytest.mark.parametrize("login", [None, JOE])
def test_socks5_is_byte_for_byte_what_pysocks_sends(host: str, login: Credentials | None) -> None:
    answers = [b"\5\2", b"\1\0", DONE5] if login else [b"\5\0", DONE5]
    sent = play(socks5_connect(host, 993, login), answers).sent
    options = {"username": login.login, "password": login.password} if login else {}
    said = said_by_pysocks(socks.SOCKS5, host, list(zip(map(len, sent), answers, strict=True)), rdns=True, **options)
    assert said == b"".join(sent)
