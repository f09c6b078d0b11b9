"""Rows of the tabs Standard Fields and Main settings."""

from __future__ import annotations

from tests.matrix.row import EMPTY, FILLED, Row, asks, opens, says
from tests.matrix.world import NOBODY, Form, World
from tests.servers.scripted import Peer

HOSTS = {
    "office365": "outlook.office365.com",
    "gmail": "imap.gmail.com",
    "outlook": "outlook.office365.com",
    "yahoo": "imap.mail.yahoo.com",
    "icloud": "imap.mail.me.com",
    "fastmail": "imap.fastmail.com",
    "zoho": "imap.zoho.com",
    "gmx": "imap.gmx.net",
}
PRESET: Form = {"host": None, "port": None, "ca_bundle": None, "auth_method": "plain"}
CYRILLIC = "Счёт".encode("koi8-r")


def silent(peer: Peer) -> None:
    peer.wait_for_end()


def no_answer(world: World) -> Form:
    server = world.scripted(silent)
    return world.form(host=server.host, port=server.port, encryption="none", ca_bundle=None, timeout=1)


def cyrillic(world: World) -> Form:
    return world.form(login=world.with_a_mail(CYRILLIC).login, code_page="koi8-r")


STANDARD = [
    Row("host", "DNS name", lambda w: w.form(host="localhost"), lambda o: o.subject == "server", "127.0.0.5"),
    Row(
        "host",
        "IPv4 address",
        lambda w: w.form(host="127.0.0.1"),
        lambda o: o.peer[0] == "127.0.0.1",
        "::1",
    ),
    Row("host", "IPv6 address", lambda w: w.form(host="[::1]"), lambda o: o.peer[0] == "::1", "127.0.0.1"),
    Row("host", EMPTY, lambda w: w.form(host=None), says("Address (host): it is empty"), "localhost"),
    Row("port", FILLED, lambda w: w.form(), lambda o: o.peer[1] == o.form["port"], 1),
    Row("port", EMPTY, lambda w: w.form(host=NOBODY, port=None), says(f"{NOBODY} port 993"), 143),
    Row("login", FILLED, lambda w: w.form(), lambda o: f"user=<{o.form['login']}>" in o.login, "nobody"),
    Row(
        "login",
        EMPTY,
        lambda w: w.form(login=None),
        says("Username (login): it is empty", "Method (auth_method)"),
        "somebody",
    ),
    Row("password", FILLED, lambda w: w.form(), opens, "wr0ng s3cret of the matrix"),
    Row("password", EMPTY, lambda w: w.form(password=None), says("Password (password): it is empty"), "s0me s3cret"),
]

MAIN_SETTINGS = [
    *(
        Row(
            "preset",
            name,
            lambda w, name=name: w.through("squid that is closed", **PRESET, preset=name),
            asks(f"CONNECT {host}:993 "),
            "fastmail" if name != "fastmail" else "gmx",
            needs=("squid",),
        )
        for name, host in HOSTS.items()
    ),
    Row("preset", "custom", lambda w: w.form(host=None, preset="custom"), says("Address (host): it is empty"), "gmail"),
    Row("preset", EMPTY, lambda w: w.form(host=None), says("Address (host): it is empty"), "gmail"),
    Row("timeout", FILLED, no_answer, lambda o: o.says("greeting", "within 1 s") and 0.9 < o.seconds < 10, 2),
    Row(
        "timeout",
        EMPTY,
        lambda w: w.form(timeout=None),
        lambda o: o.socket is not None and 30 < (o.socket.gettimeout() or 0) <= 60,  # for the last answer
        30,
    ),
    Row("code_page", FILLED, cyrillic, lambda o: o.first_subject == "Счёт", "cp1252"),
    Row(
        "code_page",
        EMPTY,
        lambda w: {**cyrillic(w), "code_page": None},
        lambda o: o.first_subject == CYRILLIC.decode("cp1252"),
        "koi8-r",
    ),
]
