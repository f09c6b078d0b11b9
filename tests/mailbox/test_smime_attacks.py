"""Files that a stranger puts beside what somebody has signed: on a real server none of them passes for signed.

And issuers that may vouch for certain names alone, and sign for others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from airflow_imap_provider.mail.conditions import Attachment, SmimeSignature, SmimeSigner
from tests.mail.smime.people import CLERK, CURVED, ROOT, SENDER, Person, encrypted, looked_at, mail, person, signed
from tests.mailbox.test_smime import KEY, read
from tests.servers.dovecot import Dovecot, User

CSV = b'Content-Type: text/csv; name="payments.csv"\nContent-Disposition: attachment\n\niban,amount\nEVIL,1\n'
Forgery = Callable[[Path], bytes]


def entity(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").removeprefix(b"MIME-Version: 1.0\n")


def wrapped(*parts: bytes) -> bytes:
    """A multipart/signed of the stranger's."""
    head = b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary=EVIL\n\n'
    return head + b"".join(b"--EVIL\n" + part.rstrip(b"\n") + b"\n" for part in parts) + b"--EVIL--\n"


def signature_of(raw: bytes) -> bytes:
    """The second part of a signed mail, with its header."""
    found = re.search(rb'boundary="(.*?)"', raw)
    assert found is not None
    return raw.split(b"--" + found[1])[2].strip(b"\n")


def file_instead_of_a_signature(folder: Path) -> bytes:
    return wrapped(entity(signed(folder)), CSV)


def file_called_a_signature(folder: Path) -> bytes:
    return wrapped(entity(signed(folder)), CSV.replace(b"text/csv", b"application/pkcs7-signature"))


def file_before_a_signature_that_fits_nothing(folder: Path) -> bytes:
    return wrapped(entity(signed(folder)), CSV, signature_of(entity(signed(folder))))


def file_in_a_mail_around_an_opaque_one(folder: Path) -> bytes:
    return wrapped(entity(signed(folder, opaque=True)), CSV)


def file_in_an_encrypted_mail_around_a_signed_one(folder: Path) -> bytes:
    return entity(encrypted(folder, content=wrapped(entity(signed(folder)), CSV).replace(b"\n", b"\r\n")))


def true_signature_with_the_name_of_a_file(folder: Path) -> bytes:
    return entity(signed(folder)).replace(b"smime.p7s", b"payments.csv")


def opaque_mail_with_the_name_of_a_file(folder: Path) -> bytes:
    return entity(signed(folder, opaque=True)).replace(b"smime.p7m", b"payments.csv")


def strangers_signature_with_the_name_of_a_file(folder: Path) -> bytes:
    inner = signed(folder).replace(b"\n", b"\r\n")
    return entity(signed(folder, CLERK, content=inner)).replace(b"smime.p7s", b"payments.csv", 1)


def encrypted_mail_with_the_name_of_a_file(folder: Path) -> bytes:
    return entity(encrypted(folder, content=signed(folder))).replace(b"smime.p7m", b"payments.csv")


def part_that_only_the_server_sees(folder: Path) -> bytes:
    """Dovecot takes a line that begins like a boundary for one, whatever follows."""
    raw = entity(signed(folder, CURVED))
    found = re.search(rb'boundary="(.*?)"', raw)
    assert found is not None
    return raw.replace(b"\n--" + found[1] + b"--", b"\n--" + found[1] + b"and more\n" + CSV + b"--" + found[1] + b"--")


def two_content_types(folder: Path) -> bytes:
    raw = entity(signed(folder))
    other = b'Content-Type: multipart/mixed; boundary="OTHER"\n'
    head, _, body = raw.partition(b"\n\n")
    return head + b"\n" + other + b"\n--OTHER\n" + CSV + b"--OTHER\n" + signed(folder) + b"--OTHER--\n" + body


def two_dispositions(folder: Path) -> bytes:
    raw = entity(signed(folder))
    disposition = b'Content-Disposition: attachment; filename="smime.p7s"'
    assert disposition in raw
    return raw.replace(disposition, disposition + b"\n" + disposition.replace(b"smime.p7s", b"payments.csv"))


FORGERIES = [
    file_instead_of_a_signature,
    file_called_a_signature,
    file_before_a_signature_that_fits_nothing,
    file_in_a_mail_around_an_opaque_one,
    file_in_an_encrypted_mail_around_a_signed_one,
    true_signature_with_the_name_of_a_file,
    opaque_mail_with_the_name_of_a_file,
    strangers_signature_with_the_name_of_a_file,
    encrypted_mail_with_the_name_of_a_file,
    part_that_only_the_server_sees,
    two_content_types,
    two_dispositions,
]

