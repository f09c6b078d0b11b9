"""Fixtures of the transport tests: settings for a scripted server, sessions that get closed, certificates."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Settings, TlsSettings
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Deadline
from airflow_imap_provider.transport.session import Session, open_session
from airflow_imap_provider.transport.tls import context_for
from tests.servers.certificates import Authority, ServerCertificate
from tests.servers.scripted import ScriptedServer

LOGIN = "alice"
PASSWORD = "s3cret-p4ssw0rd"

if TYPE_CHECKING:
    from tests.transport.lab import Lab

Opener = Callable[[Settings], Session]


def settings_for(server: ScriptedServer, **changes: Any) -> Settings:
    """Settings that lead to a scripted server, without encryption if not said otherwise."""
    values: dict[str, Any] = {
        "conn_id": "scripted",
        "host": server.host,
        "port": server.port,
        "security": "none",
        "timeout": 5,
        "auth": AuthSettings(login=LOGIN, password=PASSWORD),
    }
    return Settings(**{**values, **changes})


def server_context(certificate: ServerCertificate) -> ssl.SSLContext:
    """The server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


def context_of(settings: TlsSettings) -> ssl.SSLContext:
    """The client's side of TLS for these settings."""
    return context_for(settings, Deadline(SYSTEM_CLOCK, 60))


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens sessions, and closes them when the test is over."""
    sessions: list[Session] = []

    def open_and_keep(settings: Settings) -> Session:
        session = open_session(settings)
        sessions.append(session)
        return session

    yield open_and_keep
    for session in sessions:
        session.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def tls(authority: Authority) -> ssl.SSLContext:
    """A server's side of TLS with a good certificate."""
    return server_context(authority.issue("good"))


@pytest.fixture
def trusting(authority: Authority) -> TlsSettings:
    """Settings that trust the test authority."""
    return TlsSettings(ca_bundle=authority.pem)


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    from tests.transport.lab import Lab

    with ExitStack() as stack:
        yield Lab(request, stack, tmp_path)
