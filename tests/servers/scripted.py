"""A scripted IMAP server, for what a real one cannot be made to do: broken, hostile, slow or silent answers.

A script is a function that plays the server's side of one connection, line by line, in a thread. Whatever goes wrong in
it fails the test. Everything that the client sends is kept, so that a test can say what must never be sent.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType

from tests.servers.dovecot import HOST

PATIENCE = 10.0
"""Seconds that a script waits for the client, and the test for the script."""
CAPABILITIES = "IMAP4rev1 SASL-IR LITERAL+ IDLE MOVE UIDPLUS AUTH=PLAIN"

Script = Callable[["Peer"], None]


class ClientGoneError(Exception):
    """The client closed the connection while the script waited for a line."""


class Peer:
    """The server's side of one connection.

    :ivar tag: the last command's tag.
    :ivar arguments: what came after the last command's name.
    """

    def __init__(self, sock: socket.socket, server: ScriptedServer) -> None:
        self._sock = sock
        self._server = server
        self._buffer = bytearray()
        self.tag = ""
        self.arguments = ""

    # -- plain bytes ----------------------------------------------------------------------------------------------

    def send(self, *lines: str | bytes) -> None:
        """Send lines in one packet."""
        self.send_raw(b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n" for line in lines))

    def send_raw(self, data: bytes) -> None:
        self._sock.sendall(data)

    def drip(self, data: bytes, seconds: float) -> None:
        """Send one byte after the other, so many seconds apart, until the client has had enough."""
        with contextlib.suppress(OSError):
            for byte in data:
                self._sock.sendall(bytes([byte]))
                if self._server.stopping.wait(seconds):
                    return

    def line(self) -> str:
        """The next line of the client, without its end."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._more()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line.decode()

    def exactly(self, size: int) -> bytes:
        """So many bytes of the client: a literal."""
        while len(self._buffer) < size:
            self._more()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def wait_for_end(self) -> None:
        """Say nothing until the client goes away; fails if it says something first."""
        with contextlib.suppress(ClientGoneError):
            raise AssertionError(f"the client said {self.line()!r}")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def reset(self) -> None:
        """Tear the connection down (RST), as a crashed machine or a firewall does."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def starttls(self, context: ssl.SSLContext) -> None:
        """Go on encrypted, as the server."""
        self._sock = context.wrap_socket(self._sock, server_side=True)

    def channel_binding(self) -> bytes | None:
        """``tls-unique`` of the connection, as the server sees it."""
        assert isinstance(self._sock, ssl.SSLSocket)
        return self._sock.get_channel_binding("tls-unique")

    def _more(self) -> None:
        try:
            chunk = self._sock.recv(65536)
        except ConnectionError:
            chunk = b""
        if not chunk:
            raise ClientGoneError
        self._server.received.extend(chunk)
        self._buffer += chunk

    # -- commands -------------------------------------------------------------------------------------------------

    def expect(self, command: str) -> str:
        """Read a command with this name; returns its arguments."""
        line = self.line()
        self.tag, _, rest = line.partition(" ")
        if rest.upper() != command and not rest.upper().startswith(f"{command} "):
            raise AssertionError(f"expected {command}, the client said {line!r}")
        self.arguments = rest[len(command) :].strip()
        return self.arguments

    def ok(self, *untagged: str | bytes, words: str = "done") -> None:
        """Answer the last command with OK, after these untagged lines, all in one packet."""
        self.send(*untagged, f"{self.tag} OK {words}")

    def no(self, words: str) -> None:
        self.send(f"{self.tag} NO {words}")

    def bad(self, words: str) -> None:
        self.send(f"{self.tag} BAD {words}")

    # -- the usual beginning --------------------------------------------------------------------------------------

    def greet(self, capabilities: str = CAPABILITIES) -> None:
        """Greeting and capabilities."""
        self.send("* OK ready")
        self.tell_capabilities(capabilities)

    def tell_capabilities(self, capabilities: str = CAPABILITIES) -> None:
        self.expect("CAPABILITY")
        self.ok(f"* CAPABILITY {capabilities}")

    def let_in(self, capabilities: str = CAPABILITIES) -> None:
        """Greeting, login by PLAIN, capabilities."""
        self.greet(capabilities)
        self.expect("AUTHENTICATE PLAIN")
        self.ok(words=f"[CAPABILITY {capabilities}] logged in")

    def open_inbox(self, *, exists: int = 3) -> None:
        """Answer SELECT or EXAMINE."""
        line = self.line()
        self.tag, command = line.split(" ")[:2]
        access = "READ-ONLY" if command == "EXAMINE" else "READ-WRITE"
        self.ok(
            f"* {exists} EXISTS", "* OK [UIDVALIDITY 7] valid", f"* OK [UIDNEXT {exists + 1}] next", words=f"[{access}]"
        )

    def serve_inbox(self, capabilities: str = CAPABILITIES) -> None:
        """Everything until the client has INBOX open."""
        self.let_in(capabilities)
        self.open_inbox()


class ScriptedServer:
    """Plays a script for every connection, one after the other.

    :param script: the server's side.
    :param tls: encrypt from the first byte.
    :param host: the address to listen on.

    :ivar received: every byte that clients sent, decrypted.
    :ivar stopping: set when the test is over, for scripts that wait.
    """

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, host: str = HOST) -> None:
        self.host = host
        self._script = script
        self._tls = tls
        self._peers: list[Peer] = []
        self._problems: list[Exception] = []
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._thread = threading.Thread(target=self._serve, name="scripted server")
        self.received = bytearray()
        self.stopping = threading.Event()
        self._played = threading.Event()
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stopping.set()
        # shutdown, since close() alone does not wake accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        end = time.monotonic() + PATIENCE
        while self._thread.is_alive() and time.monotonic() < end:
            # A script that waits for a client that will not come back.
            for peer in self._peers:
                peer.close()
            self._thread.join(0.05)
        if kind is None and self._problems:
            raise AssertionError("the scripted server's script failed") from self._problems[0]
        if self._thread.is_alive():
            raise AssertionError("the scripted server's script does not end")

    def wait_until_played(self) -> None:
        """Wait until a script has come to its end."""
        if not self._played.wait(PATIENCE):
            raise AssertionError("the scripted server's script does not end")

    def _serve(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._play(sock)
            self._played.set()

    def _play(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer: Peer | None = None
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            peer = Peer(sock, self)
            self._peers.append(peer)
            self._script(peer)
            peer.close()
        except (ClientGoneError, ssl.SSLError):
            # Leaving in the middle is the client's right; what it must have done by then the test checks itself.
            pass
        except OSError as exc:
            # Closed by the test's end, while the script still waited.
            if not self.stopping.is_set():
                self._problems.append(exc)
        except Exception as exc:  # noqa: BLE001 - handed to the test
            self._problems.append(exc)
        finally:
            sock.close()
            if peer is not None:
                # After STARTTLS it has another one.
                peer._sock.close()
