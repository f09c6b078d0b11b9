from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_imap_provider import __version__
from airflow_imap_provider.connection.availability import require_available
from airflow_imap_provider.connection.field import PROXY, Choice, Field
from airflow_imap_provider.connection.fields import FIELDS, field
from airflow_imap_provider.errors import NotAvailableError

from .builders import CERTIFICATE, COMPLETE, KEY, PIN, PKCS12, connect

OAUTH = COMPLETE["oauth"]

# What has to be filled in besides, for each choice that needs it.
BESIDES: dict[tuple[str, str], dict[str, Any]] = {
    ("auth_method", "external"): {"client_private_key": PKCS12},
    ("auth_method", "oauth-client-credentials"): OAUTH,
    ("auth_method", "oauth-refresh-token"): OAUTH,
    ("auth_method", "oauth-service-account"): OAUTH,
    ("auth_method", "bearer"): {"password": "a-token"},
    ("verify", "pinned"): {"pins": [PIN]},
}
CHOICES = [(spec, choice) for spec in FIELDS for choice in spec.choices]


@pytest.mark.parametrize(
    ("spec", "choice"),
    [pair for pair in CHOICES if pair[1].available],
    ids=lambda part: getattr(part, "key", None) or part.value,
)
def test_every_choice_that_is_available_passes(spec: Field, choice: Choice) -> None:
    besides: dict[str, Any] = (
        {"auth_method": "login"} if spec.key == "preset" else dict(BESIDES.get((spec.key, choice.value), {}))
    )
    if spec.tab == PROXY:
        besides |= {"tunnel_type": "http", "tunnel_host": "proxy.example.com", "tunnel_port": 3128}
        besides |= {"tunnel_login": "joe", "tunnel_remote_dns": False}
    require_available(connect(**{**besides, spec.key: choice.value}))


def test_a_choice_that_is_not_available_is_refused_with_those_that_are() -> None:
    spec = replace(field("verify"), choices=(Choice("full", "Full"), Choice("none", "None", available=False)))
    with pytest.raises(NotAvailableError) as caught:
        require_available(connect(verify="none"), (spec,))
    assert str(caught.value) == (
        "settings: connection 'mail', tab Encryption: Verify certificate (verify) 'none' (None) is not available in "
        f"version {__version__} yet. Choose full."
    )


@pytest.mark.parametrize(
    ("key", "extra"),
    [
        ("smime_private_key", {"smime_private_key": PKCS12}),
    ],
)
def test_a_field_that_is_not_available_is_refused_by_its_name_without_its_value(
    key: str, extra: dict[str, Any]
) -> None:
    with pytest.raises(NotAvailableError) as caught:
        require_available(connect(**extra))
    assert f"{field(key).name} is not available in version {__version__} yet. Leave it empty." in str(caught.value)
    assert "connection 'mail'" in str(caught.value)


def test_everything_of_this_version_together_passes() -> None:
    require_available(
        connect(
            preset="gmail",
            timeout=5,
            code_page="koi8-r",
            auth_method="plain",
            alias="sales",
            encryption="tls",
            security_mode="explicit",
            tls_versions=["TLSv1", "TLSv1.3"],
            verify="chain",
            ca_bundle=CERTIFICATE,
            pins=[PIN],
            client_certificate=CERTIFICATE,
            client_private_key=KEY,
            client_private_key_passphrase="sesame",
            server_name="mail.example.com",
            strict_x509=False,
            tunnel_type="http",
            tunnel_host="proxy.example.com",
            tunnel_port=3128,
            tunnel_auth="ntlm",
            tunnel_use_credentials=True,
            tunnel_domain="CORP",
            tunnel_login="joe",
            tunnel_password="secret",
            tunnel_remote_dns=False,
        )
    )
