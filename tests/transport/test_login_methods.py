"""Every method of the form against a real server: right and wrong credentials, and somebody else's mailbox."""

from __future__ import annotations

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Security
from airflow_imap_provider.errors import AuthenticationError
from tests.servers.dovecot import Dovecot
from tests.transport.conftest import Opener
from tests.transport.login_server import is_in, login_server, mailbox_with_a_mail, settings_of, showing

__all__ = ["login_server"]

pytestmark = pytest.mark.dovecot

PASSWORD_METHODS = ["auto", "login", "plain", "cram-md5", "scram-sha-1", "scram-sha-256"]
ALIAS_METHODS = ["auto", "plain", "scram-sha-1", "scram-sha-256"]
USED = {"auto": "SCRAM-SHA-256"}
PASSWORDS = ["s3cret-p4ssw0rd", 'quote" and \\backslash', "umlaut äöü", "emoji 🔑", "comma, = equals", "x" * 300]


def used(method: str) -> str:
    return USED.get(method, method.upper())


# -- passwords --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", ["none", "starttls", "implicit"])
@pytest.mark.parametrize("method", PASSWORD_METHODS)
def test_the_right_password_opens_the_mailbox(
    method: str, security: Security, opened: Opener, login_server: Dovecot
) -> None:
    user = mailbox_with_a_mail(login_server)
    auth = AuthSettings(method, user.login, user.password)
    assert is_in(opened(login_server.settings(user, security=security, auth=auth)))
    login_server.wait_for_log(f"user=<{user.login}>, method={used(method) if method != 'login' else 'PLAIN'}")


@pytest.mark.parametrize("method", PASSWORD_METHODS)
@pytest.mark.parametrize("password", PASSWORDS)
def test_any_password_works_by_any_method(method: str, password: str, opened: Opener, login_server: Dovecot) -> None:
    user = login_server.new_user(password)
    assert opened(login_server.settings(user, auth=AuthSettings(method, user.login, password))).usable


@pytest.mark.parametrize("method", PASSWORD_METHODS)
def test_a_wrong_password_is_refused_with_the_servers_words(method: str, opened: Opener, login_server: Dovecot) -> None:
    user = login_server.new_user()
    with pytest.raises(AuthenticationError, match=rf"'{user.login}' by {used(method)}.*AUTHENTICATIONFAILED") as caught:
        opened(login_server.settings(user, auth=AuthSettings(method, user.login, "wrong-p4ssw0rd")))
    assert caught.value.stage == "authentication"
    assert "Password (password)" in caught.value.remedy
    assert "wrong-p4ssw0rd" not in str(caught.value)


@pytest.mark.parametrize("method", PASSWORD_METHODS)
def test_an_unknown_user_is_refused_alike(method: str, opened: Opener, login_server: Dovecot) -> None:
    auth = AuthSettings(method, "nobody", "s3cret-p4ssw0rd")
    with pytest.raises(AuthenticationError, match="AUTHENTICATIONFAILED"):
        opened(settings_of(login_server, auth=auth))


@pytest.mark.parametrize(
    ("method", "scheme"), [("scram-sha-256", "SCRAM-SHA-256"), ("scram-sha-1", "SCRAM-SHA-1"), ("cram-md5", "CRAM-MD5")]
)
def test_a_server_that_stores_only_what_the_method_needs_is_enough(
    method: str, scheme: str, opened: Opener, login_server: Dovecot
) -> None:
    user = login_server.add_hashed_user(f"hashed-{method}", "pässword", scheme)
    assert opened(login_server.settings(user, auth=AuthSettings(method, user.login, "pässword"))).usable
    with pytest.raises(AuthenticationError):
        opened(login_server.settings(user, auth=AuthSettings(method, user.login, "password")))


@pytest.mark.parametrize("method", ["auto", "cram-md5", "scram-sha-1", "scram-sha-256"])
def test_a_server_that_stores_something_else_is_answered_with_the_method_that_works(
    method: str, opened: Opener, login_server: Dovecot
) -> None:
    user = login_server.add_hashed_user(f"crypted-{method}", "s3cret-p4ssw0rd", "SHA512-CRYPT")
    with pytest.raises(AuthenticationError) as caught:
        opened(login_server.settings(user, auth=AuthSettings(method, user.login, user.password)))
    assert "choose plain as Method" in caught.value.remedy
    assert f"may not keep the password in the form that {used(method)} needs" in caught.value.remedy
    assert opened(login_server.settings(user, auth=AuthSettings("plain", user.login, user.password))).usable


