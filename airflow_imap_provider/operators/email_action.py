"""Operators that do something with mails which an earlier task has: save, act, forward. Import them from ``email``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.hooks.outgoing import check_outgoing
from airflow_imap_provider.hooks.sent import TaskRecord
from airflow_imap_provider.hooks.templates import render_json
from airflow_imap_provider.mail.templates import templated
from airflow_imap_provider.mailbox.actions import (
    Action,
    Forward,
    Save,
    dump_actions,
    load_actions,
    mail_by_mail,
    unconditional,
)
from airflow_imap_provider.mailbox.several import Failures, check_missing, kept, raise_all

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_imap_provider.hooks.imap4 import Imap4Hook

__all__ = ["EmailActionOperator", "ForwardEmailOperator", "SaveEmailOperator"]


class _EmailOperator(BaseOperator):
    """What these operators have in common: the mails, and the connection that leads to each."""

    ui_color = "#d7e8f7"

    def __init__(self, *, emails: Any, imap4_conn_id: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.emails = emails
        self.imap4_conn_id = imap4_conn_id

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render templates, but never what stands in a mail: anybody may have written it.

        Airflow 3.3.2 renders everything that ``expand_kwargs`` hands on, values from XCom too.
        """
        if isinstance(content, Mapping) and set(content) >= {"key", "folder", "uid", "uidvalidity"}:
            return content
        return super().render_template(content, context, jinja_env, seen_oids)

    def _by_connection(self) -> dict[str, list[Mapping[str, Any]]]:
        """Return the mails by connection; mails know theirs."""
        from airflow_imap_provider.hooks.emails import listed_emails

        groups: dict[str, list[Mapping[str, Any]]] = {}
        for email in listed_emails([] if self.emails is None else self.emails):
            conn_id = self.imap4_conn_id or email.get("conn_id")
            if not conn_id:
                raise SettingsError("a mail names no connection: give imap4_conn_id.", stage="settings")
            groups.setdefault(str(conn_id), []).append(email)
        return groups

    def _rendered(self, text: str, context: Any, jinja_env: jinja2.Environment | None) -> str:
        env = jinja_env or self.get_template_env()
        return render_json(text, lambda value: self.render_template(value, context, env))


