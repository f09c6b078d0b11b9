"""Secrets never reach an exception, a log line or a repr, whatever the server does with them."""

from __future__ import annotations

import base64
import logging
import pickle
import ssl
import traceback
from collections.abc import Callable, Iterator

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Settings, TlsSettings
from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.transport.border import Scrubber
from airflow_imap_provider.transport.diagnosis import diagnose
from airflow_imap_provider.transport.session import Session, open_session
from tests.servers.scripted import CAPABILITIES, Peer, ScriptedServer
from tests.transport.conftest import LOGIN, Opener, settings_for

PLAIN_SECRET = "s3cret-w0rd"
ODD_SECRET = 's3cret "w0rd" \\ of ümlauts'

Script = Callable[[Peer], None]


def forms(secret: str) -> list[str]:
    """How a secret can look on the way."""
    return [
        secret,
        secret.replace("\\", "\\\\").replace('"', '\\"'),
        repr(secret)[1:-1],
        repr(secret.encode())[2:-1],
        base64.b64encode(secret.encode()).decode(),
        base64.b64encode(f"\0{LOGIN}\0{secret}".encode()).decode(),
    ]


def everything_about(exc: BaseException) -> str:
    """All that any log could show of an exception, the suppressed causes too."""
    texts = ["".join(traceback.format_exception(exc)), pickle.dumps(exc).decode("latin-1")]
    link: BaseException | None = exc
    while link is not None:
        texts += [str(link), repr(link), repr(link.args), repr(vars(link))]
        link = link.__cause__ or link.__context__
    return "\n".join(texts)


def command_line(peer: Peer) -> str:
    """The command that carries the secret, as it was sent, literals included."""
    line = peer.line()
    peer.tag = line.split(" ")[0]
    while line.endswith("}"):
        size = int(line[line.rindex("{") + 1 : -1])
        peer.send("+ ")
        line += peer.exactly(size).decode() + peer.line()
    if line.endswith("AUTHENTICATE PLAIN"):
        peer.send("+ ")
        line += " " + peer.line()
    return line


def echoing(answer: Callable[[Peer, str], None], capabilities: str) -> Script:
    def script(peer: Peer) -> None:
        peer.greet(capabilities)
        answer(peer, command_line(peer))

    return script


ANSWERS: dict[str, Callable[[Peer, str], None]] = {
    "NO": lambda peer, line: peer.no(f"cannot do {line}"),
    "BAD": lambda peer, line: peer.bad(f"unknown command {line}"),
    "BYE": lambda peer, line: peer.send(f"* BYE I will not {line}"),
    "BYE and NO": lambda peer, line: peer.send(f"* BYE I will not {line}", f"{peer.tag} NO {line}"),
    "garbage": lambda peer, line: peer.send(line),
    "unasked": lambda peer, line: peer.send(f"A999 OK {line}"),
    "unterminated": lambda peer, line: peer.send_raw(f"* OK {line}\n".encode()),
    "temporary": lambda peer, line: peer.no(f"[UNAVAILABLE] {line}"),
    "other forms": lambda peer, line: peer.no(" ".join([*forms(PLAIN_SECRET), *forms(ODD_SECRET)])),
    "silence": lambda peer, line: peer.wait_for_end(),
    "end": lambda peer, line: None,
}


@pytest.fixture
def no_secret(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[str, str], None]]:
    """Asserts that neither a text nor any log line of the test holds a secret."""
    with caplog.at_level(logging.DEBUG):

        def check(text: str, secret: str) -> None:
            for form in forms(secret):
                assert form not in text
                assert form not in caplog.text

        yield check


@pytest.mark.parametrize("secret", [PLAIN_SECRET, ODD_SECRET])
@pytest.mark.parametrize(
    "capabilities", [CAPABILITIES, "IMAP4rev1 AUTH=PLAIN", "IMAP4rev1"], ids=["sasl-ir", "plain", "login"]
)
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_no_failure_of_a_login_shows_the_secret(
    answer: Callable[[Peer, str], None],
    capabilities: str,
    secret: str,
    opened: Opener,
    no_secret: Callable[[str, str], None],
) -> None:
    with ScriptedServer(echoing(answer, capabilities)) as server, pytest.raises(ImapError) as caught:
        opened(settings_for(server, timeout=1, auth=AuthSettings(login=LOGIN, password=secret)))
    no_secret(everything_about(caught.value), secret)


PIECE = 6
"""Characters of a secret in a row that must not be shown, in capitals or not."""

