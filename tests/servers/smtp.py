"""A real SMTP server (aiosmtpd) in the test's own process, which keeps what it gets."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from tests.servers.waiting import free_port


class Outbox:
    """Keeps messages; refuses recipients at ``refused.example.com``.

    :param eight_bit: whether it announces 8BITMIME.
    :ivar envelopes: what came, in aiosmtpd's form.
    :ivar close_at: the connection ends at the message after so many; ``None`` never.
    """

    def __init__(self, *, eight_bit: bool = True) -> None:
        self.envelopes: list[Any] = []
        self.close_at: int | None = None
        self._eight_bit = eight_bit
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    def __enter__(self) -> Outbox:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()

    @property
    def messages(self) -> list[EmailMessage]:
        """What came, parsed."""
        return [
            cast("EmailMessage", message_from_bytes(envelope.original_content, policy=policy.default))
            for envelope in self.envelopes
        ]

    def connection(self, **extra: Any) -> str:
        """An Airflow connection to it, as JSON."""
        values = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com", "retry_limit": 1}
        return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": self.port, "extra": values | extra})

    # --- aiosmtpd's hooks

    async def handle_EHLO(
        self, server: SMTP, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return responses if self._eight_bit else [line for line in responses if "8BITMIME" not in line]

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.endswith("@refused.example.com"):
            return "550 5.1.1 nobody of this name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        if self.close_at == len(self.envelopes):
            cast("Any", server.transport).abort()
            return "421 going away"
        self.envelopes.append(envelope)
        return "250 OK"
