"""What a BODYSTRUCTURE (RFC 9051, section 7.5.2) says: which parts are attachments and which hold the text.

Nothing of the body is needed for that. Servers' structures are taken as they come: any field may be missing or of
another type, trees may be deep or empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from airflow_imap_provider.mail.body_tree import DEPTH_LIMIT, at, children_of, disposition, pairs, word
from airflow_imap_provider.mail.encoded_words import decode_parameters
from airflow_imap_provider.mail.message import Attachment, TextPart
from airflow_imap_provider.mail.related import Role, roles
from airflow_imap_provider.mail.transfer import KNOWN_ENCODINGS

__all__ = ["DEPTH_LIMIT", "Leaf", "Structure", "is_structure", "read_structure"]

PARTS_LIMIT = 2_000
"""Parts of a mail that are looked at. Digests have hundreds; a mail of a thousand pictures has been seen."""

TEXT_PARTS_LIMIT = 8
"""Parts that the text of a mail may consist of: what Apple Mail writes around that many pictures."""

BLANK_OCTETS = 4
"""Octets up to which a text/plain part counts as empty beside an HTML part: two line ends."""

PERHAPS_BLANK_OCTETS = 512
"""Octets up to which a text/plain part may have nothing to read beside an HTML part: line ends, no-break spaces. Both
are fetched then, and what they say decides."""

_MISSPELT = {"base-64": "base64", "quotedprintable": "quoted-printable"}
"""What can only mean one of the encodings, although it is not its name."""

_BODY_TYPES = ("text/plain", "text/html")
_TNEF_TYPES = ("application/ms-tnef", "application/vnd.ms-tnef")
_ALTERNATIVES = ("text/enriched", "text/x-amp-html", "text/watch-html", "text/richtext")


@dataclass(frozen=True)
class Leaf:
    """A part that is no multipart, as the server describes it, in the words of an attachment."""

    part: str
    content_type: str
    charset: str
    name: str
    disposition: str
    content_id: bool
    smime_type: str
    encoding: str
    octets: int
    flowed: bool
    delete_space: bool


@dataclass
class Structure:
    """What was found.

    :param attachments: in the order of their parts.
    :param text_parts: in the order of their parts; of alternatives only the one to read.
    :param protection: how the mail says to be signed or encrypted, see
        :class:`~airflow_imap_provider.mail.message.Mail`.
    :param hollow: there is a multipart whose parts are all empty. That is how Dovecot tells one whose boundary is
        missing or another than declared: its content is in no part.
    :param only: the part of a mail that is no multipart.
    :param octets: the size of all parts together, without what is in attached mails, which counts once.
    :param problems: what was wrong.
    """

    attachments: list[Attachment] = field(default_factory=list)
    text_parts: list[TextPart] = field(default_factory=list)
    protection: list[str] = field(default_factory=list)
    hollow: bool = False
    only: Leaf | None = None
    octets: int = 0
    problems: list[str] = field(default_factory=list)


def read_structure(body: object, code_page: str) -> Structure:
    """Read a BODYSTRUCTURE.

    :param body: IMAPClient's tree of tuples, in which the parts of a multipart may stand in a list.
    :param code_page: charset for raw 8-bit file names.
    """
    reader = _Reader(code_page)
    if is_structure(body):
        reader.read(body, "", "", 0, in_message=False)
    else:
        reader.out.problems.append("the server tells no body structure")
    if len(reader.out.text_parts) > TEXT_PARTS_LIMIT:
        reader.out.problems.append(f"the text has more than {TEXT_PARTS_LIMIT} parts: the rest is not looked at")
        del reader.out.text_parts[TEXT_PARTS_LIMIT:]
    return reader.out


def is_structure(body: object) -> TypeGuard[Sequence[Any]]:
    """Tell whether a server's answer can be a BODYSTRUCTURE at all: a part with a type, or parts."""
    if not isinstance(body, (tuple, list)) or not body:
        return False
    return bool(children_of(body)) or (isinstance(at(body, 0), bytes) and isinstance(at(body, 1), bytes))


