"""What leaves the mail server: saving to Airflow's object storage, and forwarding by an SMTP connection of Airflow.

Works on an open session, in a task or in a thread of the triggerer; which mails, and when, is decided elsewhere.
"""

from __future__ import annotations

import importlib.util
import logging
import smtplib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import (
    AuthenticationError,
    ImapError,
    LostConnectionError,
    RefusedError,
    SettingsError,
)
from airflow_imap_provider.mail.templates import templated
from airflow_imap_provider.mailbox.choice import Choice
from airflow_imap_provider.mailbox.forwarding import Envelope, Forwarding, Parcel, compose, fetch_parcel, fingerprint
from airflow_imap_provider.mailbox.marks import Marks
from airflow_imap_provider.mailbox.saving import save_mail
from airflow_imap_provider.mailbox.several import Failures

if TYPE_CHECKING:
    from airflow_imap_provider.hooks.sent import SentRecord
    from airflow_imap_provider.mail.message import Mail
    from airflow_imap_provider.mailbox.actions import Action
    from airflow_imap_provider.transport.session import Session

__all__ = ["Found", "SavedOf", "check_outgoing", "forward", "save", "send_out"]

log = logging.getLogger(__name__)

Found = Iterable[tuple[str, "Callable[[], Mail]"]]
"""Mails: the identity of each, and what opens its folder and returns it."""

SavedOf = Callable[[str, list[dict[str, Any]]], None]
"""Takes what was saved of a mail, by its key."""


def check_outgoing(actions: Iterable[Action]) -> None:
    """Find early, when a DAG file is parsed, what would only be found when a mail comes.

    :raises SettingsError: for a path that is none, or a forward without the extra ``smtp``.
    """
    from airflow_imap_provider.hooks.storage import check_path

    for action in actions:
        if action.do == "save" and not templated(action.argument):
            check_path(action.argument)
        if action.do == "forward" and importlib.util.find_spec("airflow.providers.smtp") is None:
            raise SettingsError(
                "forwarding needs Airflow's SMTP provider.",
                stage="settings",
                remedy="Install it: pip install 'airflow-imap-provider[smtp]'.",
            )


def send_out(
    session: Session,
    mails: Found,
    action: Action,
    *,
    sent: SentRecord | None = None,
    held: set[str] | None = None,
    saved: SavedOf | None = None,
) -> list[dict[str, Any]]:
    """Do an action that leaves the mail server.

    :param sent: as for :func:`forward`.
    :param held: likewise.
    :param saved: as for :func:`save`.
    :return: what was saved, or sent.
    :raises ImapError: for what failed, after all mails were tried.
    """
    options = dict(action.options)
    if action.do == "save":
        return save(session, mails, action.argument, Choice.from_json(options), saved=saved)
    return forward(session, mails, Forwarding.from_json(options), sent=sent, held=held)


# --- saving ---------------------------------------------------------------------------------------------------------


def save(
    session: Session,
    mails: Found,
    path: Any,
    choice: Choice,
    *,
    missing: str = "fail",
    saved: SavedOf | None = None,
) -> list[dict[str, Any]]:
    """Save mails.

    :param path: as :class:`~airflow_imap_provider.hooks.storage.ObjectStorage` takes it.
    :param missing: ``ignore`` passes over mails that are nowhere any more; ``fail`` does not.
    :param saved: is told of each mail that is saved, with its key and what is returned of it.
    :return: one dict for each file: ``key`` of the mail, ``path``, ``name``, ``part``, ``content_type``, ``size``,
        ``sha256``, ``existed``.
    :raises ImapError: for what failed, after all mails were tried.
    """
    from airflow_imap_provider.hooks.storage import ObjectStorage

    listed = list(mails)
    failures = Failures("saved", [key for key, _ in listed], missing)
    storage = ObjectStorage(path)
    results = []
    for key, find in listed:
        with failures.of(key):
            files = [each.to_json(key) for each in save_mail(session, find(), choice, storage, key=key)]
            if saved is not None:
                saved(key, files)
            results += files
        if failures.hopeless:
            break
    failures.check()
    return results


# --- forwarding -----------------------------------------------------------------------------------------------------


def forward(
    session: Session,
    mails: Found,
    forwarding: Forwarding,
    *,
    missing: str = "fail",
    sent: SentRecord | None = None,
    held: set[str] | None = None,
) -> list[dict[str, Any]]:
    """Forward mails.

    :param missing: ``ignore`` passes over mails that are nowhere any more; ``fail`` does not.
    :param sent: what was sent before, which is not sent again, and is told to what is sent now.
    :param held: gets the keys of mails that are not sent on purpose, automatic answers to forwards: nobody has them.
    :return: one dict for each message: ``keys`` of the mails, ``message_id``, ``recipients``, and ``refused``, those
        of them that the SMTP server did not take. Messages of earlier attempts are among them.
    :raises ImapError: for what failed, after all mails were tried.
    """
    listed = list(mails)
    failures = Failures("forwarded", [key for key, _ in listed], missing)
    record: SentRecord = {} if sent is None else sent
    before, due = _sent_before(listed, forwarding, record)
    if due:
        named = (*forwarding.to, *forwarding.cc, *forwarding.bcc, *forwarding.reply_to)
        files = {item: _lines(item) for item in named if "://" in item}
        with _smtp(forwarding.smtp_conn_id) as (client, own_address):
            sender = forwarding.sender or own_address
            if not sender:
                raise SettingsError(
                    f"the SMTP connection {forwarding.smtp_conn_id!r} has no from_email: nobody knows who sends.",
                    stage="forward",
                    remedy="Give sender, or fill in From email of the connection.",
                )
            post = _Post(client, forwarding, sender, files, _marks(), record, set() if held is None else held)
            before += _forward_all(session, due, post, failures)
    failures.check()
    return before


