"""Doing the same to several mails: one that fails stops no other, and at the end one error names each that failed.

Only what has no sense without a connection any more ends it early; what was not tried is named, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from airflow_imap_provider.errors import AuthenticationError, ImapError, SettingsError
from airflow_imap_provider.mailbox.lookup import NotFoundError

__all__ = ["MISSING", "Failures", "check_missing", "kept", "raise_all"]

log = logging.getLogger(__name__)

MISSING = ("fail", "ignore")

REMEDIES = 3
"""Different remedies in one error; with more, nobody sees which is for what."""

NAMED = 50
"""Failures that an error tells word by word; Airflow shows it in the task's log, where each has a line of its own."""


def check_missing(missing: object) -> str:
    """Return what is to be done about mails that are nowhere any more.

    :raises SettingsError: for anything but :data:`MISSING`.
    """
    if missing not in MISSING:
        raise SettingsError(f"missing={missing!r}; accepted are 'fail' and 'ignore'.", stage="settings")
    return str(missing)


@contextmanager
def kept(errors: list[ImapError]) -> Iterator[None]:
    """Keep the error of a step for later.

    :raises SettingsError: it would be the same for the next one.
    """
    try:
        yield
    except SettingsError:
        raise
    except ImapError as error:
        errors.append(error)


def raise_all(errors: Sequence[ImapError]) -> None:
    """Raise what there is to raise: nothing, the one error, or one that says them all."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ImapError(
            "; ".join(error.problem.rstrip(".") for error in errors),
            stage=errors[0].stage,
            reply=errors[0].reply,
            remedy=_remedies(errors),
        ) from errors[0]


def _remedies(errors: Sequence[ImapError]) -> str:
    return " ".join(list(dict.fromkeys(error.remedy for error in errors if error.remedy))[:REMEDIES])


class Failures:
    """What failed, mail by mail.

    :param done: what is done to the mails, for the error: ``saved``, ``forwarded``.
    :param keys: of all mails.
    :param missing: ``ignore`` passes over mails that are nowhere any more.
    """

    def __init__(self, done: str, keys: Sequence[str], missing: str = "fail") -> None:
        self._done = done
        self._keys = list(keys)
        self._missing = check_missing(missing)
        self._tried: set[str] = set()
        self._failed: dict[str, ImapError] = {}

    @contextmanager
    def of(self, *keys: str) -> Iterator[None]:
        """Keep the error of a step for these mails.

        :raises SettingsError: it would be the same for each.
        """
        self._tried.update(keys)
        try:
            yield
        except SettingsError:
            raise
        except NotFoundError as error:
            if self._missing == "fail":
                self._note(keys, error)
            else:
                log.warning("Mail %s is nowhere any more, and not %s", ", ".join(keys), self._done)
        except ImapError as error:
            self._note(keys, error)

    def _note(self, keys: Sequence[str], error: ImapError) -> None:
        log.error("Mail %s is not %s: %s", ", ".join(keys), self._done, error)
        self._failed |= dict.fromkeys(keys, error)

    @property
    def hopeless(self) -> bool:
        """Tell whether the next mails need not be tried: a connection is gone, or there is none.

        A login that is refused is not repeated for each mail: that would lock the account.
        """
        return any(
            isinstance(error, (ConnectionError, TimeoutError, AuthenticationError)) for error in self._failed.values()
        )

    def check(self) -> None:
        """Raise what has failed, if anything has.

        :raises ImapError: one that names each mail; of a single mail its own.
        """
        if not self._failed:
            return
        errors = list(self._failed.values())
        if len(self._keys) == 1:
            raise errors[0]
        untried = [key for key in self._keys if key not in self._tried] if self.hopeless else []
        words = [f"{key}: {error.problem.rstrip('.')}" for key, error in list(self._failed.items())[:NAMED]]
        if len(self._failed) > NAMED:
            words.append(f"and {len(self._failed) - NAMED} more, which the log has")
        if untried:
            shown = ", ".join(untried[:NAMED]) + (", …" if len(untried) > NAMED else "")
            words.append(f"not tried, since the connection is gone: {shown}")
        raise ImapError(
            f"{len(self._failed) + len(untried)} of {len(self._keys)} mails are not {self._done}: {'; '.join(words)}",
            stage=errors[0].stage,
            reply=errors[0].reply,
            remedy=_remedies(errors),
        ) from errors[0]
