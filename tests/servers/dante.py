"""Dante: SOCKS4, SOCKS4a and SOCKS5 without a login."""

from __future__ import annotations

from tests.servers.daemon import Daemon, is_root, my_name

REFUSED_PORT = 9
"""Its rules do not allow this port (discard: nobody listens there)."""

CONFIGURATION = """
logoutput: {folder}/dante.log
internal: 127.0.0.1 port = {port}
external: lo
socksmethod: none
clientmethod: none
user.privileged: {privileged}
user.unprivileged: {unprivileged}
client pass {{ from: 0/0 to: 0/0 }}
socks block {{ from: 0/0 to: 0/0 port = {refused} }}
socks pass {{ from: 0/0 to: 0/0 protocol: tcp }}
"""


class Dante(Daemon):
    """A running Dante."""

    def __init__(self) -> None:
        super().__init__("danted", "dante-server")
        self._configuration = self.folder / "danted.conf"
        self._configuration.write_text(
            CONFIGURATION.format(
                folder=self.folder,
                port=self.port,
                privileged=my_name(),
                unprivileged="nobody" if is_root() else my_name(),
                refused=REFUSED_PORT,
            )
        )

    def command(self) -> list[str]:
        # One process that serves and little that waits: it starts faster.
        return [self.program, "-f", str(self._configuration), "-p", str(self.folder / "danted.pid"), "-N", "1"]
