"""Address lists of From, To, Cc and Reply-To (RFC 5322, section 3.4), as mail has them and not only as it should.

Groups are flattened; commas in unquoted names, encoded words inside quotes, raw 8-bit names, comments instead of names
and addresses without a domain are understood. The standard library's ``getaddresses`` differs between Python's patch
releases and gives up on such lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from airflow_imap_provider.mail.charsets import decode, one_line
from airflow_imap_provider.mail.encoded_words import ENCODED_WORD, decode_words, repair_words
from airflow_imap_provider.mail.message import Address

__all__ = ["ADDRESSES_LIMIT", "parse_addresses"]

ADDRESSES_LIMIT = 2_000
"""Addresses of one header. Servers accept about 1,000 recipients for a mail; more in a header is an accident or an
attack, and each costs memory."""

COMMAS_IN_A_NAME = 5
"""Commas up to which words without an @ are taken for parts of the name that follows: ``Doe, John, MD <j@x>``."""

_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_LITERAL = re.compile(rb"\[[^\]]*\]")
_SPACE = re.compile(rb"[\s\x00]+")
_PLAIN = re.compile(rb'[^\s\x00"(),:;<>@\[]+')
_PARENTHESIS = re.compile(rb"\\.|[()]", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_AROUND_SIGNS = re.compile(rb" ?([@.]) ?")
_ROUTE = re.compile(rb"@[^:]*:")
_SPECIALS = b"<>,;:@"


class _Token(NamedTuple):
    kind: str  # word, quoted, comment, space, or the special character itself
    raw: bytes
    meant: bytes  # the raw text without quotes and backslashes


_BLANK = _Token("space", b" ", b" ")


def parse_addresses(value: bytes, code_page: str, problems: list[str]) -> tuple[Address, ...]:
    """Parse the value of an address header.

    An address is taken literally: an encoded word is never part of one (RFC 2047, section 5), and what looks like an
    address after decoding is a name.

    :param value: the raw value, still folded.
    :param code_page: charset for raw 8-bit text.
    :param problems: what was wrong is added here.
    :returns: at most :data:`ADDRESSES_LIMIT` addresses; one of name and address may be empty.
    """
    parser = _Parser(code_page, problems)
    for token in _tokens(repair_words(value)):
        parser.take(token)
        if len(parser.found) >= ADDRESSES_LIMIT:
            break
    else:
        parser.end_of_item()
        parser.end_of_pending()
    if len(parser.found) >= ADDRESSES_LIMIT:
        problems.append(f"only the first {ADDRESSES_LIMIT} addresses are looked at")
    return tuple(parser.found[:ADDRESSES_LIMIT])


class _Parser:
    """Collects tokens until an address is complete."""

    def __init__(self, code_page: str, problems: list[str]) -> None:
        self.code_page = code_page
        self.problems = problems
        self.found: list[Address] = []
        self.outside: list[_Token] = []
        self.inside: list[_Token] | None = None  # between angle brackets
        self.open = False
        self.has_sign = False  # an @ outside
        self.before = 0  # tokens outside that stand before the brackets
        self.pending: list[list[_Token]] = []  # "Doe" of an unquoted "Doe, John <j@x>"

    def take(self, token: _Token) -> None:
        if self.open:
            self._take_inside(token)
        elif token.kind == ",":
            self.end_of_item()
        elif token.kind == ";":
            self.end_of_item()
            self.end_of_pending()
        elif token.kind == ":" and self.inside is None and not self.has_sign:
            # The name of a group, or "mailto". What was pending before it belongs to nothing else.
            self.outside = []
            self.end_of_pending()
        elif token.kind == "<":
            if self.inside is not None:
                # A comma is missing: what follows the address before is the name of this one.
                self.outside, name = self.outside[: self.before], self.outside[self.before :]
                self.end_of_item()
                self.outside = name
            self.inside, self.open, self.before = [], True, len(self.outside)
        else:
            self.has_sign = self.has_sign or token.kind == "@"
            # A closing bracket that closes nothing separates words: what stands before it is no part of the address.
            self.outside.append(_BLANK if token.kind == ">" else token)

    def _take_inside(self, token: _Token) -> None:
        inside = self.inside if self.inside is not None else []
        if token.kind == ">":
            self.open = False
        elif token.kind == "<" or (token.kind in (",", ";") and not (inside and inside[0].kind == "@")):
            # The closing bracket is missing. (After an @ it is a route, which may have commas.)
            self.open = False
            self.take(token)
        elif inside or token.kind != "space":
            inside.append(token)

    def end_of_item(self) -> None:
        outside, inside, has_sign = self.outside, self.inside, self.has_sign
        self.outside, self.inside, self.open, self.has_sign = [], None, False, False
        if not outside and not inside:
            return
        comments = [token for token in outside if token.kind == "comment"]
        words = [token if token.kind != "comment" else _BLANK for token in outside]
        if inside is not None:
            name = self._name(words) or self._name(comments)
            if self.pending and name and self._name(words):
                before = [self._name(tokens) for tokens in self.pending]
                name, self.pending = ", ".join((*before, name)), []
            self.end_of_pending()
            address = _literal(inside)
            self._add_literal(name, address)
            # What stands before the brackets is a name, whatever it looks like; an address behind them is one more.
            behind = words[self.before :]
            if any(token.kind == "@" for token in behind):
                self._add_others(_split_bare(_literal(behind))[0], address)
        elif has_sign:
            self.end_of_pending()
            found, others = _split_bare(_literal(words))
            self._add_literal(self._text(others) or self._name(comments), found[0])
            self._add_others(found[1:], found[0])
        elif any(token.kind != "space" for token in words):
            self.pending.append(words)
            if len(self.pending) > COMMAS_IN_A_NAME:
                self.end_of_pending()

    def end_of_pending(self) -> None:
        pending, self.pending = self.pending, []
        for tokens in pending:
            real = [token for token in tokens if token.kind != "space"]
            if len(real) == 1 and real[0].kind == "word" and not ENCODED_WORD.search(real[0].raw):
                self._add("", self._address(real[0].raw))
            else:
                self._add(self._name(tokens), "")

    def _add_others(self, words: Sequence[bytes], address: bytes) -> None:
        """Add addresses that a comma should separate from the one before, which is not the only one then."""
        others = dict.fromkeys(word for word in words if word.lower() != address.lower())
        if others:
            self.problems.append("addresses without a comma between")
        for word in list(others)[:ADDRESSES_LIMIT]:
            self._add_literal("", word)

    def _add_literal(self, name: str, raw: bytes) -> None:
        if ENCODED_WORD.search(raw):
            self.problems.append("an encoded word where an address should be")
            self._add(f"{name} {self._text(raw)}".strip(), "")
        else:
            self._add(name, self._address(raw))

    def _add(self, name: str, address: str) -> None:
        if not name and not address:
            return
        if address and "@" not in address:
            self.problems.append("an address without @")
        self.found.append(Address(name, address))

    def _name(self, tokens: Sequence[_Token]) -> str:
        return self._text(b"".join(token.meant for token in tokens))

    def _text(self, raw: bytes) -> str:
        return decode_words(raw, self.code_page, self.problems)

    def _address(self, raw: bytes) -> str:
        if route := _ROUTE.match(raw):
            raw = raw[route.end() :]
        if raw[:7].lower() == b"mailto:":
            raw = raw[7:]
        text, problem = decode(raw, "", self.code_page)
        if problem:
            self.problems.append(problem)
        return one_line(text)


def _literal(tokens: Sequence[_Token]) -> bytes:
    """Return the tokens as written, without comments and without the blanks that may stand around @ and dot."""
    text = b"".join(b" " if token.kind in ("comment", "space") else token.raw for token in tokens)
    # Single blanks first: a pattern that begins with many is tried at each of them.
    return _AROUND_SIGNS.sub(rb"\1", b" ".join(text.split()))


def _split_bare(text: bytes) -> tuple[list[bytes], bytes]:
    """Split ``John Doe john@example.com`` into the words with an @, of which there is one at least, and the others.

    A word in quotes is a name.
    """
    if text.startswith(b'"'):
        return [text], b""  # a quoted local part may hold blanks
    found: list[bytes] = []
    others: list[bytes] = []
    for word in text.split():
        (found if b"@" in word and not _QUOTED.fullmatch(word) else others).append(word)
    return (found, b" ".join(others)) if found else ([text], b"")


def _tokens(value: bytes) -> Iterator[_Token]:
    """Yield tokens. Linear in the length: an opening character without its partner is looked for only once."""
    position = 0
    unclosed: set[bytes] = set()
    while position < len(value):
        start = value[position : position + 1]
        token: _Token | None = None
        if match := _SPACE.match(value, position):
            token = _Token("space", match[0], b" ")
        elif start in _SPECIALS:
            token = _Token("@" if start == b"@" else start.decode("ascii"), start, start)
        elif start == b'"' and start not in unclosed and (match := _QUOTED.match(value, position)):
            token = _Token("quoted", match[0], _ESCAPED.sub(rb"\1", match[1]))
        elif start == b"[" and start not in unclosed and (match := _LITERAL.match(value, position)):
            token = _Token("word", match[0], match[0])
        elif start == b"(" and start not in unclosed and (end := _end_of_comment(value, position)):
            token = _Token("comment", value[position:end], _ESCAPED.sub(rb"\1", value[position + 1 : end - 1]) + b" ")
        elif match := _PLAIN.match(value, position):
            token = _Token("word", match[0], match[0])
        if token is None:
            # A bracket or quote without its partner separates words and is nothing else.
            unclosed.add(start)
            token = _Token("space", start, b" ")
        yield token
        position += len(token.raw)


def _end_of_comment(value: bytes, position: int) -> int:
    """Return the position behind a comment, which may hold comments, or 0 if it does not end."""
    depth = 0
    for match in _PARENTHESIS.finditer(value, position):
        if match[0] == b"(":
            depth += 1
        elif match[0] == b")":
            depth -= 1
            if depth == 0:
                return match.end()
    return 0
