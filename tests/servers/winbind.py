"""A standalone winbindd that knows one account, for Squid's NTLM helper to ask. No domain controller is needed.

``ntlm_auth`` finds winbindd at a place that is compiled in, so there can be one on a machine, and it takes root to
start it; whoever comes second waits.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.servers.daemon import Daemon, find_program, is_root
from tests.servers.dovecot import MissingServerError
from tests.servers.waiting import wait_until

DOMAIN = "CORP"
ACCOUNT = "nobody"
"""An account of Samba must be one of the system as well; this one is everywhere."""

PUBLIC_PIPES = Path("/run/samba/winbindd")
LOCK = Path("/run/lock/airflow-imap-provider-winbindd")
LOCK_LIMIT = 60.0
"""Seconds to wait for another test session's winbindd to go."""
SQUID_GROUP = "proxy"

CONFIGURATION = """
[global]
workgroup = WORKGROUP
netbios name = {domain}
security = user
server role = standalone server
passdb backend = tdbsam:{folder}/private/passdb.tdb
private dir = {folder}/private
lock directory = {folder}/lock
state directory = {folder}/state
cache directory = {folder}/cache
pid directory = {folder}/run
ncalrpc dir = {folder}/ncalrpc
log file = {folder}/winbindd.log
interfaces = lo
bind interfaces only = yes
disable netbios = yes
idmap config * : backend = tdb
idmap config * : range = 100000-200000
"""


class Winbind(Daemon):
    """A running winbindd.

    :param password: of :data:`ACCOUNT` in :data:`DOMAIN`.
    """

    def __init__(self, password: str) -> None:
        super().__init__("winbindd", "winbind")
        find_program("ntlm_auth", "winbind")
        if not is_root():
            shutil.rmtree(self.folder)
            raise MissingServerError("winbindd can only be started by root")
        for name in ("private", "lock", "state", "cache", "run", "ncalrpc"):
            (self.folder / name).mkdir()
        self.configuration = self.folder / "smb.conf"
        self.configuration.write_text(CONFIGURATION.format(domain=DOMAIN, folder=self.folder))
        subprocess.run(
            [find_program("smbpasswd", "samba-common-bin"), "-c", str(self.configuration), "-s", "-a", ACCOUNT],
            input=f"{password}\n{password}\n".encode(),
            check=True,
            capture_output=True,
            timeout=30,
        )
        self._lock = LOCK.open("w")

    def command(self) -> list[str]:
        return [self.program, "-F", "--no-process-group", "-s", str(self.configuration)]

    def __enter__(self) -> Winbind:
        try:
            wait_until(self._locked, "another winbindd is gone", LOCK_LIMIT)
        except AssertionError:
            self._lock.close()
            raise
        if self.answers():
            self.stop()
            raise MissingServerError("this machine runs a winbindd of its own, and there can be only one")
        super().__enter__()
        privileged = self.folder / "state" / "winbindd_privileged"
        wait_until(privileged.exists, "winbindd has its privileged pipe")
        os.chown(privileged, -1, grp.getgrnam(SQUID_GROUP).gr_gid)
        return self

    def stop(self) -> None:
        started = self._process is not None
        # It has left its process group; its process id is in a file.
        helper = self.folder / "run" / "samba-dcerpcd.pid"
        number = int(helper.read_text()) if helper.exists() else None
        super().stop()
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(number, signal.SIGKILL)
        if started:
            shutil.rmtree(PUBLIC_PIPES, ignore_errors=True)
        self._lock.close()

    def answers(self) -> bool:
        return subprocess.run(["wbinfo", "-p"], capture_output=True, timeout=10, check=False).returncode == 0

    def _locked(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
