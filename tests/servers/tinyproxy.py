"""tinyproxy: HTTP CONNECT, with Basic or without a login; it closes the connection after each 407."""

from __future__ import annotations

from tests.servers.daemon import Daemon

CONFIGURATION = """
Port {port}
Listen 127.0.0.1
Timeout 600
LogFile "{folder}/tinyproxy.log"
PidFile "{folder}/tinyproxy.pid"
MaxClients 200
{login}
"""


class Tinyproxy(Daemon):
    """A running tinyproxy.

    :param login: with a password, the only one who may use it; empty for everybody.
    """

    def __init__(self, login: str = "", password: str = "") -> None:
        super().__init__("tinyproxy", "tinyproxy")
        self._configuration = self.folder / "tinyproxy.conf"
        self._configuration.write_text(
            CONFIGURATION.format(
                port=self.port, folder=self.folder, login=f"BasicAuth {login} {password}" if login else ""
            )
        )

    def command(self) -> list[str]:
        return [self.program, "-d", "-c", str(self._configuration)]
