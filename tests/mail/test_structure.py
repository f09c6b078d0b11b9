"""What a BODYSTRUCTURE says about attachments and text, from servers' own lines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.mail.structure import (
    DEPTH_LIMIT,
    PARTS_LIMIT,
    TEXT_PARTS_LIMIT,
    Structure,
    read_structure,
)
from tests.mail.builders import PLAIN_TEXT, answer

HTML = b'("text" "html" ("charset" "utf-8") NIL NIL "quoted-printable" 900 30 NIL NIL NIL NIL)'
CSV = (
    b'("application" "octet-stream" ("name" "old.csv") NIL NIL "base64" 780 NIL '
    b'("attachment" ("filename" "invoice.csv")) NIL NIL)'
)


def structure(line: bytes, code_page: str = "") -> Structure:
    return read_structure(answer(structure=line)[b"BODYSTRUCTURE"], code_page)


def files(found: Structure) -> list[tuple[str, str, str]]:
    return [(each.part, each.name, each.content_type) for each in found.attachments]


def texts(found: Structure) -> list[str]:
    return [each.part for each in found.text_parts if not each.instead_of]


def test_a_mail_of_text_alone_has_part_1_and_no_attachment() -> None:
    found = structure(PLAIN_TEXT)
    assert (texts(found), files(found), found.problems) == (["1"], [], [])
    assert found.text_parts[0].charset == "utf-8"


def test_text_and_attachment() -> None:
    found = structure(b"(" + PLAIN_TEXT + CSV + b' "mixed" ("boundary" "x") NIL NIL NIL)')
    assert texts(found) == ["1"]
    assert files(found) == [("2", "invoice.csv", "application/octet-stream")]


def test_a_file_name_of_the_disposition_comes_before_that_of_the_type() -> None:
    only_type = b'("image" "png" ("name" "a.png") NIL NIL "base64" 78 NIL NIL NIL NIL)'
    assert [name for _, name, _ in files(structure(only_type))] == ["a.png"]
    assert [name for _, name, _ in files(structure(CSV))] == ["invoice.csv"]


def test_of_alternatives_the_plain_text_is_read_and_none_is_an_attachment() -> None:
    calendar = b'("text" "calendar" ("method" "REQUEST") NIL NIL "7bit" 300 9 NIL NIL NIL NIL)'
    found = structure(b"(" + PLAIN_TEXT + HTML + calendar + b' "alternative" NIL NIL NIL)')
    assert texts(found) == ["1"]
    assert files(found) == [("3", "", "text/calendar")], "an invitation is something to work with"


def test_of_alternatives_html_is_read_where_the_plain_text_is_empty() -> None:
    empty = PLAIN_TEXT.replace(b" 120 4 ", b" 2 1 ")
    assert texts(structure(b"(" + empty + HTML + b' "alternative" NIL NIL NIL)')) == ["2"]


def test_of_alternatives_html_is_fetched_too_where_the_plain_text_is_so_short_that_it_may_be_blank() -> None:
    found = structure(b"(" + PLAIN_TEXT + HTML + b' "alternative" NIL NIL NIL)')
    assert [(each.part, each.instead_of) for each in found.text_parts] == [("1", ()), ("2", ("1",))]
    long = PLAIN_TEXT.replace(b" 120 4 ", b" 513 4 ")
    assert [each.part for each in structure(b"(" + long + HTML + b' "alternative" NIL NIL NIL)').text_parts] == ["1"]


def test_alternatives_within_related_within_mixed_have_their_part_numbers() -> None:
    logo = b'("image" "png" NIL "<logo>" NIL "base64" 78 NIL ("inline" NIL) NIL NIL)'
    alternative = b"(" + PLAIN_TEXT + HTML + b' "alternative" NIL NIL NIL)'
    related = b"(" + alternative + logo + b' "related" NIL NIL NIL)'
    found = structure(b"(" + related + CSV + b' "mixed" NIL NIL NIL)')
    assert texts(found) == ["1.1.1"]
    assert files(found) == [("2", "invoice.csv", "application/octet-stream")], "an embedded logo is no attachment"


def identified(kind: bytes, name: bytes = b"<x>", lines: bytes = b"") -> bytes:
    return b"(" + kind + b" NIL " + (b'"' + name + b'"' if name else b"NIL") + b' NIL "base64" 78' + lines + b")"


XML = identified(b'"text" "xml"', b"<xml>", b" 2")
SMIL = identified(b'"application" "smil"', b"<smil>")
PDF = identified(b'"application" "pdf"', b"<pdf>")
PNG = identified(b'"image" "png"', b"<png>")
PLAIN = identified(b'"text" "plain"', b"<plain>", b" 2")
PAGE = identified(b'"text" "html"', b"<page>", b" 2")
FORMS = b"(" + PLAIN_TEXT + HTML + b' "alternative" NIL NIL NIL)'


@pytest.mark.parametrize(
    ("parts", "parameters", "texts_found", "files_found"),
    [
        (XML + PDF, b'("type" "text/xml")', [], ["1", "2"]),
        (XML + PLAIN + PNG, b"NIL", [], ["1", "2", "3"]),
        (HTML + PNG + PDF, b"NIL", ["1"], ["3"]),
        (FORMS + PNG + PDF, b"NIL", ["1.1"], ["3"]),
        (b"(" + FORMS + CSV + b' "mixed")' + PNG, b"NIL", ["1.1.1"], ["1.2"]),
        (PLAIN_TEXT + PNG, b"NIL", ["1"], ["2"]),
        (PAGE + PLAIN, b"NIL", ["1", "2"], []),
        (SMIL + PLAIN + PNG, b'("type" "application/smil")', ["2"], ["1", "3"]),
        (HTML + PLAIN_TEXT, b"NIL", ["1", "2"], []),
        (PNG + PAGE, b"NIL", ["2"], []),
        (PDF + PAGE + PNG, b'("start" "<page>")', ["2"], ["1"]),
        (PDF + PAGE + PNG, b'("START" "page")', ["2"], ["1"]),
        (HTML + PNG, b'("start" "<nobody>")', ["1"], []),
        (PNG, b"NIL", [], ["1"]),
        (HTML.replace(b"NIL NIL NIL NIL)", b'NIL ("attachment" NIL) NIL NIL)') + PNG, b"NIL", [], ["1", "2"]),
    ],
)
def test_of_a_related_only_pictures_that_an_html_root_can_show_are_no_files(
    parts: bytes, parameters: bytes, texts_found: list[str], files_found: list[str]
) -> None:
    found = structure(b"(" + parts + b' "related" ' + parameters + b" NIL NIL)")
    assert texts(found) == texts_found
    assert [each.part for each in found.attachments] == files_found


def test_a_root_that_is_nested_without_end_is_looked_into_as_deep_as_other_parts() -> None:
    body: Any = (b"text", b"html", None, None, None, b"7bit", 9, 1)
    for _ in range(5_000):
        body = ([body, (b"image", b"png", None, b"<x>", None, b"base64", 9)], b"related")
    assert read_structure(body, "").problems == ["the body has more parts, or parts within parts, than are looked at"]


def test_an_inline_part_with_a_file_name_is_an_attachment_and_not_text() -> None:
    notes = PLAIN_TEXT.replace(b"NIL NIL NIL NIL)", b'NIL ("inline" ("filename" "notes.txt")) NIL NIL)')
    found = structure(b"(" + PLAIN_TEXT + notes + b' "mixed" NIL NIL NIL)')
    assert texts(found) == ["1"]
    assert files(found) == [("2", "notes.txt", "text/plain")]


def test_text_that_is_attached_is_no_text_of_the_mail() -> None:
    attached = PLAIN_TEXT.replace(b"NIL NIL NIL NIL)", b'NIL ("attachment" NIL) NIL NIL)')
    found = structure(b"(" + HTML + attached + b' "mixed" NIL NIL NIL)')
    assert (texts(found), files(found)) == (["1"], [("2", "", "text/plain")])


def test_texts_around_a_picture_are_all_read() -> None:
    picture = b'("image" "jpeg" ("name" "a.jpg") NIL NIL "base64" 78 NIL ("inline" ("filename" "a.jpg")) NIL NIL)'
    assert texts(structure(b"(" + PLAIN_TEXT + picture + PLAIN_TEXT + b' "mixed" NIL NIL NIL)')) == ["1", "3"]


@pytest.mark.parametrize("inner", [PLAIN_TEXT, b"(" + PLAIN_TEXT + CSV + b' "mixed" NIL NIL NIL)'])
def test_a_forwarded_mail_is_an_attachment_and_so_is_what_is_in_it(inner: bytes) -> None:
    envelope = b'("date" "subject" NIL NIL NIL NIL NIL NIL NIL "<i@d>")'
    forwarded = (
        b'("message" "rfc822" ("name" "Fwd.eml") NIL NIL "7bit" 500 %s %s 20 NIL ("attachment" '
        b'("filename" "Forwarded.eml")) NIL NIL)' % (envelope, inner)
    )
    found = structure(b"(" + PLAIN_TEXT + forwarded + b' "mixed" NIL NIL NIL)')
    assert texts(found) == ["1"], "the forwarded mail's text is not this one's"
    expected = [("2", "Forwarded.eml", "message/rfc822")]
    if inner is not PLAIN_TEXT:
        expected.append(("2.2", "invoice.csv", "application/octet-stream"))
    assert files(found) == expected


def test_a_single_attachment_in_a_forwarded_mail_has_the_number_below_it() -> None:
    envelope = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
    line = b'("message" "rfc822" NIL NIL NIL "7bit" 500 %s %s 20 NIL NIL NIL NIL)' % (envelope, CSV)
    assert files(structure(line)) == [
        ("1", "", "message/rfc822"),
        ("1.1", "invoice.csv", "application/octet-stream"),
    ]


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (b'"filename*" "utf-8\'\'Rechnung%20M%C3%A4rz.csv"', "Rechnung März.csv"),
        (b'"filename*0*" "utf-8\'\'Rechnung%20" "filename*1*" "M%C3%A4rz.csv"', "Rechnung März.csv"),
        (b'"filename" "=?utf-8?Q?Rechnung_M=C3=A4rz.csv?="', "Rechnung März.csv"),
        (b'"filename" "Rechnung M\xe4rz.csv"', "Rechnung März.csv"),
        (b'"filename" 4711', "4711"),
        (b'"filename"', "old.csv"),
        (b'"filename" NIL', "old.csv"),
    ],
)
def test_file_names_are_decoded(parameters: bytes, name: str) -> None:
    line = CSV.replace(b'"filename" "invoice.csv"', parameters)
    assert [each.name for each in structure(line, "windows-1252").attachments] == [name]


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (rb'"attachment; filename=\"one-0.csv\""', "one-0.csv"),
        (rb'"attachment; filename=\"a \\\"q\\\" b; c.csv\""', 'a "q" b; c.csv'),
        (rb'"attachment; filename=one.csv"', "one.csv"),
        (b"\"attachment; filename*=utf-8''M%C3%A4rz.csv\"", "März.csv"),
        (b'"attachment; filename=\\"M\xc3\xa4rz.csv\\""', "März.csv"),
        (rb'"attachment; size=4"', "old.csv"),
        (rb'"attachment"', "old.csv"),
    ],
)
def test_a_disposition_that_is_told_as_one_string_is_read_as_the_header_it_is(disposition: bytes, name: str) -> None:
    line = CSV.replace(b'("attachment" ("filename" "invoice.csv"))', disposition)
    found = structure(b"(" + PLAIN_TEXT + line + b' "mixed" NIL NIL NIL)', "utf-8")
    assert files(found) == [("2", name, "application/octet-stream")]
    inline = PLAIN_TEXT.replace(b"NIL NIL NIL NIL)", b'NIL "inline; size=4" NIL NIL)')
    assert (texts(structure(inline)), files(structure(inline))) == (["1"], [])


def test_parameters_of_a_type_that_are_told_as_one_string_are_read() -> None:
    line = CSV.replace(b'("name" "old.csv")', rb'"name=\"new.csv\"; charset=utf-8"')
    line = line.replace(b'("attachment" ("filename" "invoice.csv"))', b"NIL")
    assert [name for _, name, _ in files(structure(line))] == ["new.csv"]


def test_sizes_are_given_as_transferred_and_as_reckoned_after_decoding() -> None:
    attachment = structure(CSV).attachments[0]
    assert (attachment.octets, attachment.size) == (780, 570)
    assert structure(HTML).text_parts[0].size == 900


@pytest.mark.parametrize("length", [1, 2, 3, 56, 57, 58, 1000])
def test_the_reckoned_size_of_base64_is_within_two_bytes(length: int) -> None:
    import base64

    lines = base64.encodebytes(b"x" * length).replace(b"\n", b"\r\n")
    for octets in (len(lines), len(lines) - 2):  # with and without the last line's end
        size = structure(CSV.replace(b" 780 ", b" %d " % octets)).attachments[0].size
        assert 0 <= size - length <= 2


@pytest.mark.parametrize(
    "line",
    [
        b"NIL",
        b"()",
        b'("text")',
        b"(NIL NIL NIL NIL NIL NIL NIL)",
        b'("text" "plain" "charset" NIL NIL NIL "many")',
        b'((NIL NIL) "mixed")',
        b'("application" "pdf" NIL NIL NIL "base64" 10 NIL "attachment")',
        b'("message" "rfc822" NIL NIL NIL "7bit" 10 NIL NIL 2)',
        b'("message" "rfc822" NIL NIL NIL "7bit" 10)',
    ],
    ids=str,
)
def test_a_broken_structure_is_read_as_far_as_it_goes(line: bytes) -> None:
    response: dict[bytes, Any] = answer() if line in (b"NIL", b"()") else answer(structure=line)
    found = read_structure({b"NIL": None, b"()": ()}.get(line, response[b"BODYSTRUCTURE"]), "")
    if line in (b"NIL", b"()"):
        assert found.problems == ["the server tells no body structure"]
    assert len(found.attachments) + len(found.text_parts) <= 1


def test_depth_and_number_of_parts_are_bounded() -> None:
    deep: Any = (b"text", b"plain", None, None, None, b"7bit", 1, 1)
    for _ in range(DEPTH_LIMIT * 20):
        deep = ([deep], b"mixed")
    assert read_structure(deep, "").problems == ["the body has more parts, or parts within parts, than are looked at"]
    wide = ([(b"image", b"png", None, None, None, b"base64", 1)] * (PARTS_LIMIT * 2), b"mixed")
    assert len(read_structure(wide, "").attachments) == PARTS_LIMIT - 1
    texts_only = ([(b"text", b"plain", None, None, None, b"7bit", 10, 1)] * 20, b"mixed")
    assert len(read_structure(texts_only, "").text_parts) == TEXT_PARTS_LIMIT


atoms = (
    st.none()
    | st.integers(-5, 10**12)
    | st.binary(max_size=12)
    | st.sampled_from(
        (
            b"text",
            b"plain",
            b"html",
            b"message",
            b"rfc822",
            b"mixed",
            b"alternative",
            b"attachment",
            b"filename",
            b"base64",
        )
    )
)
trees = st.recursive(atoms, lambda inner: st.lists(inner, max_size=12).map(tuple) | st.lists(inner, max_size=4))


@given(trees)
def test_any_tree_is_read_without_an_exception(tree: Any) -> None:
    found = read_structure(tree, "windows-1252")
    for attachment in found.attachments:
        assert attachment.size >= 0
        attachment.name.encode("utf-8")
        assert attachment.content_type.isprintable()


def test_winmail_dat_stays_an_attachment_and_a_defect_says_that_files_may_be_in_it() -> None:
    tnef = b'("application" "ms-tnef" ("name" "winmail.dat") NIL NIL "base64" 780 NIL ("attachment" NIL) NIL NIL)'
    found = structure(b"(" + PLAIN_TEXT + tnef + b' "mixed" NIL NIL NIL)')
    assert files(found) == [("2", "winmail.dat", "application/ms-tnef")]
    assert found.problems == ["part 2: winmail.dat (TNEF): the files within it are not looked at"]


SIGNATURE = b'("application" "%s" ("name" "x") NIL NIL "base64" 780 NIL ("attachment" NIL) NIL NIL)'


@pytest.mark.parametrize(
    ("line", "protection"),
    [
        (PLAIN_TEXT, []),
        (b"(" + PLAIN_TEXT + SIGNATURE % b"pkcs7-signature" + b' "signed" NIL NIL NIL)', ["smime-signed"]),
        (b"(" + PLAIN_TEXT + SIGNATURE % b"x-pkcs7-signature" + b' "signed" NIL NIL NIL)', ["smime-signed"]),
        (b"(" + PLAIN_TEXT + SIGNATURE % b"pgp-signature" + b' "signed" NIL NIL NIL)', ["pgp-signed"]),
        (
            b"(" + PLAIN_TEXT + CSV + b' "signed" ("protocol" "application/pgp-signature") NIL NIL NIL)',
            ["pgp-signed"],
        ),
        (b"(" + PLAIN_TEXT + SIGNATURE % b"pgp-signature" + b' "mixed" NIL NIL NIL)', []),
        (b"(" + SIGNATURE % b"pgp-encrypted" + CSV + b' "encrypted" NIL NIL NIL)', ["pgp-encrypted"]),
        (b'("application" "pkcs7-mime" ("smime-type" "signed-data") NIL NIL "base64" 7 NIL NIL NIL)', ["smime-signed"]),
        (
            b'("application" "x-pkcs7-mime" ("smime-type" "enveloped-data") NIL NIL "base64" 7 NIL NIL NIL)',
            ["smime-encrypted"],
        ),
        (b'("application" "pkcs7-mime" ("name" "smime.p7m") NIL NIL "base64" 7 NIL NIL NIL)', ["smime-encrypted"]),
        (b'("application" "pkcs7-mime" ("smime-type" "certs-only") NIL NIL "base64" 7 NIL NIL NIL)', []),
    ],
)
def test_signatures_and_encryption_are_told_by_the_structure(line: bytes, protection: list[str]) -> None:
    assert structure(line).protection == protection


def test_an_attached_mails_signature_is_not_the_mails() -> None:
    inner = b"(" + PLAIN_TEXT + SIGNATURE % b"pgp-signature" + b' "signed" NIL NIL NIL)'
    attached = b'("message" "rfc822" NIL NIL NIL "7bit" 900 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ' + inner
    assert structure(attached + b" 30 NIL NIL NIL NIL)").protection == []


def test_a_multipart_of_nothing_is_told_for_it_hides_what_is_in_it() -> None:
    empty = PLAIN_TEXT.replace(b" 120 4 ", b" 0 0 ")
    assert structure(b"(" + empty + b' "mixed" ("boundary" "x") NIL NIL NIL)').hollow
    assert structure(b"(" + PLAIN_TEXT + b"(" + empty + b' "mixed" NIL NIL NIL) "mixed" NIL NIL NIL)').hollow
    assert not structure(b"(" + empty + CSV + b' "mixed" NIL NIL NIL)').hollow


@pytest.mark.parametrize("around", [0, 1])
def test_a_mail_that_is_attached_too_deep_is_listed_once(around: int) -> None:
    body: tuple[Any, ...] = ([(b"image", b"png", None, None, None, b"base64", 9)], b"mixed", None)
    for _ in range(15):
        held = (b"message", b"rfc822", None, None, None, b"7bit", 900, None, body, 9)
        body = ([held], b"mixed", None)
    for _ in range(around):
        body = ([body], b"mixed", None)
    found = read_structure(body, "").attachments
    parts = [each.part for each in found]
    assert len(set(parts)) == len(parts) >= 10
    assert {each.content_type for each in found[:-1]} == {"message/rfc822"}
