"""What is sent, by grant: the RFCs' own examples where they have one, and keys in every form."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from airflow_imap_provider.connection.settings import AuthSettings, OAuthSettings
from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.transport.oauth.requests import TokenRequest, token_request
from tests.servers.certificates import Authority

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
BEGIN = int(NOW.timestamp())
ENDPOINT = "https://server.example.com/token"


def ask(method: str, newest: str = "", *, alias: str = "", **oauth: Any) -> TokenRequest:
    given = OAuthSettings(**{"endpoint": ENDPOINT, "client_id": "s6BhdRkqt3", **oauth})
    return token_request(AuthSettings(method, "joe@example.com", alias=alias, oauth=given), NOW, newest)


def test_client_credentials_with_a_secret_as_in_rfc_6749() -> None:
    request = ask("oauth-client-credentials", client_secret="gX1fBat3bV", scope="a b")
    assert request.url == ENDPOINT
    assert request.form == {
        "grant_type": "client_credentials",
        "client_id": "s6BhdRkqt3",
        "client_secret": "gX1fBat3bV",
        "scope": "a b",
    }
    assert request.secrets == ("gX1fBat3bV",)
    assert "gX1fBat3bV" not in repr(request)


def test_a_refresh_token_as_in_rfc_6749_and_the_newest_one_at_that() -> None:
    request = ask("oauth-refresh-token", "tGzv3JOkF0XG5Qx2TlKWIA", refresh_token="the-first")
    assert request.form == {
        "grant_type": "refresh_token",
        "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA",
        "client_id": "s6BhdRkqt3",
    }


# -- certificates -----------------------------------------------------------------------------------------------------


class App:
    """An application's certificate and key."""

    def __init__(self, authority: Authority, *, rsa_bits: int = 2048) -> None:
        self.issued = authority.issue_client("app", key_size=rsa_bits)
        self.authority = authority
        self.certificate = x509.load_pem_x509_certificate(self.issued.certificate.read_bytes())
        self.key: Any = load_pem_private_key(self.issued.key.read_bytes(), None)

    @property
    def pem(self) -> str:
        return self.issued.key.read_text() + self.issued.pem

    def packed(self, passphrase: bytes = b"", **parts: Any) -> bytes:
        encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        entries = {"key": self.key, "cert": self.certificate, **parts}
        return pkcs12.serialize_key_and_certificates(b"app", entries["key"], entries["cert"], None, encryption)


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(Authority(tmp_path / "authority"))


def check_assertion(request: TokenRequest, app: App, algorithm: str = "RS256") -> None:
    assertion = request.form["client_assertion"]
    header = jwt.get_unverified_header(assertion)
    assert header["alg"] == algorithm
    assert header["x5t"] == thumbprint(app.certificate, hashes.SHA1())
    assert header["x5t#S256"] == thumbprint(app.certificate, hashes.SHA256())
    public: Any = app.certificate.public_key()
    claims = jwt.decode(
        assertion,
        public,
        [algorithm],
        audience=ENDPOINT,
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    jti = claims.pop("jti")
    assert len(jti) == 36
    assert claims == {
        "aud": ENDPOINT,
        "iss": "s6BhdRkqt3",
        "sub": "s6BhdRkqt3",
        "iat": BEGIN,
        "nbf": BEGIN,
        "exp": BEGIN + 300,
    }


def thumbprint(certificate: x509.Certificate, algorithm: Any) -> str:
    return base64.urlsafe_b64encode(certificate.fingerprint(algorithm)).rstrip(b"=").decode()


def test_a_certificate_signs_who_the_application_is(app: App, tmp_path: Path) -> None:
    pem_file, packed_file = tmp_path / "app.pem", tmp_path / "app.p12"
    pem_file.write_text(app.pem)
    packed_file.write_bytes(app.packed())
    chain = app.authority.pem + app.pem
    for material in (app.pem, chain, str(pem_file), base64.b64encode(app.packed()).decode(), str(packed_file)):
        request = ask("oauth-client-credentials", private_key=material, scope="x")
        assert request.form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        assert "client_secret" not in request.form
        check_assertion(request, app)
        assert request.secrets == (request.form["client_assertion"],)


def test_each_assertion_is_another_one(app: App) -> None:
    first, second = (ask("oauth-client-credentials", private_key=app.pem).form["client_assertion"] for _ in range(2))
    assert first != second


def test_an_elliptic_key_signs_in_its_own_way(tmp_path: Path) -> None:
    elliptic = App(Authority(tmp_path / "authority"), rsa_bits=0)
    check_assertion(ask("oauth-client-credentials", private_key=elliptic.pem), elliptic, "ES256")


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(ec.generate_private_key(ec.SECP384R1()), "ES384"), (ed25519.Ed25519PrivateKey.generate(), "EdDSA")],
)
def test_a_key_without_a_certificate_does_where_the_endpoint_knows_the_key(key: Any, algorithm: str) -> None:
    request = ask("oauth-client-credentials", private_key=pem_of(key))
    header = jwt.get_unverified_header(request.form["client_assertion"])
    assert header == {"alg": algorithm, "typ": "JWT"}


