"""Hard mails whose trouble is in the body: multiparts, encodings, charsets, and the formats that are no MIME."""

from __future__ import annotations

import binascii
from functools import reduce

from tests.mail.corpus.pieces import HEADER, attachment, encoded, mixed, part, single, text

__all__ = ["STRUCTURES"]


def nested(depth: int, inner: bytes, kind: bytes = b"mixed") -> bytes:
    """A part within so many multiparts."""
    return reduce(
        lambda held, level: mixed(held, boundary=b"level%d" % level, subtype=kind, header=b""), range(depth), inner
    )


def attached(mail: bytes, depth: int = 1) -> bytes:
    """A mail attached to itself so often."""
    for level in range(depth):
        mail = mixed(text(), part(b"Content-Type: message/rfc822", mail), boundary=b"attached%d" % level, header=HEADER)
    return mail


UUENCODED = b"begin 644 invoice.csv\r\n" + binascii.b2a_uu(b"a;b\n1;2\n") + b"`\r\nend\r\n"

CALENDAR = b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

DSN = mixed(
    text(b"Delivery failed."),
    part(b"Content-Type: message/delivery-status", b"Reporting-MTA: dns; mx.example.org\r\n\r\nAction: failed\r\n"),
    part(b"Content-Type: message/rfc822", HEADER + b"\r\ngone"),
    subtype=b'report; report-type="delivery-status"',
)

ALTERNATIVE = mixed(
    text(b"plain"),
    part(b"Content-Type: text/html", b"<p>html</p>"),
    part(b"Content-Type: text/calendar; method=REQUEST", CALENDAR),
    boundary=b"alt",
    subtype=b"alternative",
    header=b"",
)

SIGNED = mixed(text(), attachment(b'filename="smime.p7s"', b"0\x80", b"application/pkcs7-signature"), subtype=b"signed")
PGP = mixed(
    part(b"Content-Type: application/pgp-encrypted", b"Version: 1\r\n"),
    part(b'Content-Type: application/octet-stream; name="encrypted.asc"', b"-----BEGIN PGP MESSAGE-----\r\n"),
    subtype=b'encrypted; protocol="application/pgp-encrypted"',
)


def opaque(kind: bytes) -> bytes:
    fields = b"Content-Type: application/pkcs7-mime; smime-type=" + kind + b"; name=smime.p7m\r\n"
    return single(fields + b"Content-Transfer-Encoding: base64", encoded(b"0\x80\x06\x09*\x86H" * 50))


def broken(body: bytes, encoding: bytes = b"base64") -> bytes:
    """A mail with an attachment whose body is not what its encoding says."""
    fields = b"Content-Disposition: attachment; filename=a.bin\r\nContent-Transfer-Encoding: " + encoding
    return mixed(text(), part(fields, body))


def html(body: bytes, charset: bytes = b"utf-8") -> bytes:
    return single(b"Content-Type: text/html; charset=" + charset, body)


def bare(fields: bytes, body: bytes = encoded(b"a;b\n1;2\n")) -> bytes:
    """A mail of one part, in base64, whose header does not say that it is MIME."""
    header = HEADER.replace(b"MIME-Version: 1.0\r\n", b"")
    return single(fields + b"\r\nContent-Transfer-Encoding: base64", body, header)


def related(*parts: bytes, parameters: bytes = b"", header: bytes = HEADER) -> bytes:
    return mixed(*parts, subtype=b"related" + parameters, header=header, boundary=b"related")


def identified(kind: bytes, name: bytes, content: bytes) -> bytes:
    """A part that has a Content-ID and no file name."""
    fields = b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <" + name + b">"
    return part(fields, encoded(content))


ENVELOPE = identified(b"text/xml; charset=utf-8", b"envelope@example.com", b"<Envelope>\xc3\xbc</Envelope>")
SCAN = identified(b"application/pdf", b"scan@example.com", b"%PDF-1.7 scan")
PICTURE = identified(b"image/png", b"picture@example.com", b"\x89PNG\r\n")
EDI = identified(b"text/plain", b"edi@example.com", b"UNA:+.? 'UNB+UNOC:3'")
HTML_TEXT = part(b"Content-Type: text/html; charset=utf-8", b'<p>See <img src="cid:picture@example.com"></p>')
HTML_WITH_ID = HTML_TEXT.replace(b"\r\n\r\n", b"\r\nContent-ID: <text@example.com>\r\n\r\n", 1)
FORMS = mixed(text(b"See"), HTML_TEXT, boundary=b"forms", subtype=b"alternative", header=b"")

