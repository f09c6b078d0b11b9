from __future__ import annotations

from itertools import combinations

import pytest

from airflow_imap_provider.connection.choices import AUTH_METHODS
from airflow_imap_provider.connection.settings import AuthSettings
from airflow_imap_provider.errors import AuthenticationError, SettingsError
from airflow_imap_provider.transport.bearer import BEARER_METHODS
from airflow_imap_provider.transport.mechanisms import choose_mechanism

STRONGEST_FIRST = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN", "CRAM-MD5"]


def choose(method: str, offered: set[str], *, alias: str = "", encrypted: bool = True, can_bind: bool = True) -> str:
    auth = AuthSettings(method, "joe", "secret", alias)
    return choose_mechanism(auth, frozenset(offered), encrypted=encrypted, can_bind=can_bind)


def announced(*names: str) -> set[str]:
    return {"IMAP4REV1", *(f"AUTH={name}" for name in names)}


@pytest.mark.parametrize(("stronger", "weaker"), list(combinations(STRONGEST_FIRST, 2)))
def test_automatic_takes_the_stronger_of_two(stronger: str, weaker: str) -> None:
    assert choose("auto", {*announced(weaker, stronger), "LOGINDISABLED"}) == stronger


@pytest.mark.parametrize(
    ("offered", "encrypted", "chosen"),
    [
        (announced(), True, "LOGIN"),
        (announced("PLAIN"), True, "PLAIN"),
        ({*announced("PLAIN"), "LOGINDISABLED"}, True, "PLAIN"),
        (announced("XOAUTH2", "GSSAPI", "NTLM"), True, "LOGIN"),
        # Behind TLS CRAM-MD5 protects against nothing, and many servers announce it without having its secrets.
        (announced("CRAM-MD5"), True, "LOGIN"),
        (announced("CRAM-MD5", "PLAIN"), True, "PLAIN"),
        ({*announced("CRAM-MD5"), "LOGINDISABLED"}, True, "CRAM-MD5"),
        # Without TLS it is the difference between a readable password and one that has to be guessed.
        (announced("CRAM-MD5", "PLAIN"), False, "CRAM-MD5"),
        (announced("CRAM-MD5", "SCRAM-SHA-1"), False, "SCRAM-SHA-1"),
        (announced("EXTERNAL", "ANONYMOUS"), True, "LOGIN"),
    ],
)
def test_automatic_is_for_a_password_and_hides_it_where_nothing_else_does(
    offered: set[str], encrypted: bool, chosen: str
) -> None:
    assert choose("auto", offered, encrypted=encrypted) == chosen


@pytest.mark.parametrize("method", ["auto", "scram-sha-256"])
def test_channel_binding_is_not_chosen_where_there_is_nothing_to_bind_to(method: str) -> None:
    assert choose(method, announced("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"), can_bind=False) == "SCRAM-SHA-256"


@pytest.mark.parametrize(
    ("method", "mechanism"),
    [
        ("login", "LOGIN"),
        ("plain", "PLAIN"),
        ("cram-md5", "CRAM-MD5"),
        ("scram-sha-1", "SCRAM-SHA-1-PLUS"),
        ("scram-sha-256", "SCRAM-SHA-256-PLUS"),
        ("external", "EXTERNAL"),
        ("anonymous", "ANONYMOUS"),
        *((method, "XOAUTH2") for method in BEARER_METHODS),
    ],
)
def test_a_method_chosen_expressly_is_the_one_that_is_used(method: str, mechanism: str) -> None:
    assert choose(method, announced(*STRONGEST_FIRST, "EXTERNAL", "ANONYMOUS", "OAUTHBEARER", "XOAUTH2")) == mechanism


@pytest.mark.parametrize("method", [choice.value for choice in AUTH_METHODS])
def test_what_the_server_does_not_offer_is_not_tried(method: str) -> None:
    with pytest.raises(AuthenticationError, match=r"announces AUTH=GSSAPI, LOGINDISABLED") as caught:
        choose(method, {*announced("GSSAPI"), "LOGINDISABLED"})
    assert "auth_method" in caught.value.remedy
    assert "SECRET" not in str(caught.value).upper()


@pytest.mark.parametrize("method", ["login", "auto"])
def test_where_login_is_forbidden_the_remedy_thinks_of_encryption(method: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        choose(method, {"LOGINDISABLED"}, encrypted=False)
    assert "encryption" in caught.value.remedy


def test_an_alias_needs_a_mechanism_that_has_a_place_for_it() -> None:
    everything = announced(*STRONGEST_FIRST)
    assert choose("auto", everything, alias="sales") == "SCRAM-SHA-256-PLUS"
    assert choose("auto", announced("CRAM-MD5", "PLAIN"), alias="sales", encrypted=False) == "PLAIN"


@pytest.mark.parametrize("offered", [announced(), announced("CRAM-MD5")])
def test_a_server_without_such_a_mechanism_is_answered_with_those_that_can(offered: set[str]) -> None:
    with pytest.raises(AuthenticationError, match=r"Alias \(alias\): PLAIN, SCRAM-SHA-1 or SCRAM-SHA-256"):
        choose("auto", offered, alias="sales")


@pytest.mark.parametrize("method", ["login", "cram-md5", "anonymous"])
def test_a_method_without_a_place_for_an_alias_says_which_have_one(method: str) -> None:
    with pytest.raises(
        SettingsError, match="auto, plain, scram-sha-1, scram-sha-256, external, bearer or a method of OAuth"
    ):
        choose(method, announced(*STRONGEST_FIRST, "ANONYMOUS"), alias="sales")
