"""The attachments of one mail and their content, from wherever it can be had, so that none is lost.

As a rule that is the server, part by part. Where it tells no structure that can be the mail's, or does not give a part
that it tells, or not all of it, the whole mail is fetched into a temporary file and read by
:mod:`~airflow_imap_provider.mail.raw`. What S/MIME has closed is opened if that is asked for, and never written to a
temporary file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from zlib import crc32

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.mail.fetching import lacks_text, text_items, with_text
from airflow_imap_provider.mail.message import Attachment, Mail
from airflow_imap_provider.mail.mime_fields import mime_fields
from airflow_imap_provider.mail.raw import RawMail, structured_by
from airflow_imap_provider.mailbox.download import decoded, part_content, transferred
from airflow_imap_provider.mailbox.spool import PIECE, spooled
from airflow_imap_provider.mailbox.unwrapping import decrypted, is_smime
from airflow_imap_provider.transport.limits import SURELY
from airflow_imap_provider.transport.session import Session

__all__ = ["Contents", "opened_contents"]

log = logging.getLogger(__name__)


class Contents:
    """One mail and what is in it. Made by :func:`opened_contents`."""

    def __init__(self, mail: Mail, opened: Callable[[], Session], stack: ExitStack, *, decrypt: bool) -> None:
        self._told = mail
        self._opened = opened
        self._stack = stack
        self._found: RawMail | None = None
        self._whole = mail
        self._decrypt = decrypt

    @property
    def mail(self) -> Mail:
        """The mail with all its attachments; with its text, too, if that had to be looked for in the whole of it.

        :raises ImapError: it must be fetched whole, and that cannot be done.
        """
        return self._read_whole()[0] if self._needs_whole() else self._told

    def with_text(self) -> Mail:
        """Return the mail with all its attachments and its text.

        :raises ImapError: one of them is nowhere to be had.
        """
        mail = self.mail
        if mail.text is not None:
            return mail
        session = self._opened()
        answer = session.fetch([mail.uid], text_items(mail)).get(mail.uid, {}) if mail.text_parts else {}
        if lacks_text(mail, answer):
            return self._read_whole()[0]
        return with_text(mail, answer, session.settings.code_page)

    def source(self) -> Generator[bytes, None, None]:
        """Yield the mail itself. Until that ends or is closed the session takes no other command.

        :raises ImapError: as :meth:`chunks` does.
        """
        if self._decrypt and self._needs_whole():
            whole, found = self._read_whole()
            if is_smime(whole):
                yield bytes(found.raw)
                return
        pieces = transferred(self._opened(), self._told.uid, "", octets=self._told.size)
        with closing(pieces):
            yield from pieces

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
        uid = self._told.uid
        attachment = _as_declared(session, uid, attachment)
        pieces = transferred(session, uid, attachment.part, octets=attachment.octets)
        try:
            first = next(pieces, b"")
        except ImapError as error:
            if not session.usable:
                raise
            problem = error
        else:
            if first or not attachment.octets:
                return attachment, self._continued(attachment, first, pieces, session)
            problem = ImapError(
                f"the server tells of the attachment {attachment.name!r} of mail {uid} and does not give it",
                stage="fetch",
                remedy="Save the mail as it is (what='message').",
            )
        twin = self._instead(attachment, problem)
        return twin, self._of_whole(twin)

    def _continued(
        self, attachment: Attachment, first: bytes, pieces: Generator[bytes, None, None], session: Session
    ) -> Generator[bytes, None, None]:
        """Yield a part; where the server stops giving it, the rest of it from the whole mail."""
        piece, given, sum_of_given = first, 0, 0
        with closing(pieces):
            while piece:
                given, sum_of_given = given + len(piece), crc32(piece, sum_of_given)
                yield piece
                try:
                    piece = next(pieces, b"")
                except ImapError as error:
                    if not session.usable:
                        raise
                    problem = error
                    break
            else:
                return
        twin = self._instead(attachment, problem)
        left, sum_of_twin = given, 0
        for each in self._of_whole(twin):
            passed, rest = each[:left], each[left:]
            left, sum_of_twin = left - len(passed), crc32(passed, sum_of_twin)
            if rest and (sum_of_twin != sum_of_given or twin.encoding != attachment.encoding):
                raise problem
            if rest:
                yield rest
        # The line end before a boundary belongs to the boundary; some servers give it with the part.
        ends = [end for end in (b"", b"\n", b"\r\n") if len(end) == left]
        if not any(crc32(end, sum_of_twin) == sum_of_given for end in ends):
            raise problem

    def _instead(self, attachment: Attachment, problem: ImapError) -> Attachment:
        """Return an attachment that the server does not give as it is in the whole mail.

        :param problem: what is raised if it is not there either.
        """
        log.warning("Mail %s is read whole, for its part %s is not given: %s", self._told.uid, attachment.part, problem)
        try:
            whole, found = self._read_whole()
        except ImapError as error:
            raise problem from error
        twin = _twin(attachment, self._told.attachments, whole.attachments)
        if twin is None or twin.part not in found.sections:
            raise problem
        begin, end = found.sections[twin.part]
        # What a boundary ends is whole, whatever its size was told to be; what ends with the mail may be cut off there.
        if end == len(found.raw) and end - begin < attachment.octets * SURELY:
            raise problem
        return twin

    def _needs_whole(self) -> bool:
        return not self._told.structured or (self._decrypt and is_smime(self._told))

    def _read_whole(self) -> tuple[Mail, RawMail]:
        """Return the mail as the whole of it shows it, and its parts; of a closed one what is within, if asked for."""
        if self._found is None:
            session, mail = self._opened(), self._told
            page = session.settings.code_page
            if not (self._decrypt and is_smime(mail)):
                self._found = self._stack.enter_context(spooled(session, mail.uid, mail.size))
                mail = structured_by(mail, self._found, page, text=True)
            if self._decrypt and is_smime(mail):
                self._found = RawMail.of(decrypted(session, mail))
                # That it is protected stays said, though what is within is not.
                mail = replace(structured_by(mail, self._found, page, text=True), protection=mail.protection)
            self._whole = mail
        assert self._found is not None  # one of both ways has been gone
        return self._whole, self._found

    def _of_whole(self, attachment: Attachment) -> Generator[bytes, None, None]:
        _, found = self._read_whole()
        yield from found.pieces(attachment.part, PIECE)


@contextmanager
def opened_contents(mail: Mail, opened: Callable[[], Session], *, decrypt: bool = False) -> Iterator[Contents]:
    """Open a mail to get at what is in it.

    :param mail: as the server tells it.
    :param opened: returns the session with the mail's folder open; asked before each command.
    :param decrypt: whether a mail that is encrypted or signed by S/MIME is opened. It is in memory then.
    """
    with ExitStack() as stack:
        yield Contents(mail, opened, stack, decrypt=decrypt)


def _as_declared(session: Session, uid: int, attachment: Attachment) -> Attachment:
    """Return an attachment with the encoding that its own header declares, where a server may not have understood it.

    Dovecot tells 7bit of ``base64;``. Texts are left as they are told: they are 7bit as a rule.
    """
    if attachment.encoding != "7bit" or attachment.content_type.startswith(("text/", "message/", "multipart/")):
        return attachment
    header = part_content(session, uid, f"{attachment.part}.MIME", "7bit")
    declared = mime_fields(header, b"text/plain").encoding.decode("latin-1")
    return replace(attachment, encoding=declared) if declared in ("base64", "quoted-printable") else attachment


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
