"""Plays a handshake without sockets: what the proxy says is given, what we say is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from airflow_imap_provider.errors import ProxyError
from airflow_imap_provider.transport.proxy.steps import Handshake, Read, ReadUntil, Reconnect, Send


@dataclass
class Transcript:
    """What happened.

    :ivar sent: what we said, one entry for each time that we spoke.
    :ivar left: what the proxy said after the handshake, which belongs to the mail server.
    :ivar connections: how many there were.
    """

    sent: list[bytes] = field(default_factory=list)
    left: bytes = b""
    connections: int = 1


def play(handshake: Handshake, *connections: bytes | Sequence[bytes]) -> Transcript:
    """Play it to its end.

    :param connections: for each connection what the proxy says on it before it closes.
    """
    happened = Transcript()
    says = [one if isinstance(one, bytes) else b"".join(one) for one in connections]
    rest = says.pop(0)
    answer = b""
    try:
        step = next(handshake)
        while True:
            if isinstance(step, Send):
                happened.sent.append(step.data)
                answer = b""
            elif isinstance(step, Reconnect):
                happened.connections += 1
                rest, answer = says.pop(0), b""
            else:
                size = step.size if isinstance(step, Read) else _end(rest, step)
                answer, rest = rest[:size], rest[size:]
            step = handshake.send(answer)
    except StopIteration:
        happened.left = rest
        return happened


def check_refusal(error: ProxyError) -> None:
    """What every refusal must have, and must not."""
    assert error.stage == "proxy"
    assert error.remedy
    assert "s3cret" not in str(error)


def _end(rest: bytes, step: ReadUntil) -> int:
    found = [place + len(end) for end in step.ends if (place := rest.find(end, 0, step.limit)) >= 0]
    return min(found, default=step.limit)