def test_microsoft_gets_no_signature_but_rsas(tmp_path: Path, app: App) -> None:
    elliptic = App(Authority(tmp_path / "elliptic"), rsa_bits=0)
    with pytest.raises(SettingsError, match="it is no RSA key, and Microsoft takes no others"):
        ask("oauth-client-credentials", private_key=elliptic.pem, tenant="example.com")
    check_assertion(ask("oauth-client-credentials", private_key=app.pem, tenant="example.com"), app)


def test_a_secret_by_http_basic_as_in_rfc_6749() -> None:
    request = ask("oauth-client-credentials", client_secret="gX1:f Bü", scope="a").by_basic()
    assert request is not None
    assert request.form == {"grant_type": "client_credentials", "scope": "a"}
    # Section 2.3.1: each part is form-encoded before the two are joined.
    assert request.authorization == "Basic " + base64.b64encode(b"s6BhdRkqt3:gX1%3Af+B%C3%BC").decode()
    assert request.secrets == (request.authorization.removeprefix("Basic "),)
    assert "gX1" not in repr(request)
    assert request.authorization not in repr(request)
    assert request.by_basic() is None


def test_without_a_secret_there_is_nothing_for_http_basic(app: App) -> None:
    assert ask("oauth-client-credentials", private_key=app.pem).by_basic() is None


def test_a_refresh_token_goes_with_a_certificate_too(app: App) -> None:
    check_assertion(ask("oauth-refresh-token", "abc", private_key=app.pem), app)


def test_a_secret_goes_before_a_certificate(app: App) -> None:
    form = ask("oauth-client-credentials", private_key=app.pem, client_secret="s3cret").form
    assert form["client_secret"] == "s3cret"
    assert "client_assertion" not in form


def pem_of(key: Any, passphrase: bytes = b"") -> str:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return pem.decode()


def unusable(tmp_path: Path) -> dict[str, tuple[str, str]]:
    app, other = App(Authority(tmp_path / "one")), App(Authority(tmp_path / "two"))
    large = tmp_path / "large.pem"
    large.write_bytes(b"x" * 2_000_000)
    return {
        "no file": ("/no/such/file.pem", "cannot be read (No such file or directory)"),
        "large file": (str(large), "larger than any key"),
        "only a certificate": (app.issued.pem, "there is no private key in it"),
        "not its certificate": (app.issued.key.read_text() + other.issued.pem, "do not belong together"),
        "encrypted": (pem_of(app.key, b"sesame"), "no field for its passphrase"),
        "encrypted PKCS#12": (base64.b64encode(app.packed(b"sesame")).decode(), "without one by openssl pkcs12"),
        "damaged": (app.pem.replace("MII", "AAA", 1), "damaged"),
        "DSA": (pem_of(dsa.generate_private_key(2048)), "only RSA, EC and Ed25519"),
        "odd curve": (pem_of(ec.generate_private_key(ec.SECP256K1())), "secp256k1 sign no tokens"),
        "service account": ('{"client_email": "a", "private_key": "b"}', "Method Google service account"),
    }


