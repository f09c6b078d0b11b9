from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import logging
import socket
import ssl
import subprocess
import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from airflow_imap_provider.connection.settings import AuthSettings, Security, Settings, TlsSettings, Verification
from airflow_imap_provider.errors import ImapTimeoutError, SettingsError, TlsError
from airflow_imap_provider.transport.diagnosis import diagnose
from airflow_imap_provider.transport.tls import CACHED_CONTEXTS
from airflow_imap_provider.transport.tls_errors import explain
from tests.servers.certificates import Authority, ServerCertificate, odd_certificate, self_signed
from tests.servers.dovecot import Dovecot
from tests.servers.scripted import CAPABILITIES, Peer, ScriptedServer
from tests.transport.conftest import Opener, context_of, server_context, settings_for


def tls_server(context: ssl.SSLContext) -> ScriptedServer:
    return ScriptedServer(Peer.let_in, tls=context)


def failure(opened: Opener, context: ssl.SSLContext, tls: TlsSettings, host: str = "127.0.0.1") -> TlsError:
    with tls_server(context) as server, pytest.raises(TlsError) as caught:
        opened(settings_for(server, security="implicit", tls=tls, host=host))
    assert caught.value.stage == "tls"
    return caught.value


# -- contexts ---------------------------------------------------------------------------------------------------------


def test_equal_settings_share_one_context() -> None:
    assert context_of(TlsSettings()) is context_of(TlsSettings())
    assert context_of(TlsSettings()) is not context_of(TlsSettings(verify="chain"))


