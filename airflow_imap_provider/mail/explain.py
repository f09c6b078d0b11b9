"""Why a mail matches or not: each condition with what it looked at, and what a server is asked and what not.

Data, and the same as text for people. It decides by the same functions as the trigger and marks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from airflow_imap_provider.mail.condition import AllOf, AnyOf, Condition, Not
from airflow_imap_provider.mail.conditions import Conditions
from airflow_imap_provider.mail.mark_condition import FlagCondition, ProtectionCondition
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mail.number_condition import NumberCondition
from airflow_imap_provider.mail.search import criteria_for, search_criteria
from airflow_imap_provider.mail.smime_condition import SignatureCondition
from airflow_imap_provider.mail.text_condition import ADDRESS_FIELDS, ATTACHMENT_FIELDS, TextCondition
from airflow_imap_provider.mail.trust_condition import AuthenticationCondition, SenderCondition

__all__ = ["Asked", "Fate", "MailExplanation", "SearchExplanation", "Verdict", "explain_mail", "explain_search"]


@dataclass(frozen=True)
class Verdict:
    """What one condition says of a mail.

    :param condition: the condition as Python writes it.
    :param holds: whether it holds.
    :param values: what it looked at in the mail, shortened; for joined conditions nothing.
    :param inner: the verdicts of the conditions that it joins or negates.
    """

    condition: str
    holds: bool
    values: tuple[str, ...] = ()
    inner: tuple[Verdict, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON objects."""
        return {
            "condition": self.condition,
            "holds": self.holds,
            "values": list(self.values),
            "inner": [each.to_json() for each in self.inner],
        }

    def lines(self, indent: str = "") -> list[str]:
        """Return it as lines of text."""
        word = "holds" if self.holds else "fails"
        if self.inner:
            seen = ""
        else:
            seen = f": it is {' | '.join(map(repr, self.values))}" if self.values else ": the mail has nothing there"
        return [
            f"{indent}{word}  {self.condition}{seen}",
            *(line for each in self.inner for line in each.lines(f"{indent}  ")),
        ]


@dataclass(frozen=True)
class Fate:
    """What a trigger has made of a mail that meets its conditions.

    :param word: ``told``, ``not told``, ``probably not told`` or ``not read yet``.
    :param reason: why, and what to do; empty if there is nothing to say.
    """

    word: str
    reason: str


@dataclass(frozen=True)
class MailExplanation:
    """What conditions say of a mail.

    :param uid: the mail's UID.
    :param subject: its subject.
    :param sender: its first author.
    :param received: when the server received it.
    :param triggers: whether the mail triggers.
    :param outcome: ``all``, ``any``, ``none`` as far as they are true, sorted.
    :param verdicts: one for each condition of the list.
    :param defects: what is wrong with the mail.
    :param fate: what a stored trigger has made of it; ``None`` if there is none, or it does not tell.
    """

    uid: int
    subject: str
    sender: str
    received: datetime
    triggers: bool
    outcome: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    defects: tuple[str, ...] = ()
    fate: Fate | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON objects."""
        return {
            "uid": self.uid,
            "subject": self.subject,
            "from": self.sender,
            "received": self.received.isoformat(),
            "triggers": self.triggers,
            "outcome": list(self.outcome),
            "conditions": [each.to_json() for each in self.verdicts],
            "defects": list(self.defects),
            **({"fate": self.fate.word, "fate_reason": self.fate.reason} if self.fate else {}),
        }

    def lines(self) -> list[str]:
        """Return it as lines of text."""
        word = "triggers" if self.triggers else "does not trigger"
        if self.fate is not None:
            word = "triggers, told" if self.fate.word == "told" else f"would trigger, {self.fate.word}"
        return [
            f"mail {self.uid} {word}: {self.subject[:100]!r} from {self.sender[:100]}, "
            f"{self.received:%Y-%m-%d %H:%M:%S} UTC",
            *([f"  {self.fate.word}: {self.fate.reason}"] if self.fate is not None and self.fate.reason else []),
            *(line for each in self.verdicts for line in each.lines("  ")),
            *(f"  defect: {defect}" for defect in self.defects),
        ]


@dataclass(frozen=True)
class Asked:
    """What a server is asked for one condition.

    :param condition: the condition as Python writes it.
    :param criteria: what is asked, as IMAP writes it; empty if nothing is.
    :param reason: why the rest, or all, is decided here.
    """

    condition: str
    criteria: str
    reason: str


@dataclass(frozen=True)
class SearchExplanation:
    """What a server is asked for a list of conditions.

    :param criteria: what it is asked in all, as IMAP writes it; empty if nothing is.
    :param reason: why, or why not.
    :param conditions: one for each test within the list.
    """

    criteria: str
    reason: str
    conditions: tuple[Asked, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON objects."""
        inner = [{"condition": e.condition, "criteria": e.criteria, "reason": e.reason} for e in self.conditions]
        return {"criteria": self.criteria, "reason": self.reason, "conditions": inner}

    def lines(self) -> list[str]:
        """Return it as lines of text."""
        return [
            f"SEARCH {self.criteria}" if self.criteria else "no SEARCH",
            f"  {self.reason}",
            *(f"  {each.condition}: {each.criteria or 'not asked'}; {each.reason}" for each in self.conditions),
        ]


