"""Pinned fingerprints: of the certificate or of its key, with and without the other checks, before the first byte."""

from __future__ import annotations

import base64
import hashlib
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from airflow_imap_provider.connection.parsing import parse
from airflow_imap_provider.connection.settings import TlsSettings, Verification
from airflow_imap_provider.errors import TlsError
from airflow_imap_provider.transport.pins import fingerprints
from tests.servers.certificates import Authority, ServerCertificate, self_signed
from tests.servers.dovecot import Dovecot
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import Opener, context_of, server_context, settings_for

OTHER = "ab" * 32


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> ServerCertificate:
    return authority.issue("pinned")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    """A certificate that no check but a pin can accept: self-signed, for another name."""
    return self_signed(tmp_path_factory.mktemp("alone"), "alone", names=("elsewhere.example.com",))


def of_certificate(certificate: ServerCertificate) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.pem)).hexdigest()


def of_key(certificate: ServerCertificate) -> str:
    """As administrators compute it."""
    public = subprocess.run(
        ["openssl", "x509", "-pubkey", "-noout", "-in", certificate.certificate], check=True, capture_output=True
    ).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "der"], input=public, check=True, capture_output=True
    )
    return hashlib.sha256(der.stdout).hexdigest()


def server_for(certificate: ServerCertificate) -> ScriptedServer:
    return ScriptedServer(Peer.let_in, tls=server_context(certificate))


def connects(opened: Opener, certificate: ServerCertificate, **tls: Any) -> bool:
    with server_for(certificate) as server:
        return opened(settings_for(server, security="implicit", tls=TlsSettings(**tls))).usable


def refusal(opened: Opener, certificate: ServerCertificate, **tls: Any) -> TlsError:
    with server_for(certificate) as server:
        with pytest.raises(TlsError) as caught:
            opened(settings_for(server, security="implicit", tls=TlsSettings(**tls)))
        assert not server.received, "not a byte of IMAP goes to a server that is not the right one"
    assert caught.value.stage == "tls"
    return caught.value


# -- what is accepted -------------------------------------------------------------------------------------------------


def test_pinned_only_needs_neither_authority_nor_name(opened: Opener, alone: ServerCertificate) -> None:
    for pin in (of_certificate(alone), of_key(alone)):
        assert connects(opened, alone, verify="pinned", pins=(pin,))


def test_pinned_only_does_not_mind_an_expired_certificate(opened: Opener, authority: Authority) -> None:
    expired = authority.issue("expired-and-pinned", days=(-30, -1))
    assert connects(opened, expired, verify="pinned", pins=(of_key(expired),))


@pytest.mark.parametrize("verify", ["full", "chain", "pinned", "none"])
def test_one_of_several_pins_is_enough(
    verify: Verification, opened: Opener, authority: Authority, certificate: ServerCertificate
) -> None:
    pins = (OTHER, of_key(certificate), "cd" * 32)
    assert connects(opened, certificate, verify=verify, ca_bundle=authority.pem, pins=pins)


def test_a_pinned_key_survives_the_renewal_of_its_certificate(authority: Authority) -> None:
    rsa = authority.issue("rsa-pinned", rsa_key=True)
    assert fingerprints(ssl.PEM_cert_to_DER_cert(rsa.pem)) == (of_certificate(rsa), of_key(rsa))


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_pins_work_with_every_current_version(version: str, opened: Opener, alone: ServerCertificate) -> None:
    assert connects(opened, alone, verify="pinned", versions=(version,), pins=(of_key(alone),))
    refusal(opened, alone, verify="pinned", versions=(version,), pins=(OTHER,))


@pytest.mark.parametrize("form", ["hex", "colons", "openssl", "curl", "base64"])
def test_a_pin_works_in_every_form_that_tools_print(form: str, opened: Opener, alone: ServerCertificate) -> None:
    pin = of_key(alone)
    colons = ":".join(pin[i : i + 2] for i in range(0, 64, 2)).upper()
    packed = base64.b64encode(bytes.fromhex(pin)).decode()
    written = {
        "hex": pin,
        "colons": colons,
        "openssl": f"sha256 Fingerprint={colons}",
        "curl": f"sha256//{packed}",
        "base64": packed,
    }[form]
    extra = {"verify": "pinned", "pins": f"{OTHER}, {written}"}
    settings = parse("mail", host="localhost", port=None, login="joe", password="x", extra=extra)
    with server_for(alone) as server:
        assert opened(settings_for(server, security="implicit", tls=settings.tls)).usable


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verify", ["full", "chain", "pinned", "none"])
def test_a_server_with_another_certificate_is_refused_before_the_first_byte(
    verify: Verification, opened: Opener, authority: Authority, certificate: ServerCertificate
) -> None:
    error = refusal(opened, certificate, verify=verify, ca_bundle=authority.pem, pins=(OTHER,))
    assert "none of the pinned ones" in error.problem
    # Ready to paste.
    assert of_certificate(certificate) in error.problem
    assert of_key(certificate) in error.problem
    assert "Pinned fingerprints (pins)" in error.remedy


def test_a_pin_does_not_replace_the_other_checks(opened: Opener, authority: Authority) -> None:
    elsewhere = authority.issue("pinned-elsewhere", names=("elsewhere.example.com",), addresses=())
    pins = (of_certificate(elsewhere),)
    assert "not for '127.0.0.1'" in refusal(opened, elsewhere, ca_bundle=authority.pem, pins=pins).problem
    assert "not known here" in refusal(opened, elsewhere, verify="chain", pins=pins).problem
    assert connects(opened, elsewhere, verify="chain", ca_bundle=authority.pem, pins=pins)


def test_the_pin_of_the_authority_is_not_the_servers(opened: Opener, authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("below-the-authority")
    pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(authority.pem)).hexdigest()
    refusal(opened, issued, verify="pinned", pins=(pin,))


def test_connections_that_differ_only_in_their_pins_do_not_share_a_verdict(
    opened: Opener, alone: ServerCertificate
) -> None:
    assert connects(opened, alone, verify="pinned", pins=(of_key(alone),))
    refusal(opened, alone, verify="pinned", pins=(OTHER,))
    assert connects(opened, alone, verify="pinned", pins=(of_key(alone),))


def test_a_certificate_whose_key_nobody_knows_can_be_pinned_as_a_whole() -> None:
    assert fingerprints(b"no certificate") == (hashlib.sha256(b"no certificate").hexdigest(), "")


@pytest.mark.parametrize("verify", ["pinned", "none"])
def test_without_a_check_of_the_issuer_no_authority_is_loaded(verify: Verification) -> None:
    context = context_of(TlsSettings(verify=verify, pins=(OTHER,)))
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname
    assert context.cert_store_stats()["x509_ca"] == 0


@pytest.mark.dovecot
@pytest.mark.parametrize("security", ["starttls", "implicit"])
def test_a_real_server_is_pinned_in_both_modes(security: Any, opened: Opener, dovecot: Dovecot) -> None:
    served = ssl.get_server_certificate((dovecot.host, dovecot.tls_port))
    pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(served)).hexdigest()
    right, wrong = (TlsSettings(verify="pinned", pins=(value,)) for value in (pin, OTHER))
    assert opened(dovecot.settings(dovecot.alice, security=security, tls=right)).usable
    with pytest.raises(TlsError, match=pin):
        opened(dovecot.settings(dovecot.alice, security=security, tls=wrong))