def test_a_changed_ca_bundle_file_makes_a_new_context(authority: Authority, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text(authority.pem)
    settings = TlsSettings(ca_bundle=str(bundle))
    first = context_of(settings)
    assert context_of(settings) is first
    bundle.write_text(authority.pem * 2)
    assert context_of(settings) is not first


def test_only_so_many_contexts_are_kept() -> None:
    first = context_of(TlsSettings(verify="none", server_name="first.example.com"))
    for number in range(CACHED_CONTEXTS):
        context_of(TlsSettings(verify="none", server_name=f"{number}.example.com"))
    assert context_of(TlsSettings(verify="none", server_name="first.example.com")) is not first


@pytest.mark.parametrize("strict", [True, False])
def test_strict_checks_mean_the_same_on_every_python(strict: bool) -> None:
    flags = context_of(TlsSettings(strict_x509=strict)).verify_flags
    assert bool(flags & ssl.VERIFY_X509_STRICT) is strict
    assert flags & ssl.VERIFY_X509_PARTIAL_CHAIN


@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_an_unreadable_ca_bundle_is_a_settings_error_that_names_the_field(content: str | None, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(SettingsError, match=r"CA bundle \(ca_bundle\)"):
        context_of(TlsSettings(ca_bundle=str(bundle)))


def test_pem_text_without_a_certificate_is_a_settings_error_without_the_text() -> None:
    with pytest.raises(SettingsError, match="the text holds no certificate") as caught:
        context_of(TlsSettings(ca_bundle="-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"))
    assert "c2VjcmV0" not in str(caught.value)


def test_a_context_with_versions_in_between_left_out_does_not_speak_them() -> None:
    context = context_of(TlsSettings(versions=("TLSv1.1", "TLSv1.3"), verify="none"))
    assert context.options & ssl.OP_NO_TLSv1_2
    assert not context.options & ssl.OP_NO_TLSv1_1
    assert context.maximum_version == ssl.TLSVersion.TLSv1_3


# -- handshakes that work ---------------------------------------------------------------------------------------------


def test_a_ca_bundle_is_a_path_a_folder_hashed_or_not_or_text(
    opened: Opener, authority: Authority, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    name = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", authority.path], check=True, capture_output=True, text=True
    ).stdout.strip()
    hashed, plain = tmp_path / "hashed", tmp_path / "plain"
    hashed.mkdir()
    plain.mkdir()
    (hashed / "ours.pem").write_text(authority.pem)
    (hashed / f"{name}.0").symlink_to("ours.pem")
    (plain / "ours.crt").write_text(authority.pem)
    with tls_server(tls) as server:
        for bundle in (str(authority.path), str(hashed), str(plain), authority.pem):
            assert opened(settings_for(server, security="implicit", tls=TlsSettings(ca_bundle=bundle))).usable


def test_a_folder_counts_with_what_it_has_now_and_in_spite_of_what_else_is_in_it(
    opened: Opener, authority: Authority, tls: ssl.SSLContext, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = ssl.DER_cert_to_PEM_cert(b"\x30\x03\x02\x01\x01")
    (tmp_path / "damaged.pem").write_text(damaged)
    (tmp_path / "README").write_text("Certificates of our own.")
    (tmp_path / "folder").mkdir()
    other = Authority(tmp_path / "folder", "Other Authority")
    (tmp_path / "other.pem").write_text(other.pem)
    bundle = TlsSettings(ca_bundle=str(tmp_path))
    with tls_server(tls) as server:
        with pytest.raises(TlsError):
            opened(settings_for(server, security="implicit", tls=bundle))
        assert "a certificate in" in caplog.text
        (tmp_path / "ours.pem").write_text(authority.pem)
        assert opened(settings_for(server, security="implicit", tls=bundle)).usable


@pytest.mark.parametrize("content", [None, "no certificate", ssl.DER_cert_to_PEM_cert(b"\x30\x03\x02\x01\x01")])
def test_a_folder_without_a_certificate_is_a_settings_error(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "some.pem").write_text(content)
    with pytest.raises(SettingsError, match=r"CA bundle \(ca_bundle\): the folder .* holds no certificate"):
        context_of(TlsSettings(ca_bundle=str(tmp_path)))


def test_the_server_name_is_checked_instead_of_the_address(opened: Opener, authority: Authority) -> None:
    context = server_context(authority.issue("other", names=("mail.example.com",), addresses=()))
    tls = TlsSettings(ca_bundle=authority.pem, server_name="mail.example.com")
    with tls_server(context) as server:
        assert opened(settings_for(server, security="implicit", tls=tls)).usable


def test_chain_only_accepts_another_name_and_still_wants_the_authority(opened: Opener, authority: Authority) -> None:
    context = server_context(authority.issue("elsewhere", names=("elsewhere.example.com",), addresses=()))
    with tls_server(context) as server:
        chain = TlsSettings(verify="chain", ca_bundle=authority.pem)
        assert opened(settings_for(server, security="implicit", tls=chain)).usable
        with pytest.raises(TlsError):
            opened(settings_for(server, security="implicit", tls=replace(chain, ca_bundle="")))


def test_no_verification_accepts_anything(opened: Opener, tmp_path: Path) -> None:
    context = server_context(self_signed(tmp_path, "anybody", names=("nobody.example.com",)))
    with tls_server(context) as server:
        assert opened(settings_for(server, security="implicit", tls=TlsSettings(verify="none"))).usable


def test_a_self_signed_certificate_works_as_its_own_ca_bundle(opened: Opener, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "own")
    tls = TlsSettings(ca_bundle=certificate.pem, strict_x509=False)
    with tls_server(server_context(certificate)) as server:
        assert opened(settings_for(server, security="implicit", tls=tls)).usable


def test_an_old_private_authority_works_with_strict_checks_off(opened: Opener, authority: Authority) -> None:
    context = server_context(authority.issue("sloppy", strict=False))
    with tls_server(context) as server:
        tls = TlsSettings(ca_bundle=authority.pem, strict_x509=False)
        assert opened(settings_for(server, security="implicit", tls=tls)).usable


def starting_tls(context: ssl.SSLContext) -> ScriptedServer:
    def script(peer: Peer) -> None:
        peer.greet("IMAP4rev1 STARTTLS LOGINDISABLED")
        peer.expect("STARTTLS")
        peer.ok()
        peer.starttls(context)
        peer.tell_capabilities()
        peer.expect("AUTHENTICATE PLAIN")
        peer.ok(words=f"[CAPABILITY {CAPABILITIES}] in")

    return ScriptedServer(script)


VERSIONS = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]


@pytest.mark.parametrize("allowed", ["only", "all"])
@pytest.mark.parametrize("security", ["implicit", "starttls"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_speaks_only_one_version_works_when_it_is_allowed(
    version: str, security: Security, allowed: str, opened: Opener, authority: Authority
) -> None:
    context = old_server(authority, version)
    tls = TlsSettings(versions=(version,) if allowed == "only" else tuple(VERSIONS), ca_bundle=authority.pem)
    with (tls_server if security == "implicit" else starting_tls)(context) as server:
        session = opened(settings_for(server, security=security, tls=tls))
        assert session.client.socket().version() == version


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_speaks_only_one_version_is_refused_when_that_is_not_allowed(
    version: str, opened: Opener, authority: Authority
) -> None:
    others = tuple(other for other in VERSIONS if other != version)
    error = failure(opened, old_server(authority, version), TlsSettings(versions=others, ca_bundle=authority.pem))
    assert "tls_versions" in error.remedy


@pytest.mark.parametrize("version", VERSIONS)
def test_the_log_warns_of_versions_that_lower_the_security_level(
    version: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        context_of(TlsSettings(versions=(version,), verify="none", server_name=f"warned-{version.lower()}"))
    assert ("tls_versions" in caplog.text and "broken" in caplog.text) is (version in ("TLSv1", "TLSv1.1"))


@pytest.mark.parametrize("legacy", [True, False])
def test_servers_that_know_no_secure_renegotiation_are_let_in_with_old_versions_only(
    legacy: bool, opened: Opener
) -> None:
    """No library of today can play one, so only its first words are said: what the client thinks of them shows it."""
    listener = socket.create_server(("127.0.0.1", 0))
    said = bytearray()

    def answer() -> None:
        sock, _ = listener.accept()
        with sock, contextlib.suppress(OSError):
            sock.settimeout(20)
            sock.recv(65536)
            # ServerHello: TLS 1.2, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, without an extension.
            body = b"\x03\x03" + bytes(range(32)) + b"\x00\xc0\x2f\x00"
            hello = b"\x02" + len(body).to_bytes(3, "big") + body
            sock.sendall(b"\x16\x03\x03" + len(hello).to_bytes(2, "big") + hello)
            # Then something that is no handshake, so that a client which goes on has an end too.
            sock.sendall(b"\x15\x03\x03\x00\x02\x02\x50")
            said.extend(sock.recv(65536))

    thread = threading.Thread(target=answer)
    thread.start()
    versions = ("TLSv1.1", "TLSv1.2") if legacy else ("TLSv1.2",)
    tls = TlsSettings(versions=versions, verify="none")
    with pytest.raises(TlsError) as caught:
        opened(
            Settings(
                "old", "127.0.0.1", listener.getsockname()[1], "implicit", timeout=20, tls=tls, auth=AuthSettings()
            )
        )
    thread.join()
    listener.close()
    refused = "UNSAFE_LEGACY_RENEGOTIATION_DISABLED" in str(caught.value)
    assert refused is not legacy
    assert ("allow TLS 1.1 too" in caught.value.remedy) is not legacy


def weak_certificate(folder: Path, *, bits: int) -> ServerCertificate:
    key = rsa.generate_private_key(65537, bits)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weak")])
    now = datetime.now(timezone.utc)
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
    certificate = builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256())
    written = ServerCertificate(folder / "weak.crt", folder / "weak.key")
    written.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    written.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return written


def test_a_key_that_is_too_weak_says_so_and_both_remedies_work(opened: Opener, tmp_path: Path) -> None:
    weak = weak_certificate(tmp_path, bits=1024)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(weak.certificate, weak.key)
    trusting = TlsSettings(ca_bundle=weak.pem, strict_x509=False)
    error = failure(opened, context, trusting)
    assert "too weak" in error.problem
    assert "2048" in error.remedy
    pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(weak.pem)).hexdigest()
    lowered = replace(trusting, versions=("TLSv1.1", "TLSv1.2", "TLSv1.3"))
    for remedied in (lowered, TlsSettings(verify="pinned", pins=(pin,))):
        with tls_server(context) as server:
            assert opened(settings_for(server, security="implicit", tls=remedied)).usable


@pytest.mark.parametrize("code", [66, 67, 68])
def test_each_weakness_of_a_certificate_has_words_of_its_own(code: int) -> None:
    exc = ssl.SSLCertVerificationError(1, "certificate verify failed")
    exc.verify_code, exc.verify_message = code, "weak"
    error = explain(exc, "mail.example.com", TlsSettings(), explicit=False)
    assert "too weak" in error.problem
    assert "TLS 1.1" in error.remedy


@pytest.mark.parametrize("change", ["version", "extension", "names"])
@pytest.mark.parametrize("verify", ["none", "pinned"])
def test_a_certificate_that_only_openssl_can_read_ends_no_session_and_no_test(
    change: str, verify: Verification, opened: Opener, tmp_path: Path
) -> None:
    odd = odd_certificate(tmp_path, change)
    der = ssl.PEM_cert_to_DER_cert(odd.pem)
    tls = TlsSettings(verify=verify, pins=(hashlib.sha256(der).hexdigest(),) if verify == "pinned" else ())
    with tls_server(server_context(odd)) as server:
        settings = settings_for(server, security="implicit", tls=tls)
        assert opened(settings).usable
        report = diagnose(settings)
    assert "cannot be read" in report.text()
    assert report.fact("certificate_pin") == hashlib.sha256(der).hexdigest()


def test_a_zone_is_no_part_of_the_name_that_a_certificate_has(
    opened: Opener, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = server_context(authority.issue("zoned", names=(), addresses=("fe80::1",)))
    with tls_server(context) as server:
        # No machine of the tests is sure to have an address with a zone.
        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (server.host, server.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address])
        tls = TlsSettings(ca_bundle=authority.pem)
        assert opened(settings_for(server, security="implicit", tls=tls, host="fe80::1%eth0")).usable


# -- handshakes that fail, and what they say --------------------------------------------------------------------------


def test_an_expired_certificate_says_so(opened: Opener, authority: Authority) -> None:
    context = server_context(authority.issue("expired", days=(-30, -1)))
    error = failure(opened, context, TlsSettings(ca_bundle=authority.pem))
    assert "expired" in error.problem
    assert "renew" in error.remedy


def test_a_certificate_of_tomorrow_says_so(opened: Opener, authority: Authority) -> None:
    context = server_context(authority.issue("tomorrow", days=(1, 30)))
    error = failure(opened, context, TlsSettings(ca_bundle=authority.pem))
    assert "not valid yet" in error.problem
    assert "clock" in error.remedy


def test_a_self_signed_certificate_says_so(opened: Opener, authority: Authority, tmp_path: Path) -> None:
    context = server_context(self_signed(tmp_path, "selfish"))
    error = failure(opened, context, TlsSettings(ca_bundle=authority.pem))
    assert "self-signed" in error.problem
    assert "ca_bundle" in error.remedy


def test_an_unknown_authority_says_so(opened: Opener, tls: ssl.SSLContext) -> None:
    error = failure(opened, tls, TlsSettings())
    assert "not known here" in error.problem
    assert "ca_bundle" in error.remedy


def test_a_certificate_for_another_name_says_for_which_it_is_not(opened: Opener, authority: Authority) -> None:
    context = server_context(authority.issue("wrong-name", names=("mail.example.com",), addresses=()))
    tls = TlsSettings(ca_bundle=authority.pem)
    for host in ("127.0.0.1", "localhost"):
        error = failure(opened, context, tls, host)
        assert f"not for '{host}'" in error.problem
        assert "server_name" in error.remedy


def test_a_sloppy_certificate_says_which_switch_helps(opened: Opener, authority: Authority) -> None:
    context = server_context(authority.issue("sloppy-too", strict=False))
    error = failure(opened, context, TlsSettings(ca_bundle=authority.pem, strict_x509=True))
    assert "strict_x509" in error.remedy


@pytest.mark.parametrize(
    ("server", "allowed"), [("TLSv1.1", ("TLSv1.2", "TLSv1.3")), ("TLSv1.2", ("TLSv1.3",)), ("TLSv1.3", ("TLSv1.2",))]
)
def test_no_common_version_says_which_are_allowed_here(
    server: str, allowed: tuple[str, ...], opened: Opener, authority: Authority
) -> None:
    error = failure(opened, old_server(authority, server), TlsSettings(versions=allowed, ca_bundle=authority.pem))
    assert ", ".join(allowed) in str(error)
    assert "tls_versions" in error.remedy


def test_a_plaintext_server_on_a_tls_port_says_so(opened: Opener) -> None:
    with ScriptedServer(Peer.let_in) as server, pytest.raises(TlsError, match="not TLS") as caught:
        opened(settings_for(server, security="implicit"))
    assert "Explicit" in caught.value.remedy


def test_a_server_that_closes_during_the_handshake_says_so(opened: Opener) -> None:
    with ScriptedServer(Peer.close) as server, pytest.raises(TlsError, match="closed the connection") as caught:
        opened(settings_for(server, security="implicit"))
    assert "tls_versions" in caught.value.remedy


def test_a_server_that_does_not_answer_the_handshake_is_a_timeout_at_stage_tls(opened: Opener) -> None:
    def silent(peer: Peer) -> None:
        while True:
            peer.exactly(1)

    with ScriptedServer(silent) as server, pytest.raises(ImapTimeoutError) as caught:
        opened(settings_for(server, security="implicit", timeout=1))
    assert caught.value.stage == "tls"


def test_a_tls_server_on_a_plaintext_port_is_a_timeout_whose_remedy_names_the_mode(
    opened: Opener, tls: ssl.SSLContext
) -> None:
    with tls_server(tls) as server, pytest.raises(ImapTimeoutError) as caught:
        opened(settings_for(server, timeout=1))
    assert caught.value.stage == "greeting"
    assert "Implicit" in caught.value.remedy


def test_a_name_that_no_server_can_have_says_which_field(opened: Opener, tls: ssl.SSLContext) -> None:
    error = failure(opened, tls, TlsSettings(server_name=".example.com"))
    assert "server_name" in error.remedy


def test_a_tls_alert_in_place_of_a_greeting_is_a_tls_error(opened: Opener) -> None:
    def alert(peer: Peer) -> None:
        peer.send_raw(b"\x15\x03\x01\x00\x02\x02\x28")

    with ScriptedServer(alert) as server, pytest.raises(TlsError, match="TLS from the first byte") as caught:
        opened(settings_for(server))
    assert "Implicit" in caught.value.remedy


@pytest.mark.dovecot
def test_a_wrong_authority_is_refused_by_starttls_too(opened: Opener, dovecot: Dovecot) -> None:
    settings = dovecot.settings(dovecot.alice, security="starttls")
    with pytest.raises(TlsError, match="not known here"):
        opened(replace(settings, tls=TlsSettings()))


def old_server(authority: Authority, version: str) -> ssl.SSLContext:
    """A server that speaks exactly one version."""
    context = server_context(authority.issue(f"only-{version}", rsa_key=True))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    number = {"TLSv1": 0x301, "TLSv1.1": 0x302, "TLSv1.2": 0x303, "TLSv1.3": 0x304}[version]
    with pytest.warns(DeprecationWarning, match="TLSv1") if number < 0x303 else contextlib.nullcontext():
        context.minimum_version = context.maximum_version = ssl.TLSVersion(number)
    return context
