"""Keeps what an opening tells about itself, as the steps of a report."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.transport.clock import Clock
from airflow_imap_provider.transport.findings import (
    Findings,
    capability_findings,
    login_findings,
    mechanism_findings,
    tls_findings,
)
from airflow_imap_provider.transport.report import Fact, Step, failed

__all__ = ["Recorder"]

_INTERPRETERS: dict[str, Callable[..., Findings]] = {
    "offered": login_findings,
    "capabilities": capability_findings,
    "mechanism": mechanism_findings,
}
"""Facts of the opening that mean more than they say."""


@dataclass
class _Entry:
    """A step that is not finished."""

    stage: str
    began: float
    seconds: float = 0.0
    facts: dict[str, Fact] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def step(self) -> Step:
        return Step(self.stage, self.seconds, True, dict(self.facts), tuple(self.warnings))


class Recorder:
    """Listens to one opening.

    :param clean: takes secrets out of what the other side says.
    """

    curious = True

    def __init__(self, clock: Clock, clean: Callable[[object], str]) -> None:
        self._clock = clock
        self._clean = clean
        self._entries: list[_Entry] = []
        self._error: ImapError | None = None
        self._over = False

    def enter(self, stage: str) -> None:
        """A stage begins, and the one before it is over."""
        if self._over or (self._entries and self._entries[-1].stage == stage):
            return
        now = self._stop()
        self._entries.append(_Entry(stage, now))

    def told(self, stage: str, **facts: object) -> None:
        """Facts about the latest step of this stage; empty ones are passed over."""
        for name, value in facts.items():
            if name in _INTERPRETERS:
                self.found(stage, _INTERPRETERS[name](value))
            elif value not in ("", (), None):
                self.found(stage, ({name: self._fact(value)}, ()))

    def found(self, stage: str, findings: Findings) -> None:
        """Facts and warnings about the latest step of this stage."""
        facts, warnings = findings
        entry = next((entry for entry in reversed(self._entries) if entry.stage == stage), None)
        if entry is not None and not self._over:
            entry.facts |= {name: self._fact(value) for name, value in facts.items()}
            entry.warnings += warnings

    def encrypted(self, sock: ssl.SSLSocket) -> None:
        """A handshake is over."""
        self.found("tls", tls_findings(sock, self._clock.now()))

    def over(self, error: ImapError | None = None) -> None:
        """Nothing more is recorded.

        :param error: why it ended.
        """
        if not self._over:
            self._stop()
            self._over, self._error = True, error

    def steps(self, conn_id: str) -> tuple[Step, ...]:
        """The steps; the last one is where the error came up, if there was one."""
        entries = list(self._entries)
        error = self._error
        if error is None:
            return tuple(entry.step() for entry in entries)
        seconds, facts = 0.0, dict[str, Fact]()
        warnings: tuple[str, ...] = ()
        if entries and entries[-1].stage != error.stage:
            # Found out while another stage had begun: with TLS 1.3 the server's verdict on the client's certificate
            # comes instead of a greeting.
            seconds = entries.pop().seconds
        if entries and entries[-1].stage == error.stage:
            last = entries.pop().step()
            seconds, facts, warnings = seconds + last.seconds, dict(last.facts), last.warnings
        step = replace(failed(error, conn_id, seconds, facts), warnings=warnings)
        return (*(entry.step() for entry in entries), step)

    def _stop(self) -> float:
        now = self._clock.monotonic()
        if self._entries:
            self._entries[-1].seconds = now - self._entries[-1].began
        return now

    def _fact(self, value: object) -> Fact:
        if isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, tuple):
            return tuple(self._clean(item) for item in value)
        return self._clean(value)
