"""Rows of the tab Encryption."""

from __future__ import annotations

import base64
import hashlib
import ssl
import subprocess
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.mail.smime.people import CLERK, closed, encrypted, mail, packed
from tests.matrix.row import EMPTY, FILLED, OFF, ON, Row, opens, says
from tests.matrix.rows_authentication import certified
from tests.matrix.world import ELSEWHERE, SELF_SIGNED, SLOPPY, SNI, Form, World
from tests.servers.client_material import PASSPHRASE, in_base64

VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
OTHER_PIN = "ab" * 32
IMPATIENT: Form = {"timeout": 1}
"""Where the twin waits for a greeting that a port with TLS does not give."""


def at(world: World, address: str, **values: Any) -> Form:
    return world.form(host=address, **values)


def to_plain_port(world: World, **values: Any) -> Form:
    return world.form(port=world.server.port, **values)


def served(world: World) -> bytes:
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((world.server.host, world.server.tls_port)))


def pin_of_certificate(world: World) -> str:
    """With colons, as OpenSSL prints it."""
    return hashlib.sha256(served(world)).digest().hex(":").upper()


def pin_of_key(world: World) -> str:
    """In base64, as curl takes it."""
    key = x509.load_der_x509_certificate(served(world)).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "sha256//" + base64.b64encode(hashlib.sha256(spki).digest()).decode()


def pin_of_self_signed(world: World) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(world.self_signed.pem)).hexdigest()


def hashed_folder(world: World) -> str:
    folder = world.folder / "hashed"
    folder.mkdir(exist_ok=True)
    asked = ["openssl", "x509", "-hash", "-noout", "-in", str(world.server.authority.path)]
    name = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    (folder / f"{name}.0").write_text(world.server.authority.pem)
    return str(folder)


def with_certificate(world: World, how: str) -> Form:
    """The form of somebody whom a certificate names, given in one of these ways."""
    mine = world.certified()
    certificate, key, passphrase = {
        "texts": (mine.certificate, mine.key, None),
        "one line": (mine.certificate, mine.key.replace("\n", " "), None),
        "paths": (str(mine.files.certificate), str(mine.files.key), None),
        "one text": (mine.certificate + mine.key, None, None),
        "PKCS#12": (None, in_base64(mine.pkcs12(PASSPHRASE)), PASSPHRASE),
        "encrypted": (mine.certificate, mine.encrypted(), PASSPHRASE),
    }[how]
    if how == "one text":  # a private key is not for a field that is shown: as a file, then
        path = world.folder / "certificate-and-key.pem"
        path.write_text(mine.certificate + mine.key)
        certificate = str(path)
    return certified(
        world,
        client_certificate=certificate,
        client_private_key=key,
        client_private_key_passphrase=passphrase,
    )


def shown(field: str, value: str, how: str, twin: object = None) -> Row:
    return Row(field, value, lambda w: with_certificate(w, how), lambda o: o.method == "EXTERNAL", twin)


def sealed(world: World, how: str) -> Form:
    """The form of somebody who has an encrypted mail, with the key to it in one of these ways, or without it."""
    path = world.folder / "clerk.pem"
    path.write_text(CLERK.pem + CLERK.key_pem)
    key, passphrase = {
        "path": (str(path), None),
        "PEM text": (CLERK.pem + CLERK.key_pem, None),
        "encrypted": (CLERK.pem + closed(CLERK), PASSPHRASE),
        "PKCS#12": (in_base64(packed(CLERK)), PASSPHRASE),
        "": (None, None),
    }[how]
    user = world.with_mail(mail(encrypted(world.folder)))
    return world.form(login=user.login, smime_private_key=key, smime_private_key_passphrase=passphrase)


def reads(field: str, value: str, how: str, twin: object = None) -> Row:
    return Row(field, value, lambda w: sealed(w, how), lambda o: "invoice 4711" in o.text_within, twin)


def version(value: str) -> Row:
    return Row(
        "tls_versions",
        value,
        lambda w: w.form(w.speaking_only(value), tls_versions=[value]),
        lambda o: o.tls == value,
        [other for other in VERSIONS if other != value],
    )


