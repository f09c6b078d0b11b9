"""What endpoints answer: tokens, refusals, and what is none of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.errors import ImapError, ProtocolError, RefusedError
from airflow_imap_provider.transport.oauth.answers import Answer, Refusal, Token, read_answer, refused
from airflow_imap_provider.transport.oauth.limits import DEFAULT_LIFE, LONGEST_LIFE
from airflow_imap_provider.transport.oauth.remedies import refusal_remedy

HOST = "login.example.com"


def answer(content: Any, status: int = 200, **more: str) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status, "application/json", body=body, **more)


def read(given: Answer) -> Token | Refusal:
    return read_answer(given, HOST, str)


def test_a_token_as_in_rfc_6749() -> None:
    given = {
        "access_token": "2YotnFZFEjr1zCsicMWpAA",
        "token_type": "example",
        "expires_in": 3600,
        "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA",
    }
    assert read(answer({**given, "token_type": "Bearer"})) == Token(
        "2YotnFZFEjr1zCsicMWpAA", 3600, "tGzv3JOkF0XG5Qx2TlKWIA"
    )
    with pytest.raises(ProtocolError, match=r"no bearer token.*token_type example"):
        read(answer(given))


@pytest.mark.parametrize("kind", [{"token_type": "bearer"}, {"token_type": "BEARER"}, {}])
def test_the_token_type_may_be_written_in_any_case_or_be_missing(kind: dict[str, str]) -> None:
    assert read(answer({"access_token": "abc", **kind})) == Token("abc", DEFAULT_LIFE)


@pytest.mark.parametrize(
    ("told", "understood"),
    [
        (3600, 3600),
        ("3599", 3599),
        (1800.5, 1800.5),
        (None, DEFAULT_LIFE),
        ("soon", DEFAULT_LIFE),
        ("nan", DEFAULT_LIFE),
        (True, DEFAULT_LIFE),
        ([1], DEFAULT_LIFE),
        (0, 0),
        (-10, -10),
        (10**400, DEFAULT_LIFE),
        (10**12, LONGEST_LIFE),
        ("inf", LONGEST_LIFE),
    ],
)
def test_a_life_is_understood_however_it_is_written(told: Any, understood: float) -> None:
    assert read(answer({"access_token": "abc", "expires_in": told})) == Token("abc", understood)


@pytest.mark.parametrize("token", [None, "", 5, "two words", "a\x01b", "umläut", "a\r\nb", "x" * 100_000])
def test_what_could_not_be_sent_as_a_token_is_none(token: Any) -> None:
    with pytest.raises(ProtocolError, match="without a token that could be used") as caught:
        read(answer({"access_token": token}))
    assert caught.value.stage == "token"
    assert "umläut" not in str(caught.value)


@pytest.mark.parametrize("renewed", [5, "", "a\nb", "x" * 100_000])
def test_a_refresh_token_that_cannot_be_one_replaces_none(renewed: Any) -> None:
    assert read(answer({"access_token": "abc", "refresh_token": renewed})) == Token("abc", DEFAULT_LIFE)


@pytest.mark.parametrize("nothing", [None, "", False, {}])
def test_an_error_that_says_nothing_is_none(nothing: Any) -> None:
    assert read(answer({"access_token": "abc", "error": nothing})) == Token("abc", DEFAULT_LIFE)
    with pytest.raises(ProtocolError, match="400 without saying why"):
        read(answer({"error": nothing}, 400))


@pytest.mark.parametrize(
    ("code", "authenticate", "wants"),
    [
        ("invalid_client", 'Basic realm="tokens"', True),
        ("invalid_client", "basic", True),
        ("invalid_client", "Bearer", False),
        ("invalid_client", "", False),
        ("invalid_grant", "Basic", False),
    ],
)
def test_who_wants_basic_is_understood(code: str, authenticate: str, wants: bool) -> None:
    refusal = read(answer({"error": code}, 401, authenticate=authenticate))
    assert refusal == Refusal(code, "", wants)


@pytest.mark.parametrize(("told", "understood"), [("120", 120.0), ("0", 0.0), ("", 0.0), ("soon", 0.0)])
def test_how_long_to_wait_goes_with_the_error(told: str, understood: float) -> None:
    with pytest.raises(RefusedError) as caught:
        read(answer({"error": "slow"}, 429, retry_after=told))
    assert caught.value.retry_after == understood


def test_a_refusal_as_in_rfc_6749() -> None:
    given = {"error": "invalid_request", "error_description": "Something is missing."}
    assert read(answer(given, 400)) == Refusal("invalid_request", "Something is missing.")


def test_a_refusal_in_googles_other_form() -> None:
    given = {"error": {"code": 403, "message": "Not you.", "status": "PERMISSION_DENIED"}}
    assert read(answer(given, 403)) == Refusal("PERMISSION_DENIED", "Not you.")


def test_a_refusal_counts_even_with_a_status_of_success() -> None:
    assert read(answer({"error": "invalid_grant", "access_token": "abc"})) == Refusal("invalid_grant", "")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (answer(b"<html>", 503), "cannot answer now (503)"),
        (answer(b"", 500), "cannot answer now (500)"),
        (answer({"error": "slow"}, 429, retry_after="120"), "cannot answer now (429). It asks to wait 120 s."),
        (answer(b"", 503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), "cannot answer now (503)."),
        (answer({"error": "temporarily_unavailable", "error_description": "soon"}, 400), "_unavailable: soon"),
        (answer({"error": "server_error"}, 400), "server_error"),
    ],
)  # fmt: skip
def test_what_is_the_endpoints_own_trouble_needs_nothing_but_time(given: Answer, words: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read(given)
    assert words in str(caught.value)
    assert "later" in caught.value.remedy


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (answer(b"<!DOCTYPE html>..."), "answers 200 with a web page instead of JSON"),
        (answer(b""), "answers 200 with nothing"),
        (answer(b"[]"), "answers 200 with something else"),
        (answer(b"\xff\xfe"), "answers 200 with something else"),
        (answer(b"[" * 100_000), "answers 200 with something else"),
        (answer(b"<p>not here", 404), "answers 404 with a web page"),
        (answer({"message": "no"}, 404), "answers 404 without saying why"),
        (answer(b"", 302, location="https://portal.example.com/"), "redirects to another address (302)"),
        (answer({"access_token": "abc"}, 307), "redirects to another address (307)"),
    ],
)  # fmt: skip
def test_what_is_no_token_endpoints_answer_is_answered_with_where_to_look(given: Answer, words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read(given)
    assert words in str(caught.value)
    assert "oauth_endpoint" in caught.value.remedy


def stage_of(call: Callable[[], Token | Refusal]) -> str:
    """The stage of the error, if there is one."""
    try:
        call()
    except ImapError as exc:
        return exc.stage
    return ""


@given(st.binary(max_size=200), st.integers(100, 599))
def test_any_bytes_are_a_token_a_refusal_or_an_error_of_the_family(body: bytes, status: int) -> None:
    assert stage_of(lambda: read(Answer(status, body=body))) in ("", "token")


@given(
    st.dictionaries(
        st.sampled_from(["access_token", "token_type", "expires_in", "refresh_token", "error", "error_description"]),
        st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3),
    )
)
def test_any_json_is_one_of_these_too(members: dict[str, Any]) -> None:
    assert stage_of(lambda: read(answer(members))) in ("", "token")


def test_neither_answers_nor_tokens_show_what_is_in_them() -> None:
    token = Token("acc3ss", 1, "r3fresh")
    assert "acc3ss" not in repr(token)
    assert "r3fresh" not in repr(token)
    assert "s3cret" not in repr(Answer(200, location="s3cret", body=b"s3cret")) + repr(Refusal("x", "s3cret"))


# -- remedies ---------------------------------------------------------------------------------------------------------

CREDENTIALS, CONSENT, SERVICE = "oauth-client-credentials", "oauth-refresh-token", "oauth-service-account"


@pytest.mark.parametrize(
    ("method", "code", "words", "remedy"),
    [
        (CREDENTIALS, "invalid_client", "", "OAuth: application id (oauth_client_id), and OAuth: client secret"),
        (CREDENTIALS, "invalid_client", "AADSTS7000215: Invalid client secret provided.", "not the Secret ID"),
        (CREDENTIALS, "invalid_client", "AADSTS7000222: The provided client secret keys are expired.", "has expired"),
        (CREDENTIALS, "invalid_client", "AADSTS700027: Client assertion contains an invalid signature.", "Upload"),
        (CREDENTIALS, "invalid_client", "AADSTS700024: Client assertion is not within its valid time range.", "clock"),
        (CREDENTIALS, "unauthorized_client", "AADSTS700016: Application not found.", "does not know the application"),
        (CREDENTIALS, "invalid_request", "AADSTS90002: Tenant 'x' not found.", "(oauth_tenant)"),
        (CREDENTIALS, "invalid_request", "AADSTS900144: The request body must contain 'scope'.", "all fields of OAuth"),
        (CREDENTIALS, "invalid_scope", "", "(oauth_scope)"),
        (CREDENTIALS, "invalid_scope", "AADSTS70011: The scope is not valid.", "https://outlook.office365.com/.default"),
        (CREDENTIALS, "unauthorized_client", "Client not enabled to retrieve service account", "administrator"),
        (CREDENTIALS, "unsupported_grant_type", "", "another Method (auth_method)"),
        (CREDENTIALS, "something_new", "", "tab Authentication"),
        (CONSENT, "invalid_grant", "Token has been expired or revoked.", "consent again"),
        (CONSENT, "invalid_grant", "AADSTS700082: The refresh token has expired due to inactivity.", "not used for"),
        (CONSENT, "invalid_grant", "AADSTS70008: The refresh token has expired.", "consent again"),
        (CONSENT, "invalid_grant", "AADSTS50173: The provided grant has expired.", "password changed"),
        (CONSENT, "invalid_grant", "AADSTS50076: you must use multi-factor authentication", "multi-factor"),
        (CONSENT, "invalid_grant", "AADSTS50079: must enroll", "multi-factor"),
        (CONSENT, "invalid_grant", "AADSTS65001: has not consented", "Consent is missing"),
        (CONSENT, "invalid_grant", "AADSTS50194: not multi-tenant", "Fill in OAuth: tenant (oauth_tenant)"),
        (CREDENTIALS, "invalid_scope", "AADSTS1002012: scope is not valid", "https://outlook.office365.com/.default"),
        (CONSENT, "invalid_client", "AADSTS7000218: must contain client_secret", "Fill in OAuth: client secret"),
        (CONSENT, "invalid_client", "AADSTS700025: Client is public", "Empty OAuth: client secret"),
        (CONSENT, "consent_required", "", "Consent is missing"),
        (CONSENT, "interaction_required", "", "multi-factor"),
        (CONSENT, "invalid_grant", "AADSTS99999: something new", "consent again"),
        (SERVICE, "unauthorized_client", "Client is unauthorized to retrieve access tokens", "Domain-wide delegation"),
        (SERVICE, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes)", "clock"),
        (SERVICE, "invalid_grant", "Invalid JWT: check your iat and exp values", "clock"),
        (SERVICE, "invalid_grant", "Invalid email or User ID", "is a user of the Workspace"),
        (SERVICE, "invalid_client", "", "private key (oauth_private_key)"),
        (SERVICE, "invalid_scope", "", "(oauth_scope)"),
    ],
)  # fmt: skip
def test_the_remedy_fits_the_refusal(method: str, code: str, words: str, remedy: str) -> None:
    found = refusal_remedy(code, words, method)
    assert remedy in found
    assert found.endswith(".")


def test_a_refusal_becomes_an_error_with_the_endpoints_words() -> None:
    error = refused(Refusal("invalid_grant", "Token has been expired"), HOST, CONSENT, str)
    assert str(error).startswith(
        "token: the token endpoint login.example.com gives no token. (answer: invalid_grant: Token has been expired) "
    )
