"""Rows of the tab Authentication, its part about tokens: what the endpoint was sent, and the mailbox that it opened.

Where the address is Microsoft's or Google's own, a proxy that lets nobody through writes down where the request wanted
to go; what it cannot see, the path, is read from the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jwt

from tests.matrix.row import EMPTY, FILLED, Row, says
from tests.matrix.tokens import GRANTS, METHODS, Form
from tests.matrix.world import Outcome, World
from tests.servers.waiting import free_port

SQUID = ("squid",)
TENANT, OTHER_TENANT = "invoices.onmicrosoft.com", "orders.onmicrosoft.com"
MICROSOFT, GOOGLE = "login.microsoftonline.com", "oauth2.googleapis.com"
MICROSOFT_APPLICATION = "https://outlook.office365.com/.default"
MICROSOFT_USER = "https://outlook.office.com/IMAP.AccessAsUser.All offline_access"
GMAIL = "https://mail.google.com/"
WRONG = "wr0ng s3cret of the application"

CREDENTIALS, REFRESH, ACCOUNT = GRANTS
Shows = Callable[[Outcome], bool]


def by(method: str = CREDENTIALS, **values: Any) -> Callable[[World], Form]:
    return lambda world: world.by_token(method, **values)


def by_certificate(kind: str, **values: Any) -> Callable[[World], Form]:
    def form(world: World) -> Form:
        filled = world.form()
        return {**filled, **world.tokens.by_certificate(filled["login"], kind), **values}

    return form


def by_account_in(kind: str, **values: Any) -> Callable[[World], Form]:
    def form(world: World) -> Form:
        filled = world.by_token(ACCOUNT, **values)
        return {**filled, "oauth_private_key": world.tokens.given(filled["oauth_private_key"], kind)}

    return form


def by_any(method: str) -> Callable[[World], Form]:
    """A form that has what every method needs, with this one chosen."""

    def form(world: World) -> Form:
        filled = world.by_token(REFRESH)
        account = world.tokens.by(ACCOUNT, filled["login"])
        key = {"oauth_private_key": account["oauth_private_key"]}
        return {**filled, **key, "oauth_scope": GMAIL, "auth_method": method}

    return form


def by_a_public_client(world: World) -> Form:
    """The form of somebody whose application has nothing to prove itself with."""
    filled = world.form()
    client_id = world.tokens.endpoint.register(filled["login"])
    token = world.tokens.endpoint.consent(filled["login"], client_id).valid
    values = {"oauth_client_id": client_id, "oauth_refresh_token": token, "oauth_scope": "mail.all"}
    return {**filled, "auth_method": REFRESH, **values, "oauth_endpoint": world.tokens.endpoint.url}


def by_http(world: World) -> Form:
    filled = world.form()
    return {**filled, **world.tokens_by_http.by(CREDENTIALS, filled["login"])}


def to_the_real_one(method: str, **values: Any) -> Callable[[World], Form]:
    """The same without the endpoint's address, by a proxy that lets nobody through."""

    def form(world: World) -> Form:
        way = world.through("squid that is closed", timeout=3)
        return {**way, **world.tokens.by(method, way["login"]), "oauth_endpoint": None, "oauth_scope": None, **values}

    return form


def goes_to(host: str, path: str = "") -> Shows:
    """The proxy is asked for this host; the path is that of the settings."""
    return lambda outcome: f"CONNECT {host}:443 " in outcome.asked and path in outcome.asked_at


def sends(**members: str | None) -> Shows:
    """The mailbox opens, after a request with these members, and without those that are ``None``."""
    return lambda outcome: (
        outcome.opened and all(outcome.token_request.get(name) == value for name, value in members.items())
    )


def sends_what_it_holds(**members: str) -> Shows:
    """The same with the values of these fields."""
    return lambda outcome: sends(**{name: outcome.form[key] for name, key in members.items()})(outcome)


