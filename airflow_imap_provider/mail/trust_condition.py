"""The leaves of a condition that ask who really sent a mail: a trusted server's findings, and a list of senders.

What the header From says is the sender's claim. It is worth something where a server that is trusted has checked it;
the list of senders is for use beside such a check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.authentication import HEADERS, METHODS, RESULTS
from airflow_imap_provider.mail.condition import VALUES_SHOWN, Condition, shown
from airflow_imap_provider.mail.template_condition import TemplateCondition
from airflow_imap_provider.mail.templates import templated

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail

__all__ = ["AuthenticationCondition", "SenderCondition", "authentication_condition", "sender_condition"]

SENDERS_LIMIT = 1_000
"""Entries of a list of senders. Conditions are stored with each trigger and travel with it."""

SERVER_LENGTH = 253
"""Characters of a server's name: the longest of a host."""

_SERVER = re.compile(r"[!-~]+")
_DOMAIN = re.compile(r"[^\s@<>,;:\"()\[\]\\*\x00-\x1f]+")
_ADDRESS = re.compile(rf'(?:"(?:[^"\\]|\\.)*"|[^\s@<>,;:"()\[\]\\]+)@(?P<domain>{_DOMAIN.pattern})', re.DOTALL)
"""An address as it should be (RFC 5322, section 3.4.1). Of ``<a@b c@d>`` one program takes the first, another the
last."""


@dataclass(frozen=True, repr=False)
class AuthenticationCondition(Condition):
    """A server that is named has found something about a mail when it received it.

    :param server: as it calls itself at the beginning of its Authentication-Results (``authserv-id``).
    :param method: ``dkim``, ``spf`` or ``dmarc``.
    :param result: the result that it must have found; ``pass`` must be for a domain that belongs to the sender.
    :param domain: for ``pass``, the domain that must have passed; empty is the domain of From or one above it.
    :raises SettingsError: for anything else.
    """

    server: str
    method: str
    result: str = "pass"
    domain: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.server, str) or not _SERVER.fullmatch(self.server) or len(self.server) > SERVER_LENGTH:
            raise SettingsError(
                f"AuthenticationResults cannot use the server {self.server!r:.80}",
                stage="settings",
                remedy="Give the name with which its header Authentication-Results begins, such as 'mx.google.com'.",
            )
        for what, value, accepted in (("method", self.method, METHODS), ("result", self.result, RESULTS)):
            if value not in accepted:
                raise SettingsError(
                    f"AuthenticationResults has no {what} {value!r:.80}",
                    stage="settings",
                    remedy=f"Choose one of {', '.join(accepted)}.",
                )
        if not isinstance(self.domain, str) or (self.domain and not _DOMAIN.fullmatch(self.domain)):
            raise SettingsError(
                f"AuthenticationResults cannot use the domain {self.domain!r:.80}",
                stage="settings",
                remedy="Give a domain such as 'example.com'.",
            )
        if self.domain and self.result != "pass":
            raise SettingsError("only a result 'pass' can be asked for a domain", stage="settings")
        object.__setattr__(self, "server", self.server.lower())
        object.__setattr__(self, "domain", self.domain.lower().rstrip("."))

    def holds(self, mail: Mail, now: datetime | None = None) -> bool:  # noqa: ARG002 - it has no age
        results = [each for each in mail.authentication.get(self.server, ()) if each.method == self.method]
        fitting = [each for each in results if each.result == self.result]
        if self.result != "pass":
            return bool(fitting)
        if self.method == "dmarc" and len(results) > 1:
            return False  # there is one From, so two results contradict each other or mean something else
        return any(self._belongs(each.domain, _from_domain(mail)) for each in fitting)

    def _belongs(self, passed: str, sender: str) -> bool:
        if self.domain:
            return passed == self.domain
        # DMARC is about From itself; some servers do not repeat it.
        if self.method == "dmarc":
            return bool(sender) and passed in ("", sender)
        return bool(passed and sender) and "." in passed and (sender == passed or sender.endswith(f".{passed}"))

    @property
    def headers(self) -> frozenset[str]:
        return frozenset(HEADERS)

    @property
    def servers(self) -> frozenset[str]:
        return frozenset({self.server})

    def values(self, mail: Mail) -> tuple[str, ...]:
        results = mail.authentication.get(self.server, ())
        return tuple(shown(str(each)) for each in results if each.method == self.method)[:VALUES_SHOWN]

    def to_json(self) -> dict[str, Any]:
        out = {"field": "authentication", "server": self.server, "method": self.method, "op": "equals"}
        out["value"] = self.result
        if self.domain:
            out["domain"] = self.domain
        return out

    def __repr__(self) -> str:
        who = f"AuthenticationResults({self.server!r}).{self.method}"
        if self.result == "pass":
            return f"{who}.passes({self.domain!r})" if self.domain else f"{who}.passes()"
        return f"{who}.equals({self.result!r})"


