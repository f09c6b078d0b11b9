"""XOAUTH2 and OAUTHBEARER by themselves: the transcripts of Google and RFC 7628, and what servers answer."""

from __future__ import annotations

import base64

import pytest

from airflow_imap_provider.transport.bearer import OAuthBearer, XOAuth2
from airflow_imap_provider.transport.sasl import Mechanism, SaslError

TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
BOTH: list[Mechanism] = [XOAuth2("joe@example.com", TOKEN), OAuthBearer("joe@example.com", TOKEN, "h", 993)]


def test_xoauth2_as_google_has_published_it() -> None:
    token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
    encoded = (
        "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0"
        "Q2cBAQ=="
    )
    assert base64.b64encode(XOAuth2("someuser@example.com", token).initial or b"").decode() == encoded


def test_oauthbearer_as_in_rfc_7628() -> None:
    mechanism = OAuthBearer("user@example.com", TOKEN, "server.example.com", 143)
    encoded = (
        "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52"
        "YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    assert base64.b64encode(mechanism.initial or b"").decode() == encoded


def test_an_identity_cannot_break_out_of_oauthbearers_header() -> None:
    assert (OAuthBearer("a=b,c", "t", "h", 1).initial or b"").startswith(b"n,a=a=3Db=2Cc,\x01host=h\x01")
    assert (OAuthBearer("", "t", "h", 1).initial or b"").startswith(b"n,,\x01host=h\x01")


@pytest.mark.parametrize(
    ("challenge", "reason"),
    [
        (b'{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}',
         "status 401, schemes bearer mac, scope https://mail.google.com/"),
        (b'{"status":"invalid_token","openid-configuration":"https://x"}', "status invalid_token"),
        (b'{"status":400,"scope":["a"]}', "status 400"),
        (b"no JSON", "no JSON"),
        (b"[1]", "[1]"),
        (b"\xff", "\ufffd"),
        (b"", ""),
        (b"[" * 100_000, None),
    ],
)  # fmt: skip
def test_the_servers_reason_is_kept_and_acknowledged(challenge: bytes, reason: str | None) -> None:
    for mechanism, last_word in ((XOAuth2("joe", TOKEN), b""), (OAuthBearer("joe", TOKEN, "h", 1), b"\x01")):
        assert mechanism.refusal == ""
        assert mechanism.answer(challenge) == last_word
        assert reason is None or mechanism.refusal == reason
        with pytest.raises(SaslError, match="asks for more"):
            mechanism.answer(b"more")
        with pytest.raises(SaslError, match="success after having refused"):
            mechanism.finish()


@pytest.mark.parametrize("mechanism", BOTH)
def test_a_server_that_takes_the_token_owes_nothing(mechanism: Mechanism) -> None:
    mechanism.finish()