class _Reader:
    def __init__(self, code_page: str) -> None:
        self.code_page = code_page
        self.out = Structure()
        self.parts = 0
        self.octets = 0

    def read(
        self, body: Sequence[Any], part: str, parent: str, depth: int, *, in_message: bool, role: Role = Role.PART
    ) -> None:
        """Read one part.

        :param part: its number, empty for the whole of a mail.
        :param parent: the subtype of the multipart that holds it.
        :param role: what it is in that multipart, if that is a multipart/related.
        :param in_message: whether it is part of an attached mail, whose text is not the mail's.
        """
        self.parts += 1
        children = children_of(body)
        if depth > DEPTH_LIMIT or self.parts > PARTS_LIMIT:
            problem = "the body has more parts, or parts within parts, than are looked at"
            if problem not in self.out.problems:
                self.out.problems.append(problem)
            listed = in_message and self.out.attachments and self.out.attachments[-1].part == part
            if children is not None and self.parts <= PARTS_LIMIT and not listed:
                # Whatever is in it is not lost: all of it together is one file. An attached mail is one already.
                self.out.attachments.append(Attachment("", "multipart/mixed", 0, part or "1", "7bit"))
            return
        if children is None:
            self._leaf(body, part or "1", parent, depth, in_message=in_message, role=role)
            return
        behind = 1 if isinstance(body[0], list) else len(children)
        subtype, parameters = word(at(body, behind)), pairs(at(body, behind + 1))
        if not in_message:
            self._protect(_protection_of_multipart(subtype, children, parameters))
        texts, octets = len(self.out.text_parts), self.octets
        for number, (child, its) in enumerate(zip(children, roles(subtype, parameters, children), strict=True), 1):
            numbered = f"{part}.{number}" if part else str(number)
            self.read(child, numbered, subtype, depth + 1, in_message=in_message, role=its)
        if self.octets == octets and self.parts <= PARTS_LIMIT and depth < DEPTH_LIMIT:
            self.out.hollow = True
        if subtype == "alternative":
            self.out.text_parts[texts:] = _to_read(self.out.text_parts[texts:])

    def _leaf(self, body: Sequence[Any], part: str, parent: str, depth: int, *, in_message: bool, role: Role) -> None:
        leaf = self._described(body, part)
        self.octets += leaf.octets
        if not in_message:
            self.out.octets += leaf.octets
        if depth == 0:
            self.out.only = leaf
        is_mail = leaf.content_type in ("message/rfc822", "message/global")
        if _is_attachment(leaf, parent, role):
            self.out.attachments.append(
                Attachment(
                    name=leaf.name,
                    content_type=leaf.content_type,
                    size=_decoded_size(leaf.octets, leaf.encoding),
                    part=part,
                    encoding=leaf.encoding,
                    octets=leaf.octets,
                )
            )
            if leaf.encoding not in KNOWN_ENCODINGS:
                self.out.problems.append(
                    f"part {part}: unknown transfer encoding {leaf.encoding}: the attachment is not decoded"
                )
            if leaf.content_type in _TNEF_TYPES or leaf.name.lower() == "winmail.dat":
                self.out.problems.append(f"part {part}: winmail.dat (TNEF): the files within it are not looked at")
        elif leaf.content_type in _BODY_TYPES and not in_message:
            self.out.text_parts.append(
                TextPart(
                    part=part,
                    content_type=leaf.content_type,
                    charset=leaf.charset,
                    encoding=leaf.encoding,
                    size=_decoded_size(leaf.octets, leaf.encoding),
                    octets=leaf.octets,
                    flowed=leaf.flowed and leaf.content_type == "text/plain",
                    delete_space=leaf.delete_space,
                )
            )
        if not in_message:
            self._protect(_protection_of_part(leaf))
        nested = at(body, 8)
        if is_mail and isinstance(nested, (tuple, list)) and nested:
            # The parts of an attached mail are numbered as those of a mail of their own, below its number.
            numbered = part if children_of(nested) is not None else f"{part}.1"
            self.read(nested, numbered, "", depth + 1, in_message=True)

    def _protect(self, how: str) -> None:
        if how and how not in self.out.protection:
            self.out.protection.append(how)

    def _described(self, body: Sequence[Any], part: str) -> Leaf:
        content_type = f"{word(at(body, 0)) or 'application'}/{word(at(body, 1)) or 'octet-stream'}"
        octets = at(body, 6)
        # Behind the seven basic fields: text/* has its lines, message/rfc822 envelope, structure and lines.
        behind = 7
        if content_type.startswith("text/"):
            behind = 8
        elif content_type in ("message/rfc822", "message/global") and isinstance(at(body, 8), (tuple, list)):
            behind = 10
        disposed, disposition_parameters = disposition(at(body, behind + 1))
        problems: list[str] = []
        parameters = decode_parameters(pairs(at(body, 2)), self.code_page, problems)
        named = decode_parameters(pairs(disposition_parameters), self.code_page, problems)
        self.out.problems += [f"part {part}: {problem}" for problem in problems]
        return Leaf(
            part=part,
            content_type=content_type,
            charset=parameters.get("charset", "").lower(),
            name=named.get("filename") or parameters.get("name") or "",
            disposition=disposed,
            content_id=bool(at(body, 3)),
            smime_type=parameters.get("smime-type", "").lower(),
            encoding=_encoding(at(body, 5)),
            octets=octets if isinstance(octets, int) and octets > 0 else 0,
            flowed=parameters.get("format", "").lower() == "flowed",
            delete_space=parameters.get("delsp", "").lower() == "yes",
        )