def proves_itself_by_its_key(outcome: Outcome) -> bool:
    """The endpoint has checked the signature, by the certificate that it knows."""
    request = outcome.token_request
    return outcome.opened and "client_assertion" in request and "client_secret" not in request


def acts_for_the_mailbox(outcome: Outcome) -> bool:
    """The service account asks as the mailbox's owner."""
    assertion = outcome.token_request.get("assertion", "")
    return outcome.opened and _claim(assertion, "sub") == outcome.form["login"]


def _claim(assertion: str, name: str) -> str:
    return str(jwt.decode(assertion, options={"verify_signature": False})[name]) if assertion else ""


def another_key(world: World) -> str:
    return str(world.tokens.by_certificate("somebody")["oauth_private_key"])


def another_account(world: World) -> str:
    """A service account that the endpoint does not know."""
    return str(world.tokens.by(ACCOUNT, "somebody")["oauth_private_key"]).replace("robot@", "nobody@")


def nowhere(_: World) -> str:
    return f"https://localhost:{free_port()}/token"


def is_empty(words: str) -> Shows:
    return says(f"OAuth: {words}: it is empty")


def used(method: str) -> Row:
    others = [other for other in GRANTS if other != method]
    return Row("auth_method", method, by_any(method), sends(grant_type=GRANTS[method]), others[0])


def key(value: str, form: Callable[[World], Form], shows: Shows, twin: object) -> Row:
    return Row("oauth_private_key", value, form, shows, twin)


def as_alias(method: str) -> Row:
    """The mailbox is the alias, whoever logs in: the token is for it."""

    def form(world: World) -> Form:
        filled = world.form()
        return {**filled, **world.tokens.by(method, filled["login"], world.with_a_mail().login)}

    return Row("alias", FILLED, form, lambda o: o.mails == 1, None)


