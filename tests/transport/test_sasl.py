"""The mechanisms by themselves: transcripts of the RFCs, a second implementation as the server, and hostile servers."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
import scramp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_imap_provider.transport.sasl import Anonymous, CramMd5, External, Plain, SaslError
from airflow_imap_provider.transport.saslprep import saslprep
from airflow_imap_provider.transport.scram import MAX_ITERATIONS, MIN_ITERATIONS, ChannelBinding, Scram

NAMES = ["SCRAM-SHA-1", "SCRAM-SHA-256"]
BINDING = ChannelBinding("tls-unique", b"finished")


# -- transcripts ------------------------------------------------------------------------------------------------------


def test_plain_has_three_parts_in_utf_8() -> None:
    assert Plain("tim", "tanstaaftanstaaf").initial == b"\0tim\0tanstaaftanstaaf"
    assert Plain("Kurt", "xipj3plmq", "Ursel").initial == b"Ursel\0Kurt\0xipj3plmq"
    assert Plain("jürgen", "🔑").initial == "\0jürgen\0🔑".encode()


def test_cram_md5_as_in_rfc_2195() -> None:
    mechanism = CramMd5("tim", "tanstaaftanstaaf")
    assert mechanism.initial is None
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert mechanism.answer(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"


def test_external_and_anonymous_say_who_it_is_or_nothing() -> None:
    assert External("").initial == b""
    assert External("joe@example.com").initial == b"joe@example.com"
    assert Anonymous("sirhc").initial == b"sirhc"


def test_scram_sha_1_as_in_rfc_5802() -> None:
    scram = Scram("SCRAM-SHA-1", "user", "pencil", nonce="fyko+d2lbbFgONRv9qkxdawL")
    assert scram.initial == b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"
    nonce = "fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j"
    final = scram.answer(f"r={nonce},s=QSXCR+Q6sek8bf92,i=4096".encode())
    assert final == f"c=biws,r={nonce},p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=".encode()
    assert scram.answer(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=") == b""
    scram.finish()


def test_scram_sha_256_as_in_rfc_7677() -> None:
    scram = Scram("SCRAM-SHA-256", "user", "pencil", nonce="rOprNGfwEbeRWgbNEkqO")
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    final = scram.answer(f"r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode())
    assert final == f"c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=".encode()
    scram.answer(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    scram.finish()


@pytest.mark.parametrize(
    ("binding", "plus_offered", "name", "header"),
    [
        (None, False, "SCRAM-SHA-256", "n,,"),
        (None, True, "SCRAM-SHA-256", "n,,"),
        (BINDING, False, "SCRAM-SHA-256", "y,,"),
        (BINDING, True, "SCRAM-SHA-256", "n,,"),
        (BINDING, True, "SCRAM-SHA-256-PLUS", "p=tls-unique,,"),
    ],
)
def test_the_first_message_tells_a_server_whose_offer_to_bind_was_removed(
    binding: ChannelBinding | None, plus_offered: bool, name: str, header: str
) -> None:
    scram = Scram(name, "joe", "secret", binding=binding, plus_offered=plus_offered)
    assert (scram.initial or b"").startswith(header.encode() + b"n=joe,r=")


def test_commas_and_equals_signs_in_names_are_escaped() -> None:
    scram = Scram("SCRAM-SHA-256", "a,b=c", "secret", "d,e=f")
    assert (scram.initial or b"").startswith(b"n,a=d=2Ce=3Df,n=a=2Cb=3Dc,r=")


def test_every_exchange_has_a_nonce_of_its_own() -> None:
    assert len({Scram("SCRAM-SHA-256", "joe", "secret").initial for _ in range(100)}) == 100


# -- a second implementation ------------------------------------------------------------------------------------------


def second_opinion(
    name: str, client: Scram, password: str, binding: tuple[str, bytes] | None = None
) -> Callable[[], None]:
    """scramp, as the server; raises if it does not accept the client."""
    mechanism = scramp.ScramMechanism(name)
    info = mechanism.make_auth_info(password)
    server = mechanism.make_server(lambda _: info, channel_binding=binding)

    def run() -> None:
        server.set_client_first((client.initial or b"").decode())
        server.set_client_final(client.answer(server.get_server_first().encode()).decode())
        client.answer(server.get_server_final().encode())
        client.finish()

    return run


@pytest.mark.parametrize("name", NAMES)
@given(
    login=st.text(st.characters(codec="ascii", min_codepoint=0x20, max_codepoint=0x7E), min_size=1),
    password=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1),
)
@example(login="a,b=c", password="Ⅸ\u00adpencil\u00a0")
@settings(max_examples=25, deadline=None)
def test_another_implementation_agrees(name: str, login: str, password: str) -> None:
    client = Scram(name, login, password)
    try:
        run = second_opinion(name, client, password)
    except scramp.ScramException:
        # It refuses what SASLprep forbids; here that is used as it is.
        assert saslprep(password) == password
        return
    run()


@pytest.mark.parametrize("name", NAMES)
def test_another_implementation_agrees_on_the_channel_binding(name: str) -> None:
    client = Scram(f"{name}-PLUS", "joe", "secret", binding=BINDING, plus_offered=True)
    second_opinion(f"{name}-PLUS", client, "secret", (BINDING.name, BINDING.data))()


def test_two_ends_of_different_connections_do_not_agree() -> None:
    client = Scram("SCRAM-SHA-256-PLUS", "joe", "secret", binding=BINDING, plus_offered=True)
    with pytest.raises(scramp.ScramException, match="channel bindings don't match"):
        second_opinion("SCRAM-SHA-256-PLUS", client, "secret", (BINDING.name, b"another"))()


def test_a_server_that_binds_notices_that_its_offer_was_removed_on_the_way() -> None:
    client = Scram("SCRAM-SHA-256", "joe", "secret", binding=BINDING, plus_offered=False)
    with pytest.raises(scramp.ScramException, match="in fact it does"):
        second_opinion("SCRAM-SHA-256", client, "secret", (BINDING.name, BINDING.data))()


# -- SASLprep ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("non\u00a0breaking", "non breaking"),
        # Forbidden, and therefore as it is: a control character, mixed directions, an emoji, nothing left.
        ("\u0007", "\u0007"),
        ("\u06271", "\u06271"),
        ("a\u0627", "a\u0627"),
        ("key 🔑\u00ad", "key 🔑\u00ad"),
        ("\u00ad", "\u00ad"),
        ("", ""),
        ("\u0627\u0628", "\u0627\u0628"),
    ],
)
def test_strings_are_prepared_as_in_rfc_4013_or_left_alone(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@given(st.text())
def test_any_string_can_be_prepared_and_none_becomes_empty(text: str) -> None:
    assert bool(saslprep(text)) is bool(text)


# -- hostile servers --------------------------------------------------------------------------------------------------

SALT = base64.b64encode(b"0123456789abcdef").decode()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("", "not SCRAM's"),
        ("r={nonce}x", "not SCRAM's"),
        ("r={nonce}x,s=" + SALT, "not SCRAM's"),
        ("s=" + SALT + ",r={nonce}x,i=4096", "not SCRAM's"),
        ("m=future,r={nonce}x,s=" + SALT + ",i=4096", "extension"),
        ("r={nonce},s=" + SALT + ",i=4096", "nonce"),
        ("r=another,s=" + SALT + ",i=4096", "nonce"),
        ("r={nonce}\x01,s=" + SALT + ",i=4096", "nonce"),
        ("r={nonce}x,s=,i=4096", "salt"),
        ("r={nonce}x,s=?,i=4096", "salt"),
        ("r={nonce}x,s=" + SALT + ",i=1", "iterations"),
        ("r={nonce}x,s=" + SALT + f",i={MIN_ITERATIONS - 1}", "iterations"),
        ("r={nonce}x,s=" + SALT + f",i={MAX_ITERATIONS + 1}", "iterations"),
        ("r={nonce}x,s=" + SALT + ",i=-5000", "iterations"),
        ("r={nonce}x,s=" + SALT + ",i=٤٠٩٦", "iterations"),
        ("r={nonce}x,s=" + SALT + ",i=" + "9" * 5000, "iterations"),
    ],
)
def test_a_first_message_that_is_not_right_ends_the_exchange_before_the_proof(message: str, said: str) -> None:
    scram = Scram("SCRAM-SHA-256", "joe", "hunter2", nonce="ours")
    with pytest.raises(SaslError, match=said) as caught:
        scram.answer(message.replace("{nonce}", "ours").encode())
    assert not scram.proved
    assert "hunter2" not in f"{caught.value}{caught.value.words}"


def in_the_middle() -> Scram:
    scram = Scram("SCRAM-SHA-256", "joe", "hunter2", nonce="ours")
    scram.answer(f"r=ours+theirs,s={SALT},i=4096".encode())
    return scram


@pytest.mark.parametrize("final", ["v=", "v=AAAA", "v=" + "A" * 43 + "=", "v=?", "v=" + SALT + ",x=y"])
def test_a_wrong_signature_says_that_the_server_does_not_know_the_password(final: str) -> None:
    with pytest.raises(SaslError, match="does not know the password"):
        in_the_middle().answer(final.encode())


@pytest.mark.parametrize("final", ["", "x=AAAA", "r=ours+theirs,s=AAAA,i=4096"])
def test_a_final_message_that_is_none_is_refused(final: str) -> None:
    with pytest.raises(SaslError, match="not SCRAM's"):
        in_the_middle().answer(final.encode())


def test_success_without_a_proof_is_no_success() -> None:
    for scram in (Scram("SCRAM-SHA-256", "joe", "hunter2"), in_the_middle()):
        with pytest.raises(SaslError, match="without having proved"):
            scram.finish()


def test_an_error_inside_the_exchange_is_kept_for_the_message_and_is_no_proof() -> None:
    scram = in_the_middle()
    assert scram.answer(b"e=invalid-proof,x=y") == b""
    assert scram.refusal == "invalid-proof"
    with pytest.raises(SaslError):
        scram.finish()
    with pytest.raises(SaslError, match="more than"):
        scram.answer(b"v=AAAA")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(SaslError, match="UTF-8"):
        Scram("SCRAM-SHA-256", "joe", "hunter2").answer(b"\xff\xfe")


@given(st.binary())
def test_whatever_a_server_sends_is_answered_or_refused(challenge: bytes) -> None:
    for mechanism in (Scram("SCRAM-SHA-1", "joe", "hunter2"), in_the_middle(), CramMd5("joe", "x"), Plain("joe", "x")):
        try:
            answer = mechanism.answer(challenge)
        except SaslError:
            continue
        assert b"hunter2" not in answer


@pytest.mark.parametrize("mechanism", [Plain("joe", "x"), External(""), Anonymous("")])
def test_mechanisms_of_one_message_have_no_second(mechanism: Plain | External | Anonymous) -> None:
    with pytest.raises(SaslError, match="more than"):
        mechanism.answer(b"more?")


def test_cram_md5_answers_one_challenge() -> None:
    mechanism = CramMd5("joe", "secret")
    with pytest.raises(SaslError, match="empty"):
        mechanism.answer(b"")
    mechanism.answer(b"<1@example.com>")
    with pytest.raises(SaslError, match="more than"):
        mechanism.answer(b"<2@example.com>")


def test_a_machine_without_md5_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("[digital envelope routines] unsupported")

    monkeypatch.setattr("hmac.new", refuse)
    with pytest.raises(SaslError, match="does not allow MD5"):
        CramMd5("joe", "secret").answer(b"<1@example.com>")
