"""A real PostgreSQL on loopback, for an Airflow whose database is not a file: with restarts and crashes."""

from __future__ import annotations

import pwd
import shutil
import signal
import subprocess
from contextlib import closing
from typing import Any

from tests.servers.daemon import START_LIMIT, Daemon, find_program, is_root, my_name
from tests.servers.waiting import wait_until

__all__ = ["PostgreSql"]

ACCOUNT = "postgres"
"""The system account that Debian's package makes. PostgreSQL refuses to run as root."""
STOP_LIMIT = 20.0
"""Seconds to end by itself; after SIGINT it drops all connections, so it takes well below one."""

SETTINGS = {
    # A crash of the program loses nothing without it, only one of the machine does.
    "fsync": "off",
    "max_connections": "300",
    "log_min_messages": "warning",
}


class PostgreSql(Daemon):
    """One running server with a database named ``airflow``; a context manager.

    :ivar url: the database as an SQLAlchemy URL.
    :ivar environment: more environment variables for its next start.
    """

    last_signal = signal.SIGQUIT  # immediately: its folder is deleted anyhow

    def __init__(self) -> None:
        super().__init__("postgres", "postgresql")
        self.environment: dict[str, str] = {}
        self._account = ACCOUNT if is_root() else my_name()
        if is_root():
            entry = pwd.getpwnam(ACCOUNT)
            shutil.chown(self.folder, entry.pw_uid, entry.pw_gid)
        data = str(self.folder / "data")
        initdb = find_program("initdb", "postgresql")
        options = ["--auth=trust", f"--username={ACCOUNT}", "--encoding=UTF8", "--no-locale", "--no-sync"]
        subprocess.run(
            [*self._as_account(), initdb, "-D", data, *options], check=True, capture_output=True, cwd=self.folder
        )
        self.url = f"postgresql+psycopg2://{ACCOUNT}@{self.host}:{self.port}/airflow"

    def command(self) -> list[str]:
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        place = ["-h", self.host, "-p", str(self.port), "-k", str(self.folder)]
        moved = ["env", *(f"{name}={value}" for name, value in self.environment.items())]
        return [*self._as_account(), *moved, self.program, "-D", str(self.folder / "data"), *place, *settings]

    def __enter__(self) -> PostgreSql:
        super().__enter__()
        self.execute("CREATE DATABASE airflow", database="postgres")
        return self

    def answers(self) -> bool:
        import psycopg2

        try:
            self.execute("SELECT 1", database="postgres")
        except psycopg2.OperationalError:
            return False
        return True

    def execute(self, statement: str, *, database: str = "airflow") -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        import psycopg2

        connection = psycopg2.connect(host=self.host, port=self.port, user=ACCOUNT, dbname=database, connect_timeout=5)
        with closing(connection):
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []

    def down(self, *, crash: bool = False) -> None:
        """End it, keeping its data.

        :param crash: without writing a checkpoint, so that the next start recovers from the log.
        """
        assert self._process is not None
        # setpriv replaces itself by the server, so this is the server's own id.
        self._process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
        self._process.wait(timeout=STOP_LIMIT)
        self._process = None

    def up(self) -> None:
        """Start it again on the same port with the same data."""
        super().__enter__()
        wait_until(self.answers, "PostgreSQL answers", START_LIMIT)

    def _as_account(self) -> list[str]:
        if not is_root():
            return []
        return ["setpriv", f"--reuid={self._account}", f"--regid={self._account}", "--clear-groups"]
