"""The Test of a connection: opens it as triggers and tasks do, looks into a folder, tries IDLE, and reports each stage.

Read only: the folder is opened by EXAMINE, and no mail is fetched. What the other side says is scrubbed of secrets.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import ImapError, RefusedError
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Clock, Deadline
from airflow_imap_provider.transport.report import Report
from airflow_imap_provider.transport.session import Session, open_session

__all__ = ["diagnose"]

_REFUSED = "The server announces IDLE and refuses it ({reply}): new mail is found by polling, every poll_interval."


def diagnose(
    settings: Settings, *, clock: Clock = SYSTEM_CLOCK, folder: str = "INBOX", limit: float | None = None
) -> Report:
    """Test a connection; blocks.

    Without a limit it takes at most ``settings.timeout`` seconds for each of: everything up to the login, opening the
    folder, going into IDLE, leaving it; then :data:`~airflow_imap_provider.transport.limits.LOGOUT_LIMIT` for the
    goodbye.

    :param folder: the folder to look into; nothing in it is changed.
    :param limit: seconds for all of it together.
    :returns: the report, whatever came of it; raises no :class:`~airflow_imap_provider.errors.ImapError`.
    """
    # Heavy, and needed only here.
    from airflow_imap_provider.transport.border import Scrubber
    from airflow_imap_provider.transport.findings import settings_findings
    from airflow_imap_provider.transport.recorder import Recorder

    scrubber = Scrubber(settings)
    recorder = Recorder(clock, scrubber.clean)
    within = None if limit is None else Deadline(clock, limit)
    recorder.enter("settings")
    recorder.found("settings", settings_findings(settings))
    session: Session | None = None
    try:
        session = open_session(settings, clock=clock, trace=recorder, within=within, scrubber=scrubber)
        status = session.select(folder, readonly=True)
        recorder.told("folder", folder=folder, mails=status.exists, uidvalidity=status.uidvalidity)
        if session.has("IDLE"):
            refusal = _try_idle(session)
            warnings = () if refusal is None else (_REFUSED.format(reply=refusal.reply),)
            recorder.found("idle", ({"idle": refusal is None}, warnings))
    except ImapError as exc:
        recorder.over(exc)
    recorder.over()
    if session is not None:
        session.logout()
    return Report(settings.conn_id, recorder.steps(settings.conn_id))


def _try_idle(session: Session) -> RefusedError | None:
    """Go into IDLE and leave it at once.

    :returns: the refusal, which only means that the server has to be polled.
    :raises ImapError: the connection broke, or no answer came.
    """

    async def stay() -> ImapError | None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[ImapError | None] = loop.create_future()

        def settle(error: ImapError | None = None) -> None:
            if not answer.done():
                answer.set_result(error)

        channel = session.idle_channel()
        # New mail that is announced meanwhile is nobody's business here.
        channel.start(loop, on_arrival=lambda: None, on_lost=settle, on_agreed=settle)
        refusal = await answer
        await channel.stop()
        return refusal

    # In a thread of its own: the caller's may have an event loop that runs.
    with ThreadPoolExecutor(1) as executor:
        error = executor.submit(asyncio.run, stay()).result()
    if error is None or isinstance(error, RefusedError):
        return error
    raise error
