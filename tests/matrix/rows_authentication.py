"""Rows of the tab Authentication."""

from __future__ import annotations

from typing import Any

from tests.matrix.row import EMPTY, FILLED, Row, by, opens
from tests.matrix.world import MASTER_PASSWORD, Form, World
from tests.servers.scripted import Peer


def only_login(peer: Peer) -> None:
    """A server that announces PLAIN and knows nothing but the command LOGIN."""
    peer.greet()
    peer.tag, command = peer.line().split(" ")[:2]
    if command == "LOGIN":
        peer.ok(words="[CAPABILITY IMAP4rev1] in")
    else:
        peer.no("[AUTHENTICATIONFAILED] what is that?")


def by_login(world: World) -> Form:
    server = world.scripted(only_login)
    return world.form(
        host=server.host, port=server.port, encryption="none", ca_bundle=None, timeout=3, auth_method="login"
    )


def certified(world: World, **values: Any) -> Form:
    """The form of somebody who has a certificate and no password."""
    mine = world.certified()
    shown = {"client_certificate": mine.certificate, "client_private_key": mine.key}
    return world.form(**{"login": None, "password": None, "auth_method": "external", **shown, **values})


def as_master(world: World) -> Form:
    return world.form(login=world.master.login, password=MASTER_PASSWORD, alias=world.with_a_mail().login)


def method(value: str, used: str, twin: str = "plain") -> Row:
    return Row("auth_method", value, lambda w: w.form(auth_method=value), by(used), twin)


AUTHENTICATION = [
    method("plain", "PLAIN", "auto"),
    method("cram-md5", "CRAM-MD5"),
    method("scram-sha-1", "SCRAM-SHA-1"),
    method("scram-sha-256", "SCRAM-SHA-256"),
    Row("auth_method", "login", by_login, opens, "plain"),
    Row("auth_method", "external", certified, by("EXTERNAL"), "anonymous"),
    Row(
        "auth_method",
        "anonymous",
        lambda w: w.form(auth_method="anonymous"),
        lambda o: "<anonymous>" in o.login,
        "auto",
    ),
    # The strongest offered: here PLAIN, elsewhere SCRAM.
    Row("auth_method", "auto", lambda w: w.form(w.plain_only, auth_method="auto"), opens, "scram-sha-256"),
    Row("auth_method", "auto", lambda w: w.form(auth_method="auto"), by("SCRAM-SHA-256"), "plain"),
    Row("auth_method", EMPTY, lambda w: w.form(), by("SCRAM-SHA-256"), "plain"),
    Row("alias", FILLED, as_master, lambda o: o.mails == 1, None),
    Row(
        "alias",
        EMPTY,
        lambda w: w.form(login=w.with_a_mail().login, alias=None),
        lambda o: o.mails == 1,
        "bob",
    ),
]