RELATED: tuple[tuple[str, bytes, int], ...] = (
    ("SOAP with an attachment", related(ENVELOPE, SCAN, parameters=b'; type="text/xml"'), 2),
    ("SOAP with EDI as text and a picture", related(ENVELOPE, EDI, PICTURE, parameters=b'; type="text/xml"'), 3),
    ("an XML document in a mail with text", mixed(text(), related(ENVELOPE, SCAN, header=b"")), 2),
    ("a file with a Content-ID within HTML", related(HTML_TEXT, PICTURE, SCAN), 1),
    ("a file with a Content-ID within the forms of a text", related(FORMS, PICTURE, SCAN), 1),
    ("a mail with a Content-ID within HTML", related(HTML_TEXT, identified(b"message/rfc822", b"m", HEADER)), 1),
    ("a picture with a Content-ID beside plain text", related(text(), PICTURE), 1),
    ("an attached mail with a file within HTML", attached(related(HTML_TEXT, PICTURE, SCAN)), 2),
    (
        "a root that is not the first",
        related(PICTURE, SCAN, HTML_WITH_ID, parameters=b'; start="<text@example.com>"'),
        1,
    ),
)
"""Multiparts whose parts belong together: an HTML text and its pictures, or a document and its files."""

STRUCTURES: tuple[tuple[str, bytes, int], ...] = (
    ("nested 15 deep", mixed(text(), nested(15, attachment())), 1),
    ("nested 100 deep", mixed(text(), nested(100, attachment())), 1),
    ("nested 1,000 deep", mixed(text(), nested(1_000, attachment())), 1),
    ("alternatives nested 30 deep", mixed(text(), nested(30, attachment(), b"alternative")), 1),
    ("an attached mail", attached(mixed(text(), attachment(), boundary=b"inner")), 2),
    ("mails attached 15 deep", attached(HEADER + b"\r\nx", 8), 8),
    ("mails attached 100 deep", attached(mixed(text(), attachment(), boundary=b"inner"), 100), 8),
    (
        "an attached mail in base64",
        mixed(part(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64", encoded(HEADER + b"\r\nx"))),
        1,
    ),
    ("an attached mail that is empty", mixed(part(b"Content-Type: message/rfc822", b"")), 1),
    ("a digest", mixed(part(b"", HEADER + b"\r\none"), part(b"", HEADER + b"\r\ntwo"), subtype=b"digest"), 2),
    ("1,000 attachments", mixed(text(), *[attachment(b"filename=%d.csv" % number) for number in range(1_000)]), 1_000),
    ("a boundary that is not closed", mixed(text(), attachment(), close=False), 1),
    ("a boundary that is missing", mixed(text(), attachment()).replace(b'; boundary="corpus"', b""), 1),
    ("a boundary that is another", mixed(text(), attachment()).replace(b'boundary="corpus"', b"boundary=other"), 1),
    ("a boundary that is empty", mixed(text(), attachment()).replace(b'"corpus"', b'""'), 1),
    (
        "a megabyte of blanks where a boundary is looked for",
        mixed(text(b"--x" + b" " * 1_000_000), attachment()).replace(b'; boundary="corpus"', b""),
        1,
    ),
    ("a boundary of 900 characters", mixed(text(), attachment(), boundary=b"b" * 900), 1),
    ("a boundary with blanks and signs", mixed(text(), attachment(), boundary=b"=_a b(c)+/:?.*"), 1),
    ("boundaries that begin alike", mixed(mixed(text(), attachment(), boundary=b"corpus-1", header=b"")), 1),
    ("an inner boundary that is a beginning", mixed(mixed(text(), attachment(), boundary=b"c", header=b"")), 1),
    ("a boundary used twice", mixed(mixed(text(), header=b""), attachment()), 1),
    ("a boundary in the text", mixed(text(b"--corpusx\r\n --corpus\r\n-- corpus\r\n"), attachment()), 1),
    ("parts behind the end", mixed(text(), attachment()) + b"--corpus\r\n" + attachment() + b"\r\n--corpus--\r\n", 1),
    (
        "a large part behind the end",
        mixed(text()) + b"--corpus\r\n" + attachment(content=bytes(100_000)) + b"\r\n--corpus--\r\n",
        1,
    ),
    ("a file alone, without MIME-Version", bare(b"Content-Type: application/pdf; name=scan.pdf"), 1),
    ("a disposition alone, without MIME-Version", bare(b"Content-Disposition: attachment; filename=a.csv"), 1),
    ("text in base64 without MIME-Version", bare(b"Content-Type: text/plain; charset=koi8-r"), 0),
    ("a multipart without parts", mixed(), 1),
    ("a multipart with empty parts", mixed(b"", b"\r\n", attachment()), 1),
    (
        "a multipart in base64",
        single(
            b"Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: base64",
            encoded(mixed(text(), attachment(), boundary=b"x", header=b"")),
        ),
        1,
    ),
    ("line feeds alone", mixed(text(), attachment()).replace(b"\r\n", b"\n"), 1),
    ("line ends of all kinds", mixed(text(b"a\rb\nc\r\n\r\rd"), attachment()), 1),
    ("a line of a megabyte", mixed(text(b"x" * 1_000_000), attachment()), 1),
    ("200,000 boundaries that are none", mixed(text(b"--corpu\r\n" * 100_000), attachment()), 1),
    ("base64 that is cut off", broken(b"QUJDREVGR0hJ\r\nQUJ"), 1),
    ("base64 with rubbish", broken(b"QUJD*&^%\r\n====\r\nREVG\xff"), 1),
    ("base64 in one line of 500 kB", broken(b"QUJD" * 125_000), 1),
    ("quoted-printable that is broken", broken(b"a=ZZ=\r\n=4=\r\n=", b"quoted-printable"), 1),
    ("an unknown transfer encoding", broken(b"x", b"x-gzip64; (really)"), 1),
    ("a uuencoded file in the text", single(b"Content-Type: text/plain", b"Here:\r\n" + UUENCODED), 0),
    ("a uuencoded part", broken(UUENCODED, b"x-uuencode"), 1),
    ("yEnc", single(b"Content-Type: text/plain", b"=ybegin line=128 size=4 name=a\r\n\x8b\x8c\r\n=yend size=4\r\n"), 0),
    ("winmail.dat", mixed(text(), attachment(b"filename=winmail.dat", b"\x78\x9f\x3e\x22", b"application/ms-tnef")), 1),
    ("an invitation", mixed(ALTERNATIVE), 1),
    ("a mail that is a calendar", single(b"Content-Type: text/calendar", CALENDAR), 1),
    ("a delivery report", DSN, 2),
    ("a detached signature", SIGNED, 1),
    ("an opaque signature", opaque(b"signed-data"), 1),
    ("an enveloped mail", opaque(b"enveloped-data"), 1),
    ("PGP/MIME", PGP, 2),
    (
        "AppleDouble",
        mixed(
            mixed(
                part(b"Content-Type: application/applefile", b"\0\5\26\7"),
                attachment(),
                boundary=b"ad",
                subtype=b"appledouble",
                header=b"",
            )
        ),
        2,
    ),
    (
        "an external body",
        mixed(part(b"Content-Type: message/external-body; access-type=URL", b"Content-Type: x/y\r\n")),
        1,
    ),
    ("a partial mail", single(b"Content-Type: message/partial; number=1; total=3; id=x", b"Subject: y\r\n\r\nz"), 1),
    ("an inline file", mixed(text(), part(b"Content-Disposition: inline; filename=log.txt", b"log")), 1),
    (
        "a picture within HTML",
        mixed(
            part(b"Content-Type: text/html", b'<img src="cid:a">'),
            part(b"Content-Type: image/png\r\nContent-ID: <a>", b"\x89PNG"),
            subtype=b"related",
        ),
        0,
    ),
    *RELATED,
    ("a type that is no type", mixed(text(), part(b"Content-Type: attachment; name=a.pdf", b"x")), 1),
    ("a disposition that is no word", mixed(part(b'Content-Disposition: "attachment"; filename="a.pdf"', b"x")), 1),
    (
        "a type in the wrong case with comments",
        mixed(text(), part(b"CONTENT-type: (c) TEXT/X-Csv (d) ; NAME=a.csv", b"")),
        1,
    ),
    ("a type twice", mixed(text(), part(b"Content-Type: text/plain\r\nContent-Type: text/csv; name=a", b"x")), 0),
    ("UTF-16 text", single(b"Content-Type: text/plain; charset=utf-16", "Grüße 日本".encode("utf-16")), 0),
    ("UTF-7 text", single(b"Content-Type: text/plain; charset=utf-7", b"Gr+APwA3w-e +//8-"), 0),
    ("a charset that lies", single(b"Content-Type: text/plain; charset=us-ascii", b"Gr\xfc\xdfe"), 0),
    ("a charset of 10,000 characters", single(b"Content-Type: text/plain; charset=" + b"x" * 10_000, b"\xff"), 0),
    ("ISO-2022-JP that does not return", single(b"Content-Type: text/plain; charset=iso-2022-jp", b"\x1b$B\x46"), 0),
    ("HTML without end", html(b"<p" * 50_000 + b"<!--" * 20_000), 0),
    ("HTML with huge references", html(b"&#" + b"9" * 100_000 + b";&#xD800;&#0;"), 0),
    ("HTML nested 50,000 deep", html(b"<div>" * 50_000 + b"x"), 0),
    ("HTML in UTF-16", html("<p>Grüße</p>".encode("utf-16-le"), b"utf-16le"), 0),
    (
        "format=flowed with DelSp",
        single(b"Content-Type: text/plain; format=flowed; delsp=yes", b"a \r\nb \r\n> c\r\n"),
        0,
    ),
    ("a body with From lines", single(b"Content-Type: text/plain", b"From here\r\n>From there\r\n"), 0),
    ("a body of NULs", mixed(text(b"\0" * 10_000), attachment()), 1),
    ("text of four megabytes", mixed(text(b"invoice 4711\r\n" * 300_000), attachment()), 1),
)
