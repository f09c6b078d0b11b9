"""What keeps thousands of watchers from doing the same thing in the same second.

Mailboxes that are activated together, or that come back together after a server's restart, must not poll, renew IDLE,
look at their settings and report their loss together: the event loop is one thread, and Airflow's API one door.
"""

from __future__ import annotations

import asyncio
import random
from weakref import WeakKeyDictionary

__all__ = ["IDLE_RENEWAL", "REOPENING", "SETTINGS_RENEWAL", "glance", "poll_pause", "turnstile"]

SETTINGS_GLANCE = 10.0
"""Seconds between looks at the connection's settings while there is no connection: whoever has just mended a password
does not want to wait until the back-off of the wrong one is over."""

SETTINGS_RENEWAL = 9 * 60.0
"""Seconds between looks at them while there is a connection: an edited one is used within ten minutes."""

IDLE_RENEWAL = 9 * 60.0
"""Seconds in IDLE at most: Office 365 stops pushing after about ten minutes, NATs forget a silent connection."""

REOPENING = 9 * 60.0
"""Seconds after which an open folder is opened again, at the next look. A folder that is deleted and made anew within a
second leaves Dovecot 2.3's session in the old one: every command succeeds, and no mail ever comes."""

FIRST_SPREAD, SPREAD = 0.3, 0.85
"""The share of a pause after which it may end, the first time and later."""

POLLS_A_SECOND = 30.0
"""Safety polls of connections in IDLE, over all folders of a triggerer: with more than 1,800 folders they come less
often than every minute each, and never less often than IDLE is renewed. One is about five round trips in a thread."""

LOOKS_A_SECOND = 20.0
"""Looks at the settings of connections that wait to be tried again, over all folders: each asks Airflow's API."""


def poll_pause(wanted: float, *, idle: bool, first: bool, folders: int) -> float:
    """Return the seconds until the next poll of a folder.

    :param wanted: the seconds asked for.
    :param idle: whether the poll is only the safety net of IDLE, which it then renews too.
    :param first: whether it is the first one of a connection.
    :param folders: how many folders are watched.
    """
    pause = min(wanted, IDLE_RENEWAL)
    if idle:
        pause = min(max(pause, folders / POLLS_A_SECOND), IDLE_RENEWAL)
    return pause * random.uniform(FIRST_SPREAD if first else SPREAD, 1.0)


def glance(delay: float, folders: int) -> float:
    """Return the seconds between two looks at the settings during a wait of ``delay`` for the next attempt.

    The longer it has been failing, the more seldom: a secrets backend may give a new password at every look.
    """
    return min(max(SETTINGS_GLANCE, delay / 10, folders / LOOKS_A_SECOND), SETTINGS_RENEWAL)


_turnstiles: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def turnstile() -> asyncio.Lock:
    """Return what lets one watcher through in each turn of the loop, if the holder gives up a turn inside."""
    loop = asyncio.get_running_loop()
    found = _turnstiles.get(loop)
    if found is None:
        found = _turnstiles[loop] = asyncio.Lock()
    return found
