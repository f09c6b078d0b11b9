"""A real Dovecot on loopback, with an own authority, own users and a temporary folder.

The reference server of the tests: plain IMAP with STARTTLS on one port, implicit TLS on another. It is started once
for a test session; each test takes a user of its own, so that tests do not disturb each other.
"""

from __future__ import annotations

import base64
import imaplib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_imap_provider.connection.settings import AuthSettings, Security, Settings, TlsSettings
from tests.servers.certificates import Authority
from tests.servers.dovecot_configuration import (
    CLIENT_CERTIFICATES,
    CONFIGURATION,
    OAUTH,
    OAUTH_VALIDATION,
    ONE_TLS_VERSION,
    OPENSSL,
)
from tests.servers.waiting import free_port, wait_until

HOST = "127.0.0.1"
START_LIMIT = 10.0
"""Seconds for the server to answer after its start; it needs about 0.3."""
MAIL_UID = 30000
"""The system user id that owns the mail; any number that is not root's will do."""

PASSWORD = "secret-of-the-test"
"""What users get for whom the password does not matter."""


class MissingServerError(RuntimeError):
    """The program of a server is not installed on this machine."""


@dataclass(frozen=True)
class User:
    """A mailbox on the test server."""

    login: str
    password: str


class Dovecot:
    """One running server.

    :param capabilities: what it offers after the login, instead of all that it can do.
    :param mechanisms: the SASL mechanisms that it offers.
    :param client_certificates: whether it asks clients for a certificate of the authority below; EXTERNAL takes the
        user's name from it.
    :param tls_version: the only version of TLS that it speaks, like ``TLSv1``; 1.2 and 1.3 when left out.
    :param more: further lines of its configuration, which override the others.
    :param token_key: it takes tokens that are signed with this key (HS256), see :data:`OAUTH_VALIDATION`.

    :ivar host: the address that it listens on.
    :ivar port: plain IMAP, with STARTTLS.
    :ivar tls_port: implicit TLS.
    :ivar authority: the authority that vouches for its certificate (names ``localhost``, ``127.0.0.1``).
    :ivar client_authority: the authority of the client certificates that it accepts.
    """

    def __init__(
        self,
        *,
        capabilities: str = "",
        mechanisms: str = "plain login",
        client_certificates: bool = False,
        tls_version: str = "",
        more: str = "",
        token_key: bytes = b"",
    ) -> None:
        self._capabilities = capabilities
        self._mechanisms = mechanisms
        self._client_certificates = client_certificates
        self._tls_version = tls_version
        self._more = more
        self._token_key = token_key
        self._program = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if self._program is None:
            raise MissingServerError("dovecot is not installed (Debian: apt-get install dovecot-imapd)")
        self.host = HOST
        self.port = free_port()
        self.tls_port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self.folder.chmod(0o755)
        self.authority = Authority(self.folder / "tls")
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration = self.folder / "dovecot.conf"
        self.client_authority = Authority(self.folder / "clients", "Client Authority")
        self._users = self.folder / "users"
        for kind in ("users", "masters", "certified", "certified-masters"):
            (self.folder / kind).mkdir()
        self._write_configuration()
        self.alice = self.add_user("alice")
        self.bob = self.add_user("bob")

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it (again, on the same ports) and return when it answers."""
        if self._process is not None:
            raise RuntimeError("it is running")
        self._process = subprocess.Popen(
            [str(self._program), "-F", "-c", str(self._configuration)],
            env={**os.environ, **self._openssl()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # An own process group, so that stopping it reaches its children and nothing else.
            start_new_session=True,
        )
        wait_until(self._answers, f"Dovecot answers; its log:\n{self.log()}", START_LIMIT)

    def stop(self) -> None:
        """End it politely; connections are closed with BYE."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once with all its children, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it and start it on the same ports."""
        self.stop()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it neither answer nor close anything for a while, as a machine does that hangs."""
        if self._process is None:
            raise RuntimeError("it is not running")
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def remove(self) -> None:
        """Stop it if it runs, and delete its folder."""
        if self._process is not None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What it wrote to its log so far."""
        path = self.folder / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for_log(self, text: str) -> None:
        """Return when this is in its log, which another process of it writes: later than it answers, at times."""
        wait_until(lambda: text in self.log(), f"Dovecot logs {text!r}", START_LIMIT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("it is not running")
        if number is signal.SIGKILL:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)
        self._process.wait(timeout=START_LIMIT)
        self._process = None

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"Dovecot ended with {self._process.returncode}; its log:\n{self.log()}")
        return all(self._port_answers(port) for port in (self.port, self.tls_port))

    def _port_answers(self, port: int) -> bool:
        try:
            with socket.create_connection((self.host, port), 2) as probe:
                return port == self.tls_port or probe.recv(4) == b"* OK"
        except OSError:
            return False

    def settings(self, user: User, *, security: Security = "implicit", timeout: float = 20, **changes: Any) -> Settings:
        """The settings that lead to this user's mailbox.

        :param changes: further fields of :class:`Settings`.
        """
        values: dict[str, Any] = {
            "conn_id": "dovecot",
            "host": self.host,
            "port": self.tls_port if security == "implicit" else self.port,
            "security": security,
            "timeout": timeout,
            "auth": AuthSettings(login=user.login, password=user.password),
            "tls": TlsSettings(ca_bundle=self.authority.pem),
        }
        return Settings(**{**values, **changes})

    # -- mailboxes ----------------------------------------------------------------------------------------------

    def new_user(self, password: str = PASSWORD) -> User:
        """A user that no other test has, with an empty INBOX."""
        return self.add_user(f"user{next(self._numbers)}", password)

    def add_user(self, login: str, password: str = PASSWORD) -> User:
        """A user with this name; any password works, whatever its characters. It can log in at once."""
        hidden = base64.b64encode(password.encode()).decode()
        file = self._users / login
        known = file.exists()
        file.write_text(f"{login}:{{PLAIN.b64}}{hidden}\n")
        if known:
            time.sleep(1.1)  # Dovecot looks once in a second whether the file has changed
        return User(login, password)

    def add_hashed_user(self, login: str, password: str, scheme: str) -> User:
        """A user whose password is stored in one of Dovecot's schemes, like ``SCRAM-SHA-256``."""
        hashed = subprocess.run(
            ["doveadm", "-c", str(self._configuration), "pw", "-s", scheme, "-p", password],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout.strip()
        (self._users / login).write_text(f"{login}:{hashed}\n")
        return User(login, password)

    def add_master(self, login: str, password: str = PASSWORD) -> User:
        """An account without a mailbox that may open everybody's."""
        hidden = base64.b64encode(password.encode()).decode()
        (self.folder / "masters" / login).write_text(f"{login}:{{PLAIN.b64}}{hidden}\n")
        return User(login, password)

    def certify(self, login: str, *, master: bool = False) -> None:
        """Let a client certificate with this common name log in by EXTERNAL.

        :param master: it may open everybody's mailbox.
        """
        folder = self.folder / ("certified-masters" if master else "certified")
        (folder / login).write_text(f"{login}:::::::nopassword=y\n")

    @contextmanager
    def connection(self, user: User) -> Iterator[imaplib.IMAP4]:
        """A second client of the mailbox: the standard library's, logged in, nothing selected."""
        client = imaplib.IMAP4(self.host, self.port, timeout=30)
        try:
            _ok(client.authenticate("PLAIN", lambda _: f"\0{user.login}\0{user.password}".encode()))
            yield client
        except BaseException:
            client.shutdown()
            raise
        # Closes the socket as well.
        _ok(client.logout(), "BYE")

    def deliver(
        self,
        user: User,
        message: bytes,
        folder: str = "INBOX",
        *,
        received: datetime | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """Put a mail into a folder.

        :param folder: the folder's name, plain ASCII.
        :param received: its INTERNALDATE, aware; now when left out.
        """
        self.deliver_all(user, [message], folder, received=received, flags=flags)

    def deliver_all(
        self,
        user: User,
        messages: Sequence[bytes],
        folder: str = "INBOX",
        *,
        received: datetime | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """Put several mails into a folder over one connection, in this order."""
        with self.connection(user) as client:
            for message in messages:
                date = imaplib.Time2Internaldate(received) if received is not None else ""
                _ok(client.append(f'"{folder}"', " ".join(flags), date, message))

    def create_folder(self, user: User, folder: str) -> None:
        with self.connection(user) as client:
            _ok(client.create(f'"{folder}"'))

    def delete_folder(self, user: User, folder: str) -> None:
        """Delete a folder with its mails; created again, it has a new UIDVALIDITY."""
        with self.connection(user) as client:
            _ok(client.delete(f'"{folder}"'))

    def expunge(self, user: User, uids: Sequence[int], folder: str = "INBOX") -> None:
        """Remove mails for good, as another mail client would."""
        with self.connection(user) as client:
            _ok(client.select(f'"{folder}"'))
            _ok(client.uid("STORE", ",".join(map(str, uids)), "+FLAGS.SILENT", r"(\Deleted)"))
            _ok(client.uid("EXPUNGE", ",".join(map(str, uids))))

    def kick(self, user: User) -> None:
        """Cut all connections of a user."""
        subprocess.run(
            ["doveadm", "-c", str(self._configuration), "kick", user.login], check=True, capture_output=True, timeout=30
        )

    def set_uidvalidity(self, user: User, value: int, folder: str = "INBOX") -> None:
        """Give a folder another UIDVALIDITY, as a migration to another server does."""
        command = ["doveadm", "-c", str(self._configuration), "mailbox", "update", "-u", user.login]
        subprocess.run([*command, "--uid-validity", str(value), folder], check=True, capture_output=True, timeout=30)

    # -- configuration ------------------------------------------------------------------------------------------

    def _write_configuration(self) -> None:
        # An RSA key, as TLS 1.0 and 1.1 servers have one.
        server = self.authority.issue("server", rsa_key=bool(self._tls_version))
        privileged = os.geteuid() == 0
        me = pwd.getpwuid(os.geteuid()).pw_name
        self._configuration.write_text(
            CONFIGURATION.format(
                folder=self.folder,
                host=self.host,
                port=self.port,
                tls_port=self.tls_port,
                certificate=server.certificate,
                key=server.key,
                uid=MAIL_UID if privileged else os.geteuid(),
                gid=MAIL_UID if privileged else os.getegid(),
                mechanisms=self._mechanisms,
                client_certificates=CLIENT_CERTIFICATES.format(authority=self.client_authority.path)
                if self._client_certificates
                else "",
                oauth=OAUTH.format(folder=self.folder) if self._token_key else "",
                capabilities=f"imap_capability = {self._capabilities}" if self._capabilities else "",
                unprivileged="" if privileged else f"default_internal_user = {me}\ndefault_login_user = {me}",
                no_chroot="" if privileged else "chroot =",
            )
            + (ONE_TLS_VERSION.format(version=self._tls_version) if self._tls_version else "")
            + self._more
        )
        if self._token_key:
            keys = self.folder / "keys" / "default" / "HS256"
            keys.mkdir(parents=True)
            (keys / "default").write_text(base64.b64encode(self._token_key).decode())
            (self.folder / "oauth2.conf").write_text(OAUTH_VALIDATION.format(folder=self.folder))
        mail = self.folder / "mail"
        mail.mkdir()
        if privileged:
            os.chown(mail, MAIL_UID, MAIL_UID)

    def _openssl(self) -> dict[str, str]:
        """The environment that keeps OpenSSL to one version: Dovecot's own settings know only the lowest."""
        if not self._tls_version:
            return {}
        configuration = self.folder / "openssl.cnf"
        configuration.write_text(OPENSSL.format(version=self._tls_version))
        return {"OPENSSL_CONF": str(configuration)}


def _ok(answer: tuple[str, object], expected: str = "OK") -> None:
    status, data = answer
    if status != expected:
        raise AssertionError(f"the server said {status}: {data!r}")
