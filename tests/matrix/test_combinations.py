"""Values of different tabs together: every two of them that go together meet in some session, and failures keep apart.

The combinations are chosen by a fixed seed, so they are the same in every run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from tests.matrix.rows_encryption import OTHER_PIN, pin_of_certificate, pin_of_key, pin_of_self_signed
from tests.matrix.rows_proxy import ASCII_JOE, IN_DOMAIN, JOE, WRONG
from tests.matrix.tokens import GRANTS, METHODS, Tokens
from tests.matrix.world import MASTER_PASSWORD, Form, Outcome, World
from tests.servers.client_material import PASSPHRASE, in_base64
from tests.servers.scripted import Peer
from tests.servers.squid import Squid
from tests.transport.conftest import server_context
from tests.transport.test_scram_exchange import PLUS, accept, end_point, play_scram

Combination = dict[str, Any]

# name of the proxy: type, credentials, markers
WAYS: dict[str, tuple[str, Form, tuple[str, ...]]] = {
    "": ("none", {}, ()),
    "squid": ("http", {}, ("squid",)),
    "squid with basic": ("http", JOE, ("squid",)),
    "squid with digest": ("http", JOE, ("squid",)),
    "squid with ntlm": ("http", IN_DOMAIN, ("squid", "winbind")),
    "tinyproxy with login": ("http", ASCII_JOE, ("tinyproxy",)),
    "dante": ("socks4", {}, ("dante",)),
    "ssh": ("socks4a", {}, ("ssh",)),
    "microsocks": ("socks5", {}, ("microsocks",)),
    "microsocks with login": ("socks5", JOE, ("microsocks",)),
}
TABS: dict[str, tuple[Any, ...]] = {
    "way": tuple(WAYS),
    "method": ("auto", "login", "plain", "cram-md5", "scram-sha-1", "scram-sha-256", "external", "anonymous", *METHODS),
    "security": ("none", "implicit", "starttls"),
    "versions": (None, "TLSv1.2", "TLSv1.3"),
    "verify": ("full", "chain", "pinned", "none"),
    "pins": (None, "certificate", "key"),
    "certificate": (None, "PEM", "PKCS#12"),
    "alias": (False, True),
    "remote_dns": (True, False),
    "address": ("localhost", "127.0.0.1", "::1"),
}
DRAWN = 1500
"""Combinations to choose from: enough that every two values that can meet do."""


def possible(one: Combination) -> bool:
    socks4 = WAYS[one["way"]][0].startswith("socks4")
    protection = (one["versions"], one["pins"], one["certificate"])
    return not (
        (one["alias"] and one["method"] in ("login", "cram-md5", "anonymous"))
        or (one["method"] == "external" and one["certificate"] is None)
        or (one["security"] == "none" and (any(protection) or one["verify"] != "none"))
        or (one["verify"] == "pinned" and one["pins"] is None)
        or (socks4 and one["address"] == "::1")
        or (one["way"] == "dante" and one["remote_dns"])
        or (one["way"] == "" and not one["remote_dns"])
    )


def pairs(one: Combination) -> frozenset[tuple[tuple[str, Any], ...]]:
    return frozenset(combinations(one.items(), 2))


def chosen() -> Iterator[Combination]:
    """As few of the drawn combinations as cover every pair in them, about."""
    source = random.Random(3)
    drawn: list[Combination] = []
    while len(drawn) < DRAWN:
        one = {tab: source.choice(values) for tab, values in TABS.items()}
        if possible(one):
            drawn.append(one)
    met = {index: pairs(one) for index, one in enumerate(drawn)}
    missing = set[object]().union(*met.values())
    while missing:
        best = max(met, key=lambda index: len(met[index] & missing))
        missing -= met[best]
        yield drawn[best]


CHOSEN = list(chosen())


def name(one: Combination) -> str:
    return "-".join(str(value).replace(" ", "_") for value in one.values() if value not in (None, "", False))


def marked(way: str, *values: Any, **options: Any) -> Any:
    return pytest.param(*values, marks=[getattr(pytest.mark, marker) for marker in WAYS[way][2]], **options)


def through(world: World, way: str, **values: Any) -> Form:
    kind, credentials, _ = WAYS[way]
    if not way:
        return world.form(**values)
    return world.through(way, kind, **{**credentials, "tunnel_remote_dns": kind != "socks4", **values})


def form_of(world: World, one: Combination) -> Form:
    owner = world.with_a_mail().login
    by_token = one["method"] in METHODS
    login, password = (world.master.login, MASTER_PASSWORD) if one["alias"] else (owner, world.form()["password"])
    values: Form = {"login": login, "password": password, "auth_method": one["method"]}
    values["alias"] = owner if one["alias"] else None
    if by_token:
        # Without encryption of the mail there is no CA bundle, by which an endpoint of ours could be trusted.
        tokens = world.tokens_by_http if one["security"] == "none" else world.tokens
        somebody = world.form()["login"] if one["alias"] else owner
        values |= tokens.by(one["method"], somebody, owner if one["alias"] else "")
    if one["certificate"]:
        # With a token it is the mailbox's owner who logs in.
        mine = world.certified(owner) if by_token else world.certified(login, master=one["alias"])
        packed = one["certificate"] == "PKCS#12"
        values["client_certificate"] = None if packed else mine.certificate
        values["client_private_key"] = in_base64(mine.pkcs12(PASSPHRASE)) if packed else mine.encrypted()
        values["client_private_key_passphrase"] = PASSPHRASE
    if one["method"] == "external":
        values |= {"login": None, "password": None}
    values["pins"] = {
        None: None,
        "certificate": [OTHER_PIN, pin_of_certificate(world)],
        "key": [pin_of_key(world)],
    }[one["pins"]]
    values |= {"host": one["address"], "verify": one["verify"], "tls_versions": one["versions"]}
    values |= {
        "none": {"port": world.server.port, "encryption": "none", "ca_bundle": None},
        "implicit": {"port": world.server.tls_port, "encryption": "ssl"},
        "starttls": {"port": world.server.port, "encryption": "tls"},
    }[one["security"]]
    if one["way"]:
        values["tunnel_remote_dns"] = one["remote_dns"]
    return through(world, one["way"], **values)


def went_to(tokens: Tokens, came: Outcome) -> bool:
    """Whether a Squid let somebody through to the token endpoint."""
    return any("/200 " in line and f":{tokens.endpoint.port} " in line for line in came.requests())


def test_every_value_meets_every_value_of_the_other_tabs_that_it_can_meet() -> None:
    met = set[object]().union(*(pairs(one) for one in CHOSEN))
    tabs = list(TABS)
    every = {
        ((tabs[i], one), (tabs[j], other))
        for i, j in combinations(range(len(tabs)), 2)
        for one in TABS[tabs[i]]
        for other in TABS[tabs[j]]
    }
    for (tab, value), (other_tab, other) in every - met:
        template: Combination = {
            "way": "",
            "method": "auto",
            "security": "implicit",
            "versions": None,
            "verify": "none",
        }
        template |= {"pins": "key", "certificate": "PEM", "alias": False, "remote_dns": True, "address": "localhost"}
        assert not possible({**template, tab: value, other_tab: other}), (tab, value, other_tab, other)
    assert len(CHOSEN) >= 30


@pytest.mark.parametrize("one", [marked(one["way"], one, id=name(one)) for one in CHOSEN])
def test_values_of_different_tabs_work_together(one: Combination, world: World) -> None:
    form = form_of(world, one)
    with world.outcome(form) as came:
        assert came.opened, came.error
        used = {"auto": "SCRAM-SHA-256", "login": "PLAIN"}.get(one["method"], one["method"].upper())
        if one["method"] in METHODS:
            used = "XOAUTH2"
            assert came.token_request.get("grant_type") == GRANTS.get(one["method"])
        assert came.method == used
        assert came.tls == (one["versions"] or "TLSv1.3" if one["security"] != "none" else "none")
        assert came.mails == (0 if one["method"] == "anonymous" else 1)
        proxy = world.proxy(one["way"]) if one["way"] else None
        assert came.peer[1] == (proxy.port if proxy else form["port"])
        if isinstance(proxy, Squid):
            named = one["address"] == "localhost" and one["remote_dns"]
            assert ("CONNECT localhost:" in came.asked) is named
            # The token's request goes the same way; unencrypted, it would be for the proxy's machine.
            encrypted = one["method"] in GRANTS and one["security"] != "none"
            assert went_to(world.tokens, came) is encrypted


@pytest.mark.parametrize("way", [marked(way, way, id=way.replace(" ", "_") or "direct") for way in WAYS])
def test_what_is_wrong_is_found_at_its_own_stage_whatever_the_way(way: str, world: World) -> None:
    for stage, wrong in (
        ("authentication", {"password": "wr0ng s3cret"}),
        ("tls", {"ca_bundle": None}),
        ("tls", {"pins": [OTHER_PIN]}),
        ("tls", {"tls_versions": ["TLSv1.1"]}),
        ("settings", {"client_private_key": "/no/such/key"}),
        *([("proxy", {"tunnel_password": WRONG})] if "tunnel_password" in WAYS[way][1] else ()),
    ):
        with world.outcome(through(world, way, **wrong)) as came:
            assert came.error is not None, (stage, wrong)
            assert came.error.stage == stage, came.error
            assert came.error.remedy


@pytest.mark.parametrize("encryption", ["ssl", "tls"])
@pytest.mark.parametrize("method", GRANTS)
@pytest.mark.parametrize(
    "way",
    [marked(way, way, id=way) for way in ("squid with digest", "squid with ntlm", "microsocks with login")],
)
def test_token_and_encrypted_mail_go_through_a_proxy_with_a_login(
    way: str, method: str, encryption: str, world: World
) -> None:
    form = through(world, way, encryption=encryption)
    form |= {"port": world.server.port if encryption == "tls" else world.server.tls_port}
    form |= world.tokens.by(method, form["login"])
    proxy = world.proxy(way)
    with world.outcome({**form, "tunnel_password": WRONG}) as came:
        assert came.says("proxy: on the way to the token endpoint localhost"), came.error
        assert came.token_requests == []
    with world.outcome(form) as came:
        assert came.opened, came.error
        assert (came.method, came.tls, came.peer[1]) == ("XOAUTH2", "TLSv1.3", proxy.port)
        assert came.token_request["grant_type"] == GRANTS[method]
        if isinstance(proxy, Squid):
            assert f"CONNECT localhost:{form['port']} " in came.asked
            assert went_to(world.tokens, came)


@pytest.mark.parametrize("way", [marked(way, way, id=way.replace(" ", "_") or "direct") for way in WAYS])
def test_a_wrong_secret_and_a_wrong_mailbox_are_told_apart_whatever_the_way(way: str, world: World) -> None:
    form = through(world, way)
    form |= world.tokens.by("oauth-client-credentials", form["login"])
    with world.outcome({**form, "oauth_client_secret": WRONG}) as came:
        assert came.says("token:", "AADSTS7000215"), came.error
        assert len(came.token_requests) == 1
    with world.outcome({**form, "login": world.form()["login"]}) as came:
        assert came.says("authentication:", "by XOAUTH2"), came.error


@pytest.mark.squid
@pytest.mark.winbind
@pytest.mark.parametrize("pinned", ["right", "wrong"])
def test_starttls_with_a_pin_and_a_bound_scram_through_an_ntlm_proxy(pinned: str, world: World) -> None:
    certificate = world.self_signed

    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1 STARTTLS LOGINDISABLED")
        peer.expect("STARTTLS")
        peer.ok()
        peer.starttls(server_context(certificate))
        peer.tell_capabilities(PLUS)
        password = form["password"]
        accept(peer, play_scram(peer, name="SCRAM-SHA-256-PLUS", password=password, binding=end_point(certificate)))
        peer.wait_for_end()

    server = world.scripted(script)
    pin = OTHER_PIN if pinned == "wrong" else pin_of_self_signed(world)
    verify = {"encryption": "tls", "verify": "pinned", "pins": [pin], "auth_method": "scram-sha-256"}
    form = through(world, "squid with ntlm", port=server.port, **verify)
    with world.outcome(form) as came:
        assert came.opened is (pinned == "right"), came.error
        assert came.opened or came.says("tls:", "none of the pinned")
