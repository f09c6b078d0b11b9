"""Keeps refresh tokens that an endpoint replaces at each use, in Airflow Variables.

Tasks and triggers cannot write connections, but they can write Variables, which Airflow encrypts alike. The name of one
is made from the connection's own refresh token (as a fingerprint): a new consent in the form begins anew, and the Test
button, which knows a connection only under a passing name, finds what the triggerer has kept.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from airflow_imap_provider.connection.settings import OAuthSettings
from airflow_imap_provider.errors import RefusedError

__all__ = ["VariableKeeper", "variable_name"]

logger = logging.getLogger(__name__)

PREFIX = "imap4_refresh_token_"
"""Airflow masks Variables by their name: it must contain ``token``."""
FINGERPRINT_DIGITS = 32
"""Half of a SHA-256: no two consents share it."""


def variable_name(oauth: OAuthSettings) -> str:
    """The name of the Variable for a consent."""
    return f"{PREFIX}{oauth.fingerprint()[:FINGERPRINT_DIGITS]}"


class VariableKeeper:
    """Keeps the newest refresh token of one consent.

    Asks Airflow and waits for the answer: not for an event loop's thread.

    :param oauth: the settings with the connection's own refresh token.
    :param whose: the account, for the Variable's description and for messages.
    """

    def __init__(self, oauth: OAuthSettings, whose: str) -> None:
        self.name = variable_name(oauth)
        self._whose = whose

    def newest(self) -> str | None:
        """What was kept; ``None`` if nothing was.

        :raises RefusedError: Airflow does not answer, which must not count as "nothing": the token that the connection
            itself has is used up as soon as one was kept.
        """
        problem = ""
        found: str | None = None
        try:
            found = _read(self.name)
            if found:
                _mask(found)
        except Exception as exc:  # noqa: BLE001 - whatever it is, its text may hold the value
            problem = str(exc) if isinstance(exc, _NoAnswerError) else type(exc).__name__
        if problem:
            raise RefusedError(
                f"the newest refresh token of {self._whose} cannot be read from the Variable {self.name} ({problem}).",
                stage="token",
                remedy="Check that Airflow's database and API server are there, and that its Fernet key is the same "
                "everywhere.",
            )
        return found or None

    def keep(self, token: str) -> bool:
        """Keep this one; whether that worked is logged too."""
        problem = ""
        try:
            _mask(token)
            _write(
                self.name,
                token,
                f"Newest OAuth refresh token of {self._whose}, kept by airflow-imap-provider. Do not delete.",
            )
        except Exception as exc:  # noqa: BLE001 - as above
            problem = str(exc) if isinstance(exc, _NoAnswerError) else type(exc).__name__
        if problem:
            logger.error(
                "The token endpoint has replaced the refresh token of %s, and the new one could not be stored in the "
                "Variable %s (%s). This process goes on with it and tries again at the next renewal; if it ends "
                "before, the user has to consent again, and the new refresh token goes into OAuth: refresh token "
                "(oauth_refresh_token).",
                self._whose,
                self.name,
                problem,
            )
        return not problem


class _NoAnswerError(Exception):
    """Airflow's answer is no answer; its text is a name of Airflow's, and no value."""


# -- Airflow's Variables ----------------------------------------------------------------------------------------------
#
# Not by Variable.get: it takes a secrets backend that fails for one that has nothing, and so an outage for "no such
# Variable" (get_variable_from_secrets and ExecutionAPISecretsBackend.get_variable, Airflow 3.3.2).


def _supervisor() -> Any:
    """Tasks and triggers ask the supervisor; ``None`` where there is none: Test button, command line."""
    return getattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS", None)


def _read(name: str) -> str | None:
    supervisor = _supervisor()
    if supervisor is None:
        return _from_table(name)
    from airflow.sdk.execution_time.comms import GetVariable, VariableResult

    answer = _asked(supervisor, GetVariable(key=name))
    if answer is None:
        return None
    if not isinstance(answer, VariableResult) or answer.value is None:
        raise _NoAnswerError(type(answer).__name__)
    return str(answer.value)


def _write(name: str, token: str, description: str) -> None:
    supervisor = _supervisor()
    if supervisor is None:
        from airflow.models.variable import Variable

        Variable.set(name, token, description)
        return
    from airflow.sdk.execution_time.comms import PutVariable

    _asked(supervisor, PutVariable(key=name, value=token, description=description))


def _asked(supervisor: Any, question: Any) -> Any:
    """The supervisor's answer; ``None`` if there is no such Variable.

    :raises _NoAnswerError: it says that it could not find out.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse

    try:
        answer = supervisor.send(question)
    except AirflowRuntimeError as exc:
        answer = exc.error
    if not isinstance(answer, ErrorResponse):
        return answer
    if answer.error is ErrorType.VARIABLE_NOT_FOUND:
        return None
    raise _NoAnswerError(answer.error.name)


def _from_table(name: str) -> str | None:
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        row = session.scalar(select(Variable).where(Variable.key == name))
        if row is None:
            return None
        if row.val is None:
            # Airflow says so in its log, and nothing else.
            raise _NoAnswerError("it cannot be decrypted")
        return str(row.val)


def _mask(token: str) -> None:
    from airflow.sdk.log import mask_secret

    mask_secret(token)
