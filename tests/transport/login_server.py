"""A Dovecot that offers every way to log in that the connection form has, OAuth excepted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import Settings, TlsSettings
from airflow_imap_provider.transport.session import Session
from tests.servers.certificates import ServerCertificate
from tests.servers.dovecot import Dovecot, User

MECHANISMS = "plain login cram-md5 scram-sha-1 scram-sha-256 external anonymous"


@pytest.fixture(scope="module")
def login_server(dovecot: Dovecot) -> Iterator[Dovecot]:  # dovecot: says whether there is one to be had
    server = Dovecot(mechanisms=MECHANISMS, client_certificates=True)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def mailbox_with_a_mail(server: Dovecot, password: str = "s3cret-of-its-owner") -> User:
    """A user whose INBOX can be told from others: it has one mail."""
    user = server.new_user(password)
    server.deliver(user, b"Subject: whose is it\r\n\r\nThis one's.\r\n")
    return user


def is_in(session: Session, expected: int = 1) -> bool:
    """Whether the session has a mailbox open that has so many mails."""
    return session.select("INBOX", readonly=True).exists == expected


def showing(server: Dovecot, certificate: ServerCertificate | None) -> TlsSettings:
    """TLS settings with this client certificate, or with none."""
    if certificate is None:
        return TlsSettings(ca_bundle=server.authority.pem)
    return TlsSettings(
        ca_bundle=server.authority.pem,
        client_certificate=str(certificate.certificate),
        client_private_key=str(certificate.key),
    )


def settings_of(server: Dovecot, **changes: Any) -> Settings:
    return server.settings(User("", ""), **changes)
