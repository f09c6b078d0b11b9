"""The attachments of one mail and their content, from wherever it can be had, so that none is lost.

As a rule that is the server, part by part. Where it tells no structure that can be the mail's, or does not give a part
that it tells, the whole mail is fetched into a temporary file and read by :mod:`~airflow_imap_provider.mail.raw`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.mail.message import Attachment, Mail
from airflow_imap_provider.mail.raw import RawMail, structured_by
from airflow_imap_provider.mailbox.download import decoded, transferred
from airflow_imap_provider.mailbox.spool import PIECE, spooled
from airflow_imap_provider.transport.session import Session

__all__ = ["Contents", "opened_contents"]

log = logging.getLogger(__name__)


class Contents:
    """The attachments of one mail. Made by :func:`opened_contents`.

    :ivar mail: the mail, with all attachments that are known of it, and with its text if the server does not tell
        its structure.
    """

    def __init__(self, mail: Mail, opened: Callable[[], Session], stack: ExitStack) -> None:
        self.mail = mail
        self._opened = opened
        self._stack = stack
        self._found: RawMail | None = None
        self._whole = mail
        if not mail.structured:
            self.mail, _ = self._read_whole()

    def content(self, attachment: Attachment) -> bytes:
        """Return an attachment's content; needs little more memory than that.

        :raises ImapError: as :meth:`chunks` does.
        """
        content = bytearray()
        with closing(self.chunks(attachment)) as chunks:
            for chunk in chunks:
                content += chunk
        return bytes(content)

    def chunks(self, attachment: Attachment) -> Generator[bytes, None, None]:
        """Yield an attachment's content, decoded. Until that ends or is closed the session takes no other command.

        :raises ImapError: the mail is gone, the connection ends, or the attachment is nowhere to be had.
        """
        source, pieces = self.transferred(attachment)
        with closing(pieces):
            yield from decoded(pieces, source.encoding)

    def transferred(self, attachment: Attachment) -> tuple[Attachment, Generator[bytes, None, None]]:
        """Return an attachment as it is where its content is, and the content as it is transferred.

        :raises ImapError: as :meth:`chunks` does.
        """
        if attachment.counted:
            return attachment, self._of_whole(attachment)
        session = self._opened()
        pieces = transferred(session, self.mail.uid, attachment.part, octets=attachment.octets)
        try:
            first = next(pieces, b"")
        except ImapError as error:
            if not session.usable:
                raise
            problem = error
        else:
            if first or not attachment.octets:
                return attachment, _joined(first, pieces)
            problem = ImapError(
                f"the server tells of the attachment {attachment.name!r} of mail {self.mail.uid} and does not give it",
                stage="fetch",
                remedy="Save the mail as it is (what='message').",
            )
        log.warning("Mail %s is read whole, for its part %s is not given: %s", self.mail.uid, attachment.part, problem)
        try:
            whole, found = self._read_whole()
        except ImapError as error:
            raise problem from error
        twin = _twin(attachment, self.mail.attachments, whole.attachments)
        if twin is None or twin.part not in found.sections:
            raise problem
        return twin, self._of_whole(twin)

    def _read_whole(self) -> tuple[Mail, RawMail]:
        """Return the mail as the whole of it shows it, and its parts."""
        if self._found is None:
            session = self._opened()
            self._found = self._stack.enter_context(spooled(session, self.mail.uid, self.mail.size))
            self._whole = structured_by(self.mail, self._found, session.settings.code_page, text=True)
        return self._whole, self._found

    def _of_whole(self, attachment: Attachment) -> Generator[bytes, None, None]:
        _, found = self._read_whole()
        yield from found.pieces(attachment.part, PIECE)


@contextmanager
def opened_contents(mail: Mail, opened: Callable[[], Session]) -> Iterator[Contents]:
    """Open a mail to get at its attachments.

    :param opened: returns the session with the mail's folder open; asked before each command.
    :raises ImapError: the server does not tell the structure, and the mail cannot be fetched whole.
    """
    with ExitStack() as stack:
        yield Contents(mail, opened, stack)


def _joined(first: bytes, rest: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    with closing(rest):
        if first:
            yield first
        yield from rest


def _twin(wanted: Attachment, told: Iterable[Attachment], counted: Iterable[Attachment]) -> Attachment | None:
    """Return the attachment in the whole mail that is the one which the server tells."""
    counted = list(counted)
    for each in counted:
        if each.part == wanted.part and (each.name == wanted.name or each.content_type == wanted.content_type):
            return each
    alike = [each for each in counted if (each.name, each.content_type) == (wanted.name, wanted.content_type)]
    # Counted in another way. Of several with that name and type it is the one in the same place among them.
    same = [each.part for each in told if (each.name, each.content_type) == (wanted.name, wanted.content_type)]
    return alike[same.index(wanted.part)] if len(same) == len(alike) else None
