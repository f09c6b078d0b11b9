"""A mail as Airflow is told of it: one small dict of strict JSON, the same from trigger, sensor, operators and hook.

It says where the mail is and what it is about; bodies and attachments are fetched by the task that needs them. Airflow
sends the payloads of all events of a DAG run to each of its tasks, so each is kept within a kibibyte whatever the
sender wrote. ``docs/payload.md`` describes every field.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.authentication import UNREADABLE
from airflow_imap_provider.mail.json_safety import JsonValue, json_safe
from airflow_imap_provider.mail.message import Address, Attachment, Mail
from airflow_imap_provider.mail.smime.outcome import SignatureOutcome, SmimeOutcome
from airflow_imap_provider.mail.trust_condition import AuthenticationCondition

__all__ = ["PAYLOAD_LIMIT", "STYLES", "TEXT_LIMIT", "JsonValue", "json_safe", "payload"]

STYLES = ("full", "minimal")
"""``minimal`` leaves out subject and addresses, for logs and databases that must not hold them."""

PAYLOAD_LIMIT = 1_024
"""Bytes of a payload without its text, as ``json.dumps`` writes it: 31 mails fit into an event of 32 KiB."""

IDENTITY_LIMIT = 384
"""Bytes of that for key, connection id, folder, UID, UIDVALIDITY and trust. They are never shortened, for with them the
mail is found again and believed: a folder or servers whose names need more make the payload longer by as much. They
come from the user; what a sender can add is bounded by :data:`_DOMAIN_LENGTH`."""

TEXT_LIMIT = 8 * 1_024
"""Bytes of the text, likewise. A mail whose whole text is needed is better read in the task."""

SMIME_LIMIT = 384
"""Bytes by which the payload of a mail may be longer whose S/MIME was looked at: as :data:`_STEPS` shortens it last,
it takes 350 at most."""

_IDENTITY = ("key", "conn_id", "folder", "uid", "uidvalidity")

_ORDER = (
    "defects",
    "cc",
    "to",
    "reply_to",
    "flags",
    "headers",
    "attachments",
    "smime",
    "subject",
    "from",
    "message_id",
)
"""What is shortened first. Who else got the mail is what a pipeline needs least."""

_STEPS = ((256, 20), (64, 5), (32, 2), (12, 1), (4, 0))
"""Longest text and most items that each round leaves. The first round is for every payload; of the last one the result
fits whatever the sender wrote (a test has the worst case)."""

_DOMAIN_LENGTH = 32
"""Characters of a domain that passed and is not the sender's: three methods take 120 bytes a server at most."""

_PART_LIMIT = 40
"""Characters of a part number in a payload. One cut off would name another part, so the attachment is left out."""

_ENDING_LIMIT = 8
"""Characters of a file name's ending that stay when the name is shortened: ``.csv`` is often what matters."""

_TYPE_LENGTH = 40
"""Characters of a content type that always stay: most are shorter, and a part of one is of no use."""

_ELLIPSIS = "…"


def payload(
    mail: Mail, *, style: str = "full", headers: Sequence[str] = (), servers: Iterable[str] = ()
) -> dict[str, JsonValue]:
    """Return the payload of a mail, at most :data:`PAYLOAD_LIMIT` bytes besides the text.

    What does not fit is shortened, each field a little before any much, in this order: defects, Cc, To, Reply-To,
    flags, headers, attachments, S/MIME, subject, From, Message-ID. A shortened text has a ``…``, a shortened list its
    first items, and the last defect names the fields that are not complete.

    :param mail: with its text if the payload is to hold it.
    :param style: one of :data:`STYLES`.
    :param headers: names of headers to show, of those that the mail was fetched with.
    :param servers: whose Authentication-Results are believed, as :attr:`Conditions.servers` has them.
    :raises SettingsError: for an unknown style.
    """
    if style not in STYLES:
        raise SettingsError(f"payload={style!r:.80}", stage="settings", remedy=f"Choose one of {', '.join(STYLES)}.")
    whole = _whole(mail, full=style == "full", headers=headers)
    if servers:
        whole["trust"] = {"authentication": {server: _results(mail, server) for server in sorted(servers)}}
    identity = len(json.dumps({name: whole[name] for name in _IDENTITY})) + len(json.dumps(whole["trust"]))
    limit = PAYLOAD_LIMIT + max(identity - IDENTITY_LIMIT, 0) + (SMIME_LIMIT if mail.smime else 0)
    out = _fitting(whole, limit)
    if mail.text is not None:
        out["text"] = _fitting_text(mail.text)
    return out


def _whole(mail: Mail, *, full: bool, headers: Sequence[str]) -> dict[str, Any]:
    """Return the payload before anything is shortened, but for lists that no step would leave as they are."""
    out: dict[str, Any] = {
        "key": mail.key,
        "conn_id": mail.conn_id,
        "folder": mail.folder,
        "uid": mail.uid,
        "uidvalidity": mail.uidvalidity,
        "message_id": mail.message_id,
    }
    if full:
        out["subject"] = mail.subject
        out["from"] = next(iter(_addresses(mail.from_[:1])), None)
        out["to"] = _addresses(mail.to)
        out["cc"] = _addresses(mail.cc)
        out["reply_to"] = _addresses(mail.reply_to)
    asked = dict.fromkeys(name.lower() for name in headers)
    out["date"] = mail.date
    out["received"] = mail.received
    out["size"] = mail.size
    out["flags"] = mail.flags
    out["headers"] = {name: mail.headers[name] for name in asked if name in mail.headers}
    out["attachments"] = [_attachment(each) for each in mail.attachments]
    out["trust"] = {}
    if mail.smime is not None:
        out["smime"] = _smime(mail.smime, full=full)
    out["defects"] = mail.defects
    safe: dict[str, Any] = json_safe(out)
    return safe