def test_a_key_that_cannot_be_used_is_told_with_what_can(tmp_path: Path) -> None:
    for name, (material, words) in unusable(tmp_path).items():
        with pytest.raises(SettingsError) as caught:
            ask("oauth-client-credentials", private_key=material)
        assert words in str(caught.value), name
        assert "OAuth: private key (oauth_private_key)" in str(caught.value)
        assert caught.value.__cause__ is None


def test_microsoft_knows_no_key_without_its_certificate(app: App) -> None:
    with pytest.raises(SettingsError, match="there is no certificate in it, and Microsoft"):
        ask("oauth-client-credentials", private_key=app.issued.key.read_text(), tenant="example.com")


# -- service accounts -------------------------------------------------------------------------------------------------

ROBOT = rsa.generate_private_key(65537, 2048)
ACCOUNT = {
    "type": "service_account",
    "client_email": "robot@project.iam.gserviceaccount.com",
    "private_key": pem_of(ROBOT),
    "private_key_id": "0123456789abcdef",
    "token_uri": "https://oauth2.googleapis.com/token",
}


@pytest.mark.parametrize(("alias", "subject"), [("", "joe@example.com"), ("sales@example.com", "sales@example.com")])
def test_a_service_account_asks_as_the_mailboxs_owner(alias: str, subject: str) -> None:
    request = ask("oauth-service-account", alias=alias, endpoint="", private_key=json.dumps(ACCOUNT))
    assert request.url == "https://oauth2.googleapis.com/token"
    assert request.form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assertion = request.form["assertion"]
    assert request.secrets == (assertion,)
    assert jwt.get_unverified_header(assertion) == {"alg": "RS256", "typ": "JWT", "kid": "0123456789abcdef"}
    claims = jwt.decode(
        assertion,
        ROBOT.public_key(),
        ["RS256"],
        audience=request.url,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims == {
        "iss": ACCOUNT["client_email"],
        "sub": subject,
        "scope": "https://mail.google.com/",
        "aud": request.url,
        "iat": BEGIN,
        "exp": BEGIN + 3600,
    }


def test_the_form_goes_before_the_json(tmp_path: Path) -> None:
    file = tmp_path / "robot.json"
    file.write_text(json.dumps(ACCOUNT))
    scope = "https://www.googleapis.com/auth/gmail.imap_admin"
    request = ask("oauth-service-account", private_key=str(file), scope=scope)
    assert request.url == ENDPOINT
    claims = jwt.decode(request.form["assertion"], options={"verify_signature": False})
    assert (claims["scope"], claims["aud"]) == (scope, ENDPOINT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"token_uri": "http://collector.example.com/"}, "token_uri in the JSON.*must begin with https"),
        ({"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}, "the key is damaged"),
        ({"client_email": ""}, "client_email or private_key is missing"),
        ({"private_key": 5}, "client_email or private_key is missing"),
    ],
)
def test_a_service_accounts_json_that_cannot_be_used_is_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        ask("oauth-service-account", endpoint="", private_key=json.dumps({**ACCOUNT, **change}))


@pytest.mark.parametrize("content", ["no JSON", "[1, 2]", "{", "[" * 100_000])
def test_a_file_that_is_no_service_account_is_told(content: str, tmp_path: Path) -> None:
    file = tmp_path / "robot.json"
    file.write_text(content)
    with pytest.raises(SettingsError, match="no service account's JSON") as caught:
        ask("oauth-service-account", private_key=str(file))
    assert caught.value.__context__ is None


def test_google_is_asked_where_nobody_says_whom() -> None:
    account = {name: value for name, value in ACCOUNT.items() if name not in ("token_uri", "private_key_id")}
    request = ask("oauth-service-account", endpoint="", private_key=json.dumps(account))
    assert request.url == "https://oauth2.googleapis.com/token"
    assert "kid" not in jwt.get_unverified_header(request.form["assertion"])