# fmt: off
OAUTH = [
    Row(
        "auth_method",
        "bearer",
        by("bearer"),
        lambda o: o.opened and o.method == "XOAUTH2" and not o.token_requests,
        "plain",
    ),
    *map(used, GRANTS),
    *map(as_alias, METHODS),
    Row("oauth_tenant", FILLED, to_the_real_one(REFRESH, oauth_tenant=TENANT), goes_to(MICROSOFT, f"/{TENANT}/"),
        OTHER_TENANT, SQUID),
    Row("oauth_tenant", FILLED, to_the_real_one(CREDENTIALS, oauth_tenant=TENANT), goes_to(MICROSOFT, f"/{TENANT}/"),
        OTHER_TENANT, SQUID),
    # The scope that a tenant stands for is seen by an endpoint of ours.
    Row("oauth_tenant", FILLED, by(oauth_tenant=TENANT, oauth_scope=None), sends(scope=MICROSOFT_APPLICATION), None),
    Row("oauth_tenant", EMPTY, to_the_real_one(REFRESH, preset="office365"), goes_to(MICROSOFT, "/organizations/"),
        TENANT, SQUID),
    Row("oauth_tenant", EMPTY, to_the_real_one(REFRESH, preset="outlook"), goes_to(MICROSOFT, "/consumers/"),
        TENANT, SQUID),
    Row("oauth_tenant", EMPTY, by(oauth_endpoint=None), is_empty("endpoint (oauth_endpoint)"), TENANT),
    Row("oauth_client_id", FILLED, by(), sends_what_it_holds(client_id="oauth_client_id"), "somebody-else"),
    Row("oauth_client_id", EMPTY, by(oauth_client_id=None), is_empty("application id (oauth_client_id)"), "some-id"),
    Row("oauth_client_secret", FILLED, by(), sends_what_it_holds(client_secret="oauth_client_secret"), WRONG),
    Row("oauth_client_secret", FILLED, by(REFRESH), sends_what_it_holds(client_secret="oauth_client_secret"), WRONG),
    Row("oauth_client_secret", EMPTY, by_certificate("PEM text"), proves_itself_by_its_key, WRONG),
    Row("oauth_client_secret", EMPTY, by_a_public_client, sends(client_secret=None), WRONG),
    Row("oauth_client_secret", EMPTY, by(oauth_client_secret=None), is_empty("client secret (oauth_client_secret)"),
        WRONG),
    Row("oauth_refresh_token", FILLED, by(REFRESH), sends_what_it_holds(refresh_token="oauth_refresh_token"),
        "r3fresh token of somebody else"),
    Row("oauth_refresh_token", EMPTY, by(REFRESH, oauth_refresh_token=None),
        is_empty("refresh token (oauth_refresh_token)"), "r3fresh token of somebody else"),
    # The preset chooses the method by it.
    Row("oauth_refresh_token", EMPTY, by(auth_method=None, preset="office365"), sends(grant_type="client_credentials"),
        "r3fresh token of somebody else"),
    Row("oauth_endpoint", FILLED, by(), lambda o: o.opened and len(o.token_requests) == 1, nowhere),
    Row("oauth_endpoint", FILLED, by_http, lambda o: o.opened and len(o.token_requests) == 1, nowhere),
    Row("oauth_endpoint", EMPTY, by(ACCOUNT), acts_for_the_mailbox, nowhere),  # the JSON names it
    Row("oauth_endpoint", EMPTY, to_the_real_one(REFRESH, preset="gmail"), goes_to(GOOGLE, "/token"), nowhere, SQUID),
    Row("oauth_endpoint", EMPTY, to_the_real_one(CREDENTIALS, preset="office365", oauth_tenant=TENANT),
        goes_to(MICROSOFT, f"/{TENANT}/oauth2/v2.0/token"), nowhere, SQUID),
    Row("oauth_endpoint", EMPTY, to_the_real_one(REFRESH, oauth_tenant=TENANT),
        goes_to(MICROSOFT, f"/{TENANT}/oauth2/v2.0/token"), nowhere, SQUID),
    Row("oauth_endpoint", EMPTY, by(REFRESH, oauth_endpoint=None), is_empty("endpoint (oauth_endpoint)"), nowhere),
    Row("oauth_scope", FILLED, by(), sends(scope="mail.all"), "mail.other"),
    Row("oauth_scope", FILLED, by(ACCOUNT, oauth_scope=GMAIL), acts_for_the_mailbox, "mail.other"),
    Row("oauth_scope", EMPTY, by(oauth_scope=None), is_empty("scope (oauth_scope)"), "mail.all"),
    Row("oauth_scope", EMPTY, by(REFRESH, oauth_scope=None), sends(scope=None), "mail.all"),
    Row("oauth_scope", EMPTY, by(oauth_scope=None, preset="office365"), sends(scope=MICROSOFT_APPLICATION),
        "mail.all"),
    Row("oauth_scope", EMPTY, by(REFRESH, oauth_scope=None, preset="outlook"), sends(scope=MICROSOFT_USER),
        "mail.all"),
    Row("oauth_scope", EMPTY, by(REFRESH, oauth_scope=None, preset="gmail"), sends(scope=GMAIL), "mail.all"),
    Row("oauth_scope", EMPTY, by(ACCOUNT), acts_for_the_mailbox, "mail.other"),
    key("PEM text", by_certificate("PEM text"), proves_itself_by_its_key, another_key),
    key("PEM text", by_certificate("one line"), proves_itself_by_its_key, another_key),
    key("path", by_certificate("path"), proves_itself_by_its_key, "/no/such/key"),
    key("PKCS#12", by_certificate("PKCS#12"), proves_itself_by_its_key, another_key),
    key("JSON", by_account_in("JSON"), acts_for_the_mailbox, another_account),
    key("path", by_account_in("path"), acts_for_the_mailbox, "/no/such/account.json"),
    key(EMPTY, by(ACCOUNT, oauth_private_key=None), is_empty("private key (oauth_private_key)"), another_account),
    key(EMPTY, by(oauth_client_secret=None), is_empty("client secret (oauth_client_secret)"), another_key),
]
# fmt: on
