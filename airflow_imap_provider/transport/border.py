"""The border of the package's own errors: what imaplib, IMAPClient and their parsers raise becomes one family here.

The server's words are repeated, since they say most, but cleaned first: a server that echoes a command must not bring
a password into an exception, a log or Airflow's page.
"""

from __future__ import annotations

import imaplib
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import (
    FolderNotFoundError,
    ImapError,
    LostConnectionError,
    ProtocolError,
    RefusedError,
)
from airflow_imap_provider.transport.echoes import HIDDEN, forms_of, in_base64, without_pieces
from airflow_imap_provider.transport.greetings import IMAP, speaker
from airflow_imap_provider.transport.limits import MAX_REPLY_CHARACTERS, MIN_HIDDEN_CHARACTERS
from airflow_imap_provider.transport.remedies import (
    ASK_OPERATOR,
    LATER,
    MISSING_TARGET,
    MOVED,
    NOT_IMAP,
    REFUSED,
    loss_remedy,
)
from airflow_imap_provider.transport.stream import BufferedIMAP4
from airflow_imap_provider.transport.throttling import recognise

__all__ = ["Scrubber", "ended", "guarded"]

T = TypeVar("T")

_FOREIGN_ERRORS = (
    imaplib.IMAP4.error,  # IMAPClient's errors derive from it
    OSError,
    # What parsers raise on an answer that nobody thought of; RecursionError by deeply nested parentheses.
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RecursionError,
)

_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
# The account is meant, not the folder's name; the last is Exchange's way to say that its backend is away.
_NOT_THE_FOLDER = re.compile(r"\[(?:ALERT|NOPERM|OVERQUOTA|CONTACTADMIN|EXPIRED)\]|not connected", re.IGNORECASE)
_MOVED = re.compile(r"\[REFERRAL ", re.IGNORECASE)
_GONE = re.compile(r"\[(?:NONEXISTENT|TRYCREATE)\]", re.IGNORECASE)


def ended(stage: str, words: str) -> LostConnectionError:
    """The error for BYE.

    :param words: the server's, cleaned.
    """
    limit = recognise(words)
    remedy = limit.remedy if limit else MOVED if _MOVED.search(words) else loss_remedy(stage)
    return LostConnectionError("the server ended the connection.", stage=stage, reply=words, remedy=remedy)


class Scrubber:
    """Makes a server's words fit to be shown.

    :param settings: whose secrets are taken out, as they are and as SASL, quoted strings and web forms write them.
    """

    __slots__ = ("_secrets", "_sent")

    def __init__(self, settings: Settings) -> None:
        self._secrets = sorted(set(_forms(settings)), key=len, reverse=True)
        self._sent: list[str] = []

    def hide(self, *texts: str) -> None:
        """Take these out too; what is too short to be a secret is left alone."""
        more = {text for text in texts if len(text) >= MIN_HIDDEN_CHARACTERS}
        self._secrets = sorted(more.union(self._secrets), key=len, reverse=True)

    def add(self, *secrets: str) -> None:
        """Take these secrets out too, however short, in all forms in which somebody could repeat them."""
        forms = {form for secret in secrets if secret for form in forms_of(secret)}
        self._secrets = sorted(forms.union(self._secrets), key=len, reverse=True)

    def begin_login(self, password: str) -> None:
        """From now on a server may repeat a part of what it gets: cut off, in capitals, or both."""
        self._sent = [password] if password else []

    def sent(self, line: str) -> None:
        """A line with the password in it, as it is sent."""
        self._sent.append(line)

    def end_login(self) -> None:
        """The server has taken the login: what it says from now on is not about its words."""
        self._sent = []

    def clean(self, words: object) -> str:
        """The words as one printable line without a secret."""
        text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        text = _NOT_PRINTABLE.sub(" ", text).strip()
        if len(text) > MAX_REPLY_CHARACTERS:
            text = f"{text[:MAX_REPLY_CHARACTERS]}…"
        return without_pieces(text, self._sent) if self._sent else text

    def reply(self, answer: tuple[str, list[object]] | None) -> str:
        """The words of a tagged answer."""
        if answer is None or not answer[1] or answer[1][-1] is None:
            return ""
        return self.clean(answer[1][-1])


