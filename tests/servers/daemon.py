"""What the proxies of the tests have in common: a program on loopback with a free port and a temporary folder.

Each is started by a test's fixture, stopped by its process id with its children, and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.servers.dovecot import HOST, MissingServerError
from tests.servers.waiting import free_port, wait_until

START_LIMIT = 20.0
"""Seconds for a program to answer after its start; Squid with helpers needs about one."""

OFF_THE_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/squid")

Self = TypeVar("Self", bound="Daemon")


def find_program(name: str, package: str) -> str:
    """The path of a server's program, which is often not on everybody's PATH.

    :raises MissingServerError: it is not installed.
    """
    # Debian keeps several versions of PostgreSQL beside each other; the newest will do.
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    hidden = [*OFF_THE_PATH, *map(str, versions)]
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *hidden]))
    if found is None:
        raise MissingServerError(f"{name} is not installed (Debian: apt-get install {package})")
    return found


def is_root() -> bool:
    return os.geteuid() == 0


def my_name() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


class Daemon:
    """One running program.

    :param program: its name.
    :param package: the Debian package that has it.

    :cvar last_signal: what ends it.
    :ivar host: the address that it listens on.
    :ivar port: the port that it listens on.
    :ivar folder: everything that it writes.
    """

    last_signal = signal.SIGTERM

    def __init__(self, program: str, package: str) -> None:
        self.program = find_program(program, package)
        self.name = program
        self.host = HOST
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{program}-"))
        self.folder.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """The command line; the program must stay in the foreground."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it is ready."""
        try:
            with socket.create_connection((self.host, self.port), 2):
                return True
        except OSError:
            return False

    def __enter__(self: Self) -> Self:
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                # An own process group, so that stopping it reaches its children and nothing else.
                start_new_session=True,
            )
        try:
            wait_until(self._ready, f"{self.name} answers", START_LIMIT)
        except AssertionError as exc:
            log = self.log()
            self.stop()
            raise AssertionError(f"{exc}; its log:\n{log}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it with all its children, and delete its folder."""
        if self._process is not None:
            self._process.send_signal(self.last_signal)
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What it wrote so far."""
        return "\n".join(path.read_text(errors="replace") for path in self._logs() if path.exists())

    def _logs(self) -> list[Path]:
        return [self.folder / "output", *sorted(self.folder.glob("*.log"))]

    def _ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self._process.returncode}")
        return self.answers()
