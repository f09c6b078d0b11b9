"""Authentication-Results: which are believed, what they say, and conditions about that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.mail.authentication import FIELD_LIMIT, MethodResult, read_authentication
from airflow_imap_provider.mail.conditions import AllowedSenders, AuthenticationResults, Condition
from airflow_imap_provider.mail.message import Address, Mail
from airflow_imap_provider.mail.payload import payload
from tests.mail.builders import mail, read

MX = "mx.example.org"
TRUSTED = AuthenticationResults(MX)
WANTED = ("authentication-results", "received")


def results(*fields: bytes) -> tuple[str, ...]:
    """What the server MX is believed to have found, of these values of Authentication-Results; ``-`` is a Received."""
    named = [("received" if field == b"-" else "authentication-results", field) for field in fields]
    return tuple(map(str, read_authentication(named).get(MX, ())))


GOOGLE = (
    b" mx.example.org;\r\n       dkim=pass header.i=@example.com header.s=20230601 header.b=AbC/d+==;\r\n"
    b"       spf=pass (google.com: domain of a@bounces.example.com designates 192.0.2.1 as permitted sender)"
    b" smtp.mailfrom=a@bounces.example.com;\r\n"
    b"       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=example.com"
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (GOOGLE, ("dkim=pass (example.com)", "spf=pass (bounces.example.com)", "dmarc=pass (example.com)")),
        (b"mx.example.org; none", ()),
        (b"mx.example.org 1; dmarc=fail", ("dmarc=fail",)),
        (b'"mx.example.org"; dkim=pass header.d="Example.COM."', ("dkim=pass (example.com)",)),
        (
            b"MX.Example.Org (its name); (a) dkim (b) = (c) PASS (d (e)) header.d = example.com ;",
            ("dkim=pass (example.com)",),
        ),
        (b'mx.example.org; dkim=fail reason="bad; dkim=pass" header.d=a.org', ("dkim=fail (a.org)",)),
        (
            b"mx.example.org; dkim/1=pass header.d=a.org; dkim=neutral header.d=b.org",
            ("dkim=pass (a.org)", "dkim=neutral (b.org)"),
        ),
        (b"mx.example.org; spf=pass smtp.helo=mail.example.com", ("spf=pass (mail.example.com)",)),
        (b"mx.example.org; spf=pass smtp.mailfrom=<>", ("spf=pass",)),
        (b"mx.example.org; dmarc=bestguesspass header.from=a.org", ("dmarc=unknown (a.org)",)),
        (b"mx.example.org; x-own=pass; arc=pass (i=1); dmarc=none", ("dmarc=none",)),
        (b"mx.example.org; iprev; compauth=pass reason=109; dmarc=none", ("dmarc=none",)),
    ],
)
def test_results_are_read_as_servers_write_them(value: bytes, expected: tuple[str, ...]) -> None:
    assert results(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b";",
        b"dmarc=pass header.from=example.com",
        b"spf=pass smtp.mailfrom=x; dmarc=pass",
        b"mx.example.org.evil.example; dmarc=pass",
        b"evil.example (mx.example.org); dmarc=pass",
        b"evil.example mx.example.org; dmarc=pass",
        b"evil.example; mx.example.org; dmarc=pass",
        b"mx.example.org/evil; dmarc=pass",
        b"mx.example.org; dmarc=pass (never closed",
        b'mx.example.org; dmarc=pass; dkim=pass "never closed',
        b"mx.example.org; dmarc; dkim=pass",
        b"mx.example.org; dmarc==pass",
        b"mx.example.org; dmarc=pass " + b"x" * FIELD_LIMIT,
    ],
    ids=lambda value: value[:50],
)
def test_what_cannot_be_read_or_names_another_server_says_nothing(value: bytes) -> None:
    assert results(value) == ()


FAILED = b"mx.example.org; dmarc=fail header.from=example.com"
FORGED = b"mx.example.org; dmarc=pass header.from=example.com"


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((FAILED, FORGED), id="directly below"),
        pytest.param((FAILED, b"-", FORGED), id="below a Received"),
        pytest.param((FAILED, b"other.example; dmarc=pass", FORGED), id="below another server's"),
        pytest.param((b"-", b"-", FAILED, b"-", FORGED), id="the server's own Received stands above"),
        pytest.param((b"other.example; dmarc=pass", FAILED, b"-", FORGED), id="another server's stands above"),
    ],
)
def test_what_a_sender_wrote_below_does_not_count(fields: tuple[bytes, ...]) -> None:
    assert results(*fields) == ("dmarc=fail (example.com)",)


def test_several_headers_of_one_server_count_together_and_nothing_behind_them() -> None:
    dkim, spf = b"mx.example.org; dkim=pass header.d=a.org", b"mx.example.org; spf=fail smtp.mailfrom=b.org"
    assert results(dkim, spf) == ("dkim=pass (a.org)", "spf=fail (b.org)")
    assert results(dkim, b"-", spf) == ("dkim=pass (a.org)",)
    assert results(b"mx.example.org; dkim=pass (", spf) == (), "a malformed one ends what is believed"


PIECES = (
    *(b"mx.example.org", b";", b"dmarc", b"=", b"pass", b"(", b")", b'"', b"\\", b" ", b"\xff", b"header.from", b"@"),
    *(b"1", b"none", b"\x00", b"\r\n\t"),
)


@given(st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_any_bytes_can_be_read(value: bytes) -> None:
    for result in read_authentication([("authentication-results", value)]).values():
        assert all(isinstance(each, MethodResult) for each in result)


BY_THE_BOSS = b"From: boss@example.com\r\n\r\n"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b'spf=pass smtp.mailfrom="x@example.com"@evil.com', "spf=pass (evil.com)"),
        (b'spf=pass smtp.mailfrom=<"x@example.com"@evil.com>', "spf=pass (evil.com)"),
        (b'spf=pass smtp.mailfrom="\\"x@example.com\\"@evil.com"', "spf=pass (evil.com)"),
        (b'spf=pass smtp.mailfrom="a".x@example.com@evil.com', "spf=pass (evil.com)"),
        (b"spf=pass smtp.mailfrom=x+d=example.com@evil.com", "spf=pass (evil.com)"),
        (b"spf=pass smtp.mailfrom=x@example.com=evil.com", "spf=pass (?)"),
        (b'spf=pass smtp.mailfrom=x@example.com"a"@evil.com', "spf=pass (evil.com)"),
        (b"spf=pass smtp.mailfrom=x@example.com smtp.mailfrom=y@evil.com", "spf=pass (?)"),
        (b"spf=pass smtp.mailfrom= smtp.helo=example.com", "spf=pass (?)"),
        (b"spf=pass smtp.mailfrom=x@[example.com]", "spf=pass (?)"),
        (b'dkim=pass header.i="x@example.com"@evil.com', "dkim=pass (evil.com)"),
        (b"dkim=pass header.i=@evil.com header.d=example.com header.d=evil.com", "dkim=pass (?)"),
        (b"dkim=pass header.d=example.com header.i=y@evil.com", "dkim=pass (?)"),
        (b"dkim=pass header.d=example.com x=y@evil.com", "dkim=pass (?)"),
        (b"dkim=pass header.d=example.com header.b=x header.i=@example.com header.i=y@evil.com", "dkim=pass (?)"),
        (b'dkim=pass header.d=example.com (@evil.com) smtp.mailfrom="x"@evil.com', "dkim=pass (?)"),
        (b"dkim=pass header.d=example.com reason=y@evil.com", "dkim=pass (?)"),
        (b"dkim=pass header.i=y@evil.com header.d=evil.com", "dkim=pass (evil.com)"),
        (b"dmarc=pass header.from=example.com x=y@evil.com", "dmarc=pass (?)"),
        (b'dmarc=pass header.from="x@example.com"@evil.com', "dmarc=pass (evil.com)"),
        (b"dmarc=pass header.from=", "dmarc=pass (?)"),
    ],
)
def test_a_domain_that_a_sender_chose_as_a_part_of_his_address_does_not_pass(value: bytes, told: str) -> None:
    """A local part may be quoted, and have anything in it (RFC 5321, section 4.1.2)."""
    found = read(b"Authentication-Results: mx.example.org; " + value + b"\r\n" + BY_THE_BOSS, headers=WANTED)
    assert [str(each) for each in found.authentication[MX]] == [told]
    for method in (TRUSTED.spf, TRUSTED.dkim, TRUSTED.dmarc):
        assert not method.passes().holds(found)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b'spf=pass smtp.mailfrom="x y"@example.com', "spf=pass (example.com)"),
        (b'spf=pass smtp.mailfrom="x@example.com"', "spf=pass (example.com)"),
        (b"spf=pass smtp.mailfrom=prvs=0123ab=x@example.com", "spf=pass (example.com)"),
        (b'spf=pass reason="a = b" (c) smtp.mailfrom = x@example.com', "spf=pass (example.com)"),
        (b"dkim=pass (2048-bit key) header.d=example.com header.b=AbC/d+==", "dkim=pass (example.com)"),
    ],
)
def test_addresses_are_read_as_servers_quote_them(value: bytes, told: str) -> None:
    assert results(b"mx.example.org; " + value) == (told,)


@pytest.mark.parametrize(
    "sender",
    [
        b"x@example.com; y@evil.com",
        b"foo;dkim=pass header.d=example.com;x=y@evil.com",
        b"foo;dkim=pass header.d=example.com;x y@evil.com",
        b"foo;dkim=pass header.d=example.com y@evil.com",
        b"foo;dkim=pass header.d=example.com;dmarc=pass header.from=example.com;x=1 y@evil.com",
        b"foo;dkim=pass header.d=example.com;x.y=z@evil.com",
        b'foo;dkim=pass header.d=example.com;x="y"z@evil.com',
        b'foo;dkim=pass header.d=example.com;x="y@evil.com',
        b"foo;dkim=pass header.d=example.com;x=(y@evil.com",
        b"foo;dkim=pass header.d=example.com;envelope-from=y@evil.com",
        b"foo;dkim=pass header.d=example.com;=y@evil.com",
        b'foo;dkim=pass header.d=example.com;"y@evil.com"',
        b"foo;dkim=pass header.d=example.com;none y=z@evil.com",
        b'"x@example.com" @evil.com',
        b"x@example.com(a)@evil.com",
        b"foo smtp.mailfrom=x@example.com y@evil.com",
    ],
)
def test_an_address_that_a_server_did_not_quote_makes_the_header_unreadable(sender: bytes) -> None:
    """A local part may be quoted and have anything in it; here the server repeats it without the quotes."""
    for value in (b"spf=pass smtp.mailfrom=" + sender, b"spf=pass client-ip=192.0.2.1; envelope-from=" + sender):
        assert results(b"mx.example.org; " + value) == ()
        assert results(b"mx.example.org; " + value + b"; dmarc=fail header.from=example.com") == ()


@pytest.mark.parametrize(
    "value",
    [
        b"spf=pass example.com smtp.mailfrom=x@example.com",
        b"dmarc=pass header.from=boss@example.com @evil.com",
        b"dkim=pass header.d=example.com; x-own",
        b"dkim=pass header.d=example.com; x-own=",
        b"dkim=pass header.d=example.com; x-own==",
        b"dkim=pass header.d=example.com; =",
        b'dkim=pass header.d=example.com; "none"',
        b"dkim=fail reason=signature did not verify header.d=example.com",
    ],
)
def test_a_section_that_is_no_result_makes_the_header_unreadable(value: bytes) -> None:
    """But for a word alone, which is no part of an address without an @."""
    expected = ("dkim=pass (example.com)",) if value.endswith(b"x-own") else ()
    assert results(b"mx.example.org; " + value) == expected


# What servers write, by their documentation and by mail in public archives; names and addresses are examples.
REAL = {
    "Gmail": (
        b"mx.google.com;\r\n       dkim=pass header.i=@example.com header.s=20230601 header.b=AzX9/b1W;\r\n"
        b'       dkim=temperror (no key for signature) header.i=@bulk.example.net header.s=s1 header.b="BE9/o/N5";\r\n'
        b"       arc=pass (i=1 spf=pass spfdomain=example.com dkim=pass dkdomain=example.com dmarc=pass "
        b"fromdomain=example.com);\r\n"
        b"       spf=pass (google.com: domain of a+b=c.d@example.com designates 2001:db8::1 as permitted sender) "
        b'smtp.mailfrom="a+b=c.d@example.com";\r\n'
        b"       dmarc=pass (p=QUARANTINE sp=NONE dis=NONE) header.from=example.com;\r\n"
        b"       dara=pass header.i=@example.org"
    ),
    "Microsoft 365, with a name": (
        b"mx.example.org; spf=pass (sender IP is 192.0.2.1)\r\n smtp.mailfrom=example.com; dkim=pass (signature was "
        b"verified)\r\n header.d=example.com;dmarc=pass action=none header.from=example.com;compauth=pass reason=100"
    ),
    "Microsoft 365, on the way out": (
        b"mx.example.org; dkim=pass (signature was verified)\r\n header.d=example.com;mx.example.org; dmarc=pass "
        b"action=none header.from=example.com;"
    ),
    "Yahoo": (
        b"atlas203.free.mail.bf1.yahoo.com;\r\n dkim=pass header.i=@example.com header.s=s1;\r\n"
        b" spf=pass smtp.mailfrom=example.com;\r\n dmarc=pass(p=REJECT) header.from=example.com;"
    ),
    "Fastmail": (
        b"mx6.messagingengine.com;\r\n    arc=none (no signatures found);\r\n"
        b"    bimi=pass header.d=example.com header.selector=default policy.authority=pass "
        b"policy.authority-uri=https://example.com/vmc.pem;\r\n"
        b"    dkim=pass (2048-bit rsa key sha256) header.d=example.com header.i=@example.com header.b=oF80QtY/ "
        b"header.a=rsa-sha256 header.s=mail2 x-bits=2048;\r\n"
        b"    dmarc=pass policy.published-domain-policy=reject policy.applied-disposition=none "
        b"(p=reject,d=none,d.eval=none) policy.policy-from=p header.from=example.com;\r\n"
        b"    iprev=pass smtp.remote-ip=192.0.2.1 (mail.example.com);\r\n"
        b"    spf=pass smtp.mailfrom=a@example.com smtp.helo=mail.example.com;\r\n"
        b"    x-aligned-from=pass (Address match); x-csa=none; x-me-sender=none; x-cm=none score=0;\r\n"
        b"    x-return-mx=pass header.domain=example.com policy.is_org=yes (MX Records found: mx1.example.com);\r\n"
        b"    x-tls=pass smtp.version=TLSv1.3 smtp.cipher=TLS_AES_256_GCM_SHA384 smtp.bits=256/256;\r\n"
        b"    x-vs=clean score=0 state=0"
    ),
    "OpenDKIM": (
        b"mail.example.org/C741440440;\r\n\tdkim=pass (2048-bit key; unprotected) header.d=example.com "
        b'header.i=@example.com header.b="PQMM7upX";\r\n\tdkim-adsp=pass; dkim-atps=neutral; '
        b'dkim=fail reason="signature verification failed" (1024-bit key) header.d=example.net header.b=PQMM7upX'
    ),
    "OpenDMARC": b"OpenDMARC; dmarc=pass (p=none dis=none) header.from=example.com",
    "policyd-spf": (
        b"mx.example.org; spf=pass (mailfrom) smtp.mailfrom=example.com (client-ip=192.0.2.1; helo=mail.example.com; "
        b"envelope-from=a@example.com; receiver=<UNKNOWN>)"
    ),
    "rspamd": (
        b"mail.example.org;\r\n\tdkim=pass header.d=example.com header.s=20251104 header.b=UxCuikS4;\r\n"
        b'\tspf=pass (mail.example.org: domain of "a+b=c@example.com" designates 192.0.2.1 as permitted sender) '
        b'smtp.mailfrom="a+b=c@example.com";\r\n\tdmarc=pass (policy=quarantine) header.from=example.com;\r\n'
        b'\tarc=pass ("google.com:s=arc-20240605:i=1"); auth=pass smtp.auth=user@example.org '
        b"smtp.mailfrom=a@example.com"
    ),
    "Proofpoint": (
        b"ppops.net;\r\n spf=pass smtp.mailfrom=a@example.com;\r\n dkim=pass header.s=sel header.d=example.com;\r\n"
        b" dmarc=pass header.from=example.com"
    ),
    "Proofpoint, a bounce": b"ppops.net; spf=none smtp.mailfrom=; dkim=pass header.d=example.com header.s=sel",
    "Mimecast": (
        b"relay.mimecast.com;\r\n\tdkim=pass header.d=example.com header.s=s1 header.b=hJgK/4d1;\r\n"
        b"\tdmarc=pass (policy=reject) header.from=example.com;\r\n\tspf=pass (relay.mimecast.com: domain of "
        b"a@example.com designates 192.0.2.1 as permitted sender) smtp.mailfrom=a@example.com"
    ),
    "Cisco": (
        b"esa1.example.iphmx.com; dkim=pass (signature verified) header.i=@example.com; spf=Pass "
        b"smtp.mailfrom=a@example.com; spf=None smtp.helo=postmaster@mail.example.com; dmarc=pass (p=none dis=none) "
        b"d=example.com"
    ),
    "Amazon": (
        b"amazonses.com;\r\n spf=pass (spfCheck: domain of example.com designates 192.0.2.1 as permitted sender) "
        b"client-ip=192.0.2.1; envelope-from=prvs=144d0cba42=a@example.com; helo=mail.example.com;\r\n"
        b" dkim=pass header.i=@example.com;\r\n dmarc=pass header.from=example.com;"
    ),
    "iCloud": (
        b"dkim-verifier.icloud.com;\r\n\tdkim=pass (2048-bit key) header.d=example.com header.i=@example.com "
        b"header.b=GZ/tYlXw"
    ),
    "Exim": (
        b"mail.example.org; iprev=pass (mail.example.com) smtp.remote-ip=192.0.2.1; auth=pass (LOGIN) "
        b"smtp.auth=user@example.org; spf=pass smtp.mailfrom=example.com; dkim=pass header.d=example.com header.s=s1 "
        b"header.a=rsa-sha256; dmarc=skipped; arc=none"
    ),
    "Stalwart": (
        b"mail.example.org;\r\n\tdkim=pass header.d=example.com header.s=s1 header.b=YhFxQw==;\r\n"
        b"\tspf=pass (mail.example.org: domain of a@example.com designates 2001:db8::1 as permitted sender) "
        b"smtp.mailfrom=a@example.com smtp.helo=mail.example.com;\r\n\tiprev=pass policy.iprev=2001:db8::1;\r\n"
        b"\tdmarc=pass header.from=example.com policy.dmarc=reject"
    ),
    "Halon, Haraka and others": (
        b"mx.example.org; auth=pass; iprev=pass policy.iprev=192.0.2.1; bimi=skipped (DMARC is not enforced); "
        b'dnswl=pass dns.zone=list.dnswl.org policy.ip=127.0.5.2 policy.txt="example.com https://dnswl.example/?d=1"; '
        b'tls=pass (verified) key.ciphersuite="TLS_AES_256_GCM_SHA384" cert.client="C=US,ST=A B,CN=mail.example.com"; '
        b"dkim=pass header.i=a@news.example.com header.d=example.com"
    ),
}


@pytest.mark.parametrize("server", REAL)
def test_what_real_servers_write_stays_readable(server: str) -> None:
    [(name, found)] = read_authentication([("authentication-results", REAL[server])]).items()
    assert name == REAL[server].partition(b";")[0].decode().lower()
    told = {each.method: each for each in reversed(found)}
    assert told, "the header was not understood"
    for each in told.values():
        assert each.result == "pass" or (server, each.method, each.result) in {
            ("Proofpoint, a bounce", "spf", "none"),
            ("Exim", "dmarc", "unknown"),
        }
        without = {("Amazon", "spf"), ("Cisco", "dmarc"), ("Exim", "dmarc"), ("Proofpoint, a bounce", "spf")}
        assert each.domain == "example.com" or (server, each.method) in without


def checked(*found: tuple[str, str, str], sender: str = "billing@example.com", server: str = MX) -> bool:
    return TRUSTED.dmarc.passes().holds(with_results(*found, sender=sender, server=server))


def with_results(*found: tuple[str, str, str], sender: str = "billing@example.com", server: str = MX) -> Mail:
    return mail(
        from_=tuple(Address("", each) for each in sender.split()),
        authentication={server: tuple(MethodResult(*each) for each in found)},
    )


def test_dmarc_passes_for_the_domain_of_from_alone() -> None:
    assert checked(("dmarc", "pass", "example.com"))
    assert checked(("dmarc", "pass", ""))
    assert not checked(("dmarc", "pass", "example.net"))
    assert not checked(("dmarc", "fail", "example.com"))
    assert not checked(("dmarc", "pass", "example.com"), server="mx.evil.example")
    assert not checked(("dmarc", "pass", ""), ("dmarc", "fail", ""))
    assert not checked(("dmarc", "pass", ""), sender="billing@example.com thief@example.net")
    assert not checked(("dmarc", "pass", ""), sender="billing")
    assert not checked()


@pytest.mark.parametrize(
    ("condition", "method", "domain", "holds"),
    [
        (TRUSTED.dkim.passes(), "dkim", "example.com", True),
        (TRUSTED.dkim.passes(), "dkim", "sub.example.com", False),
        (TRUSTED.dkim.passes(), "dkim", "com", False),
        (TRUSTED.dkim.passes(), "dkim", "ample.com", False),
        (TRUSTED.dkim.passes(), "dkim", "", False),
        (TRUSTED.dkim.passes("Bulk.Example.NET"), "dkim", "bulk.example.net", True),
        (TRUSTED.dkim.passes("bulk.example.net"), "dkim", "example.com", False),
        (TRUSTED.spf.passes(), "spf", "example.com", True),
        (TRUSTED.spf.passes(), "dkim", "example.com", False),
        (TRUSTED.dkim.equals("pass"), "dkim", "example.com", True),
    ],
    ids=repr,
)
def test_a_pass_counts_for_a_domain_that_belongs_to_the_sender(
    condition: Condition, method: str, domain: str, holds: bool
) -> None:
    assert condition.holds(with_results((method, "pass", domain))) is holds


def test_a_parents_signature_is_good_for_the_domains_below_it() -> None:
    signed = with_results(("dkim", "pass", "example.com"), sender="a@mail.example.com")
    assert TRUSTED.dkim.passes().holds(signed)


def test_another_result_can_be_asked_for() -> None:
    soft = with_results(("spf", "softfail", "example.net"))
    assert TRUSTED.spf.equals("softfail").holds(soft)
    assert not TRUSTED.spf.equals("fail").holds(soft)
    assert TRUSTED.spf.equals("softfail").values(soft) == ("spf=softfail (example.net)",)


@pytest.mark.parametrize(
    ("senders", "holds"),
    [
        ("billing@example.com", True),
        ("BILLING@EXAMPLE.COM", True),
        ("other@example.com", False),
        ("any@example.org", True),
        ("any@sub.example.org", False),
        ("any@a.b.example.net", True),
        ("any@example.net", False),
        ("any@notexample.org", False),
        ("billing@example.com any@example.org", True),
        ("billing@example.com thief@evil.example", False),
        ("billing@example.com@evil.example", False),
        ("@example.org", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_every_author_must_be_on_the_list(senders: str, holds: bool) -> None:
    allowed = AllowedSenders(["Billing@example.com", "@example.org", "@*.example.net"])
    assert allowed.holds(mail(from_=tuple(Address("", each) for each in senders.split()))) is holds


def test_an_address_in_a_name_is_not_on_the_list() -> None:
    assert not AllowedSenders(["@example.com"]).holds(mail(from_=(Address("boss@example.com", "thief@evil.example"),)))


def test_the_results_are_read_with_the_mail_and_told_in_the_payload() -> None:
    header = (
        b"Received: by mx.example.org\r\nAuthentication-Results:" + GOOGLE + b"\r\n"
        b"Received: from evil\r\nAuthentication-Results: mx.example.org; spf=fail\r\nFrom: a@example.com\r\n\r\n"
    )
    found = read(header, headers=WANTED)
    assert TRUSTED.dmarc.passes().holds(found)
    told = payload(found, servers=["other.example", MX])["trust"]
    expected = {"dkim": "pass", "dmarc": "pass", "spf": "pass (bounces.example.com)"}
    assert told == {"authentication": {MX: expected, "other.example": {}}}
    assert read(header).authentication == {}, "it takes both headers"
    assert payload(found)["trust"] == {}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"dkim=pass header.d=evil.com", "pass (evil.com)"),
        (b"dkim=pass header.d=example.com", "pass"),
        (b"dkim=pass header.d=evil.com; dkim=pass header.d=example.com", "pass"),
        (b"dkim=fail header.d=example.com; dkim=pass header.d=evil.com", "pass (evil.com)"),
        (b"dkim=pass header.d=evil.com; dkim=fail header.d=example.com", "pass (evil.com)"),
        (b"dkim=fail header.d=example.com; dkim=none", "fail"),
        (b"dkim=pass", "pass (?)"),
        (b"spf=pass smtp.mailfrom=x@evil.com", "pass (evil.com)"),
        (b'spf=pass smtp.mailfrom="boss@example.com"@evil.com', "pass (evil.com)"),
        (b"spf=softfail smtp.mailfrom=x@evil.com", "softfail"),
        (b"dmarc=pass header.from=example.com", "pass"),
        (b"dmarc=pass", "pass"),
        (b"dmarc=pass header.from=evil.com", "pass (evil.com)"),
        (b"dmarc=pass header.from=example.com; dmarc=fail header.from=example.com", "pass (example.com)"),
        ("dkim=pass header.d=évil.com".encode(), "pass (?)"),
        (b"dkim=pass header.d=" + b"x" * 200 + b".com", f"pass ({'x' * 31}…)"),
    ],
)
def test_in_the_payload_pass_alone_means_what_the_condition_means(value: bytes, told: str) -> None:
    """Whoever looks at the payload is not taken in by a domain that passes for itself."""
    found = read(b"Authentication-Results: mx.example.org; " + value + b"\r\n" + BY_THE_BOSS, headers=WANTED)
    shown: Any = payload(found, servers=[MX])["trust"]
    [(method, result)] = shown["authentication"][MX].items()
    assert result == told
    assert getattr(TRUSTED, method).passes().holds(found) is (result == "pass")


def test_the_headers_that_trust_needs_are_fetched() -> None:
    condition = TRUSTED.dmarc.passes() & ~AuthenticationResults("MX2.example.org").spf.equals("fail")
    assert condition.headers == frozenset(WANTED)
    assert condition.servers == {MX, "mx2.example.org"}


BOSS, THIEF = b"From: boss@example.com\r\n", b"From: thief@evil.com\r\n"
LISTED = AllowedSenders(["boss@example.com", "@example.com"])


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"From: " + b"boss@example.com, " * 3_000 + b"thief@evil.com\r\n", id="behind many addresses"),
        pytest.param(BOSS * 60 + THIEF, id="behind many fields"),
        pytest.param(b"From:\r\n" * 60 + BOSS + THIEF, id="behind empty fields"),
        pytest.param(BOSS + b"Cc: a@example.com\r\n" * 600 + THIEF, id="behind other fields"),
        pytest.param(BOSS + b"Subject: " + b"x" * 200_000 + b"\r\n" + THIEF, id="behind a long field"),
        pytest.param(b"From: <thief@evil.com boss@example.com>\r\n", id="two in brackets"),
        pytest.param(b"From: <thief@evil.com@example.com>\r\n", id="two signs"),
        pytest.param(b"From: <thief@evil.com(@example.com)\r\n", id="in a comment"),
        pytest.param(b"From: boss@example.com thief@evil.com\r\n", id="without a comma"),
        pytest.param(b"From: boss@example.com\0thief@evil.com\r\n", id="behind a NUL"),
        pytest.param(b"From: boss@example.com\r\n\tthief@evil.com\r\n", id="on the next line"),
        pytest.param(b"From: boss@example.com(a)thief@evil.com\r\n", id="behind a comment"),
        pytest.param(b"From: Boss boss@example.com The thief @ evil . com\r\n", id="among names"),
        pytest.param(b"From: <boss@example.com> thief@evil.com\r\n", id="behind the brackets"),
        pytest.param(b"From: boss@example.com <boss@example.com> thief@evil.com\r\n", id="behind name and brackets"),
        pytest.param(b"From: <boss@example.com>, <boss@example.com> a thief@evil.com\r\n", id="behind the second"),
        pytest.param(b'From: boss@example.com "thief"@evil.com\r\n', id="quoted local part"),
        pytest.param(b'From: boss@example.com "a thief"@evil.com\r\n', id="quoted local part with a blank"),
        pytest.param(b"From: boss@example.com" + b" boss@example.com" * 3_000 + b" thief@evil.com\r\n", id="repeated"),
        pytest.param(b"From: boss@example.com>thief@evil.com\r\n", id="behind a closing bracket"),
        pytest.param(b"From: boss@example.com <thief@evil.com>\r\n", id="as the name of another"),
    ],
)
def test_a_stranger_is_not_overlooked_among_the_authors(header: bytes) -> None:
    """Not even with a server that does not say whose DMARC has passed."""
    found = read(b"Authentication-Results: mx.example.org; dmarc=pass\r\n" + header + b"\r\n", headers=WANTED)
    gate = LISTED & TRUSTED.dmarc.passes()
    assert not gate.holds(found)


@pytest.mark.parametrize(
    "author",
    [
        b"boss@example.com",
        b'"a b"@example.com',
        b'"a@evil.com"@example.com',
        b"Boss <Boss@Example.com>",
        b"b+c@example.com",
        b"boss@example.com <boss@example.com>",
        b'"boss@example.com" <boss@example.com>',
        b"<boss@example.com> (thief@evil.com)",
        b'<boss@example.com> "thief@evil.com"',
        b'boss@example.com "thief@evil.com"',
        b"boss@example.com Boss@Example.com",
        b"boss@example.com via Billing",
        b"thief@evil.com <boss@example.com>",
    ],
)
def test_an_author_is_known_by_the_domain_of_the_address(author: bytes) -> None:
    found = read(b"Authentication-Results: mx.example.org; dmarc=pass\r\nFrom: " + author + b"\r\n\r\n", headers=WANTED)
    assert LISTED.holds(found)
    assert TRUSTED.dmarc.passes().holds(found)
