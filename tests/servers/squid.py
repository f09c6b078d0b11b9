"""Squid: HTTP CONNECT without a login, or with Basic, Digest and NTLM, alone or all offered together."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from tests.servers.daemon import Daemon, find_program, is_root
from tests.servers.winbind import Winbind

REALM = "mail proxy"
SHARED_MEMORY = Path("/dev/shm")
REFUSED_PORT = 9
"""Its rules do not allow this port (discard: nobody listens there)."""

CONFIGURATION = """
http_port 127.0.0.1:{port}
pid_filename {folder}/squid.pid
cache_log {folder}/cache.log
logformat asked %Ss/%03>Hs %rm %ru %{{Proxy-Authorization}}>h
access_log stdio:{folder}/access.log asked
coredump_dir {folder}
cache deny all
{user}
visible_hostname localhost
dns_timeout 2 seconds
connect_timeout 5 seconds
{methods}
acl refused port {refused}
http_access deny CONNECT refused
{rule}
http_access deny all
shutdown_lifetime 0 seconds
pinger_enable off
netdb_filename none
"""


class Squid(Daemon):
    """A running Squid.

    :param methods: ``basic``, ``digest``, ``ntlm``; none: everybody may use it.
    :param login: who may use it, by Basic and Digest.
    :param winbind: who is asked about NTLM.
    :param closed: it lets nobody go anywhere, and writes into its log where they wanted to go.
    """

    last_signal = signal.SIGKILL  # to everything else it answers two seconds later

    def __init__(
        self,
        methods: Sequence[str] = (),
        login: str = "",
        password: str = "",
        winbind: Winbind | None = None,
        *,
        closed: bool = False,
    ) -> None:
        super().__init__("squid", "squid")
        self._service = f"test{self.port}"
        accounts = self.folder / "accounts"
        accounts.write_text(f"{login}:{password}\n")
        lines = {
            "basic": self._basic(login, password),
            "digest": [
                f"auth_param digest program {find_program('digest_file_auth', 'squid')} {accounts}",
                "auth_param digest children 1 startup=1",
                f"auth_param digest realm {REALM}",
            ],
            "ntlm": [
                f"auth_param ntlm program /usr/bin/ntlm_auth --configfile={winbind.configuration if winbind else ''} "
                "--helper-protocol=squid-2.5-ntlmssp",
                "auth_param ntlm children 2 startup=1",
                "auth_param ntlm keep_alive on",
            ],
        }
        self._configuration = self.folder / "squid.conf"
        self._configuration.write_text(
            CONFIGURATION.format(
                port=self.port,
                folder=self.folder,
                user="cache_effective_user proxy" if is_root() else "",
                methods="\n".join(line for method in methods for line in lines[method]),
                rule=_rule(methods, closed=closed),
                refused=REFUSED_PORT,
            )
        )
        if is_root():
            shutil.chown(self.folder, "proxy", "proxy")

    def _basic(self, login: str, password: str) -> list[str]:
        # basic_ncsa_auth wants hashes that Python cannot make any more; these lines know one pair.
        helper = self.folder / "basic-helper"
        pair = f"{quote(login)} {quote(password)}"
        helper.write_text(
            f'#!/bin/sh\nwhile read -r pair; do\n    [ "$pair" = "{pair}" ] && echo OK || echo ERR\ndone\n'
        )
        helper.chmod(0o755)
        return [
            f"auth_param basic program {helper}",
            "auth_param basic children 1 startup=1",
            f"auth_param basic realm {REALM}",
        ]

    def command(self) -> list[str]:
        # A name of its own, as several on one machine would share memory by it.
        return [self.program, "-N", "-n", self._service, "-f", str(self._configuration)]

    def stop(self) -> None:
        super().stop()
        for shared in SHARED_MEMORY.glob(f"{self._service}-*"):
            shared.unlink()


def _rule(methods: Sequence[str], *, closed: bool) -> str:
    if closed:
        return ""
    return "acl known proxy_auth REQUIRED\nhttp_access allow known" if methods else "http_access allow all"
