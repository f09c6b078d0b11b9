"""The client's certificate in every form that the form accepts, against a server that demands one."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import ssl
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from airflow_imap_provider.connection.keys import MAX_FILE_BYTES
from airflow_imap_provider.connection.parsing import parse
from airflow_imap_provider.connection.settings import TlsSettings
from airflow_imap_provider.errors import SettingsError, TlsError
from airflow_imap_provider.transport.oauth.keys import application_key
from airflow_imap_provider.transport.tls import _contexts
from tests.servers.certificates import Authority, odd_certificate, self_signed
from tests.servers.client_material import PASSPHRASE, Material, in_base64
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import Opener, context_of, server_context, settings_for


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("clients"), "Client Authority")


@pytest.fixture(scope="module")
def mine(clients: Authority) -> Material:
    return Material(clients.issue_client("joe"), clients.pem)


@pytest.fixture(scope="module")
def demanding(authority: Authority, clients: Authority) -> ssl.SSLContext:
    """A server that lets nobody in without a certificate of the clients' authority."""
    context = server_context(authority.issue("demanding", rsa_key=True))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(clients.path)
    return context


FORMS: dict[str, Callable[[Material, Path], tuple[str, str, str]]] = {
    # certificate, private key, passphrase
    "PEM texts": lambda m, _: (m.certificate, m.key, ""),
    "PEM paths": lambda m, _: (str(m.files.certificate), str(m.files.key), ""),
    "a path and a text": lambda m, _: (str(m.files.certificate), m.key, ""),
    "one text, as certificate": lambda m, _: (m.certificate + m.key, "", ""),
    "one text, as key": lambda m, _: ("", m.key + m.certificate, ""),
    "one path, as certificate": lambda m, f: (_write(f, m.key + m.certificate), "", ""),
    "one path, as key": lambda m, f: ("", _write(f, m.certificate + m.key), ""),
    "the issuer before the certificate": lambda m, _: (m.issuer + m.certificate, m.key, ""),
    "the certificate before the issuer": lambda m, _: (m.certificate + m.issuer, m.key, ""),
    "an older key format": lambda m, _: (m.certificate, m.traditional(), ""),
    "an encrypted key": lambda m, _: (m.certificate, m.encrypted(), PASSPHRASE),
    "an encrypted key's path": lambda m, f: (m.certificate, _write(f, m.encrypted()), PASSPHRASE),
    "an older encrypted key": lambda m, _: (m.certificate, m.encrypted(PrivateFormat.TraditionalOpenSSL), PASSPHRASE),
    "PKCS#12": lambda m, _: ("", in_base64(m.pkcs12(PASSPHRASE)), PASSPHRASE),
    "PKCS#12 without a passphrase": lambda m, _: ("", in_base64(m.pkcs12()), ""),
    "the path of a PKCS#12": lambda m, f: ("", _write(f, m.pkcs12(PASSPHRASE)), PASSPHRASE),
    "PKCS#12 and its certificate": lambda m, _: (m.certificate, in_base64(m.pkcs12(PASSPHRASE)), PASSPHRASE),
}


def _write(folder: Path, content: str | bytes) -> str:
    path = folder / "material"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def tls_settings(authority: Authority, certificate: str, key: str, passphrase: str = "", **more: object) -> TlsSettings:
    return TlsSettings(
        ca_bundle=authority.pem,
        client_certificate=certificate,
        client_private_key=key,
        client_private_key_passphrase=passphrase,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
def let_in(opened: Opener, demanding: ssl.SSLContext) -> Callable[[TlsSettings], bool]:
    def connect(tls: TlsSettings) -> bool:
        with ScriptedServer(Peer.let_in, tls=demanding) as server:
            return opened(settings_for(server, security="implicit", tls=tls)).usable

    return connect


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, which must be as empty afterwards as before."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


# -- what works -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_shown_to_the_server_and_leaves_no_file_behind(
    form: str,
    let_in: Callable[[TlsSettings], bool],
    authority: Authority,
    mine: Material,
    tmp_path: Path,
    temporary: Path,
) -> None:
    tls = tls_settings(authority, *FORMS[form](mine, tmp_path))
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    context_of(tls)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files
    assert let_in(tls)


@pytest.mark.parametrize("lost", ["", " ", "\\n", "\r\n"])
@pytest.mark.parametrize("kind", ["a key", "an encrypted key", "one text", "PKCS#12"])
def test_what_was_pasted_into_a_field_of_one_line_still_works(
    kind: str, lost: str, let_in: Callable[[TlsSettings], bool], authority: Authority, mine: Material
) -> None:
    certificate, key, passphrase = {
        "a key": (mine.certificate, mine.key, None),
        "an encrypted key": (mine.certificate, mine.encrypted(), PASSPHRASE),
        "one text": (None, mine.key + mine.certificate, None),
        "PKCS#12": (None, base64.encodebytes(mine.pkcs12(PASSPHRASE)).decode(), PASSPHRASE),
    }[kind]
    if kind == "PKCS#12" and lost == "\\n":
        lost = "\n"  # base64 has no backslash
    extra = {
        "ca_bundle": authority.pem,
        "client_certificate": certificate and certificate.replace("\n", lost),
        "client_private_key": key.replace("\n", lost),
        "client_private_key_passphrase": passphrase,
    }
    settings = parse("mail", host="localhost", port=None, login="joe", password="x", extra=extra)
    assert let_in(settings.tls)