def _forms(settings: Settings) -> Iterable[str]:
    login = settings.auth.login
    for secret in settings.secrets():
        yield from forms_of(secret)
        yield in_base64(f"{settings.auth.alias}\0{login}\0{secret}")
    tunnel = settings.tunnel
    if tunnel.password:
        # As Basic sends it to an HTTP proxy.
        for user in (tunnel.login, f"{tunnel.domain}\\{tunnel.login}"):
            yield in_base64(f"{user}:{tunnel.password}")


def guarded(
    call: Callable[[], T], stream: BufferedIMAP4, scrubber: Scrubber, refused: type[ImapError] = RefusedError
) -> T:
    """Run a command; what goes wrong comes out as one of the package's own errors.

    :param refused: what a NO or BAD is at this stage.
    """
    try:
        return call()
    except (ImapError, *_FOREIGN_ERRORS) as exc:
        error = _translate(exc, stream, scrubber, refused)
    except BaseException:
        # A task's timeout or Ctrl-C struck in the middle of an answer: what comes next would be taken for another.
        stream.fail(LostConnectionError("a command was interrupted.", stage=stream.stage, remedy=LATER))
        raise
    # Only here, so that the foreign exception is not attached as context: it may quote what was sent.
    try:
        raise error
    finally:
        del error  # its traceback leads here, and so to the stream: a circle that only the garbage collector would end


def _translate(
    exc: Exception, stream: BufferedIMAP4, scrubber: Scrubber, refused: type[ImapError] = RefusedError
) -> ImapError:
    """The error of our family for what went wrong in a command.

    :param exc: one of :data:`_FOREIGN_ERRORS`, or already one of the family.
    :param stream: what it went wrong on; marked as unusable when nobody can tell where in the protocol it stands.
    :param refused: what a NO or BAD is at this stage.
    """
    stage = stream.stage
    bye = stream.untagged_responses.get("BYE")
    if bye and (stream.failure is None or isinstance(stream.failure, LostConnectionError)):
        # Its last words say more than the end of the connection that follows them.
        stream.failure = ended(stage, scrubber.clean(bye[-1]))
    if stream.failure is not None:
        return stream.fail(stream.failure)
    if isinstance(exc, ImapError):
        return exc
    if stage == "greeting":
        words = scrubber.clean(stream.first_line)
        who = speaker(stream.first_line)
        # An IMAP server whose greeting has something odd behind its first words is still none that can be talked to.
        problem = f"this is {who}, no IMAP server." if who not in ("", IMAP) else "no IMAP server greets like this."
        return stream.fail(ProtocolError(problem, stage=stage, reply=words, remedy=NOT_IMAP))
    if stream.answer is None:
        # The answer was not understood to its end, so whatever comes next would be taken for something else.
        return stream.fail(
            ProtocolError(
                "the server's answer breaks the protocol.", stage=stage, reply=_kind(exc), remedy=ASK_OPERATOR
            )
        )
    if stream.answer[0] in ("NO", "BAD"):
        return _refusal(stream.answer, stage, scrubber, refused)
    return ProtocolError(
        "the server's answer cannot be understood.", stage=stage, reply=_kind(exc), remedy=ASK_OPERATOR
    )


def _refusal(
    answer: tuple[str, list[object]], stage: str, scrubber: Scrubber, refused: type[ImapError] = RefusedError
) -> ImapError:
    """The error for a NO (the server will not) or BAD (it does not accept the command as it is)."""
    words = scrubber.reply(answer)
    if recognise(words) or (refused is FolderNotFoundError and (answer[0] == "BAD" or _NOT_THE_FOLDER.search(words))):
        refused = RefusedError
    elif refused is RefusedError and _GONE.search(words):
        refused = FolderNotFoundError
    problem = "the server refuses." if answer[0] == "NO" else "the server does not accept this command."
    limit = recognise(words)
    if limit is None and refused is FolderNotFoundError and stage in ("COPY", "MOVE"):
        return refused(problem, stage=stage, reply=words, remedy=MISSING_TARGET)
    remedy = limit.remedy if limit else MOVED if _MOVED.search(words) else REFUSED.get(stage, ASK_OPERATOR)
    return refused(problem, stage=stage, reply=words, remedy=remedy)


def _kind(exc: Exception) -> str:
    """What kind of trouble it was, without the answer itself, which may be somebody's mail."""
    return f"{type(exc).__name__} while reading it"