def _sent_before(
    mails: Sequence[tuple[str, Callable[[], Mail]]], forwarding: Forwarding, record: SentRecord
) -> tuple[list[dict[str, Any]], list[tuple[str, Callable[[], Mail]]]]:
    """Return the messages of earlier attempts, and the mails that are still to be sent."""
    messages: dict[str, dict[str, Any]] = {}
    due = []
    for key, find in mails:
        kept = record.get(fingerprint(key, forwarding))
        if kept is None:
            due.append((key, find))
            continue
        log.info("Mail %s was forwarded by an earlier attempt, as %s", key, kept["message_id"])
        messages.setdefault(kept["message_id"], {"keys": [], **kept})["keys"].append(key)
    return list(messages.values()), due


def _forward_all(
    session: Session, mails: Sequence[tuple[str, Callable[[], Mail]]], post: _Post, failures: Failures
) -> list[dict[str, Any]]:
    sent = []
    group: list[Parcel] = []
    for key, find in mails:
        with failures.of(key):
            parcel = fetch_parcel(session, key, find(), post.forwarding, post.marks, eight_bit=post.eight_bit)
            if parcel is None:
                post.held.add(key)
            elif post.forwarding.separate:
                sent.append(post.send([parcel]))
            else:
                group.append(parcel)
        if failures.hopeless:
            return sent
    if group:
        with failures.of(*[parcel.key for parcel in group]):
            sent.append(post.send(group))
    return sent


@dataclass(frozen=True)
class _Post:
    """An open SMTP connection, and how it is used.

    :param files: for each recipient that is a URL, the lines of the file.
    """

    client: smtplib.SMTP
    forwarding: Forwarding
    sender: str
    files: Mapping[str, Sequence[str]]
    marks: Marks
    record: SentRecord
    held: set[str]

    @property
    def eight_bit(self) -> bool:
        return self.client.has_extn("8bitmime")

    def send(self, parcels: Sequence[Parcel]) -> dict[str, Any]:
        envelope = compose(
            parcels,
            self.forwarding,
            sender=self.sender,
            files=self.files,
            marks=self.marks,
        )
        with _smtp_errors(self.forwarding.smtp_conn_id):
            refused = _transmit(self.client, envelope)
        keys = [parcel.key for parcel in parcels]
        told = {"message_id": envelope.message_id, "recipients": list(envelope.recipients), "refused": refused}
        for key in keys:
            self.record[fingerprint(key, self.forwarding)] = told
        log.info("Forwarded %s to %s recipients as %s", keys, len(envelope.recipients), envelope.message_id)
        if refused:
            # Sending again would reach the others a second time.
            log.error("Of %s the SMTP server refuses these recipients: %s", envelope.message_id, refused)
        return {"keys": keys, **told}


def _transmit(client: smtplib.SMTP, envelope: Envelope) -> list[str]:
    options = ["BODY=8BITMIME"] if envelope.eight_bit else []
    refused = client.sendmail(envelope.sender, list(envelope.recipients), envelope.content, options)
    return sorted(refused)


@contextmanager
def _smtp(conn_id: str) -> Iterator[tuple[smtplib.SMTP, str]]:
    """Open an SMTP connection of Airflow."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    hook = SmtpHook(smtp_conn_id=conn_id)
    with _smtp_errors(conn_id):
        hook.get_conn()
    # The hook has no public way to send a message that is complete already; a test notices when this one goes.
    client: Any = hook._smtp_client
    try:
        with _smtp_errors(conn_id):
            client.ehlo_or_helo_if_needed()  # what the server can do is known only after that
        yield client, hook.from_email or hook.smtp_user or ""
    finally:
        client.close()


@contextmanager
def _smtp_errors(conn_id: str) -> Iterator[None]:
    """Let what goes wrong come out as this package's errors."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        raise RefusedError(
            "the SMTP server refuses all recipients.",
            stage="forward",
            reply=_words(next(iter(error.recipients.values()))),
        ) from None
    except smtplib.SMTPAuthenticationError as error:
        raise AuthenticationError(
            f"the SMTP server of {conn_id!r} refuses the login.",
            stage="forward",
            reply=_words((error.smtp_code, error.smtp_error)),
            remedy="Check login and password of the SMTP connection.",
        ) from None
    except smtplib.SMTPResponseException as error:
        raise RefusedError(
            f"the SMTP server of {conn_id!r} refuses.",
            stage="forward",
            reply=_words((error.smtp_code, error.smtp_error)),
        ) from None
    except (smtplib.SMTPException, OSError) as error:
        if isinstance(error, ImapError):
            raise
        raise LostConnectionError(
            f"the SMTP server of {conn_id!r} cannot be used: {type(error).__name__}",
            stage="forward",
            reply=str(error)[:300],
        ) from None


def _marks() -> Marks:
    """Return the marks of this installation: the key by which Airflow encrypts is the one secret that all of it has."""
    from airflow.providers.common.compat.sdk import conf

    keys = str(conf.get("core", "fernet_key", fallback="") or "").split(",")
    return Marks(tuple(key.strip().encode() for key in keys if key.strip()))


def _words(answer: tuple[int, Any]) -> str:
    code, words = answer
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return f"{code} {' '.join(text.split())}"[:300]


def _lines(url: str) -> list[str]:
    """Read a file of addresses."""
    from airflow.sdk import ObjectStoragePath

    try:
        return ObjectStoragePath(url).read_text("utf-8").splitlines()
    except Exception as error:
        raise ImapError(
            f"the file of recipients {url} cannot be read: {type(error).__name__}", stage="forward"
        ) from error
