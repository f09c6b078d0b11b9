"""HTML mail made text that conditions can look into: words, line breaks at blocks, no scripts, no styles.

A scanner of our own instead of the standard library's ``html.parser``: before its fixes of 2025 that one needs more
than ten seconds for 200 KiB of ``<!--`` or of ``<a b='``. This one looks at each character once.
"""

from __future__ import annotations

import re
from html import unescape

__all__ = ["html_to_text"]

_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "br", "center", "dd", "div", "dl", "dt", "fieldset"),
        *("figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "li", "main"),
        *("nav", "ol", "option", "p", "pre", "section", "select", "table", "tbody", "tfoot", "thead", "tr", "ul"),
    }
)
_CELLS = frozenset(("td", "th"))
_UNSEEN = frozenset(("script", "style", "template", "title"))
_TAG_NAME = re.compile(r"/?([A-Za-z][A-Za-z0-9]*)")
_TAG_END_OR_QUOTE = re.compile(r""">|=\s*(["'])""")
_END_OF_UNSEEN = {name: re.compile(rf"</{name}\b", re.IGNORECASE) for name in _UNSEEN}
_END_OF_COMMENT = re.compile(r"--!?>")
_HUGE_REFERENCE = re.compile(r"&#[xX]?[0-9a-fA-F]{8,};?")
_UNSEEN_CHARACTERS = re.compile("[\N{SOFT HYPHEN}\N{ZERO WIDTH SPACE}\N{ZERO WIDTH NO-BREAK SPACE}]")
_BLANKS = re.compile(r"[^\S\n]+")
_LINE_ENDS = re.compile(r" ?\n[ \n]*")
_BREAK = "\n"


def html_to_text(html: str) -> str:
    """Return what a reader sees of an HTML mail, more or less; never raises.

    :param html: the document, whole or cut off anywhere.
    """
    out: list[str] = []
    position = 0
    while True:
        tag = html.find("<", position)
        if tag < 0:
            out.append(_characters(html[position:]))
            break
        out.append(_characters(html[position:tag]))
        name = _TAG_NAME.match(html, tag + 1)
        if name is not None:
            position = _end_of_tag(html, name.end())
            element = name[1].lower()
            if element in _BLOCKS:
                out.append(_BREAK)
            elif element in _CELLS:
                out.append(" ")
            elif element in _UNSEEN and html[tag + 1] != "/":
                end = _END_OF_UNSEEN[element].search(html, position)
                position = end.start() if end else len(html)
        elif html.startswith("<!--", tag):
            # <!--> and <!---> are comments without content.
            end = _END_OF_COMMENT.search(html, tag + 2)
            position = end.end() if end else len(html)
        elif html.startswith(("<!", "<?", "</"), tag):
            end_of_markup = html.find(">", tag)
            position = end_of_markup + 1 if end_of_markup >= 0 else len(html)
        else:
            out.append("<")
            position = tag + 1
    text = _UNSEEN_CHARACTERS.sub("", "".join(out))
    return _LINE_ENDS.sub("\n", _BLANKS.sub(" ", text)).strip()


def _characters(source: str) -> str:
    """Return character data with references resolved; its own line ends are blanks."""
    if "&" in source:
        # Python's unescape raises on a reference of more than 4,300 digits.
        source = unescape(_HUGE_REFERENCE.sub("\N{REPLACEMENT CHARACTER}", source))
    return source.replace("\n", " ")


def _end_of_tag(html: str, position: int) -> int:
    """Return the position behind a tag; a ``>`` in a quoted attribute does not end it."""
    while match := _TAG_END_OR_QUOTE.search(html, position):
        if not match[1]:
            return match.end()
        closing = html.find(match[1], match.end())
        position = closing + 1 if closing >= 0 else match.end()
    return len(html)
