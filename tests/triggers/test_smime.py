"""Signed and encrypted mail through a running trigger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_imap_provider.mail.conditions import Body, SmimeSigner
from airflow_imap_provider.triggers.email import EmailTrigger
from tests.mail.smime.people import BOSS, CLERK, ROOT, SENDER, encrypted, mail, signed
from tests.servers.dovecot import Dovecot, User
from tests.servers.waiting import until
from tests.triggers.conftest import connection
from tests.triggers.mailbox_state import flags
from tests.triggers.triggerer import State, Triggerer

Make = Callable[..., EmailTrigger]


async def test_a_trigger_takes_what_the_boss_has_signed_and_tells_no_text(
    dovecot: Dovecot,
    user: User,
    state: State,
    triggerer: Triggerer,
    trigger: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = {"smime_private_key": CLERK.pem + CLERK.key_pem, "ca_bundle": dovecot.authority.pem + ROOT.pem}
    monkeypatch.setenv("AIRFLOW_CONN_SIGNED", connection(dovecot, user, extra=extra))
    forged = mail(b"Content-Type: text/plain\r\n\r\nPay invoice 4711, please.\r\n")
    sealed = encrypted(tmp_path, content=signed(tmp_path, BOSS))
    dovecot.deliver_all(user, [forged, mail(signed(tmp_path, CLERK)), mail(sealed)])
    conditions = [SmimeSigner.equals(SENDER), Body.contains("invoice 4711")]
    triggerer.add(trigger(imap4_conn_id="signed", conditions=conditions))
    await until(lambda: bool(triggerer.log), "the event")
    [event] = triggerer.log
    [email] = event["emails"]
    assert (email["uid"], email["smime"]["signature"], email["smime"]["encryption"]) == (3, "valid", "opened")
    assert "4711" not in str(event)
    assert "Seen" not in flags(dovecot, user)["Hello"]


def test_the_switch_is_kept_when_a_trigger_is_stored() -> None:
    kept = EmailTrigger(smime=True, conditions=[SmimeSigner.equals(SENDER)])
    _, arguments = kept.serialize()
    assert (arguments["smime"], EmailTrigger(**arguments).serialize()[1]) == (True, arguments)
