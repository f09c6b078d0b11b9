"""Every error of a connection says what to do about it, and the page of all messages is that of today."""

from __future__ import annotations

import ast
import re

import pytest

from airflow_imap_provider.transport.report import brief
from scripts.message_reference import BREAK, PAGE, PASSED_ON, UNKNOWN, Message, Source, page


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return Source().messages()


def test_every_error_of_a_connection_has_a_remedy(messages: list[Message]) -> None:
    assert [message for message in messages if not message.remedy.strip(f"{UNKNOWN} .")] == []
    assert len(messages) > 200


def test_every_remedy_is_made_of_sentences(messages: list[Message]) -> None:
    assert [message for message in messages if not message.remedy.endswith((".", "?", ")"))] == []


def test_the_line_of_a_test_has_room_for_the_first_sentence_of_every_remedy(messages: list[Message]) -> None:
    remedies = {remedy for message in messages for remedy in message.remedy.split(BREAK)}
    assert [remedy for remedy in remedies if not remedy.startswith(brief(remedy))] == []


IMPERATIVES = (
    "Add", "Ask", "Change", "Check", "Choose", "Close", "Correct", "Delete", "Do", "Empty", "Enter", "Fill", "Give",
    "Grant", "Have", "Leave", "Let", "Log", "Make", "Open", "Paste", "Put", "Raise", "Remove", "Set", "Show", "Switch",
    "Take", "Try", "Upload", "Use", "Write",
)  # fmt: skip
OTHER_OPENINGS = ("Accepted ", "A part is named like ", "Did you mean ", "In a URI ", "Methods that can are ",
                  "Nothing is lost", "Nothing needs to be changed", "Often ", "Such as ")  # fmt: skip
"""For what needs no action, or for a field whose right value is what has to be said."""


def test_the_first_sentence_of_a_remedy_says_what_to_do(messages: list[Message]) -> None:
    """It is all that the Test's line is sure to have room for."""
    remedies = {remedy for message in messages for remedy in message.remedy.split(BREAK)}
    told = [re.sub(r"^(?:[a-z]+|[0-9]+): ", "", remedy) for remedy in remedies]
    first_words = [remedy for remedy in told if not remedy.startswith(OTHER_OPENINGS) and remedy != PASSED_ON]
    assert [remedy for remedy in first_words if remedy.split(" ")[0] not in IMPERATIVES] == []


def test_the_page_has_the_messages_of_today() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m scripts.message_reference"


def test_every_row_of_the_page_has_its_two_cells() -> None:
    rows = [line for line in page().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}


@pytest.mark.parametrize(
    "code",
    [
        'raise ImapError("it broke.", stage="tcp")',
        'raise kind("it broke.", stage="proxy", remedy="")',
        'raise tls_error("it broke.", "words", "")',
        'raise ProtocolError("it broke.", stage=stream.stage, remedy="" if encrypted else "Encrypt.")',
    ],
)
def test_an_error_without_a_remedy_is_found(code: str) -> None:
    source = Source()
    (call,) = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
    assert [message.remedy for message in source._messages(call, None, "here")] == [""]
