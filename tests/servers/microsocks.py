"""microsocks: SOCKS5, with or without username and password."""

from __future__ import annotations

from tests.servers.daemon import Daemon
from tests.servers.dovecot import HOST


class Microsocks(Daemon):
    """A running microsocks.

    :param login: with a password, the only one who may use it; empty for everybody.
    :param host: the address that it listens on.
    """

    def __init__(self, login: str = "", password: str = "", *, host: str = HOST) -> None:
        super().__init__("microsocks", "microsocks")
        self.host = host
        self._credentials = ["-u", login, "-P", password] if login else []

    def command(self) -> list[str]:
        return [self.program, "-i", self.host, "-p", str(self.port), *self._credentials]
