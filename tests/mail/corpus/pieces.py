"""What hard mails are put together from: headers, parts, multiparts. Plain bytes, nothing is checked or escaped."""

from __future__ import annotations

import base64

__all__ = ["HEADER", "attachment", "encoded", "mixed", "part", "single", "text"]

HEADER = (
    b"From: Billing <billing@example.com>\r\n"
    b"To: us@example.org\r\n"
    b"Subject: Invoice 4711\r\n"
    b"Date: Sat, 31 Jan 2026 12:29:55 +0100\r\n"
    b"Message-ID: <corpus@example.com>\r\n"
    b"MIME-Version: 1.0\r\n"
)


def encoded(content: bytes) -> bytes:
    """Base64 in lines of 76 characters."""
    return base64.encodebytes(content).replace(b"\n", b"\r\n")


def part(fields: bytes, body: bytes) -> bytes:
    """A part: its header without the last line end, a blank line, its body."""
    return fields + b"\r\n\r\n" + body


def text(body: bytes = b"See the file.", charset: bytes = b"utf-8") -> bytes:
    return part(b"Content-Type: text/plain; charset=" + charset, body)


def attachment(
    name: bytes = b'filename="invoice.csv"', content: bytes = b"a;b\n1;2\n", kind: bytes = b"application/octet-stream"
) -> bytes:
    """An attached file.

    :param name: the parameters of its Content-Disposition.
    """
    fields = b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment"
    return part(fields + (b"; " + name if name else b""), encoded(content))


def mixed(
    *parts: bytes, boundary: bytes = b"corpus", subtype: bytes = b"mixed", header: bytes = HEADER, close: bool = True
) -> bytes:
    """A multipart; as a mail, or with an empty ``header`` as a part of another."""
    lines = [header + b"Content-Type: multipart/" + subtype + b'; boundary="' + boundary + b'"\r\n']
    lines += [b"--" + boundary + b"\r\n" + each for each in parts]
    if close:
        lines.append(b"--" + boundary + b"--\r\n")
    return b"\r\n".join(lines)


def single(fields: bytes, body: bytes, header: bytes = HEADER) -> bytes:
    """A mail of one part."""
    return header + fields + b"\r\n\r\n" + body
