"""The real proxies of the tests, each started when the first test asks for it, and stopped with the test session."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from tests.servers.daemon import Daemon
from tests.servers.dante import Dante
from tests.servers.microsocks import Microsocks
from tests.servers.squid import Squid
from tests.servers.ssh import Ssh
from tests.servers.tinyproxy import Tinyproxy
from tests.servers.winbind import Winbind

LOGIN = "proxy-joe"
PASSWORD = "pröxy-s3cret-w0rd"
"""Not ASCII, and not the password of any mailbox."""
ASCII_PASSWORD = "proxy-s3cret-w0rd"
"""For tinyproxy, whose configuration takes nothing else."""


class Proxies:
    """Starts proxies by name, once each."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._running: dict[str, Daemon] = {}
        self._makers: dict[str, Callable[[], Daemon]] = {
            "dante": Dante,
            "ssh": Ssh,
            "microsocks": Microsocks,
            "microsocks with login": lambda: Microsocks(LOGIN, PASSWORD),
            "microsocks on IPv6": lambda: Microsocks(host="::1"),
            "tinyproxy": Tinyproxy,
            "tinyproxy with login": lambda: Tinyproxy(LOGIN, ASCII_PASSWORD),
            "squid": Squid,
            "squid that is closed": lambda: Squid(closed=True),
            "squid with basic": lambda: Squid(["basic"], LOGIN, PASSWORD),
            "squid with digest": lambda: Squid(["digest"], LOGIN, PASSWORD),
            "winbind": lambda: Winbind(PASSWORD),
            "squid with ntlm": lambda: Squid(["ntlm"], winbind=self._winbind()),
            "squid with all": lambda: Squid(["basic", "digest", "ntlm"], LOGIN, PASSWORD, self._winbind()),
        }

    def __getitem__(self, name: str) -> Daemon:
        """The running proxy of this name.

        :raises MissingServerError: a program of it is not installed.
        """
        if name not in self._running:
            self._running[name] = self._stack.enter_context(self._makers[name]())
        return self._running[name]

    def stop(self) -> None:
        """End all of them."""
        self._stack.close()
        self._running.clear()

    def _winbind(self) -> Winbind:
        found = self["winbind"]
        assert isinstance(found, Winbind)
        return found
