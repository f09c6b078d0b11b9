"""The leaf of a condition that asks what came of checking a mail's S/MIME signatures.

The checking is done before, where the mail is fetched: it needs the whole of it. Who signed is a text like others, see
``text_condition``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.condition import VALUES_SHOWN, Condition, shown
from airflow_imap_provider.mail.smime.outcome import SIGNATURE_STATES

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail
    from airflow_imap_provider.mail.smime.outcome import SmimeOutcome

__all__ = ["SignatureCondition", "checked_outcome"]


@dataclass(frozen=True, repr=False)
class SignatureCondition(Condition):
    """The mail has S/MIME signatures, and the best of them is in this state.

    :param state: one of :data:`SIGNATURE_STATES`.
    :raises SettingsError: for another one.
    """

    state: str

    def __post_init__(self) -> None:
        if self.state not in SIGNATURE_STATES:
            raise SettingsError(
                f"SmimeSignature has no state {self.state!r:.80}",
                stage="settings",
                remedy=f"Choose one of {', '.join(SIGNATURE_STATES)}.",
            )

    def holds(self, mail: Mail, now: datetime | None = None) -> bool:  # noqa: ARG002 - it has no age
        outcome = checked_outcome(mail)
        return outcome is not None and outcome.signature == self.state

    @property
    def needs_smime(self) -> bool:
        return True

    def values(self, mail: Mail) -> tuple[str, ...]:
        outcome = checked_outcome(mail)
        told = outcome.signatures[:VALUES_SHOWN] if outcome else ()
        return tuple(shown(f"{each.state}: {each.reason}" if each.reason else each.state) for each in told)

    def to_json(self) -> dict[str, Any]:
        return {"field": "smime_signature", "op": "equals", "value": self.state}

    def __repr__(self) -> str:
        return "SmimeSignature.is_valid()" if self.state == "valid" else f"SmimeSignature.equals({self.state!r})"


def checked_outcome(mail: Mail) -> SmimeOutcome | None:
    """Return what came of the mail's S/MIME; ``None`` if it has none.

    :raises RuntimeError: if it has, and nobody has looked.
    """
    if mail.smime is None and any(each.startswith("smime-") for each in mail.protection):
        raise RuntimeError("a condition on the signature is asked before it was checked")
    return mail.smime
