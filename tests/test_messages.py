"""Every error of a connection says what to do about it, and the page of all messages is that of today."""

from __future__ import annotations

import ast
import re

import pytest

from airflow_imap_provider import errors
from airflow_imap_provider.transport.oauth.remedies import MICROSOFT
from airflow_imap_provider.transport.report import brief
from airflow_imap_provider.transport.throttling import LIMITS
from scripts.message_reference import PAGE, UNKNOWN, Message, Source, page
from scripts.message_tables import tables


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return Source().messages()


def test_every_error_of_a_connection_has_a_remedy(messages: list[Message]) -> None:
    assert [message for message in messages if not message.remedy.strip(f"{UNKNOWN} .")] == []
    assert len(messages) > 200


def test_every_remedy_is_made_of_sentences(messages: list[Message]) -> None:
    assert [message for message in messages if not message.remedy.endswith((".", "?", ")"))] == []


def test_the_line_of_a_test_has_room_for_the_first_sentence_of_every_remedy(messages: list[Message]) -> None:
    assert [remedy for remedy in shown(messages) if not remedy.startswith(brief(remedy))] == []


def shown(messages: list[Message]) -> set[str]:
    """The remedies that a report can have: those of the messages, and of the tables that they look into."""
    looked_up = {remedy for _, rows in tables().values() for _, remedy in rows}
    return {remedy for remedy in {one.remedy for one in messages} | looked_up if not remedy.startswith("See ")}


IMPERATIVES = (
    "Add", "Ask", "Change", "Check", "Choose", "Close", "Correct", "Delete", "Do", "Empty", "Enter", "Fill", "Give",
    "Grant", "Have", "Leave", "Let", "Log", "Lower", "Make", "Open", "Paste", "Put", "Raise", "Remove", "Set", "Show",
    "Switch", "Take", "Try", "Upload", "Use", "Write",
)  # fmt: skip
OTHER_OPENINGS = ("Accepted ", "A part is named like ", "Did you mean ", "In a URI ", "Methods that can are ",
                  "Nothing is lost", "Nothing needs to be changed", "Often ", "Such as ")  # fmt: skip
"""For what needs no action, or for a field whose right value is what has to be said."""


def test_the_first_sentence_of_a_remedy_says_what_to_do(messages: list[Message]) -> None:
    """It is all that the Test's line is sure to have room for."""
    told = [remedy for remedy in shown(messages) if not remedy.startswith(OTHER_OPENINGS)]
    assert [remedy for remedy in told if remedy.split(" ")[0] not in IMPERATIVES] == []


def test_the_page_has_the_messages_of_today() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m scripts.message_reference"


def test_every_row_of_the_page_has_its_two_cells() -> None:
    rows = [line for line in page().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}


@pytest.mark.parametrize(
    ("stage", "problem", "remedies"),
    [
        ("tls", "the server's certificate is self-signed.", ["Put this certificate into CA bundle"]),
        ("tls", "the server's certificate is not for ….", ["Give a name that the certificate has"]),
        ("tls", "the server's certificate is not accepted.", ["Show this to the server's operator"]),
        ("dns", "the name … has no address.", ["Check Address (host) and the DNS"]),
        ("proxy", "the name … has no address.", ["Check Proxy address (tunnel_host) and the DNS"]),
        ("token", "the name … has no address.", ["Check OAuth: endpoint (oauth_endpoint) and the DNS"]),
        ("token", "the token endpoint … gives no token.", ["See [The endpoint gives no token]"]),
        ("proxy", "the proxy refuses the connection. (5)", ["Check Address (host) and Port (port): nobody listens"]),
        ("settings", "Encryption, CA bundle (ca_bundle): the text holds no certificate that can be read (…).",
         ["Give the path of a PEM file"]),
        ("token", "the newest refresh token of … cannot be read from the Variable … (…).", ["Check that"]),
    ],
)  # fmt: skip
def test_a_problem_has_exactly_its_remedies(
    stage: str, problem: str, remedies: list[str], messages: list[Message]
) -> None:
    found = sorted({one.remedy for one in messages if (one.stage, one.problem) == (stage, problem)})
    assert len(found) == len(remedies)
    assert all(one.startswith(remedy) for one, remedy in zip(found, remedies, strict=True))


def test_no_message_is_put_together_of_two() -> None:
    """As when functions of the same name in different modules are taken for one."""
    assert "holds no certificate that can be read" in page()
    assert not re.search(r"holds no certificate.*holds no certificate", page())


def test_every_code_of_microsoft_and_every_limit_is_on_the_page_with_its_remedy() -> None:
    text = page()
    assert all(f"| AADSTS{code} | {remedy} |" in text for code, remedy in MICROSOFT.items())
    assert all(f"| {limit.name} | {limit.remedy} |" in text for limit in LIMITS)


def test_every_reference_leads_to_a_table() -> None:
    headings = set(tables())
    assert set(re.findall(r"See \[(.*?)\]", page())) <= headings


@pytest.mark.parametrize(
    "code",
    [
        'raise ImapError("it broke.", stage="tcp")',
        'raise ImapError("it broke.", stage="proxy", remedy="")',
        'raise ImapError("it broke.", stage="tls", remedy=no_such_name)',
    ],
)
def test_an_error_without_a_remedy_is_found(code: str) -> None:
    (call,) = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
    assert [message.remedy for message in Source()._made("here", errors, None, call)] == [""]