def _is_attachment(leaf: Leaf, parent: str, role: Role) -> bool:
    """Tell whether a part is a file to its reader.

    Everything is, except the text itself, the other forms of it, and pictures that an HTML text shows within itself.
    When in doubt a part counts: an attachment too many is seen, one that is missing is not.
    """
    if leaf.disposition == "attachment" or leaf.name:
        return True
    if leaf.content_type in _BODY_TYPES:
        # What has an identity beside the root of a multipart/related is referred to, such as EDI beside its envelope.
        return role is Role.ENCLOSED and leaf.content_id
    if parent == "alternative" and leaf.content_type in _ALTERNATIVES:
        return False
    return role is not Role.SHOWN


def _protection_of_multipart(
    subtype: str, children: Sequence[Sequence[Any]], parameters: Sequence[tuple[bytes, bytes]]
) -> str:
    """Tell how multipart/signed and multipart/encrypted (RFC 1847) are, by their protocol or by their parts."""
    if subtype not in ("signed", "encrypted"):
        return ""
    protocols = {word(value.replace(b"/", b" ").split()[-1]) for name, value in parameters if _is_protocol(name, value)}
    types = protocols | {word(at(child, 1)) for child in children if isinstance(at(child, 0), bytes)}
    if subtype == "encrypted":
        return "pgp-encrypted" if "pgp-encrypted" in types else ""
    if types & {"pkcs7-signature", "x-pkcs7-signature"}:
        return "smime-signed"
    return "pgp-signed" if "pgp-signature" in types else ""


def _is_protocol(name: bytes, value: bytes) -> bool:
    return name.lower() == b"protocol" and bool(value.replace(b"/", b" ").split())


def _protection_of_part(leaf: Leaf) -> str:
    """Tell how a part of S/MIME (RFC 8551, section 3.2) is: an old mailer's without a type is encrypted."""
    if leaf.content_type not in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        return ""
    if leaf.smime_type == "signed-data":
        return "smime-signed"
    return "smime-encrypted" if leaf.smime_type in ("", "enveloped-data", "authenveloped-data") else ""


def _to_read(alternatives: list[TextPart]) -> list[TextPart]:
    """Return the form of the text to read: plain unless it is empty; with the HTML if only its text can tell."""
    plain = [part for part in alternatives if part.content_type == "text/plain"]
    html = [part for part in alternatives if part.content_type == "text/html"]
    if plain and not (html and all(part.octets <= BLANK_OCTETS for part in plain)):
        if any(part.octets > PERHAPS_BLANK_OCTETS for part in plain):
            return plain
        numbers = tuple(part.part for part in plain)
        return [*plain, *(replace(part, instead_of=numbers) for part in html)]
    return html


def _encoding(value: object) -> str:
    name = word(value).partition(";")[0]
    return _MISSPELT.get(name, name) or "7bit"


def _decoded_size(octets: int, encoding: str) -> int:
    if encoding != "base64":
        return octets
    # A line of 76 characters and its end, 78 octets, holds 57 bytes.
    lines, rest = divmod(octets, 78)
    # The last line has its end or not: that belongs to the boundary.
    return lines * 57 + rest // 4 * 3