ENCRYPTION = [
    Row(
        "encryption",
        "none",
        lambda w: to_plain_port(w, encryption="none", ca_bundle=None),
        lambda o: o.tls == "none",
        "tls",
    ),
    Row("encryption", "ssl", lambda w: w.form(encryption="ssl", **IMPATIENT), lambda o: o.tls.startswith("TLS"), "tls"),
    Row("encryption", "tls", lambda w: to_plain_port(w, encryption="tls"), lambda o: o.tls.startswith("TLS"), "ssl"),
    Row("encryption", EMPTY, lambda w: w.form(encryption=None, **IMPATIENT), lambda o: o.tls.startswith("TLS"), "tls"),
    Row(
        "security_mode",
        "implicit",
        lambda w: w.form(encryption="tls", security_mode="implicit", **IMPATIENT),
        opens,
        None,
    ),
    Row(
        "security_mode", "explicit", lambda w: to_plain_port(w, encryption="ssl", security_mode="explicit"), opens, None
    ),
    Row("security_mode", EMPTY, lambda w: to_plain_port(w, encryption="tls", security_mode=None), opens, "implicit"),
    *(version(value) for value in VERSIONS),
    Row(
        "tls_versions",
        EMPTY,
        lambda w: w.form(w.speaking_only("TLSv1.1")),
        says("tls:", "tls_versions"),
        ["TLSv1.1"],
    ),
    Row("verify", "full", lambda w: at(w, ELSEWHERE, verify="full"), says(f"not for '{ELSEWHERE}'"), "chain"),
    Row("verify", "chain", lambda w: at(w, ELSEWHERE, verify="chain"), opens, "full"),
    Row("verify", "chain", lambda w: at(w, SELF_SIGNED, verify="chain"), says("self-signed"), "none"),
    Row("verify", "pinned", lambda w: at(w, SELF_SIGNED, verify="pinned", pins=[pin_of_self_signed(w)]), opens, "full"),
    Row(
        "verify",
        "pinned",
        lambda w: at(w, SELF_SIGNED, verify="pinned", pins=[OTHER_PIN]),
        says("none of the pinned"),
        "chain",
    ),
    Row("verify", "none", lambda w: at(w, SELF_SIGNED, verify="none"), opens, "full"),
    Row("verify", EMPTY, lambda w: at(w, ELSEWHERE), says(f"not for '{ELSEWHERE}'"), "chain"),
    Row("ca_bundle", "path", lambda w: w.form(ca_bundle=str(w.ca_path)), opens, None),
    Row("ca_bundle", "path", lambda w: w.form(ca_bundle=hashed_folder(w)), opens, None),
    Row("ca_bundle", "PEM text", lambda w: w.form(ca_bundle=w.ca.replace("\n", " ")), opens, None),
    Row("ca_bundle", EMPTY, lambda w: w.form(ca_bundle=None), says("not known here", "ca_bundle"), lambda w: w.ca),
    Row("pins", FILLED, lambda w: w.form(pins=[OTHER_PIN, pin_of_certificate(w)]), opens, [OTHER_PIN]),
    Row("pins", FILLED, lambda w: w.form(pins=f"{OTHER_PIN}\n{pin_of_key(w)}"), opens, OTHER_PIN),
    Row("pins", EMPTY, lambda w: w.form(pins=[]), opens, [OTHER_PIN]),
    shown("client_certificate", "PEM text", "texts"),
    shown("client_certificate", "path", "paths"),
    shown("client_certificate", EMPTY, "PKCS#12", "/no/such/certificate"),
    shown("client_private_key", "PEM text", "texts"),
    shown("client_private_key", "PEM text", "one line"),
    shown("client_private_key", "path", "paths"),
    shown("client_private_key", "PKCS#12", "PKCS#12"),
    shown("client_private_key", EMPTY, "one text", "/no/such/key"),
    shown("client_private_key_passphrase", FILLED, "encrypted"),
    shown("client_private_key_passphrase", FILLED, "PKCS#12", "0pen wheat s3same"),
    shown("client_private_key_passphrase", EMPTY, "texts", "0pen wheat s3same"),
    Row("server_name", "DNS name", lambda w: w.form(server_name=SNI), lambda o: o.subject == "sni", None),
    Row("server_name", "IPv4 address", lambda w: at(w, ELSEWHERE, server_name="127.0.0.1"), opens, None),
    Row("server_name", "IPv6 address", lambda w: at(w, ELSEWHERE, server_name="[::1]"), opens, None),
    Row("server_name", EMPTY, lambda w: w.form(), lambda o: o.subject == "server", SNI),
    Row("strict_x509", ON, lambda w: at(w, SLOPPY, strict_x509=True), says("strict_x509"), False),
    Row("strict_x509", OFF, lambda w: at(w, SLOPPY, strict_x509=False), opens, True),
    Row("strict_x509", EMPTY, lambda w: at(w, SLOPPY), says("strict_x509"), False),
    *(reads("smime_private_key", kind, kind) for kind in ("path", "PEM text", "PKCS#12")),
    Row(
        "smime_private_key",
        EMPTY,
        lambda w: sealed(w, ""),
        lambda o: o.kept_shut == "no-key",
        CLERK.pem + CLERK.key_pem,
    ),
    reads("smime_private_key_passphrase", FILLED, "PKCS#12", "0pen wheat s3same"),
    reads("smime_private_key_passphrase", FILLED, "encrypted", "0pen wheat s3same"),
    reads("smime_private_key_passphrase", FILLED, "encrypted"),
    reads("smime_private_key_passphrase", EMPTY, "PEM text", "0pen wheat s3same"),
]