def _results(mail: Mail, server: str) -> dict[str, str]:
    """Return by method what a server found: ``pass`` is what the condition ``passes()`` takes for one, and no other.

    Anybody's own domain passes for him. So a pass for a domain that is not the sender's names it: ``pass (evil.com)``.
    """
    out: dict[str, str] = {}
    for each in mail.authentication.get(server, ()):
        if each.result != "pass":
            out.setdefault(each.method, each.result)
        elif not out.get(each.method, "").startswith("pass"):
            domain = each.domain if each.domain and each.domain.isascii() else UNREADABLE
            out[each.method] = f"pass ({_cut(domain, _DOMAIN_LENGTH)})"
    for method in out:
        if AuthenticationCondition(server, method).holds(mail):
            out[method] = "pass"
    return {method: out[method] for method in sorted(out)}


def _smime(outcome: SmimeOutcome, *, full: bool) -> dict[str, Any]:
    """Return what came of signatures and encryption, without what was within."""
    best = outcome.best or SignatureOutcome("")
    out: dict[str, Any] = {"signature": outcome.signature, "encryption": outcome.encryption}
    if full:
        out |= {"signer": best.addresses, "subject": best.subject, "issuer": best.issuer}
    return out | {"signed_at": best.signed_at, "reason": best.reason or outcome.problem}


def _addresses(addresses: Iterable[Address]) -> list[dict[str, str]]:
    return [{"name": each.name, "address": each.address} for each in addresses]


def _attachment(each: Attachment) -> dict[str, Any]:
    return {"name": each.name, "content_type": each.content_type, "size": each.size, "part": each.part}


def _fitting(whole: dict[str, Any], limit: int) -> dict[str, Any]:
    """Return the payload with as much of each field as the limit allows."""
    names = [name for name in _ORDER if name in whole]
    steps = dict.fromkeys(names, 0)
    out = dict(whole)
    for name in names:
        out[name] = _shortened(name, whole[name], *_STEPS[0])
    for step in range(1, len(_STEPS)):
        for name in names:
            _mark(out, whole, names, steps)
            if len(json.dumps(out)) <= limit:
                return out
            steps[name] = step
            out[name] = _shortened(name, whole[name], *_STEPS[step])
    _mark(out, whole, names, steps)
    return out


def _mark(out: dict[str, Any], whole: dict[str, Any], names: Sequence[str], steps: dict[str, int]) -> None:
    """Let the last defect say which fields are not complete."""
    out["defects"] = _shortened("defects", whole["defects"], *_STEPS[steps["defects"]])
    if changed := [name for name in names if out[name] != whole[name]]:
        out["defects"].append(f"payload: shortened {', '.join(changed)}")


def _shortened(field: str, value: Any, longest: int, most: int) -> Any:
    """Return a field's value with its texts and lists cut."""
    if field in ("subject", "message_id"):
        return _cut(value, longest)
    if field in ("defects", "flags"):
        return [_cut(text, longest) for text in value[:most]]
    if field == "headers":
        return {name: [_cut(text, longest) for text in value[name][:most]] for name in list(value)[:most]}
    if field == "attachments":
        whole = [each for each in value if len(each["part"]) <= _PART_LIMIT]
        return [{**each, **_cut_names(each, longest)} for each in whole[:most]]
    if field == "smime":
        return _cut_smime(value, longest, most)
    if field == "from":
        return value and _cut_address(value, longest)
    return [_cut_address(each, longest) for each in value[:most]]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + _ELLIPSIS


def _cut_address(address: dict[str, str], longest: int) -> dict[str, str]:
    return {key: _cut(text, longest) for key, text in address.items()}


def _cut_smime(smime: dict[str, Any], longest: int, most: int) -> dict[str, Any]:
    out = dict(smime)
    for name in ("subject", "issuer", "reason"):
        if name in out:
            out[name] = _cut(out[name], longest)
    if "signer" in out:
        out["signer"] = [_cut(address, longest) for address in out["signer"][:most]]
    return out


def _cut_names(attachment: dict[str, Any], longest: int) -> dict[str, str]:
    """Shorten the texts of an attachment: its name in the middle, so that the ending stays."""
    name = attachment["name"]
    stem, dot, ending = name.rpartition(".")
    if len(name) > longest and dot and len(ending) < min(_ENDING_LIMIT, longest - 1):
        name = f"{stem[: longest - len(ending) - 2]}{_ELLIPSIS}.{ending}"
    return {"name": _cut(name, longest), "content_type": _cut(attachment["content_type"], max(longest, _TYPE_LENGTH))}


def _fitting_text(text: str) -> str:
    """Return the text, cut if it is too long for a payload."""
    safe = str(json_safe(text[: TEXT_LIMIT + 1]))
    if len(json.dumps(safe)) <= TEXT_LIMIT:
        return safe
    low, high = 0, len(safe)
    while low < high:
        middle = (low + high + 1) // 2
        if len(json.dumps(safe[:middle] + _ELLIPSIS)) <= TEXT_LIMIT:
            low = middle
        else:
            high = middle - 1
    return safe[:low] + _ELLIPSIS
