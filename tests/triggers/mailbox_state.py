"""What the tests of the trigger look at: the stored place, and the mailbox as another client sees it."""

from __future__ import annotations

from airflow_imap_provider.triggers.store import Stream
from tests.servers.dovecot import Dovecot, User
from tests.triggers.conftest import CONN_ID
from tests.triggers.triggerer import State

PLACE = Stream(CONN_ID, "INBOX", "default").key("place")
HEALTH = Stream(CONN_ID, "INBOX", "default").key("health")


def committed(state: State) -> int:
    """The last UID of the stored place; -1 until the folder was opened."""
    place = state.get(PLACE) or {}
    return int(place["last_uid"]) if place.get("uidvalidity") else -1


def flags(dovecot: Dovecot, user: User, folder: str = "INBOX") -> dict[str, str]:
    """The flags of a folder's mails by subject, as another client sees them."""
    with dovecot.connection(user) as client:
        client.select(f'"{folder}"', readonly=True)
        _, found = client.uid("SEARCH", "ALL")
        result = {}
        for uid in found[0].split():
            _, answer = client.uid("FETCH", uid, "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            head, subject = answer[0]
            tail = answer[1]
            result[subject.decode().partition(":")[2].strip()] = (head + tail).decode()
        return result
