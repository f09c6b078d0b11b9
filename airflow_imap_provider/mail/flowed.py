"""Text that a mailer has wrapped for its way (``format=flowed``, RFC 3676), with its paragraphs on one line again.

Without that, what somebody has written in one sentence is found in no condition, for a line break stands in it.
"""

from __future__ import annotations

__all__ = ["unflowed"]


def unflowed(text: str, *, delete_space: bool) -> str:
    """Return the text with the lines of each paragraph joined (RFC 3676, section 4.2).

    :param text: its lines end with line feeds.
    :param delete_space: whether the blank before a break was added with it (``DelSp=yes``).
    """
    out: list[str] = []
    open_depth: int | None = None  # of the quotation whose paragraph goes on
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")  # stuffed, so that it does not look like a quotation or a From line
        if depth == open_depth and content != "-- ":
            out[-1] += content
        else:
            out.append(">" * depth + (" " if depth else "") + content)
        # The line before a signature ends with a blank, stands alone and does not go on.
        flows = content.endswith(" ") and content != "-- "
        if flows and delete_space:
            out[-1] = out[-1][:-1]
        open_depth = depth if flows else None
    return "\n".join(out)
