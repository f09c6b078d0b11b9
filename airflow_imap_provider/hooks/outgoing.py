"""What leaves the mail server: saving to Airflow's object storage, and forwarding by an SMTP connection of Airflow.

Works on an open session, in a task or in a thread of the triggerer; which mails, and when, is decided elsewhere.
"""

from __future__ import annotations

import importlib.util
import logging
import smtplib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import ImapError, LostConnectionError, RefusedError, SettingsError
from airflow_imap_provider.mail.templates import templated
from airflow_imap_provider.mailbox.choice import Choice
from airflow_imap_provider.mailbox.forwarding import Envelope, Forwarding, compose, fetch_parts
from airflow_imap_provider.mailbox.saving import save_mail

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail
    from airflow_imap_provider.mailbox.actions import Action
    from airflow_imap_provider.transport.session import Session

__all__ = ["Found", "check_outgoing", "forward", "save", "send_out"]

log = logging.getLogger(__name__)

Found = Iterable[tuple[str, "Callable[[], Mail]"]]
"""Mails: the identity of each, and what opens its folder and returns it."""


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


def send_out(session: Session, mails: Found, action: Action) -> list[dict[str, Any]]:
    """Do an action that leaves the mail server.

    :return: what was saved, or sent.
    """
    options = dict(action.options)
    if action.do == "save":
        return save(session, mails, action.argument, Choice.from_json(options))
    return forward(session, mails, Forwarding.from_json(options))


# --- saving ---------------------------------------------------------------------------------------------------------


def save(session: Session, mails: Found, path: Any, choice: Choice) -> list[dict[str, Any]]:
    """Save mails.

    :param path: as :class:`~airflow_imap_provider.hooks.storage.ObjectStorage` takes it.
    :return: one dict for each file: ``key`` of the mail, ``path``, ``name``, ``part``, ``content_type``, ``size``,
        ``sha256``, ``existed``.
    """
    from airflow_imap_provider.hooks.storage import ObjectStorage

    storage = ObjectStorage(path)
    saved = []
    for key, find in mails:
        mail = find()
        saved += [each.to_json(key) for each in save_mail(session, mail, choice, storage, key=key)]
    return saved


# --- forwarding -----------------------------------------------------------------------------------------------------


def forward(session: Session, mails: Found, forwarding: Forwarding) -> list[dict[str, Any]]:
    """Forward mails.

    :return: one dict for each message: ``keys`` of the mails, ``message_id``, ``recipients``, and ``refused``, those
        of them that the SMTP server did not take.
    """
    files = {item: _lines(item) for item in (*forwarding.to, *forwarding.cc, *forwarding.bcc) if "://" in item}
    sent = []
    with _smtp(forwarding.smtp_conn_id) as (client, own_address):
        sender = forwarding.sender or own_address
        if not sender:
            raise SettingsError(
                f"the SMTP connection {forwarding.smtp_conn_id!r} has no from_email: nobody knows who sends.",
                stage="forward",
                remedy="Give sender, or fill in From email of the connection.",
            )
        eight_bit = client.has_extn("8bitmime")
        group = []
        for key, find in mails:
            mail = find()
            group.append((key, mail, fetch_parts(session, mail, forwarding, eight_bit=eight_bit)))
            if forwarding.separate:
                sent.append(_send(client, group, forwarding, sender, files, eight_bit=eight_bit))
                group = []
        if group:
            sent.append(_send(client, group, forwarding, sender, files, eight_bit=eight_bit))
    return sent


def _send(
    client: smtplib.SMTP,
    mails: Sequence[tuple[str, Mail, Sequence[bytes]]],
    forwarding: Forwarding,
    sender: str,
    files: Mapping[str, Sequence[str]],
    *,
    eight_bit: bool,
) -> dict[str, Any]:
    envelope = compose(mails, forwarding, sender=sender, files=files, eight_bit=eight_bit)
    refused = _transmit(client, envelope)
    keys = [key for key, _, _ in mails]
    log.info("Forwarded %s to %s recipients as %s", keys, len(envelope.recipients), envelope.message_id)
    if refused:
        # Sending again would reach the others a second time.
        log.error("Of %s the SMTP server refuses these recipients: %s", envelope.message_id, refused)
    return {
        "keys": keys,
        "message_id": envelope.message_id,
        "recipients": list(envelope.recipients),
        "refused": refused,
    }


def _transmit(client: smtplib.SMTP, envelope: Envelope) -> list[str]:
    options = ["BODY=8BITMIME"] if envelope.eight_bit else []
    refused = client.sendmail(envelope.sender, list(envelope.recipients), envelope.content, options)
    return sorted(refused)


@contextmanager
def _smtp(conn_id: str) -> Iterator[tuple[smtplib.SMTP, str]]:
    """Open an SMTP connection of Airflow; its errors come out as this package's."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    hook = SmtpHook(smtp_conn_id=conn_id)
    try:
        hook.get_conn()
        # The hook has no public way to send a message that is complete already; a test notices when this one goes.
        client: Any = hook._smtp_client
        try:
            client.ehlo_or_helo_if_needed()  # what the server can do is known only after that
            yield client, hook.from_email or hook.smtp_user or ""
        finally:
            client.close()
    except smtplib.SMTPRecipientsRefused as error:
        raise RefusedError(
            "the SMTP server refuses all recipients.",
            stage="forward",
            reply=_words(next(iter(error.recipients.values()))),
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
