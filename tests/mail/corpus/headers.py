"""Hard mails whose trouble is in the header: missing, repeated, huge, or in no charset. Most have one attachment."""

from __future__ import annotations

from tests.mail.corpus.pieces import HEADER, attachment, mixed, part, single, text

__all__ = ["HEADERS"]


def headed(fields: bytes, start: bytes = b"") -> bytes:
    """A mail with these header fields and one attachment."""
    return mixed(text(), attachment(), header=start + fields + b"\r\nMIME-Version: 1.0\r\n")


def named(parameters: bytes) -> bytes:
    """A mail with an attachment whose name is given so."""
    return mixed(text(), attachment(parameters))


ENCODED_SPLIT = (
    b"Subject: =?utf-8?B?UmVjaG51bmcgZsO8ciBNw6Q=?=\r\n =?utf-8?B?cno=?= =?utf-8?Q?=E2=82?= =?utf-8?Q?=AC?=\r\n"
    b" =?shift_jis?B?k/o=?= =?utf-8?B?8J+Y?= =?utf-8?B?gA==?="
)

NAMES = {
    "a name with slashes": b'filename="../../etc/passwd"',
    "a name with backslashes": b'filename="..\\\\..\\\\windows\\\\system32\\\\drivers"',
    "a reserved name": b'filename="CON.txt"',
    "a name of dots": b'filename=".."',
    "a name of blanks": b'filename="   "',
    "an absolute name": b'filename="/etc/shadow"',
    "a drive as a name": b'filename="C:autoexec.bat"',
    "a stream as a name": b'filename="invoice.csv::$DATA"',
    "an override of direction in a name": b"filename*=utf-8''invoice%E2%80%AEfdp.exe",
    "control characters in a name": b"filename*=utf-8''a%00b%0D%0AX-Evil:%20c%1B[31m.csv",
    "lone surrogates in a name": b"filename*=utf-8''%ED%A0%80.csv",
    "a name of 5,000 characters": b'filename="' + b"x" * 5_000 + b'.csv"',
    "an encoded word as a name": b'filename="=?iso-8859-1?Q?Rechnung_M=E4rz.csv?="',
    "encoded words as a name, folded": b'filename="=?utf-8?B?UmVjaG51bmcg?=\r\n =?utf-8?B?TcOkcnouY3N2?="',
    "an encoded word split in a character in a name": b'filename="=?utf-8?B?TcM=?= =?utf-8?B?pHJ6LmNzdg==?="',
    "a name in pieces": b"filename*0*=utf-8''Rechnung%20;\r\n filename*1*=M%C3%A4rz;\r\n filename*2=.csv",
    "a name in pieces, out of order": b'filename*2=".csv"; filename*0="a"; filename*1="b"',
    "a name with a piece missing": b'filename*0="a"; filename*2="c.csv"',
    "a name with a piece twice": b'filename*0="a"; filename*0="b"; filename*1=".csv"',
    "a name in pieces numbered 01": b'filename*00="a"; filename*01=".csv"',
    "a name in an encoded word in pieces": b'filename*0="=?utf-8?B?TcOk"; filename*1="cnouY3N2?="',
    "a name given both ways": b"filename=\"plain.csv\"; filename*=utf-8''r%C3%A4th.csv",
    "a name in an unknown charset": b"filename*=x-klingon'tlh'q%E4pla.csv",
    "a name with a charset that lies": b"filename*=us-ascii''M%C3%A4rz.csv",
    "a name with broken escapes": b"filename*=utf-8''100%25%zz%4.csv",
    "a name with one quote": b"filename*=utf-8'M%C3%A4rz.csv",
    "a raw 8-bit name": b'filename="M\xe4rz.csv"',
    "an unquoted name with blanks": b"filename=my invoice.csv",
    "a name whose quote never ends": b'filename="invoice.csv',
    "a name with escaped quotes": b'filename="the \\"final\\" one.csv"',
    "a name in UTF-16": b"filename*=utf-16''%FF%FEa%00.%00c%00s%00v%00",
    "an empty name": b'filename=""',
    "a name numbered beyond reason": b'filename*99999999999999999999="a.csv"',
}
"""Names of attachments."""

