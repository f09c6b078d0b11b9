"""HTTP CONNECT as transcripts."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_imap_provider.errors import ProxyAuthenticationError, ProxyError
from airflow_imap_provider.transport.proxy.credentials import Credentials
from airflow_imap_provider.transport.proxy.http_connect import http_connect
from airflow_imap_provider.transport.proxy.limits import MAX_BODY_BYTES, MAX_HEAD_BYTES
from airflow_imap_provider.transport.proxy.refusals import UnreachableError
from tests.transport.proxy.transcript import Transcript, check_refusal, play

JOE = Credentials("joe", "s3cret")
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
GREETING = b"* OK ready\r\n"
BASIC = 'Basic realm="r"'
# A message of type 2 as in MS-NLMP section 4.2.4.3: NTLMv2, target information, no data after it.
NTLM_CHALLENGE = base64.b64decode(
    "TlRMTVNTUAACAAAADAAMADgAAAAzgoriASNFZ4mrze8AAAAAAAAAACQAJABEAAAABgBwFwAAAA9TAGUAcgB2AGUAcgACAAwARABv"
    "AG0AYQBpAG4AAQAMAFMAZQByAHYAZQByAAAAAAA="
)
DIGEST = 'Digest realm="r", nonce="n", qop="auth"'


def wanted(
    *offers: str, body: bytes = b"<p>log in</p>", more: str = "", version: str = "1.1", size: bool = True
) -> bytes:
    lines = [f"HTTP/{version} 407 Proxy Authentication Required", *(f"Proxy-Authenticate: {one}" for one in offers)]
    if size:
        lines.append(f"Content-Length: {len(body)}")
    if more:
        lines.append(more)
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect(*connections: bytes, credentials: Credentials | None = JOE, method: str = "auto") -> Transcript:
    return play(http_connect("imap.example.com", 993, credentials, method=method, proxy_host="proxy"), *connections)


def test_the_request_names_the_host_and_nothing_is_proved_unasked() -> None:
    happened = connect(OK + GREETING)
    assert happened.sent == [
        b"CONNECT imap.example.com:993 HTTP/1.1\r\nHost: imap.example.com:993\r\nProxy-Connection: Keep-Alive\r\n\r\n"
    ]
    assert happened.left == GREETING


def test_an_ipv6_address_stands_in_brackets() -> None:
    happened = play(http_connect("2001:db8::1", 143, None), OK)
    assert happened.sent[0].startswith(b"CONNECT [2001:db8::1]:143 HTTP/1.1\r\nHost: [2001:db8::1]:143\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 200 \r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 200 OK\r\nVia: x\n\r\n",
        # RFC 9110 section 9.3.6: of no meaning here.
        b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 204 Fine\r\nX: y\r\n folded\r\nno header\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
)
def test_the_tunnel_begins_right_after_the_head(answer: bytes) -> None:
    assert connect(answer + GREETING).left == GREETING


@pytest.mark.parametrize(
    "refusal",
    [
        wanted(BASIC),
        wanted(BASIC, body=b""),
        wanted(BASIC, version="1.0", more="Proxy-Connection: keep-alive"),
        wanted(BASIC, body=b"3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n", size=False,
               more="Transfer-Encoding: chunked"),
    ],
    ids=["body", "empty", "HTTP/1.0", "chunked"],
)  # fmt: skip
def test_the_connection_is_kept_over_a_407_and_its_body_is_skipped(refusal: bytes) -> None:
    happened = connect(refusal + OK + GREETING)
    assert happened.connections == 1
    assert happened.left == GREETING
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"joe:s3cret") + b"\r\n" in happened.sent[1]


@pytest.mark.parametrize(
    "refusal",
    [
        wanted(BASIC, more="Connection: close"),
        wanted(BASIC, more="Proxy-Connection: Close"),
        wanted(BASIC, version="1.0"),
        wanted(BASIC, size=False),
        wanted(BASIC, size=False, more=f"Content-Length: {MAX_BODY_BYTES + 1}"),
        wanted(BASIC, size=False, more="Content-Length: -5"),
        wanted(BASIC, body=b"", more="Content-Length: 7"),
        wanted(BASIC)[:-1],
        wanted(BASIC, body=b"xyz\r\n", size=False, more="Transfer-Encoding: chunked"),
        wanted(BASIC, body=b"ffffffff\r\n", size=False, more="Transfer-Encoding: chunked"),
        wanted(BASIC, body=b"3\r\nab", size=False, more="Transfer-Encoding: chunked"),
        wanted(BASIC, body=b"3\r\nabcd\r\n", size=False, more="Transfer-Encoding: chunked"),
        wanted(BASIC, body=b"0\r\nTrailer", size=False, more="Transfer-Encoding: chunked"),
        wanted(BASIC, body=b"0\r\n" + b"t: u\r\n" * 2000, size=False, more="Transfer-Encoding: chunked"),
        wanted(BASIC, body=b"1\r\na\r\n" * 2000, size=False, more="Transfer-Encoding: chunked"),
        # It promised to keep it open, and closes when the next request comes.
        wanted(BASIC),
    ],
)
def test_a_new_connection_is_made_where_the_old_one_is_of_no_use(refusal: bytes) -> None:
    happened = connect(refusal, OK + GREETING)
    assert happened.connections == 2
    assert happened.left == GREETING
    assert b"Proxy-Authorization: Basic " in happened.sent[-1]


def test_digest_is_taken_where_it_is_offered_and_does_not_send_the_password() -> None:
    happened = connect(wanted(BASIC, DIGEST) + OK)
    assert b'Proxy-Authorization: Digest username="joe"' in happened.sent[1]
    assert b'uri="imap.example.com:993"' in happened.sent[1]
    assert base64.b64encode(b"joe:s3cret") not in b"".join(happened.sent)


@pytest.mark.parametrize("realm", ["Büro".encode(), "Büro".encode("latin-1")], ids=["utf-8", "latin-1"])
def test_a_realm_goes_back_as_the_bytes_that_it_came_as(realm: bytes) -> None:
    offer = (
        b'HTTP/1.1 407 x\r\nProxy-Authenticate: Digest realm="' + realm + b'", nonce="n"\r\nContent-Length: 0\r\n\r\n'
    )
    request = connect(offer + OK).sent[1]
    assert b'realm="' + realm + b'"' in request
    account = hashlib.md5(b"joe:" + realm + b":s3cret").hexdigest()
    target = hashlib.md5(b"CONNECT:imap.example.com:993").hexdigest()
    assert hashlib.md5(f"{account}:n:{target}".encode()).hexdigest().encode() in request


def test_a_stale_nonce_costs_another_round() -> None:
    happened = connect(wanted(DIGEST) + wanted('Digest realm="r", nonce="m", qop="auth", stale=true') + OK)
    assert b'nonce="m"' in happened.sent[2]


@pytest.mark.parametrize("offer", [BASIC, DIGEST, "NTLM"])
def test_a_proxy_that_wants_a_login_for_ever_is_believed_soon(offer: str) -> None:
    with pytest.raises(ProxyAuthenticationError, match="does not accept the login") as caught:
        connect(wanted(offer) * 20)
    assert "tunnel_password" in caught.value.remedy
    assert "407 Proxy Authentication Required" in caught.value.reply


def test_a_proxy_that_closes_after_each_request_is_given_up_soon() -> None:
    with pytest.raises(ProxyError, match="closed the connection"):
        connect(wanted(BASIC), b"", b"", b"")


def test_a_wrong_password_may_be_answered_with_401() -> None:
    with pytest.raises(ProxyAuthenticationError, match="does not accept the login by Basic"):
        connect(wanted(BASIC) + b"HTTP/1.1 401 Unauthorized\r\n\r\n")


def test_credentials_that_are_not_to_be_used_are_not_sent() -> None:
    with pytest.raises(ProxyAuthenticationError, match="wants a login"):
        connect(wanted(BASIC), credentials=None)


def test_ntlm_begins_again_on_a_new_connection_and_ends_on_the_same_one() -> None:
    with pytest.raises(ProxyAuthenticationError, match="message of NTLM cannot be read"):
        connect(wanted("NTLM", more="Connection: close"), wanted("NTLM TlRMTVNTUAACAAAA"))


@pytest.mark.parametrize("token", ["TlRM", "!", "TlRMTVNTUAACAAAA", base64.b64encode(b"\0" * 200).decode()])
def test_a_broken_message_of_ntlm_is_an_error_of_ours(token: str) -> None:
    with pytest.raises(ProxyAuthenticationError) as caught:
        connect(wanted("NTLM") + wanted(f"NTLM {token}"))
    assert caught.value.__cause__ is caught.value.__context__ is None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 120), st.binary(min_size=1, max_size=8), st.integers(0, 130))
def test_no_message_of_ntlm_raises_anything_else(place: int, change: bytes, size: int) -> None:
    token = bytearray(NTLM_CHALLENGE)
    token[place : place + len(change)] = change
    with pytest.raises(ProxyAuthenticationError) as caught:
        connect(wanted("NTLM") + wanted(f"NTLM {base64.b64encode(token[:size]).decode()}") + wanted("NTLM"))
    assert "s3cret" not in str(caught.value)


def test_ntlm_says_who_we_are_and_proves_it() -> None:
    challenge = base64.b64encode(NTLM_CHALLENGE).decode()
    happened = connect(
        wanted("NTLM") + wanted(f"NTLM {challenge}", more="Connection: close", size=False, body=b"") + OK + GREETING,
        credentials=Credentials("joe", "s3cret", "CORP"),
    )
    assert happened.left == GREETING
    assert happened.connections == 1
    proof = base64.b64decode(happened.sent[2].split(b"NTLM ")[1].split(b"\r\n")[0])
    assert "CORP".encode("utf-16-le") in proof
    assert "joe".encode("utf-16-le") in proof
    assert "s3cret".encode("utf-16-le") not in proof


def test_a_proof_of_ntlm_is_not_repeated_on_another_connection() -> None:
    challenge = base64.b64encode(NTLM_CHALLENGE).decode()
    with pytest.raises(ProxyError, match="closed the connection"):
        connect(wanted("NTLM") + wanted(f"NTLM {challenge}"), OK)
    with pytest.raises(ProxyError, match="a connection that stays open"):
        connect(wanted("NTLM") + wanted(f"NTLM {challenge}")[:-1], OK)


@pytest.mark.parametrize("code", [302, 400, 403, 404, 405, 418, 429, 500, 501, 502, 503, 504])
def test_a_refusal_is_explained(code: int) -> None:
    with pytest.raises(ProxyError, match=f"answers {code} to CONNECT") as caught:
        connect(f"HTTP/1.1 {code} So sorry\r\nX-Squid-Error: ERR_X 7\r\n\r\n".encode())
    assert caught.value.remedy
    assert caught.value.reply == f"{code} So sorry ERR_X 7"
    assert isinstance(caught.value, UnreachableError) == (code in {500, 502, 503, 504})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the connection"),
        (b"HT", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "no status"),
        (b"HTTP/9 200 OK\r\n\r\n", "no status"),
        (b"\5\xff", "is a SOCKS5 proxy"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "speaks TLS"),
        (GREETING, "this is an IMAP server, no proxy"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 50, "interim"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES, "more than 65536 bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000, "more than 65536 bytes"),
    ],
)
def test_another_answer_than_https_is_an_error(answer: bytes, words: str) -> None:
    with pytest.raises(ProxyError, match=words) as caught:
        connect(answer)
    assert caught.value.remedy


def test_a_head_just_below_the_limit_is_taken() -> None:
    head = b"HTTP/1.1 200 OK\r\nX: "
    head += b"x" * (MAX_HEAD_BYTES - len(head) - 4) + b"\r\n\r\n"
    assert len(head) == MAX_HEAD_BYTES
    assert connect(head + GREETING).left == GREETING


@given(st.binary(max_size=80), st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 407 x\r\nProxy-Authenticate: "]))
def test_no_answer_raises_anything_else(answer: bytes, beginning: bytes) -> None:
    try:
        connect(beginning + answer, beginning + answer, beginning + answer)
    except ProxyError as exc:
        check_refusal(exc)