def explain_mail(conditions: Conditions, mail: Mail, now: datetime) -> MailExplanation:
    """Tell what each condition says of a mail.

    :param conditions: with ``trigger_on``.
    :param mail: with its text if a condition needs it.
    :param now: the moment that ages are counted from; aware.
    """
    outcome = conditions.outcome(mail, now)
    return MailExplanation(
        uid=mail.uid,
        subject=mail.subject,
        sender=str(mail.from_[0]) if mail.from_ else "",
        received=mail.received,
        triggers=conditions.decides(outcome),
        outcome=tuple(sorted(outcome)),
        verdicts=tuple(_verdict(condition, mail, now) for condition in conditions.conditions),
        defects=mail.defects,
    )


def explain_search(conditions: Conditions, *, text: bool, now: datetime) -> SearchExplanation:
    """Tell what a server is asked so that it leaves mails out, and why not more.

    :param conditions: with ``trigger_on``.
    :param text: whether the server is known to search as the standard says, see
        :func:`~airflow_imap_provider.mail.search.search_criteria`.
    :param now: the moment that ages are counted from; aware.
    """
    asked = search_criteria(conditions, text=text, now=now)
    if asked:
        reason = "the server leaves out what cannot match; what it finds is decided here"
    elif not conditions.conditions or conditions.trigger_on == "always":
        reason = "every mail triggers"
    else:
        reason = "nothing can be asked that certainly keeps every mail which triggers"
    leaves = [leaf for condition in conditions.conditions for leaf in _leaves(condition)]
    # A list that asks for none asks for the opposite of each.
    turned = conditions.trigger_on == "none"
    described = tuple(_asked(leaf, wanted is not turned, text, now) for leaf, wanted in leaves)
    return SearchExplanation(written(asked), reason, described)


def written(criteria: Sequence[object] | None) -> str:
    """Return criteria as IMAP writes them."""
    words = []
    for word in criteria or ():
        if isinstance(word, list):
            words.append(f"({written(word)})")
        elif isinstance(word, date):
            words.append(f"{word.day}-{_MONTHS[word.month - 1]}-{word.year}")
        else:
            words.append(str(word) or '""')
    return " ".join(words)


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _verdict(condition: Condition, mail: Mail, now: datetime) -> Verdict:
    inner: tuple[Condition, ...] = ()
    if isinstance(condition, (AllOf, AnyOf)):
        inner = condition.conditions
    elif isinstance(condition, Not):
        inner = (condition.condition,)
    return Verdict(
        condition=repr(condition),
        holds=condition.holds(mail, now),
        values=condition.values(mail),
        inner=tuple(_verdict(each, mail, now) for each in inner),
    )


def _leaves(condition: Condition, wanted: bool = True) -> list[tuple[Condition, bool]]:
    """Return the tests within a condition, each with whether it is to hold."""
    if isinstance(condition, Not):
        return _leaves(condition.condition, not wanted)
    if isinstance(condition, (AllOf, AnyOf)):
        return [leaf for each in condition.conditions for leaf in _leaves(each, wanted)]
    return [(condition, wanted)]


def _asked(leaf: Condition, wanted: bool, text: bool, now: datetime) -> Asked:
    criteria = criteria_for(leaf if wanted else ~leaf, text=text, now=now)
    return Asked(repr(leaf if wanted else ~leaf), written(criteria), _reason(leaf, wanted, text, bool(criteria)))


def _reason(leaf: Condition, wanted: bool, text: bool, asked: bool) -> str:
    """Say why no more is asked for a test than is."""
    if asked and isinstance(leaf, TextCondition) and leaf.op != "exists":
        return "the parts of the address that are beyond doubt; which address it is, is decided here"
    if asked and isinstance(leaf, (TextCondition, FlagCondition, NumberCondition)):
        return "the server knows it exactly"
    if asked:
        return "servers compare days in a time zone of their own, so a day of margin; the moment is decided here"
    if isinstance(leaf, (AuthenticationCondition, SenderCondition)):
        return "no server decides whom to believe"
    if isinstance(leaf, (ProtectionCondition, SignatureCondition)):
        return "no server searches for it"
    if isinstance(leaf, TextCondition):
        return _reason_for_text(leaf, wanted, text)
    if isinstance(leaf, NumberCondition) and leaf.field != "size":
        return "no server searches for attachments"
    if isinstance(leaf, (FlagCondition, NumberCondition)):
        return "this server is not known to search as the standard says" if not text else "beyond what IMAP can ask"
    if getattr(leaf, "field", "") == "sent":
        return "servers read broken Date headers otherwise than is done here"
    return "beyond the years that servers can ask for"


def _reason_for_text(leaf: TextCondition, wanted: bool, text: bool) -> str:
    if leaf.field in ATTACHMENT_FIELDS:
        return "no server searches for attachments"
    if leaf.field == "smime_signer":
        return "no server checks signatures"
    if leaf.field == "body":
        return "a server looks into the HTML source, not into its text"
    if not wanted:
        return "a server that reads a header otherwise would leave out too much"
    if leaf.op in ("glob", "regex"):
        return "no server knows patterns"
    if leaf.field in ADDRESS_FIELDS or leaf.op == "exists":
        if not text:
            return "this server is not known to find parts of words"
        return "only what has an @ and is long enough is certain to be found in an address"
    return "mail breaks the rules for encoded words, and servers then read them otherwise"
