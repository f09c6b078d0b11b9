"""Proxy-Authenticate and the answers to it."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.errors import ProxyAuthenticationError
from airflow_imap_provider.transport.proxy.challenges import Challenge, parse_challenges
from airflow_imap_provider.transport.proxy.credentials import Credentials
from airflow_imap_provider.transport.proxy.digest import DigestLogin, digest_strength
from airflow_imap_provider.transport.proxy.http_auth import BasicLogin, choose_login

JOE = Credentials("joe", "s3cret")
MUFASA = Credentials("Mufasa", "Circle of Life")


def digest(**parameters: str) -> Challenge:
    return Challenge("digest", parameters={"realm": "r", "nonce": "n", **parameters})


# -- reading what is offered ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "offers"),
    [
        ("NTLM", [Challenge("ntlm")]),
        ("NTLM TlRMTVNTUAACAAAA", [Challenge("ntlm", "TlRMTVNTUAACAAAA")]),
        ("NTLM TlRM/+A==", [Challenge("ntlm", "TlRM/+A==")]),
        ("NTLM TlRMQQ=", [Challenge("ntlm", "TlRMQQ=")]),
        ('Basic realm="a, \\"b\\" = c"', [Challenge("basic", parameters={"realm": 'a, "b" = c'})]),
        (
            'Negotiate, NTLM, Basic realm="x" , Digest realm=y, QOP="auth,auth-int", nonce="="',
            [
                Challenge("negotiate"),
                Challenge("ntlm"),
                Challenge("basic", parameters={"realm": "x"}),
                Challenge("digest", parameters={"realm": "y", "qop": "auth,auth-int", "nonce": "="}),
            ],
        ),
        (" , ,Basic", [Challenge("basic")]),
        ("", []),
        ('"', []),
    ],
)
def test_offers_are_read_however_they_are_written(value: str, offers: list[Challenge]) -> None:
    assert parse_challenges([value]) == offers


@given(st.text(alphabet='abc="\\, \t/NTLM', max_size=60))
def test_nothing_that_is_offered_stops_the_reader(value: str) -> None:
    parse_challenges([value])


# -- Digest -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616(algorithm: str, response: str) -> None:
    challenge = Challenge(
        "digest",
        parameters={
            "realm": "http-auth@example.org",
            "qop": "auth, auth-int",
            "algorithm": algorithm,
            "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
        },
    )
    login = DigestLogin(
        MUFASA,
        "/dir/index.html",
        method="GET",
        new_nonce=lambda: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert login.answer([challenge]) == (
        'Digest username="Mufasa", realm="http-auth@example.org", '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", uri="/dir/index.html", qop=auth, nc=00000001, '
        f'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", response="{response}", algorithm={algorithm}, '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )


@pytest.mark.parametrize(("algorithm", "name"), [("MD5-sess", "md5"), ("SHA-256-sess", "sha256")])
@pytest.mark.parametrize("qop", ["auth", None])
def test_sess_hashes_the_nonces_into_the_account(algorithm: str, name: str, qop: str | None) -> None:
    def h(text: str) -> str:
        return hashlib.new(name, text.encode()).hexdigest()

    given_qop = {"qop": qop} if qop else {}
    answer = DigestLogin(JOE, "h:993", new_nonce=lambda: "c").answer([digest(algorithm=algorithm, **given_qop)])
    account = h("joe:r:s3cret")
    account = h(f"{account}:n:c")
    middle = "n:00000001:c:auth" if qop else "n"
    assert answer is not None
    request = h("CONNECT:h:993")
    assert h(f"{account}:{middle}:{request}") in answer
    assert 'cnonce="c"' in answer


def test_without_qop_the_answer_is_that_of_rfc_2069() -> None:
    def h(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    answer = DigestLogin(JOE, "h:993").answer([digest()])
    account, request = h("joe:r:s3cret"), h("CONNECT:h:993")
    expected = h(f"{account}:n:{request}")
    assert answer == f'Digest username="joe", realm="r", nonce="n", uri="h:993", response="{expected}"'


def test_the_strongest_algorithm_that_is_known_is_taken() -> None:
    answer = DigestLogin(JOE, "h:993").answer(
        [digest(), digest(algorithm="SHA-512-256"), digest(algorithm="SHA-256"), digest(algorithm="MD5")]
    )
    assert answer is not None
    assert "algorithm=SHA-256" in answer


@pytest.mark.parametrize(
    "challenge", [digest(qop="auth-int"), digest(algorithm="X"), Challenge("digest", parameters={"realm": "r"})]
)
def test_what_cannot_be_answered_counts_as_not_offered(challenge: Challenge) -> None:
    assert digest_strength(challenge) == 0
    assert DigestLogin(JOE, "h:993").answer([challenge]) is None


def test_a_machine_without_md5_takes_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    new = hashlib.new

    def without_md5(name: str, *args: object, **options: object) -> object:
        if name == "md5":
            raise ValueError("unsupported hash type md5")
        return new(name, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "new", without_md5)
    assert digest_strength(digest()) == 0
    offers = [digest(), BASIC]
    assert choose_login(offers, "auto", JOE, target="h:1", proxy_host="p").name == "Basic"
    assert digest_strength(digest(algorithm="SHA-256")) == 2


def test_a_stale_nonce_is_answered_again_and_a_wrong_password_is_not() -> None:
    login = DigestLogin(JOE, "h:993")
    assert login.answer([digest()])
    assert login.answer([digest(nonce="m", stale="TRUE")])
    assert login.answer([digest(nonce="l", stale="false")]) is None


def test_a_nonce_that_is_always_stale_comes_to_an_end() -> None:
    login = DigestLogin(JOE, "h:993")
    answers = [login.answer([digest(stale="true")]) for _ in range(5)]
    assert [bool(answer) for answer in answers] == [True, True, True, False, False]


def test_each_answer_has_a_nonce_of_its_own() -> None:
    answers = {DigestLogin(JOE, "h:993").answer([digest(qop="auth")]) for _ in range(20)}
    assert len(answers) == 20


@pytest.mark.parametrize(
    ("charset", "written"), [("UTF-8", "username*=UTF-8''j%C3%B6"), ("", 'username="jö"')], ids=["utf-8", "none"]
)
def test_a_username_that_is_not_ascii_is_written_as_the_proxy_can_read_it(charset: str, written: str) -> None:
    answer = DigestLogin(Credentials("jö", "x"), "h:993").answer([digest(charset=charset)])
    assert answer is not None
    assert written in answer


def test_quotation_marks_in_a_username_are_escaped() -> None:
    answer = DigestLogin(Credentials('a"b\\c', "x"), "h:993").answer([digest()])
    assert answer is not None
    assert r'username="a\"b\\c"' in answer


# -- choosing ---------------------------------------------------------------------------------------------------------

BASIC, NTLM, DIGEST = Challenge("basic"), Challenge("ntlm"), digest()


@pytest.mark.parametrize(
    ("offers", "method", "domain", "taken"),
    [
        ([BASIC, NTLM, DIGEST], "auto", "", "Digest"),
        ([BASIC, NTLM, DIGEST], "auto", "CORP", "NTLM"),
        ([BASIC, DIGEST], "auto", "CORP", "Digest"),
        ([BASIC, NTLM], "auto", "", "NTLM"),
        ([BASIC, digest(qop="auth-int")], "auto", "", "Basic"),
        ([BASIC, NTLM, DIGEST], "basic", "", "Basic"),
        ([BASIC, NTLM, DIGEST], "ntlm", "", "NTLM"),
        ([BASIC, NTLM, DIGEST], "digest", "", "Digest"),
    ],
)
def test_the_strongest_that_is_offered_and_allowed_is_taken(
    offers: list[Challenge], method: str, domain: str, taken: str
) -> None:
    credentials = Credentials("joe", "x", domain)
    assert choose_login(offers, method, credentials, target="h:1", proxy_host="p").name == taken


@pytest.mark.parametrize(
    ("offers", "method", "words"),
    [
        ([BASIC], "digest", "does not offer Digest.*offers Basic"),
        ([BASIC, DIGEST], "ntlm", "does not offer NTLM.*offers Basic, Digest"),
        ([Challenge("negotiate")], "auto", "a way of logging in that is known.*negotiate"),
        ([], "auto", "offers nothing"),
    ],
)
def test_what_is_not_offered_says_what_is(offers: list[Challenge], method: str, words: str) -> None:
    with pytest.raises(ProxyAuthenticationError, match=words) as caught:
        choose_login(offers, method, JOE, target="h:1", proxy_host="p")
    assert "tunnel_auth" in caught.value.remedy


def test_no_credentials_says_what_to_fill_in() -> None:
    with pytest.raises(ProxyAuthenticationError, match=re.escape("Proxy username (tunnel_login)")):
        choose_login([BASIC], "auto", None, target="h:1", proxy_host="p")


@pytest.mark.parametrize(
    ("credentials", "pair"),
    [
        (Credentials("joe", "pä:ß"), "joe:pä:ß"),
        (Credentials("joe", "", "CORP"), "CORP\\joe:"),
        (Credentials("OTHER\\joe", "x", "CORP"), "OTHER\\joe:x"),
    ],
)
def test_basic_is_utf_8_with_the_domain_before_the_username(credentials: Credentials, pair: str) -> None:
    answer = BasicLogin(credentials).answer([BASIC])
    assert answer is not None
    assert base64.b64decode(answer.removeprefix("Basic ")).decode() == pair


def test_basic_cannot_carry_a_colon_in_the_username() -> None:
    with pytest.raises(ProxyAuthenticationError, match="colon"):
        BasicLogin(Credentials("a:b", "c"))