CHANGES: dict[str, Callable[[str], str]] = {
    "capitals": str.upper,
    "cut by 3": lambda line: line[:-3],
    "cut by 7": lambda line: line[:-7],
    "cut in front": lambda line: line[len(line) // 2 :],
    "cut and in capitals": lambda line: line[:-4].swapcase(),
}


@pytest.mark.parametrize("kind", ["NO", "BAD", "BYE"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(
    "capabilities", [CAPABILITIES, "IMAP4rev1 AUTH=PLAIN", "IMAP4rev1"], ids=["ir", "plain", "login"]
)
def test_no_piece_of_what_was_sent_is_shown(
    capabilities: str,
    change: Callable[[str], str],
    kind: str,
    opened: Opener,
    caplog: pytest.LogCaptureFixture,
) -> None:
    script = echoing(lambda peer, line: ANSWERS[kind](peer, change(line)), capabilities)
    auth = AuthSettings(login=LOGIN, password=PLAIN_SECRET)
    with caplog.at_level(logging.DEBUG), ScriptedServer(script) as server:
        with pytest.raises(ImapError) as caught:
            opened(settings_for(server, timeout=5, auth=auth))
        report = diagnose(settings_for(server, timeout=5, auth=auth))
    shown = "\n".join([everything_about(caught.value), caplog.text, report.line(), report.text()]).casefold()
    # Without the name, which may be shown and stands in the line too.
    for form in map(str.casefold, (PLAIN_SECRET, base64.b64encode(f"\0{LOGIN}\0{PLAIN_SECRET}".encode()).decode())):
        for at in range(len(form) - PIECE + 1):
            assert form[at : at + PIECE] not in shown


def test_words_that_are_no_echo_stay_readable() -> None:
    scrubber = Scrubber(
        Settings(conn_id="x", host="h", port=1, auth=AuthSettings(login=LOGIN, password="unavailable-1"))
    )
    scrubber.begin_login("unavailable-1")
    assert scrubber.clean(f"[UNAVAILABLE] no room for {LOGIN}") == f"[UNAVAILABLE] no room for {LOGIN}"
    assert scrubber.clean("said UNAVAILABL to it") == "said ***"
    scrubber.end_login()
    assert scrubber.clean("said UNAVAILABL to it") == "said UNAVAILABL to it"


@pytest.mark.parametrize("secret", [PLAIN_SECRET, ODD_SECRET])
def test_later_answers_and_what_the_session_shows_are_clean_too(
    secret: str, opened: Opener, no_secret: Callable[[str, str], None]
) -> None:
    capabilities = f"{CAPABILITIES} ID"

    def script(peer: Peer) -> None:
        peer.send(f"* OK hello {secret}")
        peer.tell_capabilities(capabilities)
        line = command_line(peer)
        peer.ok(words=f"[CAPABILITY {capabilities}] {line}")
        peer.expect("ID")
        peer.send("* ID ({4}", 'name "x")' if not secret.isascii() else f'name "{secret}")')
        peer.ok()
        for _ in range(2):
            peer.tag = peer.line().split(" ")[0]
            peer.no(f"you said {line}")
        peer.tag = peer.line().split(" ")[0]
        peer.send(f"* BYE you said {line}")

    with ScriptedServer(script) as server:
        session = opened(settings_for(server, auth=AuthSettings(login=LOGIN, password=secret)))
        failures = [failure(session.noop), failure(session.folders), failure(session.noop)]
        shown = [repr(session), session.greeting, session.server_name, repr(vars(session)), repr(session.settings)]
        for text in (*map(everything_about, failures), *shown):
            no_secret(text, secret)


def test_a_refused_certificate_shows_no_secret(
    opened: Opener, tls: ssl.SSLContext, no_secret: Callable[[str, str], None]
) -> None:
    auth = AuthSettings(login=LOGIN, password=PLAIN_SECRET)
    tls_settings = TlsSettings(client_private_key_passphrase="")
    with ScriptedServer(Peer.let_in, tls=tls) as server, pytest.raises(ImapError) as caught:
        opened(settings_for(server, security="implicit", auth=auth, tls=tls_settings))
    no_secret(everything_about(caught.value), PLAIN_SECRET)


def test_a_host_that_is_not_there_shows_no_secret(no_secret: Callable[[str, str], None]) -> None:
    auth = AuthSettings(login=LOGIN, password=PLAIN_SECRET)
    with pytest.raises(ImapError) as caught:
        open_session(Settings(conn_id="x", host="no-such-host.invalid", auth=auth))
    no_secret(everything_about(caught.value), PLAIN_SECRET)


def test_the_servers_words_are_one_line_of_bounded_length() -> None:
    scrubber = Scrubber(Settings(conn_id="x", host="h", auth=AuthSettings(password="hunter2")))
    assert scrubber.clean(b"a\r\nb\x1b[31mc hunter2 \xff") == "a b [31mc *** \ufffd"
    assert len(scrubber.clean("x" * 10_000)) < 400


@pytest.mark.parametrize(
    "form",
    [
        "p%C3%A4ss+w%2Frd%40x",
        "p%C3%A4ss%20w/rd%40x",
        "p%C3%A4ss%20w%2Frd%40x",
        "p\u00c3\u00a4ss w/rd@x",
    ],
)
def test_a_secret_that_is_repeated_percent_encoded_or_as_latin_1_is_taken_out(form: str) -> None:
    settings = Settings(conn_id="x", host="h", auth=AuthSettings(password="p\u00e4ss w/rd@x"))
    assert Scrubber(settings).clean(f"you said {form}.") == "you said ***."


def test_a_secret_with_half_a_character_in_it_can_be_taken_out() -> None:
    settings = Settings(conn_id="x", host="h", auth=AuthSettings(password="p\udc80ss"))
    assert Scrubber(settings).clean("you said p\udc80ss.") == "you said ***."


def failure(call: Callable[[], object]) -> ImapError:
    with pytest.raises(ImapError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("capabilities", [CAPABILITIES, "IMAP4rev1"], ids=["plain", "login"])
def test_nothing_of_a_login_is_kept_in_the_client(
    capabilities: str, opened: Opener, no_secret: Callable[[str, str], None]
) -> None:
    def script(peer: Peer) -> None:
        peer.greet(capabilities)
        command_line(peer)
        peer.ok(words=f"[CAPABILITY {capabilities}] in")

    with ScriptedServer(script) as server:
        session: Session = opened(settings_for(server, auth=AuthSettings(login=LOGIN, password=PLAIN_SECRET)))
        # imaplib keeps the last ten lines for debugging.
        no_secret(repr(vars(session.client)) + repr(vars(session.client._imap)), PLAIN_SECRET)
