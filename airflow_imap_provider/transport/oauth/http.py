"""One POST to a token endpoint by httpx, over a socket of our own.

httpx's own transport has a timeout for each read and no NTLM proxies, and its client writes addresses into the log.
This one has the deadline of the whole opening and tells nobody anything.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import h11
import httpx

from airflow_imap_provider import __version__
from airflow_imap_provider.errors import ImapError, LostConnectionError, ProtocolError, SettingsError
from airflow_imap_provider.transport.clock import Deadline
from airflow_imap_provider.transport.oauth.answers import Answer
from airflow_imap_provider.transport.oauth.channel import Route, open_channel
from airflow_imap_provider.transport.oauth.limits import MAX_ANSWER_BYTES, MAX_HEAD_BYTES
from airflow_imap_provider.transport.oauth.remedies import CHECK_ENDPOINT, SILENT, TOKEN_STAGE
from airflow_imap_provider.transport.oauth.requests import TokenRequest

__all__ = ["post"]

RECEIVE_BYTES = 16 * 1024

_HEADERS = {
    "Accept": "application/json",
    # What is small needs no compression, and what is compressed may be large.
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": f"airflow-imap-provider/{__version__}",
}
_KEPT = ("content-type", "retry-after", "www-authenticate", "location")


def post(request: TokenRequest, route: Route, deadline: Deadline, clean: Callable[[object], str]) -> Answer:
    """Send the request and read the answer; redirects are not followed.

    :param clean: makes words of others fit to be shown.
    :raises SettingsError: the address cannot be written into a request.
    :raises ImapError: stage ``token``, or ``proxy``.
    """
    transport = _Transport(route, deadline, clean)
    headers = {**_HEADERS, "Authorization": request.authorization} if request.authorization else _HEADERS
    try:
        sent = httpx.Request("POST", request.url, headers=headers, data=dict(request.form))
    except (httpx.InvalidURL, ValueError):
        sent = None
    if sent is None:
        # Only here, so that the foreign exception is not attached: it may hold what was to be sent.
        raise SettingsError(
            f"no request to the token endpoint {request.host} can be made of these fields.",
            stage="settings",
            remedy="Enter OAuth: endpoint (oauth_endpoint) and the other fields of OAuth once more.",
        )
    # Not by httpx.Client, which writes the whole address into the log: there may be a key in its query.
    response = transport.handle_request(sent)
    content_type, retry_after, authenticate, location = (response.headers.get(name, "") for name in _KEPT)
    return Answer(response.status_code, content_type, retry_after, authenticate, location, response.content)


class _Transport(httpx.BaseTransport):
    """One connection for one request."""

    def __init__(self, route: Route, deadline: Deadline, clean: Callable[[object], str]) -> None:
        self._route = route
        self._deadline = deadline
        self._clean = clean

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sock = open_channel(str(request.url), self._route, self._deadline, self._clean)
        try:
            response, body = _Exchange(sock, self._deadline, request.url.host).run(request)
        finally:
            sock.close()
        # Not the others: a Content-Encoding would have httpx unpack what may be a bomb.
        headers = [(name, value) for name, value in response.headers if name.decode("latin-1") in _KEPT]
        return httpx.Response(response.status_code, headers=headers, content=body)


class _Exchange:
    def __init__(self, sock: socket.socket, deadline: Deadline, host: str) -> None:
        self._sock = sock
        self._deadline = deadline
        self._host = host
        self._received = 0
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)

    def run(self, request: httpx.Request) -> tuple[h11.Response, bytes]:
        # The answer may come, with more to say than the end of the connection, before the request was taken in full.
        self._send(
            h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw),
            h11.Data(data=request.read()),
            h11.EndOfMessage(),
        )
        response: h11.Response | None = None
        body = bytearray()
        while True:
            event = self._next()
            if isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert response is not None
                return response, bytes(body)
            elif isinstance(event, h11.ConnectionClosed):
                raise self._cut_off()

    def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._state.send(event) or b"" for event in events)
        self._patience()
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise self._deadline.missed(TOKEN_STAGE, SILENT) from None
        except OSError:
            return

    def _next(self) -> object:
        """The next event that is more than a wish for bytes."""
        problem = ""
        try:
            while (event := self._state.next_event()) is h11.NEED_DATA:
                self._state.receive_data(self._receive())
        except h11.RemoteProtocolError:
            problem = "does not speak HTTP, or stopped in the middle of its answer"
        if not problem:
            return event
        # Only here, so that the foreign exception is not attached: it may quote what the endpoint echoed.
        raise ProtocolError(f"the token endpoint {self._host} {problem}.", stage=TOKEN_STAGE, remedy=CHECK_ENDPOINT)

    def _receive(self) -> bytes:
        self._patience()
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except TimeoutError:
            raise self._deadline.missed(TOKEN_STAGE, SILENT) from None
        except OSError:
            raise self._cut_off() from None
        self._received += len(data)
        if self._received > MAX_ANSWER_BYTES:
            raise ProtocolError(
                f"the token endpoint {self._host} answers with more than {MAX_ANSWER_BYTES} bytes.",
                stage=TOKEN_STAGE,
                remedy=CHECK_ENDPOINT,
            )
        return data

    def _patience(self) -> None:
        self._sock.settimeout(self._deadline.remaining(TOKEN_STAGE, SILENT))

    def _cut_off(self) -> ImapError:
        return LostConnectionError(
            f"the token endpoint {self._host} ended the connection before its answer was complete.",
            stage=TOKEN_STAGE,
            remedy=CHECK_ENDPOINT,
        )