def test_a_login_name_beyond_ascii_works_by_every_method(opened: Opener, login_server: Dovecot) -> None:
    user = login_server.add_user("jürgen=müller,@bücher.example")
    for method in PASSWORD_METHODS:
        auth = AuthSettings(method, user.login, user.password)
        assert opened(login_server.settings(user, auth=auth)).usable


def test_nobody_in_particular_logs_in_by_anonymous(opened: Opener, login_server: Dovecot) -> None:
    for trace in ("", "joe@example.com"):
        assert is_in(opened(settings_of(login_server, auth=AuthSettings("anonymous", trace))), 0)
    login_server.wait_for_log("user=<anonymous>, method=ANONYMOUS")


def test_a_server_that_wants_an_account_says_so(opened: Opener, dovecot: Dovecot) -> None:
    with pytest.raises(AuthenticationError, match="does not offer ANONYMOUS here; it announces AUTH="):
        opened(settings_of(dovecot, auth=AuthSettings("anonymous")))


# -- somebody else's mailbox ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ALIAS_METHODS)
def test_a_master_opens_the_mailbox_that_the_alias_names(method: str, opened: Opener, login_server: Dovecot) -> None:
    user = mailbox_with_a_mail(login_server)
    master = login_server.add_master(f"boss-{method}", "boss-s3cret")
    auth = AuthSettings(method, master.login, "boss-s3cret", user.login)
    assert is_in(opened(login_server.settings(user, auth=auth)))
    with pytest.raises(AuthenticationError):
        opened(login_server.settings(user, auth=AuthSettings(method, master.login, "wrong", user.login)))


@pytest.mark.parametrize("method", ALIAS_METHODS)
def test_who_is_no_master_is_refused_and_the_remedy_names_the_alias(
    method: str, opened: Opener, login_server: Dovecot
) -> None:
    user, other = login_server.new_user(), login_server.new_user()
    with pytest.raises(AuthenticationError, match=f"'{user.login}' as '{other.login}' by {used(method)}") as caught:
        opened(login_server.settings(user, auth=AuthSettings(method, user.login, user.password, other.login)))
    assert "Alias (alias)" in caught.value.remedy


# -- client certificates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", ["starttls", "implicit"])
def test_a_client_certificate_logs_in_whom_it_names(security: Security, opened: Opener, login_server: Dovecot) -> None:
    user = mailbox_with_a_mail(login_server)
    login_server.certify(user.login)
    tls = showing(login_server, login_server.client_authority.issue_client(user.login))
    for login in ("", user.login):
        auth = AuthSettings("external", login)
        assert is_in(opened(settings_of(login_server, security=security, auth=auth, tls=tls)))


def test_a_masters_certificate_opens_the_mailbox_that_the_alias_names(opened: Opener, login_server: Dovecot) -> None:
    user = mailbox_with_a_mail(login_server)
    login_server.certify("certified-boss", master=True)
    tls = showing(login_server, login_server.client_authority.issue_client("certified-boss"))
    assert is_in(opened(settings_of(login_server, auth=AuthSettings("external", alias=user.login), tls=tls)))


def test_a_certificate_of_somebody_else_opens_no_mailbox(opened: Opener, login_server: Dovecot) -> None:
    user, other = login_server.new_user(), login_server.new_user()
    login_server.certify(user.login)
    certificate = login_server.client_authority.issue_client(user.login)
    unknown = login_server.client_authority.issue_client("not-certified")
    for auth, shown in (
        (AuthSettings("external", alias=other.login), certificate),
        (AuthSettings("external", other.login), certificate),
        (AuthSettings("external"), unknown),
        (AuthSettings("external"), None),
    ):
        with pytest.raises(AuthenticationError, match="AUTHENTICATIONFAILED") as caught:
            opened(settings_of(login_server, auth=auth, tls=showing(login_server, shown)))
        assert "client certificate" in caught.value.remedy


def test_a_server_without_external_says_so(opened: Opener, dovecot: Dovecot, login_server: Dovecot) -> None:
    tls = showing(dovecot, login_server.client_authority.issue_client("somebody"))
    with pytest.raises(AuthenticationError, match="does not offer EXTERNAL") as caught:
        opened(settings_of(dovecot, auth=AuthSettings("external"), tls=tls))
    assert "operator" in caught.value.remedy
