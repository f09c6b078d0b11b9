"""Between the logins of this process and a keeper of refresh tokens, which may fail or hang.

What could not be kept when it came is used here, and handed over again; nobody else has a newer one. Each write waits
for the one before it, so that the last one to arrive is the last one that was given.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from airflow_imap_provider.connection.settings import Keeper, OAuthSettings
from airflow_imap_provider.errors import ImapTimeoutError
from airflow_imap_provider.transport.clock import Deadline
from airflow_imap_provider.transport.oauth.limits import CACHED_TOKENS, KEEPER_CALLS
from airflow_imap_provider.transport.oauth.remedies import TOKEN_STAGE

__all__ = ["Shelf"]

logger = logging.getLogger(__name__)


@dataclass
class _Place:
    """What this process knows of one consent.

    :ivar token: the newest refresh token; empty if none has come.
    :ivar kept: whether the keeper has it.
    :ivar writing: set when the write that is under way is over.
    """

    token: str = field(default="", repr=False)
    kept: bool = True
    writing: threading.Event | None = None


class Shelf:
    """The newest refresh tokens that this process has seen, by consent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._reading = threading.BoundedSemaphore(KEEPER_CALLS)

    def newest(self, oauth: OAuthSettings, deadline: Deadline) -> str:
        """The refresh token to use.

        :raises ImapError: the keeper cannot say it, or not in half of the time.
        """
        with self._lock:
            place = self._place(oauth)
            token, kept = place.token, place.kept
        if not kept:
            self.keep(oauth, token, deadline)
            return token
        stored = self.stored(oauth.keeper, deadline) if oauth.keeper is not None else None
        return stored or token or oauth.refresh_token

    def stored(self, keeper: Keeper, deadline: Deadline) -> str | None:
        """What the keeper has.

        :raises ImapTimeoutError: it has not answered in half of the time; the other half is the endpoint's.
        """
        answer: Future[str | None] = Future()

        def read() -> None:
            try:
                answer.set_result(keeper.newest())
            except BaseException as exc:  # noqa: BLE001 - raised below, in the thread that waits
                answer.set_exception(exc)
            finally:
                self._reading.release()

        patience = deadline.part(2, TOKEN_STAGE)
        if not self._reading.acquire(timeout=patience.remaining(TOKEN_STAGE)):
            raise _silent()
        threading.Thread(target=read, name="imap-refresh-token", daemon=True).start()
        wait([answer], _left(patience))
        if not answer.done():
            raise _silent()
        return answer.result()

    def keep(self, oauth: OAuthSettings, token: str, deadline: Deadline) -> None:
        """Hand this one to the keeper; that goes on by itself if it takes longer than half of the time."""
        keeper = oauth.keeper
        with self._lock:
            place = self._place(oauth)
            place.token, place.kept = token, keeper is None
            if keeper is None:
                return
            done = place.writing
            if done is None:
                done = place.writing = threading.Event()
                threading.Thread(
                    target=self._write, args=(keeper, place, done), name="imap-refresh-token", daemon=True
                ).start()
        if not done.wait(_left(deadline) / 2):
            logger.warning("Airflow has not stored a new refresh token in time; it is used here, and stored later.")

    def _write(self, keeper: Keeper, place: _Place, done: threading.Event) -> None:
        """Hand over what is newest, until nothing newer has come meanwhile."""
        token, kept = "", False
        try:
            while True:
                with self._lock:
                    if place.token == token:
                        place.kept, place.writing = kept, None
                        return
                    token = place.token
                kept = keeper.keep(token)
        except BaseException:
            with self._lock:
                place.writing = None
            raise
        finally:
            done.set()

    def _place(self, oauth: OAuthSettings) -> _Place:
        consent = oauth.fingerprint()
        place = self._places.setdefault(consent, _Place())
        self._places.move_to_end(consent)
        while len(self._places) > CACHED_TOKENS:
            self._places.popitem(last=False)
        return place


def _left(deadline: Deadline) -> float:
    try:
        return deadline.remaining(TOKEN_STAGE)
    except ImapTimeoutError:
        return 0.0


def _silent() -> ImapTimeoutError:
    return ImapTimeoutError(
        "Airflow does not say in time which refresh token is the newest.",
        stage=TOKEN_STAGE,
        remedy="Check that Airflow's API server and database are well: the newest refresh token is kept in a Variable.",
    )
