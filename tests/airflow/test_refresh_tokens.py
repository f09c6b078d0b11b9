"""A refresh token that is replaced at each use, in a real Airflow: trigger, tasks and Test button share one consent.

The endpoint refuses a token that was used, so whoever is left behind is locked out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import AuthSettings
from scripts.local_airflow import TRIGGERER
from tests.airflow.inbox import Inbox
from tests.airflow.processes import AirflowUnderTest
from tests.servers.token_endpoint import Consent
from tests.transport.oauth_server import OAuthWorld, oauth_servers, world

__all__ = ["oauth_servers", "world"]

pytestmark = pytest.mark.dovecot

NAME = "rotating"
LOOK = """
@task
def look():
    from airflow_imap_provider.hooks.imap4 import Imap4Hook
    found = []
    for _ in range(3):
        with Imap4Hook("{name}") as hook:
            found.append(len(hook.search()))
    return found
look()
"""


class ConsentedInbox(Inbox):
    """An inbox that is opened with a refresh token."""

    def __init__(self, airflow: AirflowUnderTest, world: OAuthWorld, name: str = NAME) -> None:
        user = world.dovecot.new_user()
        self.auth: AuthSettings = world.by_consent(user)
        self.consent: Consent = world.endpoint._consents[-1]
        super().__init__(airflow, world.dovecot, user, name)

    def connect(self, **changes: Any) -> None:
        oauth = self.auth.oauth
        self.extra = {
            "encryption": "ssl",
            "ca_bundle": self.dovecot.authority.pem,
            "timeout": 20,
            "auth_method": "oauth-refresh-token",
            "oauth_client_id": oauth.client_id,
            "oauth_client_secret": oauth.client_secret,
            "oauth_refresh_token": oauth.refresh_token,
            "oauth_endpoint": oauth.endpoint,
        }
        super().connect(password=None, extra=json.dumps(self.extra), **changes)

    def variables(self) -> list[dict[str, Any]]:
        return self.airflow.api.pages("/variables", "variables")


@pytest.fixture
def rotating(airflow: AirflowUnderTest, world: OAuthWorld) -> Iterator[ConsentedInbox]:
    world.endpoint.rotates = True
    # Every login costs a request, and so a refresh token.
    world.endpoint.lifetime = 0
    inbox = ConsentedInbox(airflow, world)
    yield inbox
    if airflow.api.dag(NAME):
        airflow.api.set_paused(NAME, True)
    world.endpoint.reset()


def test_trigger_tasks_and_the_test_button_share_a_consent_whose_token_changes_at_each_use(
    airflow: AirflowUnderTest, world: OAuthWorld, rotating: ConsentedInbox
) -> None:
    inbox, consent = rotating, rotating.consent
    inbox.open()
    assert len(consent.used) >= 1
    [variable] = [row for row in inbox.variables() if row["key"].startswith("imap4_refresh_token_")]
    assert variable["value"] == "***"
    assert variable["is_encrypted"] is True
    assert inbox.user.login in variable["description"]

    # A task, again and again.
    inbox.add_task("rotating_look", LOOK.format(name=inbox.name))
    inbox.deliver("one")
    inbox.await_taken(["one"])
    before = len(consent.used)
    airflow.api.run("rotating_look")
    airflow.wait_runs("rotating_look")
    assert airflow.results("rotating_look", "look") == [[1, 1, 1]]
    assert len(consent.used) >= before + 3

    # The Test button, which knows the connection under a passing name.
    tested = airflow.api.request(
        "POST",
        "/connections/test",
        json={
            "connection_id": inbox.name,
            "conn_type": "imap4",
            "host": inbox.dovecot.host,
            "port": inbox.dovecot.tls_port,
            "login": inbox.user.login,
            "extra": json.dumps(inbox.extra),
        },
    )
    assert tested["status"], tested
    assert "INBOX has 1 mails" in tested["message"]

    # The trigger, whose token was used up by the others meanwhile; first as it runs, then in another process.
    used = len(consent.used)
    inbox.dovecot.kick(inbox.user)
    airflow.wait(lambda: len(consent.used) > used, "the trigger to log in again")
    inbox.deliver("two")
    inbox.await_taken(["one", "two"])
    used = len(consent.used)
    airflow.restart(TRIGGERER)
    airflow.wait(lambda: len(consent.used) > used, "the new triggerer to log in", seconds=120)
    inbox.deliver("three")
    inbox.await_taken(["one", "two", "three"])

    # Still one place for it, with what counts now; and no log knows a token.
    assert [row["key"] for row in inbox.variables() if "refresh" in row["key"]] == [variable["key"]]
    written = airflow.log_of(("api-server", "scheduler", "dag-processor", TRIGGERER))
    written += "".join(path.read_text(errors="replace") for path in (airflow.home / "logs").rglob("*.log"))
    assert "rotating_look" in written
    for secret in (consent.valid, *consent.used, *world.endpoint.issued, inbox.auth.oauth.client_secret):
        assert secret not in written
