"""pymap, an IMAP server in Python, in a thread of this process: a mailbox in memory that needs nothing installed.

For unit tests and wherever a mailbox is wanted without a mail server. It has IDLE, MOVE and UIDPLUS, and knows one
user. What it does is not always what real servers do: Dovecot is the reference.
"""

from __future__ import annotations

import asyncio
import threading
from argparse import Namespace
from concurrent.futures import Future
from contextlib import AsyncExitStack

from pymap.backend.dict import DictBackend
from pymap.concurrent import Subsystem
from pymap.imap import IMAPService

from tests.servers.waiting import free_port

HOST = "127.0.0.1"
START_LIMIT = 10.0
"""Seconds to start and to stop; it needs a few milliseconds."""


class PymapServer:
    """A running server; use it as a context manager.

    :param login: the one user that it knows; the mailbox is empty at first.
    :ivar port: plain IMAP, without TLS.
    """

    host = HOST

    def __init__(self, login: str = "demo", password: str = "demo", *, port: int | None = None) -> None:
        self.login = login
        self.password = password
        self.port = port or free_port()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="pymap", daemon=True)

    def start(self) -> None:
        """Return when it listens."""
        self._thread.start()
        self._started.result(START_LIMIT)

    def stop(self) -> None:
        """End it; open connections are cut."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_LIMIT)
        if self._thread.is_alive():
            raise RuntimeError("pymap does not end")

    def __enter__(self) -> PymapServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with AsyncExitStack() as stack:
            try:
                await self._listen(stack)
            except Exception as exc:  # noqa: BLE001 - handed to start()
                self._started.set_exception(exc)
                return
            self._started.set_result(None)
            await self._stop.wait()
            # Open connections first: since Python 3.12 a server that closes waits for them.
            connections = asyncio.all_tasks() - {asyncio.current_task()}
            for connection in connections:
                connection.cancel()
            await asyncio.wait(connections)

    async def _listen(self, stack: AsyncExitStack) -> None:
        # What pymap's own command line would give it.
        arguments = Namespace(
            host=[self.host],
            port=self.port,
            debug=False,
            cert=None,
            key=None,
            tls=False,
            passlib_cfg=None,
            proxy_protocol=None,
            inherited_sockets=None,
            demo_data=False,
            demo_user=self.login,
            demo_password=self.password,
        )
        # Its threads for hashing would leave event loops open.
        backend, config = await DictBackend.init(arguments, cpu_subsystem=Subsystem.for_asyncio())
        config.apply_context()
        await backend.start(stack)
        await IMAPService(backend, config).start(stack)
