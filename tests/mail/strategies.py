"""Random headers, structures, mails and conditions for property tests."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from functools import reduce
from operator import and_, or_

from hypothesis import strategies as st

from airflow_imap_provider.mail.addresses import parse_addresses
from airflow_imap_provider.mail.authentication import METHODS, RESULTS, MethodResult
from airflow_imap_provider.mail.condition import Condition
from airflow_imap_provider.mail.conditions import (
    AllowedSenders,
    Attachment,
    AuthenticationResults,
    Body,
    Cc,
    Conditions,
    Encrypted,
    Flags,
    From,
    Header,
    Received,
    ReplyTo,
    Sent,
    Signed,
    Size,
    SmimeSignature,
    SmimeSigner,
    Subject,
    To,
)
from airflow_imap_provider.mail.fetching import EPOCH
from airflow_imap_provider.mail.message import Attachment as Part
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mail.smime.outcome import SIGNATURE_STATES, SignatureOutcome, SmimeOutcome
from tests.mail.builders import mail

NEEDLES = (
    "billing@example.com",
    "Billing@Example.COM",
    "@example.com",
    "ling@exam",
    "Billing Team",
    "invoice",
    "stra\u00dfe@x.de",
    "STRASSE@X.de",
    "office@flk.si",
    "kiss@ko.fi",
    "a@b",
    "Billing Team <billing@example.com>",
    "ann@\u017fkk.de",
    "\u00e9",
    "jo.doe@mail.example.org",
    "x",
    "@",
    "root",
    "doe@mail.example.org>",
    "4711",
)
"""What conditions of the tests look for: most occur in the mails, some with letters that case folding changes."""

FRAGMENTS = (
    b"billing@example.com",
    b"BILLING@EXAMPLE.COM",
    b"Billing Team",
    b"<",
    b">",
    b",",
    b";",
    b":",
    b'"',
    b"(",
    b")",
    b" ",
    b"\r\n\t",
    b"@",
    b".",
    b"\\",
    b"example.com",
    b"billing",
    b"=?utf-8?Q?",
    b"=?utf-8?B?",
    b"?=",
    b"=?",
    b"?",
    b"=",
    b"=?utf-8?Q?billing=40example.com?=",
    b"=?utf-8?B?YmlsbGluZ0BleGFtcGxlLmNvbQ==?=",
    b"=?utf-8?B?YmlsbGluZ0BleGFtcGxlLmNvbQ?=",
    b"=?utf-8?Q?Billing?= =?utf-8?Q?_Team?=",
    b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=",
    b"\xe9",
    b"\xc3\xa9",
    b"\x00",
    b"mailto:",
    "stra\u00dfe@x.de".encode(),
    "o\ufb03ce@\ufb02k.si".encode(),
    b"office@flk.si",
    "\u212aiss@\u212ao.fi".encode(),
    b"invoice",
    b"jo.doe@mail.example.org",
    b"root",
    b"[",
    b"]",
    "\u017f".encode(),
    b"ann@skk.de",
    b"jo . doe @ mail.example.org",
    b"(x)",
    b"@a,@b:",
    b"undisclosed-recipients:;",
    b"4711",
    b"'",
    b"\xfe\xff",
    b"+",
    b"~{",
    b"jo.\r\n doe@mail.example.org",
)
"""What headers of the tests are put together from: enough that needles occur, whole and broken."""

header_values = st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=8).map(b"".join)

plausible_headers = st.builds(
    lambda name, address, tail: name + b" <" + address + b">" + tail,
    st.sampled_from((b"Billing Team", b'"Doe, Jo"', b"=?utf-8?Q?J=C3=B6?=", b"", b"billing@example.com", b'"a@b"')),
    st.sampled_from(tuple(f for f in FRAGMENTS if b"@" in f and b"?" not in f and b":" not in f)),
    st.sampled_from((b"", b", root", b" (comment)", b",\r\n\tann@skk.de")),
)

values = st.sampled_from(NEEDLES) | st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1
).filter(str.strip)

patterns = st.sampled_from(("inv.*", "^billing", r"@example\.com$", "(?i)x", "[0-9]+", "kiss|office"))

moments = st.integers(-10 * 365 * 86_400, 70 * 365 * 86_400).map(lambda seconds: EPOCH + timedelta(seconds=seconds))

near_moments = st.builds(
    lambda minutes, hours: (
        datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=hours))) + timedelta(minutes=minutes)
    ),
    st.integers(-4_000, 4_000),
    st.integers(-12, 14),
)


@st.composite
def text_tests(draw: st.DrawFn, *, fields: tuple[object, ...] | None = None) -> Condition:
    field = draw(
        st.sampled_from(
            fields
            or (
                *(From, To, Cc, ReplyTo, Subject, Body, Header("X-Priority"), Header("from")),
                *(Attachment.name, Attachment.every.name, Attachment.type, Attachment.every.type),
            )
        )
    )
    case = draw(st.booleans())
    op = draw(
        st.sampled_from(("equals", "contains", "starts_with", "ends_with", "glob", "one_of", "regex", "not_equals"))
    )
    if op == "one_of":
        given: object = draw(st.lists(values, min_size=1, max_size=3))
    else:
        given = draw(patterns if op == "regex" else values)
    made: Condition = getattr(field, op)(given, case=case)
    return made


@st.composite
def date_tests(draw: st.DrawFn) -> Condition:
    op = draw(st.sampled_from(("before", "after", "at_or_before", "at_or_after", "on", "equals", "not_equals")))
    given = draw(near_moments | moments | st.dates(date(1960, 1, 1), date(2040, 1, 1)))
    made: Condition = getattr(draw(st.sampled_from((Received, Received, Sent))), op)(given)
    return made


ages = st.sampled_from(("1 second", "90 minutes", "1 day", "2 days", "3 weeks", "9000 days")) | st.timedeltas(
    timedelta(seconds=1), timedelta(days=5)
)

age_tests = st.builds(
    lambda field, op, age: getattr(field, op)(age),
    st.sampled_from((Received, Received, Sent)),
    st.sampled_from(("older_than", "newer_than")),
    ages,
)

NUMBER_OPS = ("equals", "not_equals", "at_least", "at_most", "larger_than", "smaller_than")

sizes = st.integers(0, 400) | st.sampled_from(
    (1, 4321, 10**6, 2**31, 2**32 - 1, 2**32, 2**40, "1 kB", "0.1 KiB", "2 MB")
)


@st.composite
def number_tests(draw: st.DrawFn, *, fields: tuple[object, ...] = (Size,)) -> Condition:
    field, op = draw(st.sampled_from(fields)), draw(st.sampled_from(NUMBER_OPS))
    least = 1 if op == "smaller_than" else 0
    given = draw(st.integers(least, 5)) if field is Attachment.count else draw(sizes.filter(lambda size: size != 0))
    made: Condition = getattr(field, op)(given)
    return made


FLAGS = ("\\Seen", "\\flagged", "\\Answered", "Processed", "$Invoice", "processed", "a.b+c")
"""Flags and keywords of conditions and mails."""

flag_tests = st.builds(
    lambda flag, has: Flags.has(flag) if has else Flags.lacks(flag), st.sampled_from(FLAGS), st.booleans()
)

SERVERS = ("mx.example.org", "MX2.example.org")

trust_tests = st.one_of(
    st.sampled_from((Signed(), Signed("smime"), Signed("pgp"), Encrypted(), Encrypted("smime"), Encrypted("pgp"))),
    st.sampled_from(SIGNATURE_STATES).map(SmimeSignature.equals),
    st.sampled_from((SmimeSigner.equals("billing@example.com"), SmimeSigner.not_contains("@example"))),
    st.sampled_from((AllowedSenders(["@example.com"]), AllowedSenders(["billing@example.com", "@*.org"]))),
    st.builds(
        lambda server, method, result: getattr(AuthenticationResults(server), method).equals(result),
        st.sampled_from(SERVERS),
        st.sampled_from(METHODS),
        st.sampled_from(RESULTS),
    ),
    st.builds(
        lambda method, domain: getattr(AuthenticationResults(SERVERS[0]), method).passes(domain),
        st.sampled_from(METHODS),
        st.sampled_from(("", "example.com", "mail.example.org")),
    ),
)

other_tests = st.one_of(
    age_tests,
    number_tests(fields=(Size, Attachment.size, Attachment.every.size, Attachment.count)),
    flag_tests,
    trust_tests,
)

leaves = st.one_of(
    text_tests(),
    date_tests(),
    other_tests,
    st.sampled_from((Header("X-Priority").exists(), Header("subject").exists(), Attachment.exists())),
)


def trees(of: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    """Conditions joined in any way."""
    return st.recursive(
        of,
        lambda inner: st.one_of(
            inner.map(lambda one: ~one),
            st.lists(inner, min_size=2, max_size=3).map(lambda several: reduce(and_, several)),
            st.lists(inner, min_size=2, max_size=3).map(lambda several: reduce(or_, several)),
        ),
        max_leaves=6,
    )


conditions = trees(leaves)

trigger_on = st.sampled_from(("all", "any", "none", "always"))


def lists_of(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Conditions]:
    """Lists of conditions with what must be true of them."""
    return st.builds(Conditions, st.lists(inner, min_size=1, max_size=3), trigger_on)


attachments = st.builds(
    lambda name, kind, size, part: Part(name, kind, size, str(part), "base64"),
    values,
    st.sampled_from(("text/csv", "application/pdf")),
    st.integers(0, 400),
    st.integers(1, 9),
)

results = st.lists(
    st.builds(
        MethodResult,
        st.sampled_from(METHODS),
        st.sampled_from(RESULTS),
        st.sampled_from(("", "example.com", "mail.example.org", "example.org")),
    ),
    max_size=4,
).map(tuple)


outcomes = st.builds(
    lambda state, signer: SmimeOutcome("", (SignatureOutcome(state, (signer,)),)),
    st.sampled_from(SIGNATURE_STATES),
    st.sampled_from(("billing@example.com", "other@example.org")),
)


@st.composite
def mails(draw: st.DrawFn) -> Mail:
    """Mails with texts that conditions may meet."""

    def addresses() -> tuple[object, ...]:
        return parse_addresses(draw(header_values | plausible_headers), "windows-1252", [])

    return mail(
        subject=draw(values),
        from_=addresses(),
        to=addresses(),
        cc=addresses(),
        text=draw(values),
        received=draw(near_moments | moments),
        date=draw(st.none() | near_moments | moments),
        size=draw(st.integers(0, 400)),
        flags=tuple(draw(st.lists(st.sampled_from(FLAGS), max_size=3))),
        attachments=tuple(draw(st.lists(attachments, max_size=3))),
        protection=tuple(draw(st.sets(st.sampled_from(("smime-signed", "pgp-signed", "pgp-encrypted"))))),
        smime=draw(outcomes),
        authentication=draw(st.dictionaries(st.just("mx.example.org"), results)),
        headers=draw(st.sampled_from(({}, {"x-priority": ("x",)}, {"x-priority": ("1", "invoice 4711")}))),
    )