@pytest.mark.parametrize("missing", ["memfd_create", "/proc"])
def test_without_files_in_memory_a_temporary_one_holds_an_encrypted_key_for_a_moment(
    missing: str,
    let_in: Callable[[TlsSettings], bool],
    authority: Authority,
    mine: Material,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if missing == "memfd_create":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    else:
        exists = Path.exists
        monkeypatch.setattr(Path, "exists", lambda path: not str(path).startswith("/proc/") and exists(path))
    seen = []
    load = ssl.SSLContext.load_cert_chain

    def watched(context: ssl.SSLContext, certfile: str, **rest: str) -> None:
        path = Path(certfile)
        seen.append((path.parent, stat.S_IMODE(path.stat().st_mode), path.read_text()))
        load(context, certfile, **rest)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    _contexts.clear()
    assert let_in(tls_settings(authority, mine.certificate, mine.key))
    ((folder, mode, content),) = seen
    assert folder == temporary
    assert mode == 0o600
    assert "BEGIN ENCRYPTED PRIVATE KEY" in content
    assert "BEGIN PRIVATE KEY" not in content


def test_the_temporary_file_goes_even_if_openssl_does_not_take_it(
    authority: Authority, clients: Authority, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    weak = clients.issue_client("weak", key_size=1024)
    with pytest.raises(SettingsError, match=r"OpenSSL does not take it .*TOO_SMALL"):
        context_of(tls_settings(authority, weak.pem, weak.key.read_text()))


@pytest.mark.parametrize("rsa_key", [True, False])
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"])
def test_a_client_certificate_works_with_every_version(
    version: str, rsa_key: bool, opened: Opener, authority: Authority, clients: Authority
) -> None:
    context = server_context(authority.issue(f"wants-{version}", rsa_key=True))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(clients.path)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    number = {"TLSv1": 0x301, "TLSv1.1": 0x302, "TLSv1.2": 0x303, "TLSv1.3": 0x304}[version]
    with pytest.warns(DeprecationWarning, match="TLSv1") if number < 0x303 else contextlib.nullcontext():
        context.minimum_version = context.maximum_version = ssl.TLSVersion(number)
    shown = clients.issue_client(f"joe-{version}-{rsa_key}", key_size=2048 if rsa_key else 0)
    tls = tls_settings(authority, shown.pem, shown.key.read_text(), versions=(version,))
    with ScriptedServer(Peer.let_in, tls=context) as server:
        assert opened(settings_for(server, security="implicit", tls=tls)).client.socket().version() == version


def test_a_renewed_file_makes_a_new_context(
    let_in: Callable[[TlsSettings], bool], authority: Authority, clients: Authority, mine: Material, tmp_path: Path
) -> None:
    path = Path(_write(tmp_path, clients.issue_client("first").pem + mine.key))
    tls = tls_settings(authority, str(path), "")
    with pytest.raises(SettingsError, match="does not belong"):
        context_of(tls)
    path.write_text(mine.certificate + mine.key)
    assert let_in(tls)
    first = context_of(tls)
    assert context_of(tls) is first
    path.write_text(mine.certificate + "\n" + mine.key)
    assert context_of(tls) is not first


@pytest.mark.parametrize("change", ["version", "extension", "names"])
def test_an_own_certificate_that_only_openssl_can_read_ends_in_our_own_words(
    change: str, authority: Authority, tmp_path: Path
) -> None:
    odd = odd_certificate(tmp_path, change)
    tls = tls_settings(authority, odd.pem, odd.key.read_text())
    with pytest.raises(SettingsError, match="damaged") if change == "version" else contextlib.nullcontext():
        context_of(tls)


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
def test_a_private_key_in_der_is_answered_with_how_to_write_it(
    passphrase: str, authority: Authority, mine: Material, tmp_path: Path
) -> None:
    key = load_pem_private_key(mine.key.encode(), None)
    path = tmp_path / "joe.key"
    path.write_bytes(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SettingsError, match=r"it is a key in DER: write it as PEM by openssl pkey"):
        context_of(tls_settings(authority, mine.certificate, str(path), passphrase))
    with pytest.raises(SettingsError, match=r"it is a key in DER: write it as PEM by openssl pkey"):
        application_key(str(path))


# -- what the server says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize(
    ("whose", "said"),
    [("nobody's", "demands|does not say why"), ("expired", "expired"), ("self-signed", "authority|does not accept")],
)
def test_a_certificate_that_the_server_does_not_accept_is_a_tls_error_about_it(
    whose: str,
    said: str,
    version: str,
    opened: Opener,
    demanding: ssl.SSLContext,
    authority: Authority,
    clients: Authority,
    tmp_path: Path,
) -> None:
    shown = {
        "nobody's": None,
        "expired": clients.issue_client("late", days=(-30, -1)),
        "self-signed": self_signed(tmp_path, "unknown"),
    }[whose]
    certificate, key = (shown.pem, shown.key.read_text()) if shown else ("", "")
    tls = tls_settings(authority, certificate, key, versions=(version,))
    with ScriptedServer(Peer.let_in, tls=demanding) as server, pytest.raises(TlsError, match=said) as caught:
        opened(settings_for(server, security="implicit", tls=tls))
    assert caught.value.stage == "tls"
    assert "client certificate" in caught.value.remedy.lower()
    if shown is None:
        assert re.match(r"(Check|Fill in) Client certificate \(client_certificate\)", caught.value.remedy)


# -- what cannot be used ----------------------------------------------------------------------------------------------


def _broken(mine: Material, folder: Path) -> dict[str, tuple[tuple[str, str, str], str]]:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    damaged = mine.key.replace(mine.key[40:50], "A" * 10)
    large = folder / "large"
    large.write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    key, passphrase, certificate = "(client_private_key)", "(client_private_key_passphrase)", "(client_certificate)"
    return {
        "no file": ((f"{folder}/no", mine.key, ""), f"{certificate}: '{folder}/no' cannot be read"),
        "no key file": ((mine.certificate, f"{folder}/no", ""), f"{key}: '{folder}/no' cannot be read"),
        "no folder": (
            (mine.certificate, "/no/such/key", ""),
            f"{key}: the path (not shown, as it may be a secret) can",
        ),
        "a folder": ((str(folder), mine.key, ""), f"{certificate}: '{folder}' cannot be read"),
        "a large file": ((str(large), mine.key, ""), "larger than any"),
        "no certificate": ((_write(folder, "nothing"), mine.key, ""), f"{certificate}: there is no certificate"),
        "no key": ((mine.certificate, mine.certificate, ""), f"{key}: there is no private key"),
        "another key": ((mine.certificate, other.decode(), ""), f"{key}: it does not belong"),
        "another kind of key": (
            (
                mine.certificate,
                ed25519.Ed25519PrivateKey.generate()
                .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                .decode(),
                "",
            ),
            f"{key}: it does not belong",
        ),
        "a damaged key": ((mine.certificate, damaged, ""), f"{key}: it is damaged"),
        "a damaged certificate": (
            ("-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n", mine.key, ""),
            f"{certificate}: it is damaged",
        ),
        "no passphrase": ((mine.certificate, mine.encrypted(), ""), f"{passphrase}: the key is encrypted"),
        "a wrong passphrase": ((mine.certificate, mine.encrypted(), "0pen wheat"), f"{passphrase}: it does not open"),
        "a needless passphrase": ((mine.certificate, mine.key, PASSPHRASE), f"{passphrase}: the key is not encrypted"),
        "PKCS#12 without its passphrase": (("", in_base64(mine.pkcs12(PASSPHRASE)), ""), f"{passphrase}: the PKCS#12"),
        "PKCS#12 with a wrong one": (
            ("", in_base64(mine.pkcs12(PASSPHRASE)), "0pen wheat"),
            f"{passphrase}: it does not open the PKCS#12",
        ),
        "PKCS#12 without a key": (("", in_base64(mine.pkcs12(PASSPHRASE, key=False)), PASSPHRASE), "no private key"),
        "damaged PKCS#12": (("", in_base64(mine.pkcs12(PASSPHRASE)[:-9]), PASSPHRASE), "damaged"),
    }


CASES = [
    "no file",
    "no key file",
    "a folder",
    "a large file",
    "no certificate",
    "no key",
    "another key",
    "another kind of key",
    "a damaged key",
    "a damaged certificate",
    "no passphrase",
    "a wrong passphrase",
    "a needless passphrase",
    "PKCS#12 without its passphrase",
    "PKCS#12 with a wrong one",
    "PKCS#12 without a key",
    "damaged PKCS#12",
]


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_used_is_a_settings_error_that_names_the_field_and_shows_no_secret(
    case: str, mine: Material, authority: Authority, tmp_path: Path, temporary: Path
) -> None:
    (certificate, key, passphrase), said = _broken(mine, tmp_path)[case]
    with pytest.raises(SettingsError) as caught:
        context_of(tls_settings(authority, certificate, key, passphrase))
    assert said in str(caught.value)
    assert caught.value.stage == "settings"
    texts = [str(caught.value), repr(caught.value), str(caught.value.__cause__), str(caught.value.__context__)]
    for secret in (PASSPHRASE, "0pen wheat", key if "\n" in key or len(key) > 200 else "\0"):
        assert not any(secret in text for text in texts)


def test_the_cache_of_contexts_shows_no_secret(authority: Authority, mine: Material) -> None:
    context_of(tls_settings(authority, mine.certificate, mine.encrypted(), PASSPHRASE))
    shown = repr(list(_contexts))
    assert PASSPHRASE not in shown
    assert "PRIVATE KEY" not in shown