@dataclass(frozen=True, repr=False)
class SenderCondition(Condition):
    """Every author of the mail is on a list, and there is one at least.

    :param allowed: addresses (``billing@example.com``), domains (``@example.com``), and domains with all below them
        (``@*.example.com``, which does not mean ``example.com`` itself). Case does not matter.
    :raises SettingsError: for anything else.
    """

    allowed: tuple[str, ...]

    def __post_init__(self) -> None:
        given: object = self.allowed
        if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
            raise SettingsError(
                f"AllowedSenders takes a list, not {type(given).__name__}",
                stage="settings",
                remedy="Write AllowedSenders(['billing@example.com', '@example.org']).",
            )
        entries = {_checked_entry(entry) for entry in given}
        if not 1 <= len(entries) <= SENDERS_LIMIT:
            raise SettingsError(
                f"AllowedSenders takes 1 to {SENDERS_LIMIT} senders, not {len(entries)}", stage="settings"
            )
        object.__setattr__(self, "allowed", tuple(sorted(entries)))

    def holds(self, mail: Mail, now: datetime | None = None) -> bool:  # noqa: ARG002 - it has no age
        return bool(mail.from_) and all(self._allows(each.address.lower()) for each in mail.from_)

    def _allows(self, address: str) -> bool:
        domain = _domain(address)
        if not domain:
            return False
        parents = domain.split(".")[1:]
        below = (f"@*.{'.'.join(parents[number:])}" for number in range(len(parents)))
        return any(entry in self.allowed for entry in (address, f"@{domain}", *below))

    def values(self, mail: Mail) -> tuple[str, ...]:
        return tuple(shown(str(each)) for each in mail.from_[:VALUES_SHOWN])

    def to_json(self) -> dict[str, Any]:
        return {"field": "senders", "op": "one_of", "value": list(self.allowed)}

    def __repr__(self) -> str:
        return f"AllowedSenders({list(self.allowed)!r})"


def authentication_condition(server: object, method: object, result: object = "pass", domain: object = "") -> Condition:
    """Return the condition that a trusted server's finding means; see :class:`AuthenticationCondition`.

    :raises SettingsError: for what is none.
    """
    if not templated(server, result, domain):
        return AuthenticationCondition(server, method, result, domain)  # type: ignore[arg-type]  # it checks them
    test = {"field": "authentication", "server": server, "method": method, "op": "equals", "domain": domain}
    return TemplateCondition.of(f"AuthenticationResults({server!r}).{method}.equals", value=result, **test)


def sender_condition(allowed: object) -> Condition:
    """Return the condition that a list of senders means; see :class:`SenderCondition`.

    :raises SettingsError: for what is none.
    """
    if isinstance(allowed, Iterable) and not isinstance(allowed, (str, bytes)):
        allowed = tuple(allowed)
        if templated(allowed):
            return TemplateCondition.of("AllowedSenders", field="senders", op="one_of", value=list(allowed))
    return SenderCondition(allowed)  # type: ignore[arg-type]  # it checks what it is given


def _checked_entry(entry: object) -> str:
    text = entry.strip().lower() if isinstance(entry, str) else ""
    local, sign, domain = text.rpartition("@")
    domain = domain.removeprefix("*.") if not local else domain
    if not sign or not _DOMAIN.fullmatch(domain) or (local and re.search(r"[\s\x00-\x1f<>*]", local)):
        raise SettingsError(
            f"AllowedSenders cannot use {entry!r:.80}",
            stage="settings",
            remedy="Give addresses ('billing@example.com'), domains ('@example.com') or all below one "
            "('@*.example.com').",
        )
    return text


def _domain(address: str) -> str:
    """Return an address's domain; empty for what is none, or of which another program may read another domain."""
    match = _ADDRESS.fullmatch(address)
    return match["domain"] if match else ""


def _from_domain(mail: Mail) -> str:
    """Return the one domain of all authors, in lower case; empty if there is none or more than one."""
    domains = {_domain(each.address).rstrip(".").lower() for each in mail.from_}
    return domains.pop() if len(domains) == 1 else ""