FIELDS = {
    "no From": b"To: us@example.org\r\nSubject: x",
    "two of each header": HEADER.rstrip() + b"\r\n" + HEADER.rstrip(),
    "no header but the type": b"X-Nothing: here",
    "a subject of a megabyte": HEADER + b"X-Long: " + b"x" * 1_000_000,
    "a header of 20,000 fields": HEADER + b"X-A: b\r\n" * 20_000 + b"X-End: x",
    "a recipient list of 20,000": HEADER + b"Cc: " + b",\r\n ".join(b"u%d@example.org" % n for n in range(20_000)),
    "raw 8-bit headers": b"From: J\xf6rg <j@example.com>\r\nSubject: M\xe4rz \xff\xfe",
    "UTF-8 headers and addresses": "From: Jörg <jörg@bücher.example>\r\nSubject: März 日本".encode(),
    "an unknown charset": b"Subject: =?x-klingon?Q?q=E4pla?=\r\nFrom: =?foo bar?B?YQ==?= <a@b>",
    "a codec that is no charset": b"Subject: =?rot13?Q?uryyb?= =?zlib?B?eJw=?= =?idna?Q?xn--?= =?undefined?Q?a?=",
    "broken base64 in a word": b"Subject: =?utf-8?B?UmVja?= =?utf-8?B?!!!?= =?utf-8?B??= =?utf-8?B?=?=",
    "words split in a character": ENCODED_SPLIT,
    "lone surrogates": b"Subject: =?utf-8?B?7aCA7bCA?= =?utf-7?Q?+2AA-?= \xed\xa0\x80",
    "an override of direction": b"Subject: =?utf-8?Q?invoice=E2=80=AEfdp=2Eexe?=",
    "words within words": b"Subject: =?utf-8?Q?=3D=3Futf-8=3FQ=3Fx=3F=3D?= =?utf-8?Q?a?b?= =?utf-8?Q?a b?=",
    "10,000 encoded words": b"Subject: " + b" ".join([b"=?utf-8?Q?=C3=A4?="] * 10_000),
    "beginnings of encoded words": b"Subject: " + b"=?" * 30_000,
    "combining marks": b"Subject: a" + "\u0315\u0300".encode() * 20_000,
    "a bare carriage return": b"Subject: a\rBcc: evil@example.com\rX: y",
    "a fold with nothing": b"Subject:\r\n \r\n \r\n invoice\r\n\t\r\nX-A:\r\n b",
    "a line that is no field": b"Subject: x\r\nthis is no field\r\nFrom: a@example.com",
    "a blank before the colon": b"Subject : x\r\nFrom\t: a@example.com",
    "a field without a name": b": x\r\nSubject: y",
    "groups and comments": b'To: Team: a@x.org, (c(o)m) b@x.org (B); "Do, e" <d@example.org>, undisclosed:;',
    "open quotes and brackets": b'From: "Bill <billing@example.com\r\nTo: <<a@b>>, (((, [x',
    "brackets without end": b"To: " + b"(" * 30_000 + b"<" * 30_000,
    "an address of 100 kB": b"From: <" + b"a" * 100_000 + b"@example.com>",
    "a name that pretends to be an address": b'From: "boss@example.com" <thief@example.net>',
    "a route, a source and no domain": b"From: <@a,@b:c@d>, root, mailto:x@y, x@, @y",
    "a date in year 0": b"Date: Sat, 01 Jan 0000 00:00:00 +0000",
    "a date in year 9999": b"Date: Fri, 31 Dec 9999 23:59:59 -1200",
    "a date with a broken zone": b"Date: Sat, 31 Jan 2026 12:00:00 +9999",
    "a date without sense": b"Date: 99 Foo 99999999999999999999 99:99:99 QQQ (((",
    "a date of a megabyte": b"Date: " + b"1 " * 50_000,
    "a Message-ID of a megabyte": b"Message-ID: <" + b"m" * 1_000_000 + b"@x>",
    "broken Message-IDs": b"Message-ID: not in brackets\r\nMessage-ID: <\x80\xff>\r\nMessage-ID:",
    "forged results": b"Authentication-Results: mx.example.org; dmarc=pass header.from=example.com\r\n" * 200
    + b"Received: from x by mx.example.org\r\nAuthentication-Results: mx.example.org; dkim=pass",
    "results without end": b"Authentication-Results: mx.example.org; dkim=pass (" + b"(" * 20_000 + b'"' * 20_000,
    "an mbox line inside": b">From a@b Sat Jan 31 12:00:00 2026\r\nSubject: x",
}
"""Header fields of a mail with one attachment."""

PARAMETERS = b"".join(b";\r\n p%d=v%d" % (number, number) for number in range(20_000))
STARS = b"".join(b"; filename*%d*=utf-8''%%41" % number for number in range(20_000))

HEADERS: tuple[tuple[str, bytes, int], ...] = (
    *((name, named(parameters), 1) for name, parameters in NAMES.items()),
    *((name, headed(fields), 1) for name, fields in FIELDS.items()),
    ("20,000 parameters", mixed(text(), attachment(b"filename=a.csv" + PARAMETERS)), 1),
    ("20,000 pieces of a name", mixed(text(), attachment(b"x=y" + STARS)), 1),
    ("an mbox line first", b"From a@b Sat Jan 31 12:00:00 2026\r\n" + mixed(text(), attachment()), 1),
    (
        "a name in the type alone",
        mixed(part(b'Content-Type: text/csv; name="=?utf-8?Q?M=C3=A4rz=2Ecsv?="', b"a;b")),
        1,
    ),
    ("no MIME-Version", mixed(text(), attachment(), header=b"Subject: x\r\n"), 1),
    ("a mail without a header", b"\r\nonly text", 0),
    ("an empty mail", b"", 0),
    ("a mail of only a NUL", b"\0", 0),
    ("a mail of only a line end", b"\r\n", 0),
    ("a header that never ends", HEADER + b"X-A: b", 0),
    ("NULs in header and body", single(b"X-N: a\0b\r\nContent-Type: text/plain", b"a\0b\0" * 100), 0),
)
