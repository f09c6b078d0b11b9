"""A sensor that waits inside a DAG run for mails. To start DAG runs when mail arrives, use the Email Trigger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from airflow_imap_provider.connection.code_pages import as_code_page
from airflow_imap_provider.errors import ConnectError, ImapTimeoutError, LostConnectionError, SettingsError
from airflow_imap_provider.hooks.outgoing import check_outgoing
from airflow_imap_provider.hooks.templates import render_json
from airflow_imap_provider.mail.conditions import Condition, Conditions
from airflow_imap_provider.mail.header_block import check_header_names
from airflow_imap_provider.mail.template_condition import check_rendered
from airflow_imap_provider.mail.templates import templated
from airflow_imap_provider.mailbox.actions import Action, dump_actions, load_actions, unconditional
from airflow_imap_provider.mailbox.place import first_place, parse_start
from airflow_imap_provider.mailbox.several import check_missing
from airflow_imap_provider.mailbox.targets import check_targets
from airflow_imap_provider.triggers.arguments import as_conditions, as_style, as_switch

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from airflow_imap_provider.mailbox.reader import Wish

__all__ = ["EmailSensor"]

MOST = 50
"""Mails that a sensor returns at most: they are kept in the task's state store, so that a retry returns them again."""


class EmailSensor(BaseSensorOperator):
    """Waits for mails that meet conditions, and returns them.

    A retry or a cleared task returns the mails that were found before, and repeats their actions. What was saved of
    mails that are gone by then is told again; a mail that was to be saved and is gone fails the task.

    :param imap4_conn_id: the connection of type IMAP4.
    :param folder: the folder's name, or several names: mails in any of them count.
    :param conditions: which mails match; none: every mail. See :mod:`airflow_imap_provider.mail.conditions`.
    :param trigger_on: ``"all"`` conditions hold (default), ``"any"`` holds, ``"none"`` holds, or ``"always"``.
    :param min_count: how many mails to wait for (1 to 50).
    :param start: which mails count: ``"run"`` (received since the DAG run started, default), ``"new"`` (since this
        sensor began to wait), ``"unread"``, ``"all"``, or a date, also as a template.
    :param on_match: actions for the mails that are returned, done on the worker before the task succeeds.
    :param payload: ``"full"``, or ``"minimal"`` without subject and addresses.
    :param headers: names of headers to show in the payload.
    :param text: whether the payload holds the mail's text.
    :param smime: whether S/MIME signatures are checked, and told in the payload, although no condition asks for it.
    :param code_page: charset for text that declares none or a wrong one; overrides the connection's.
    :param idle: ``False`` polls only.
    :param missing: ``"fail"``, or ``"ignore"`` mails that somebody has moved away before they were saved.
    :param deferrable: wait in the triggerer, on the connection that all watchers of the folder share, and not on a
        worker.
    :return: a list of dicts, one per mail, as in ``docs/payload.md``; at most 50. With ``files``, if there is a Save in
        ``on_match``: what SaveEmailOperator returns, without ``key``.

    The time limit and what follows it are Airflow's own ``timeout``, ``soft_fail`` and ``never_fail``;
    ``poke_interval`` is the interval of polls.
    """

    template_fields: Sequence[str] = ("imap4_conn_id", "folder", "conditions", "on_match", "start")
    ui_color = "#d7e8f7"

    def __init__(
        self,
        *,
        imap4_conn_id: str = "imap4_default",
        folder: str | Sequence[str] = "INBOX",
        conditions: Sequence[Condition] | Condition | Conditions | str = (),
        trigger_on: str = "all",
        min_count: int = 1,
        start: str | date | datetime = "run",
        on_match: Sequence[Action] | Action | str = (),
        payload: str = "full",
        headers: Sequence[str] = (),
        text: bool = False,
        smime: bool = False,
        code_page: str = "",
        idle: bool = True,
        missing: str = "fail",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(min_count, bool) or not isinstance(min_count, int) or not 1 <= min_count <= MOST:
            raise SettingsError(f"min_count={min_count!r}; a number from 1 to {MOST} is accepted.", stage="settings")
        self.imap4_conn_id = imap4_conn_id
        self.folder = folder if isinstance(folder, str) or not isinstance(folder, (list, tuple)) else list(folder)
        self.conditions = as_conditions(conditions, trigger_on).dumps()
        self.min_count = min_count
        self.start = str(start) if start == "run" or templated(start) else parse_start(start)
        self.on_match = dump_actions(unconditional(on_match))
        if folder is None or isinstance(self.folder, (str, list)):
            self._folders()
        self._check_actions()
        self.payload = as_style(payload)
        self.headers = check_header_names(headers)
        self.text = as_switch("text", text)
        self.smime = as_switch("smime", smime)
        self.code_page = as_code_page(code_page)
        self.idle = as_switch("idle", idle)
        self.missing = check_missing(missing)
        self.deferrable = deferrable

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render; conditions and actions text by text."""
        texts = self.conditions, self.on_match
        self.conditions = self.on_match = ""
        super().render_template_fields(context, jinja_env)
        env = jinja_env or self.get_template_env()
        self.conditions, self.on_match = (
            render_json(text, lambda value: self.render_template(value, context, env)) for text in texts
        )
        # What was a template could not be checked when the DAG file was parsed.
        conditions = Conditions.loads(self.conditions)
        check_rendered(conditions.conditions)
        self.conditions, self.on_match = conditions.dumps(), dump_actions(self.on_match)
        self._check_actions()
        self._folders()

    def _check_actions(self) -> None:
        actions = load_actions(self.on_match)
        check_outgoing(actions)
        folders = [self.folder] if isinstance(self.folder, str) else self.folder
        # Of several folders one may well be meant to collect the mails of the others.
        if isinstance(folders, list) and len(folders) == 1:
            check_targets(str(folders[0]), actions)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Look once, then wait: in the triggerer, or here."""
        found: Any = context["task_state_store"].get("found")
        if found:
            self.log.info("These mails were found before; returning them again.")
            return self._finish(context, found, repeated=True)
        if not self.deferrable:
            emails: list[dict[str, Any]] = super().execute(context)
            return emails
        try:
            now = self.poke(context)
        except (ConnectError, LostConnectionError, ImapTimeoutError) as error:
            # The triggerer keeps trying; a wrong password or field fails here and now.
            self.log.warning("The server cannot be reached at present; waiting all the same: %s", error)
        else:
            if now:
                return list(now.xcom_value or ())
        from airflow_imap_provider.triggers.wait import EmailWaitTrigger

        self.defer(
            trigger=EmailWaitTrigger(
                wish=self._wish(self._folders()[0]).to_json(),
                folders=self._folders(),
                start=self._policy(context),
                activated=self._activated(context).isoformat(),
                min_count=self.min_count,
                poll_interval=max(self.poke_interval, 1.0),
                idle=self.idle,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )
        raise AssertionError("defer() does not return")

    def poke(self, context: Context) -> PokeReturnValue:
        """Look into the folder once."""
        from airflow_imap_provider.hooks.imap4 import Imap4Hook

        place = first_place(self._policy(context), self._activated(context))
        emails: list[dict[str, Any]] = []
        with Imap4Hook(self.imap4_conn_id) as hook:
            for folder in self._folders():
                if len(emails) < self.min_count:
                    emails += hook.read(self._wish(folder), place, enough=self.min_count - len(emails))
        if len(emails) < self.min_count:
            self.log.info("Mails found: %s of %s", len(emails), self.min_count)
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._found(context, emails))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> list[dict[str, Any]]:
        """Go on with what the trigger has found."""
        return self._found(context, event["emails"])

    def _found(self, context: Context, emails: list[dict[str, Any]]) -> list[dict[str, Any]]:
        emails = emails[:MOST]
        store: Any = context["task_state_store"]
        # Before the actions: a mail that is moved away must not be waited for again by a retry.
        store.set("found", emails, retention=NEVER_EXPIRE)
        return self._finish(context, emails, repeated=False)

    def _finish(self, context: Context, emails: list[dict[str, Any]], *, repeated: bool) -> list[dict[str, Any]]:
        actions = load_actions(self.on_match)
        if actions:
            from airflow_imap_provider.hooks.emails import with_files
            from airflow_imap_provider.hooks.imap4 import Imap4Hook
            from airflow_imap_provider.hooks.sent import TaskRecord

            record = TaskRecord(context["task_state_store"])
            records: Any = {
                "repeated": repeated,
                "sent": record,
                "saved": TaskRecord(context["task_state_store"], "saved"),
                "missing": self.missing,
            }
            with Imap4Hook(self.imap4_conn_id) as hook:
                whole = [email for email in emails if not email.get("incomplete")]
                results = hook.act(whole, actions, **records)
                if broken := [email for email in emails if email.get("incomplete")]:
                    kept = [action for action in actions if action.do != "delete"]
                    if len(kept) < len(actions):
                        keys = [email["key"] for email in broken]
                        self.log.error("Not deleted, for the server has not given all of these mails: %s", keys)
                    results += hook.act(broken, kept, **records)
            emails = [with_files(email, actions, results) for email in emails]
        self.log.info("Mails found: %s", [email["key"] for email in emails])
        return emails

    def _folders(self) -> list[str]:
        folders = [self.folder] if isinstance(self.folder, str) else list(self.folder or ())
        if not folders or not all(isinstance(folder, str) and folder.strip() for folder in folders):
            raise SettingsError(f"folder={self.folder!r}; a name or several are accepted.", stage="settings")
        # INBOX is the one folder whose name has no case (RFC 9051, section 5.1).
        return list(dict.fromkeys("INBOX" if folder.upper() == "INBOX" else folder for folder in folders))

    def _wish(self, folder: str) -> Wish:
        from airflow_imap_provider.mailbox.reader import Wish

        return Wish(
            conn_id=self.imap4_conn_id,
            folder=folder,
            conditions=Conditions.loads(self.conditions),
            batch_size=MOST,
            style=self.payload,
            headers=tuple(self.headers),
            text=self.text,
            smime=self.smime,
            code_page=self.code_page,
        )

    def _policy(self, context: Context) -> str:
        if self.start != "run":
            return parse_start(self.start)
        run: Any = context["dag_run"]
        begin: datetime = run.start_date or run.run_after
        return begin.replace(microsecond=0).isoformat()

    def _activated(self, context: Context) -> datetime:
        """Return when this task began to wait, over pokes, reschedules and retries."""
        store: Any = context["task_state_store"]
        activated = store.get("activated")
        if activated is None:
            activated = datetime.now(timezone.utc).isoformat()
            store.set("activated", activated, retention=NEVER_EXPIRE)
        return datetime.fromisoformat(activated)
