"""Nothing that a trigger stores, sends or logs has a secret in it, whatever servers repeat of what they were sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from airflow_imap_provider.mailbox import pacing
from airflow_imap_provider.mailbox.actions import MarkRead
from airflow_imap_provider.mailbox.backoff import Backoff
from airflow_imap_provider.triggers import health
from airflow_imap_provider.triggers.email import EmailTrigger
from tests.matrix.secrets import every_log_line, looks
from tests.servers.dovecot import Dovecot
from tests.servers.scripted import Peer, Script, ScriptedServer
from tests.servers.token_endpoint import Handler, TokenEndpoint
from tests.servers.waiting import until
from tests.transport.conftest import LOGIN
from tests.transport.oauth_server import TOKEN_KEY
from tests.triggers.conftest import connection, message
from tests.triggers.mailbox_state import HEALTH, PLACE, committed
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]

PASSWORD = "m4ilbox s3cret/of:the@trigger"
CLIENT_SECRET = "app s3cret/of:the@trigger ü"
STAGES = {"greeting": "greeting", "refusal": "authentication", "folder": "folder", "token": "token"}
"""Where they repeat it, and the stage that is reported."""


def all_forms(login: str, *secrets: str) -> set[str]:
    """The forms of these secrets, and what PLAIN makes of them for this login (and not for another)."""

    def plain(name: str) -> set[str]:
        return {base64.b64encode(f"\0{name}\0{secret}".encode()).decode() for secret in secrets}

    return set[str]().union(*map(looks, secrets)) - plain(LOGIN) | plain(login)


class Echo:
    """Servers that repeat all that a connection holds, at one stage or another.

    :param hidden: what they repeat.

    :ivar heard: how often they were asked.
    """

    def __init__(self, hidden: set[str], stack: ExitStack) -> None:
        self.said = " ".join(sorted(hidden))
        self.heard = 0
        self._stack = stack

    def in_the_greeting(self, peer: Peer) -> None:
        self.heard += 1
        peer.send(f"* BYE {self.said}")

    def in_the_refusal(self, peer: Peer) -> None:
        peer.greet("IMAP4rev1 SASL-IR IDLE AUTH=PLAIN")
        sent = peer.expect("AUTHENTICATE")
        self.heard += 1
        peer.no(f"[AUTHENTICATIONFAILED] {sent} {self.said}")
        peer.line()

    def at_the_folder(self, peer: Peer) -> None:
        peer.let_in()
        while (line := peer.line()).split(" ")[1] not in ("SELECT", "EXAMINE"):
            peer.send(f"{line.split(' ')[0]} OK done")
        self.heard += 1
        peer.send(f"{line.split(' ')[0]} NO {self.said}")
        peer.line()

    def of_the_endpoint(self, peer: Handler) -> None:
        self.heard += 1
        peer.answer(400, {"error": "invalid_client", "error_description": f"you said {peer.said} {self.said}"})

    def fields(self, stage: str) -> dict[str, object]:
        """What leads a connection to one of them."""
        scripts: dict[str, Script] = {
            "greeting": self.in_the_greeting,
            "refusal": self.in_the_refusal,
            "folder": self.at_the_folder,
            "token": self.in_the_greeting,
        }
        server = self._stack.enter_context(ScriptedServer(scripts[stage]))
        extra: dict[str, object] = {"encryption": "none", "ca_bundle": None}
        if stage == "token":
            endpoint = self._stack.enter_context(TokenEndpoint(TOKEN_KEY))
            endpoint.misbehave = self.of_the_endpoint
            extra |= {"auth_method": "oauth-client-credentials", "oauth_client_id": "app", "oauth_scope": "mail.all"}
            extra |= {"oauth_client_secret": CLIENT_SECRET, "oauth_endpoint": endpoint.url}
        return {"host": server.host, "port": server.port, "extra": extra}


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("stage", STAGES)
async def test_no_secret_is_stored_told_or_logged_by_a_trigger_whose_servers_repeat_them(
    stage: str,
    dovecot: Dovecot,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    servers: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Backoff, "REFUSED", (0.1, 0.1))
    monkeypatch.setattr(Backoff, "NETWORK", (0.1, 0.1))
    monkeypatch.setattr(pacing, "SETTINGS_RENEWAL", 0.1)
    monkeypatch.setattr(health, "OFTENEST", 0.0)
    monkeypatch.setattr(health, "OFTENEST_NEWS", 0.0)
    owner = dovecot.new_user(PASSWORD)
    hidden = all_forms(owner.login, PASSWORD, *([CLIENT_SECRET] if stage == "token" else []))
    echo = Echo(hidden, servers)
    broken, works = connection(dovecot, owner, **echo.fields(stage)), connection(dovecot, owner)
    stored: list[str] = []

    def is_reported() -> bool:
        entry = state.get(HEALTH) or {}
        stored.append(json.dumps(state.values))
        return not entry.get("connected", True) and entry["last_error"].startswith(STAGES[stage])

    watching = trigger(poll_interval=1.0, on_match=[MarkRead()])
    with every_log_line() as lines:
        monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", broken)
        triggerer.add(watching)
        await until(is_reported, "the error is in the health entry", 20)
        monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", works)
        dovecot.deliver(owner, message("one"))
        await until(lambda: triggerer.subjects == ["one"] and committed(state) == 1, "told and stored", 20)
        await until(lambda: state.get(HEALTH)["connected"], "the health entry says that it works", 20)
        heard = echo.heard
        monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", broken)
        await until(lambda: is_reported() and echo.heard > heard, "the error is in the health entry again", 20)
        await triggerer.kill()

    keys = list(state.values["inbox"])
    assert {PLACE, HEALTH} < set(keys)
    assert any("journal" in key for key in keys)
    assert "***" in state.get(HEALTH)["last_error"]
    assert any("***" in line for line in lines)
    everything = "\n".join([*stored, json.dumps(state.values), repr(state.values), json.dumps(triggerer.log)])
    everything += repr(watching.serialize()) + json.dumps(watching.serialize()[1]) + repr(watching) + "\n".join(lines)
    assert not [secret for secret in hidden if secret in everything]
