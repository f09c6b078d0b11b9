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

        :raises RefusedError: Airflow does not answer.
        """
        problem = ""
        found: Any = None
        try:
            found = _variables().get(self.name, None)
        except Exception as exc:  # noqa: BLE001 - whatever it is, its text may hold the value
            problem = type(exc).__name__
        if problem:
            raise RefusedError(
                f"the newest refresh token of {self._whose} cannot be read from the Variable {self.name} ({problem}).",
                stage="token",
                remedy="Nothing needs to be changed if Airflow's database or API server was away for a moment.",
            )
        return found or None

    def keep(self, token: str) -> bool:
        """Keep this one; whether that worked is logged too."""
        problem = ""
        try:
            _mask(token)
            _variables().set(
                self.name,
                token,
                f"Newest OAuth refresh token of {self._whose}, kept by airflow-imap-provider. Do not delete.",
            )
        except Exception as exc:  # noqa: BLE001 - as above
            problem = type(exc).__name__
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


def _variables() -> Any:
    """Airflow's Variables: over the supervisor in tasks and triggers, else (Test button, command line) the database."""
    if hasattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS"):
        from airflow.sdk import Variable

        return Variable
    from airflow.models.variable import Variable as StoredVariable

    return StoredVariable


def _mask(token: str) -> None:
    from airflow.sdk.log import mask_secret

    mask_secret(token)
