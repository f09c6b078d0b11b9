"""OpenSSH's ``ssh -D``: the SOCKS4a proxy of the tests, since Dante's is not one.

It needs a server to make the connections; that is asyncssh on a loop in a thread, which lets in one key made for it
and nothing but forwarded connections.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

import asyncssh

from tests.servers.daemon import START_LIMIT, Daemon
from tests.servers.dovecot import HOST
from tests.servers.waiting import free_port

USER = "tunnel"


class _Forwarding(asyncssh.SSHServer):
    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


class Ssh(Daemon):
    """A running ``ssh -D``."""

    def __init__(self) -> None:
        super().__init__("ssh", "openssh-client")
        self._server_port = free_port()
        key = asyncssh.generate_private_key("ssh-ed25519")
        self._key = self.folder / "key"
        key.write_private_key(self._key)
        self._key.chmod(0o600)
        self._public = key.export_public_key().decode()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ssh server")
        self._server: asyncssh.SSHAcceptor | None = None

    def command(self) -> list[str]:
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "IdentitiesOnly=yes")
        return [
            *(self.program, "-N", "-F", "none", "-D", f"{self.host}:{self.port}", "-i", str(self._key)),
            *(word for option in options for word in ("-o", option)),
            *("-p", str(self._server_port), f"{USER}@{HOST}"),
        ]

    def __enter__(self) -> Ssh:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(START_LIMIT)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, problem, traceback)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(START_LIMIT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_LIMIT)
        self._loop.close()

    async def _serve(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            HOST,
            self._server_port,
            server_factory=_Forwarding,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=asyncssh.import_authorized_keys(self._public),
        )

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