NOT_SEEN = [two_content_types, two_dispositions]
"""Of two fields Dovecot takes the first, as this side does: the file is not there at all."""


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda made: made.__name__)
def test_a_strangers_file_does_not_pass_for_signed(
    dovecot: Dovecot, user: User, tmp_path: Path, forgery: Forgery
) -> None:
    dovecot.deliver(user, mail(forgery(tmp_path)))
    gate = SmimeSignature.is_valid() | SmimeSigner.equals(SENDER)
    [told] = read(dovecot, user, smime=True, key=KEY).emails
    files = [each["name"] for each in told["attachments"]]
    if forgery in NOT_SEEN:
        assert "payments.csv" not in files
    else:
        assert told.get("smime", {}).get("signature") != "valid", told
        assert not read(dovecot, user, gate, key=KEY).emails
    assert not read(dovecot, user, gate, Attachment.name.glob("*.csv"), key=KEY).emails


BANK = "boss@bank.example"
MAIL_OF = {
    "host": x509.NameConstraints([x509.RFC822Name("example.com")], None),
    "domain": x509.NameConstraints([x509.RFC822Name(".example.com")], None),
    "mailbox": x509.NameConstraints([x509.RFC822Name(SENDER)], None),
    "excluded": x509.NameConstraints(None, [x509.RFC822Name("bank.example")]),
    "directory": x509.NameConstraints([x509.DirectoryName(x509.Name([]))], None),
    "web": x509.NameConstraints([x509.DNSName("example.com")], None),
}


def signature(folder: Path, who: Person, address: str, *issuers: Person, root: Person = ROOT) -> tuple[str, str]:
    outcome = looked_at(mail(signed(folder, who, others=issuers), address), senders=[address], root=root).outcome
    [found] = outcome.signatures
    assert (outcome.signers == (address,)) is (found.state == "valid")
    return found.state, found.reason


@pytest.mark.parametrize("form", MAIL_OF)
@pytest.mark.parametrize("addresses", [[BANK], [BANK, SENDER], [SENDER, BANK]], ids=len)
def test_a_constrained_issuer_signs_for_nobody_by_an_address_in_the_subject(
    tmp_path: Path, form: str, addresses: list[str]
) -> None:
    """RFC 5280, section 4.2.1.10: the constraint is for the subject, too, if there is no alternative name."""
    sub = person(f"Sub {form}", ROOT, authority=True, more=[MAIL_OF[form]])
    below = person(f"Below {form}", sub, authority=True)
    for issuer in (sub, below):
        thief = person("Thief", issuer, addresses=addresses, in_subject=True)
        state, reason = signature(tmp_path, thief, BANK, sub, below)
        why = "directoryName" if form == "directory" else "an issuer may vouch for certain names alone"
        assert (state, why in reason) == ("untrusted", True), reason


def test_a_trusted_issuer_that_is_constrained_itself_signs_for_nobody_by_an_address_in_the_subject(
    tmp_path: Path,
) -> None:
    root = person("Constrained Root", authority=True, more=[MAIL_OF["host"]])
    for address in (BANK, SENDER):
        thief = person("Thief", root, addresses=[address], in_subject=True)
        assert signature(tmp_path, thief, address, root=root)[0] == "untrusted"


def test_an_alternative_name_of_another_form_does_not_bring_the_subject_back(tmp_path: Path) -> None:
    sub = person("Sub", ROOT, authority=True, more=[MAIL_OF["host"]])
    named = x509.SubjectAlternativeName([x509.DNSName("www.bank.example")])
    thief = person("Thief", sub, addresses=[BANK], in_subject=True, more=[named])
    state, reason = signature(tmp_path, thief, BANK, sub)
    assert (state, "names nobody" in reason) == ("other-sender", True)


@pytest.mark.parametrize("form", ["host", "mailbox", "excluded"])
def test_a_constrained_issuer_signs_for_its_own_by_alternative_names(tmp_path: Path, form: str) -> None:
    sub = person(f"Sub {form}", ROOT, authority=True, more=[MAIL_OF[form]])
    assert signature(tmp_path, person("Own", sub, addresses=[SENDER]), SENDER, sub) == ("valid", "")
    assert signature(tmp_path, person("Thief", sub, addresses=[BANK]), BANK, sub)[0] == "untrusted"
    assert signature(tmp_path, person("Both", sub, addresses=[SENDER, BANK]), BANK, sub)[0] == "untrusted"


def test_constraints_of_an_issuer_that_has_signed_nothing_do_not_count(tmp_path: Path) -> None:
    other = person("Other", ROOT, authority=True, more=[MAIL_OF["host"]])
    plain = person("Plain", ROOT, authority=True)
    who = person("Old", plain, addresses=[BANK], in_subject=True)
    assert signature(tmp_path, who, BANK, other, plain) == ("valid", "")
