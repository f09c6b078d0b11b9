"""A Dovecot that can hold ten thousand mailboxes in IDLE on one machine, for the benchmarks.

The tests' server gives every session a process of its own, as installations do; here many sessions share a process,
since the machine's memory is for what is measured. Mail is put into Maildirs directly, so that a thousand of them take
no time; any account exists, with one password.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from itertools import count
from pathlib import Path

from tests.servers.certificates import Authority
from tests.servers.dovecot import HOST, MAIL_UID, START_LIMIT
from tests.servers.waiting import free_port, wait_until

__all__ = ["PASSWORD", "ManyMailboxes"]

PASSWORD = "secret-of-the-benchmark"
SESSIONS_PER_PROCESS = 100
"""Linux lets one user have 128 inotify instances by default, and a process needs one: 100 x 100 sessions get by."""

CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
listen = {host}
protocols = imap
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
auth_mechanisms = plain
auth_cache_size = 0
mail_location = maildir:{folder}/mail/%u
mail_max_userip_connections = 0
maildir_very_dirty_syncs = yes
first_valid_uid = 1
default_process_limit = 1000
default_client_limit = 20000
default_vsz_limit = 4G
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
  service_count = 0
  client_limit = 6000
  process_min_avail = 4
  process_limit = 4
}}
service imap {{
  service_count = 0
  client_limit = {sessions}
  process_limit = 400
}}
service anvil {{
  client_limit = 20000
}}
service auth {{
  client_limit = 20000
}}
service stats {{
  client_limit = 20000
}}
"""


class ManyMailboxes:
    """The running server; a context manager. Needs root, since mailboxes belong to a user of their own."""

    def __init__(self) -> None:
        self.host, self.port = HOST, free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="mailboxes-"))
        self.folder.chmod(0o755)
        self.authority = Authority(self.folder / "tls")
        self._numbers = count(1)
        server = self.authority.issue("server")
        configuration = self.folder / "dovecot.conf"
        configuration.write_text(
            CONFIGURATION.format(
                folder=self.folder,
                host=self.host,
                port=self.port,
                certificate=server.certificate,
                key=server.key,
                uid=MAIL_UID,
                password=PASSWORD,
                sessions=SESSIONS_PER_PROCESS,
            )
        )
        mail = self.folder / "mail"
        mail.mkdir()
        os.chown(mail, MAIL_UID, MAIL_UID)
        self._process = subprocess.Popen(
            ["dovecot", "-F", "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"},
        )
        wait_until(self._answers, "Dovecot answers", START_LIMIT)

    def __enter__(self) -> ManyMailboxes:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def account(number: int) -> str:
        """The name of an account; there is one for every number."""
        return f"box{number}"

    def deliver(self, number: int, message: bytes) -> None:
        """Put a mail into an account's INBOX, which has been opened before."""
        inbox = self.folder / "mail" / self.account(number)
        name = f"{next(self._numbers)}.benchmark"
        draft = inbox / "tmp" / name
        draft.write_bytes(message)
        os.chown(draft, MAIL_UID, MAIL_UID)
        draft.rename(inbox / "new" / name)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), 2):
                return True
        except OSError:
            return False
