"""Rows of the tab Proxy."""

from __future__ import annotations

import base64
from typing import Any

from tests.matrix.row import EMPTY, FILLED, OFF, ON, Row, asks, opens, says
from tests.matrix.world import NOBODY, Form, World
from tests.servers.proxies import ASCII_PASSWORD, LOGIN, PASSWORD
from tests.servers.winbind import ACCOUNT, DOMAIN

JOE: Form = {"tunnel_login": LOGIN, "tunnel_password": PASSWORD}
ASCII_JOE: Form = {"tunnel_login": LOGIN, "tunnel_password": ASCII_PASSWORD}
IN_DOMAIN: Form = {"tunnel_login": ACCOUNT, "tunnel_password": PASSWORD, "tunnel_domain": DOMAIN}
WRONG = "wr0ng s3cret of a proxy"
HERE: Form = {"tunnel_remote_dns": False}
BASIC = "Basic " + base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
SQUID, NTLM, SSH, MICROSOCKS, TINYPROXY = ("squid",), ("squid", "winbind"), ("ssh",), ("microsocks",), ("tinyproxy",)


def via(name: str, kind: str = "http", **values: Any) -> Any:
    return lambda world: world.through(name, kind, **{"timeout": 3, **values})


def ignored(world: World) -> Form:
    """A proxy that is filled in and expressly not used: direct, and not even looked for."""
    return world.form(tunnel_type="none", tunnel_host=NOBODY, tunnel_port=1, **JOE)


def to(name: str, key: str) -> Row:
    """A row for an address of a proxy; at the twin's there is none."""
    proxy = "microsocks on IPv6" if ":" in name else "microsocks"
    return Row("tunnel_host", key, via(proxy, "socks5", tunnel_host=name), opens, NOBODY, MICROSOCKS)


PROXY = [
    Row("tunnel_type", "none", ignored, opens, "http"),
    Row("tunnel_type", "http", via("tinyproxy", timeout=3), opens, "socks5", TINYPROXY),
    Row("tunnel_type", "socks4", via("ssh", "socks4", **HERE), opens, "http", SSH),
    Row("tunnel_type", "socks4a", via("ssh", "socks4a"), opens, "socks4", SSH),
    Row("tunnel_type", "socks5", via("microsocks with login", "socks5", **JOE), opens, "socks4a", MICROSOCKS),
    Row(
        "tunnel_type",
        EMPTY,
        via("squid", tunnel_type=None),
        says("Proxy type (tunnel_type): it is empty", "Proxy address (tunnel_host)"),
        "http",
        SQUID,
    ),
    to("localhost", "DNS name"),
    to("127.0.0.1", "IPv4 address"),
    to("[::1]", "IPv6 address"),
    Row(
        "tunnel_host",
        EMPTY,
        via("squid", tunnel_host=None),
        says("Proxy address (tunnel_host): it is empty"),
        "127.0.0.1",
        SQUID,
    ),
    Row("tunnel_port", FILLED, via("squid"), opens, 1, SQUID),
    Row(
        "tunnel_port",
        EMPTY,
        lambda w: w.form(tunnel_type="socks5", tunnel_host=NOBODY),
        says("proxy:", f"{NOBODY} port 1080"),
        1081,
    ),
    Row("tunnel_auth", "auto", via("squid with basic", **JOE, tunnel_auth="auto"), asks(BASIC), "digest", SQUID),
    Row("tunnel_auth", "basic", via("squid with all", **JOE, tunnel_auth="basic"), asks(BASIC), "digest", NTLM),
    Row("tunnel_auth", "digest", via("squid with all", **JOE, tunnel_auth="digest"), asks("Digest "), "basic", NTLM),
    Row("tunnel_auth", "ntlm", via("squid with all", **IN_DOMAIN, tunnel_auth="ntlm"), asks("NTLM "), "basic", NTLM),
    Row("tunnel_auth", EMPTY, via("squid with all", **JOE), asks("Digest "), "basic", NTLM),
    Row(
        "tunnel_use_credentials", ON, via("squid with digest", **JOE, tunnel_use_credentials=True), opens, False, SQUID
    ),
    Row(
        "tunnel_use_credentials",
        OFF,
        via("squid with basic", **JOE, tunnel_use_credentials=False),
        says("the proxy wants a login"),
        True,
        SQUID,
    ),
    Row("tunnel_use_credentials", EMPTY, via("microsocks with login", "socks5", **JOE), opens, False, MICROSOCKS),
    Row("tunnel_domain", FILLED, via("squid with ntlm", **IN_DOMAIN), opens, "ELSEWHERE", NTLM),
    Row("tunnel_domain", EMPTY, via("squid with basic", **JOE), asks(BASIC), DOMAIN, SQUID),
    Row("tunnel_login", FILLED, via("tinyproxy with login", **ASCII_JOE), opens, "nobody", TINYPROXY),
    Row(
        "tunnel_login",
        EMPTY,
        via("tinyproxy with login", tunnel_password=ASCII_PASSWORD),
        says("Proxy username (tunnel_login): it is empty"),
        LOGIN,
        TINYPROXY,
    ),
    Row("tunnel_password", FILLED, via("squid with ntlm", **IN_DOMAIN), opens, WRONG, NTLM),
    Row("tunnel_password", FILLED, via("squid with digest", **JOE), opens, WRONG, SQUID),
    Row(
        "tunnel_password",
        EMPTY,
        via("squid with basic", tunnel_login=LOGIN),
        says("the proxy does not accept the login"),
        PASSWORD,
        SQUID,
    ),
    Row("tunnel_remote_dns", ON, via("squid", tunnel_remote_dns=True), asks("CONNECT localhost:"), False, SQUID),
    Row("tunnel_remote_dns", OFF, via("squid", **HERE), lambda o: "localhost" not in o.asked, True, SQUID),
    Row("tunnel_remote_dns", EMPTY, via("squid"), asks("CONNECT localhost:"), False, SQUID),
    Row("tunnel_remote_dns", OFF, via("dante", "socks4", **HERE), opens, True, ("dante",)),
]