class SaveEmailOperator(_EmailOperator):
    """Saves mails and their attachments to object storage, in constant memory, each file whole or not at all.

    All mails are tried, and those that could not be saved are named at the end. A retry writes nothing twice: files
    that are there with the same content are recognised.

    :param emails: one mail or several, as the trigger, the operators and the sensor return them; usually the output of
        an earlier task. They are found although they were moved meanwhile.
    :param path: where to: a URL such as ``s3://conn_id@bucket/folder``, an absolute path, or an ``ObjectStoragePath``.
    :param what: ``"attachments"``, ``"message"`` (its source, .eml) or ``"both"``.
    :param names: globs of attachments' names, separated by ``|``; one of them must match.
    :param regex: a regular expression (RE2 syntax) that is found in the name.
    :param match_case: whether ``names`` and ``regex`` tell upper from lower case.
    :param larger: only attachments of more than this: bytes, or such as ``"10 KB"`` or ``"1.5 MiB"``.
    :param smaller: only attachments of less than this.
    :param sizes: ``"and"`` if both limits must hold, ``"or"`` if one is enough.
    :param folder_per_mail: a folder of its own for each mail, named by its key; else all go into one.
    :param on_exists: ``"number"``, ``"overwrite"`` or ``"fail"`` if another file has the name.
    :param decrypt: whether mails that are encrypted or signed by S/MIME are opened (extra ``smime``) and what is within
        is saved; one that cannot be opened fails.
    :param missing: ``"fail"``, or ``"ignore"`` mails that are nowhere any more.
    :param imap4_conn_id: the connection of type IMAP4; empty for the one that each mail came by.
    :return: a list of dicts, one per file: ``key`` of the mail, ``path``, ``name`` as the sender gave it, ``part``,
        ``content_type``, ``size`` in bytes, ``sha256``, ``existed``.
    """

    template_fields: Sequence[str] = ("emails", "path", "names", "regex", "larger", "smaller", "imap4_conn_id")

    def __init__(
        self,
        *,
        emails: Any,
        path: str | ObjectStoragePath,
        what: str = "attachments",
        names: str = "*",
        regex: str = "",
        match_case: bool = False,
        larger: str | int = "",
        smaller: str | int = "",
        sizes: str = "and",
        folder_per_mail: bool = True,
        on_exists: str = "number",
        decrypt: bool = False,
        missing: str = "fail",
        imap4_conn_id: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(emails=emails, imap4_conn_id=imap4_conn_id, **kwargs)
        self.path = path
        self.what = what
        self.names = names
        self.regex = regex
        self.match_case = match_case
        self.larger = larger
        self.smaller = smaller
        self.sizes = sizes
        self.folder_per_mail = folder_per_mail
        self.on_exists = on_exists
        self.decrypt = decrypt
        self.missing = check_missing(missing)
        is_path = hasattr(path, "__fspath__") or hasattr(path, "protocol")
        given = (str(path) if is_path else path, names, regex, larger, smaller)
        # Anything else is known only when the task runs, such as the output of another one.
        if all(isinstance(each, (str, int)) for each in given) and not templated(*given):
            check_outgoing([Save(str(path), **self._options())])

    def _options(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "names": self.names,
            "regex": self.regex,
            "match_case": self.match_case,
            "larger": self.larger,
            "smaller": self.smaller,
            "sizes": self.sizes,
            "folder_per_mail": self.folder_per_mail,
            "on_exists": self.on_exists,
            "decrypt": self.decrypt,
        }

    def execute(self, context: Context) -> list[dict[str, Any]]:  # noqa: ARG002 - Airflow's signature
        """Save."""
        from airflow_imap_provider.hooks.imap4 import Imap4Hook

        saved: list[dict[str, Any]] = []
        errors: list[ImapError] = []
        for conn_id, emails in self._by_connection().items():
            with kept(errors), Imap4Hook(conn_id) as hook:
                saved += hook.save(emails, self.path, missing=self.missing, **self._options())
        raise_all(errors)
        return saved


class EmailActionOperator(_EmailOperator):
    """Does actions to mails, wherever they are now: a mail can follow its run, from Processing to Done or Failed.

    :param emails: one mail or several, as the trigger, the operators and the sensor return them; usually the output of
        an earlier task. A mail that was moved is known again by Message-ID, size and date of arrival; to be deleted, it
        is not followed.
    :param actions: what to do; see :mod:`airflow_imap_provider.mailbox.actions`. ``when`` is not for here.
    :param look_in: folders to look into first if a mail is no longer where it was seen.
    :param missing: ``"fail"``, or ``"ignore"`` mails that are nowhere any more.
    :param imap4_conn_id: the connection of type IMAP4; empty for the one that each mail came by.
    :return: the mails, with the ``folder``, ``uid`` and ``uidvalidity`` that they have now; ``key`` stays the same.
        With ``files``, if there is a Save among the actions: what :class:`SaveEmailOperator` returns, without ``key``.
    """

    template_fields: Sequence[str] = ("emails", "actions", "look_in", "imap4_conn_id")

    def __init__(
        self,
        *,
        emails: Any,
        actions: Sequence[Action] | Action | str,
        look_in: str | Sequence[str] = (),
        missing: str = "fail",
        imap4_conn_id: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(emails=emails, imap4_conn_id=imap4_conn_id, **kwargs)
        self.actions = dump_actions(mail_by_mail(unconditional(actions)))
        if self.actions == "[]":
            raise SettingsError("actions=[]; at least one action is needed.", stage="settings")
        check_outgoing(load_actions(self.actions))
        given: object = look_in
        if not isinstance(given, (str, list, tuple)):
            raise SettingsError(f"look_in={look_in!r:.80}; a list of folders is accepted.", stage="settings")
        self.look_in = [look_in] if isinstance(look_in, str) else list(look_in)
        self.missing = check_missing(missing)

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render, the actions text by text."""
        actions = self.actions
        self.actions = ""
        super().render_template_fields(context, jinja_env)
        self.actions = self._rendered(actions, context, jinja_env)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Act."""
        from airflow_imap_provider.hooks.imap4 import Imap4Hook
        from airflow_imap_provider.mailbox.lookup import NotFoundError

        actions = load_actions(self.actions)
        repeated = int(getattr(context["ti"], "try_number", 1) or 1) > 1
        result: list[dict[str, Any]] = []
        record = TaskRecord(context["task_state_store"])
        groups = self._by_connection()
        failures = Failures("done with", [str(email["key"]) for emails in groups.values() for email in emails])
        for conn_id, emails in groups.items():
            with closing(Imap4Hook(conn_id)) as hook:
                for email in emails:
                    with failures.of(str(email["key"])):
                        try:
                            if actions[-1].do == "delete":
                                result.append(self._delete(hook, email, actions, record, repeated=repeated))
                                continue
                            result += hook.follow(email, actions, look_in=self.look_in, repeated=repeated, sent=record)
                        except NotFoundError as error:
                            if self.missing != "ignore":
                                raise
                            self.log.warning("Nothing is done: %s", error)
                            result.append(dict(email))
                    if failures.hopeless:
                        break
        failures.check()
        return result

    def _delete(
        self,
        hook: Imap4Hook,
        email: Mapping[str, Any],
        actions: Sequence[Action],
        record: TaskRecord,
        *,
        repeated: bool,
    ) -> dict[str, Any]:
        """Do actions of which the last one deletes the mail; return it as it was.

        Between what comes before and the deletion it is noted how far this attempt has come: otherwise a retry could
        take a mail that somebody has moved for one that was saved and deleted.
        """
        from airflow_imap_provider.hooks.emails import with_files
        from airflow_imap_provider.mailbox.following import place_of, to_act_on

        key = str(email["key"])
        noted = record.deletion(key)
        mail = to_act_on(
            hook.session(),
            email,
            hook.imap4_conn_id,
            actions,
            look_in=self.look_in,
            repeated=repeated,
            deleting=noted is not None,
        )
        if mail is None:
            return {**email, **(noted or {})}
        here: dict[str, Any] = {**email, **place_of(mail)}
        before = actions[:-1]
        if before:
            results = hook.act(here, before, repeated=repeated, sent=record, saved={})
            here = with_files(here, before, results)
            if sum("message_id" in each for each in results) < sum(action.do == "forward" for action in before):
                # Nobody would ever see an answer to our own forward, such as a bounce.
                self.log.warning("Mail %s is not deleted, since it was not forwarded", key)
                return here
        record.note_deletion(key, {name: value for name, value in here.items() if value != email.get(name)})
        hook.act(here, actions[-1], repeated=repeated)
        return here


class ForwardEmailOperator(_EmailOperator):
    """Forwards mails by an SMTP connection of Airflow. Needs the extra ``smtp``.

    All mails are tried, and those that could not be sent are named at the end. What was sent is kept in the task's
    state store: a retry sends only what is missing, and a cleared task does not send it a second time. At least once:
    after a crash between sending and keeping, a mail is sent again, with the same Message-ID.

    :param emails: one mail or several, as the trigger, the operators and the sensor return them; usually the output of
        an earlier task. They are found although they were moved meanwhile.
    :param to: addresses; or URLs of files with one address a line; or ``"mail:from"``, ``"mail:reply_to"``,
        ``"mail:to"``, ``"mail:cc"`` for those of the mail. One text, or several.
    :param cc: likewise.
    :param bcc: likewise.
    :param reply_to: whom an answer goes to, likewise; none: the sender. ``"mail:reply_to"`` is whoever an answer to the
        mail would go to: its Reply-To, or else its From.
    :param smtp_conn_id: the SMTP connection.
    :param sender: the From address; empty for the connection's.
    :param subject_prefix: put before the subject.
    :param style: ``"attachment"``: the mail as it is, as message/rfc822; ``"inline"``: its text and its attachments.
    :param separate: a message for each mail; else one for all of them.
    :param max_size: larger mails fail; such as ``"25 MB"``.
    :param missing: ``"fail"``, or ``"ignore"`` mails that are nowhere any more.
    :param imap4_conn_id: the connection of type IMAP4; empty for the one that each mail came by.
    :return: a list of dicts, one per message: ``keys`` of the mails, ``message_id``, ``recipients``, and ``refused``,
        those of them that the SMTP server did not take.
    """

    template_fields: Sequence[str] = (
        "emails",
        "to",
        "cc",
        "bcc",
        "reply_to",
        "smtp_conn_id",
        "sender",
        "subject_prefix",
        "imap4_conn_id",
    )

    def __init__(
        self,
        *,
        emails: Any,
        to: str | Sequence[str] = (),
        cc: str | Sequence[str] = (),
        bcc: str | Sequence[str] = (),
        reply_to: str | Sequence[str] = (),
        smtp_conn_id: str = "smtp_default",
        sender: str = "",
        subject_prefix: str = "Fwd: ",
        style: str = "attachment",
        separate: bool = True,
        max_size: str | int = "25 MB",
        missing: str = "fail",
        imap4_conn_id: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(emails=emails, imap4_conn_id=imap4_conn_id, **kwargs)
        self.to, self.cc, self.bcc, self.reply_to = to, cc, bcc, reply_to
        self.smtp_conn_id = smtp_conn_id
        self.sender = sender
        self.subject_prefix = subject_prefix
        self.style = style
        self.separate = separate
        self.max_size = max_size
        self.missing = check_missing(missing)
        if all(isinstance(each, (str, list, tuple)) for each in (to, cc, bcc, reply_to)):
            check_outgoing([Forward(to, **self._options())])

    def _options(self) -> dict[str, Any]:
        return {
            "cc": self.cc,
            "bcc": self.bcc,
            "reply_to": self.reply_to,
            "smtp_conn_id": self.smtp_conn_id,
            "sender": self.sender,
            "subject_prefix": self.subject_prefix,
            "style": self.style,
            "separate": self.separate,
            "max_size": self.max_size,
        }

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Forward."""
        from airflow_imap_provider.hooks.imap4 import Imap4Hook

        sent: list[dict[str, Any]] = []
        errors: list[ImapError] = []
        record = TaskRecord(context["task_state_store"])
        groups = self._by_connection()
        if not self.separate and len(groups) > 1:
            raise ImapError("mails of several connections cannot be forwarded in one message.", stage="forward")
        for conn_id, emails in groups.items():
            with kept(errors), Imap4Hook(conn_id) as hook:
                sent += hook.forward(emails, self.to, missing=self.missing, sent=record, **self._options())
        raise_all(errors)
        return sent
