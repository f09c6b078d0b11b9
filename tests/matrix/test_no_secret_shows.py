"""Over the whole matrix, and its failing twins, no secret is seen in anything that is shown, logged or passed on."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.transport.session import open_session
from airflow_imap_provider.transport.tls import _contexts
from tests.matrix.secrets import SECRET_FIELDS, every_log_line, lines_of, looks, pieces, secrets_of
from tests.matrix.test_every_value import ROWS
from tests.matrix.world import STANDARD, Form, World, parse_form
from tests.transport.test_secrets import everything_about
from tests.transport.test_secrets_of_methods import everything_of

WRONG = {
    "password": "wr0ng-s3cret/of:the@mailbox",
    "tunnel_password": "wr0ng s3cret/of:the@proxy",
    "client_private_key_passphrase": "wr0ng s3cret of the key",
    "smime_private_key_passphrase": "wr0ng s3cret of the mails",
    "oauth_client_secret": "wr0ng s3cret/of:the@application",
    "oauth_refresh_token": "wr0ng r3fresh token/of:the@user",
}
AT_ONCE = 20
"""Openings at a time: those with a silent server wait for a second each."""
TESTED = 16
"""So many of them are repeated by the hook and its Test button."""
TELLING = {"auth_method", *SECRET_FIELDS}
"""Fields of which every row is scanned; of the others every second one, for the time that it takes."""


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield listener.getsockname()[1]


def twins(form: Form, silent_port: int) -> list[Form]:
    """The same, failing in one way after the other."""
    found = [{**form, "port": silent_port, "timeout": 1}, {**form, "ca_bundle": None}]
    found += [{**form, key: value} for key, value in WRONG.items() if form.get(key)]
    if "PRIVATE KEY" in (key := form.get("oauth_private_key") or ""):
        found.append({**form, "oauth_private_key": key.replace("MII", "MIJ")})
    return found


def as_connection(form: Form) -> str:
    standard = {key: form.get(key) for key in STANDARD}
    extra = {key: value for key, value in form.items() if key not in STANDARD}
    return json.dumps({"conn_type": "imap4", **standard, "extra": extra})


def shown(form: Form) -> tuple[bool, str]:
    """Whether a session was opened, and everything that there is to be seen of it, or of its failure."""
    opened, texts = False, []
    try:
        settings = parse_form(form)
        texts.append(repr(settings))
        session = open_session(settings)
        opened = True
        texts += everything_of(session)
        session.logout()
        session.folders()  # too late: an error of a later answer
    except ImapError as error:
        texts.append(everything_about(error))
    return opened, "\n".join(texts)


def shown_by_the_hook(conn_id: str) -> str:
    """The same, by the hook and its Test button."""
    hook = Imap4Hook(conn_id)
    try:
        with hook:
            seen = repr(vars(hook))
    except ImapError as error:
        seen = everything_about(error)
    return seen + repr(hook) + str(hook.test_connection())


@pytest.mark.parametrize(
    "_", [pytest.param(None, marks=[getattr(pytest.mark, name) for row in ROWS for name in row.needs], id="all")]
)
def test_no_secret_of_the_whole_matrix_shows_anywhere(
    _: None,
    world: World,
    silent_port: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    openings: list[Form] = []
    rows = [row for number, row in enumerate(ROWS) if number % 2 == 0 or row.field in TELLING]
    for row in rows:
        form = row.form(world)
        openings += [form, row.other(form, world), *twins(form, silent_port)]
    # One with a silent server is enough: the Test button asks it three seconds long who it is. Refresh tokens are kept
    # in Airflow's database, which is not here.
    answered = [form for form in openings if form["port"] != silent_port and not form.get("oauth_refresh_token")]
    by_the_hook = [twins(openings[0], silent_port)[0], *answered[:: len(answered) // TESTED]]
    for number, form in enumerate(by_the_hook):
        monkeypatch.setenv(f"AIRFLOW_CONN_MATRIX{number}", as_connection(form))
    with every_log_line() as lines, ThreadPoolExecutor(AT_ONCE) as pool:
        came = list(pool.map(shown, openings))
        texts = list(pool.map(shown_by_the_hook, [f"matrix{number}" for number, _ in enumerate(by_the_hook)]))
    texts += [text for _, text in came]
    texts += [*lines, repr(list(_contexts)), *capfd.readouterr()]

    assert len(lines) > len(by_the_hook)
    assert sum(opened for opened, _ in came) > len(rows) / 2
    assert sum(not opened for opened, _ in came) > len(rows) * 2
    everything = "\n".join(texts)
    hidden = set[str]().union(*map(secrets_of, openings))
    assert len(hidden) > len(rows)
    on_the_wire = set(world.tokens.secrets())
    assert len(on_the_wire) > len(world.tokens.endpoint.issued) > 10
    hidden = set[str]().union(*map(pieces, hidden | on_the_wire))
    assert not [secret for secret in hidden if secret in everything]


def test_the_scan_finds_what_is_told_to_any_logger() -> None:
    deaf = logging.getLogger("deaf.and.disabled")
    deaf.propagate, deaf.disabled = False, True
    deaf.setLevel(logging.ERROR)
    with every_log_line() as lines:
        deaf.debug("it is %s", "s3cret")
        logging.getLogger("new.one").debug("here too: %r", {"a": "s3cret"})
    assert ["s3cret" in line for line in lines] == [True, True]
    assert deaf.disabled
    assert "p%40ss%2Fw%3Ard" in looks("p@ss/w:rd")


def test_the_scan_finds_a_part_of_a_key_and_of_a_token() -> None:
    key = (
        "-----BEGIN CERTIFICATE-----\nknown\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nabc\ndef\n-----END"
    )
    assert lines_of(key) == {"abc", "def"}
    assert lines_of(json.dumps({"private_key": key})) == {"abc", "def"}
    token = "".join(f"{number:03}" for number in range(50))
    assert [len(piece) for piece in sorted(pieces(token))] == [48, 48, 48]
    assert all(piece in token for piece in pieces(token))
    assert pieces("short") == {"short"}
