"""How long it takes to get a large attachment from Dovecot over TLS into a file, and how much memory, beside others.

Run it with ``python -m benchmarks.attachments`` (``--size MB``, ``--rounds N``). Each way runs in a process of its own,
in turn, and all of them check the SHA-256 of what they have written. The floor is a TLS socket that asks for the whole
part and decodes its base64 on the way. imap-tools and apache-airflow-providers-imap come with the extra ``benchmark``.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import random
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.servers.dovecot import Dovecot, User

SEED = 5


def mail_with(content: bytes) -> bytes:
    """A mail with one attachment, encoded as mail programs do."""
    head = (
        b"From: a@example.com\r\nSubject: large\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello.\r\n--b\r\n'
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="large.bin"\r\n\r\n'
    )
    return head + base64.encodebytes(content).replace(b"\n", b"\r\n") + b"--b--\r\n"


# --- the ways: each writes the attachment to a file ---


def raw_socket(where: dict[str, str], target: Path) -> None:
    """The floor: one FETCH of the whole part, decoded as it comes."""
    context = ssl.create_default_context(cafile=where["ca"])
    with (
        socket.create_connection((where["host"], int(where["port"]))) as plain,
        context.wrap_socket(plain, server_hostname=where["host"]) as tls,
        tls.makefile("rb", buffering=1024 * 1024) as lines,
        target.open("wb") as file,
    ):
        lines.readline()
        for command in (f"LOGIN {where['login']} {where['password']}", "EXAMINE INBOX"):
            tls.sendall(f"a {command}\r\n".encode())
            while not lines.readline().startswith(b"a "):
                pass
        tls.sendall(b"b UID FETCH 1 (BODY.PEEK[2])\r\n")
        left = int(lines.readline().rpartition(b"{")[2].rstrip(b"}\r\n"))
        rest = b""
        while left:
            piece = lines.read1(min(left, 1024 * 1024))
            left -= len(piece)
            rest += piece.translate(None, b"\r\n")
            cut = len(rest) - len(rest) % 4
            file.write(base64.b64decode(rest[:cut]))
            rest = rest[cut:]


def ours(where: dict[str, str], target: Path) -> None:
    """The session, decoded pieces, a file."""
    from airflow_imap_provider.mailbox.download import download
    from airflow_imap_provider.transport.session import open_session

    session = open_session(_settings(where))
    session.select("INBOX", readonly=True)
    with target.open("wb") as file:
        for chunk in download(session, 1, "2", "base64"):
            file.write(chunk)
    session.logout()


def ours_saved(where: dict[str, str], target: Path) -> None:
    """All of saving: finding the attachment, naming it, hashing it, object storage."""
    from airflow_imap_provider.hooks.storage import ObjectStorage
    from airflow_imap_provider.mailbox.choice import Choice
    from airflow_imap_provider.mailbox.lookup import mails_by_uid
    from airflow_imap_provider.mailbox.saving import save_mail
    from airflow_imap_provider.transport.session import open_session

    session = open_session(_settings(where))
    status = session.select("INBOX", readonly=True)
    [mail] = mails_by_uid(session, status, [1], "benchmark")
    [saved] = save_mail(session, mail, Choice(folder_per_mail=False), ObjectStorage(str(target.parent)))
    session.logout()
    Path(saved.path.removeprefix("file://")).rename(target)


def imapclient_whole(where: dict[str, str], target: Path) -> None:
    """IMAPClient: the whole mail, and the standard library's parser."""
    from email import message_from_bytes

    from imapclient import IMAPClient

    context = ssl.create_default_context(cafile=where["ca"])
    with IMAPClient(where["host"], int(where["port"]), ssl_context=context) as client:
        client.login(where["login"], where["password"])
        client.select_folder("INBOX", readonly=True)
        source = client.fetch([1], ["BODY.PEEK[]"])[1][b"BODY[]"]
        for part in message_from_bytes(source).walk():
            if part.get_filename():
                target.write_bytes(part.get_payload(decode=True))


def imap_tools(where: dict[str, str], target: Path) -> None:
    """imap-tools as its readme shows it."""
    from imap_tools import MailBox

    context = ssl.create_default_context(cafile=where["ca"])
    with MailBox(where["host"], int(where["port"]), ssl_context=context).login(
        where["login"], where["password"]
    ) as mailbox:
        for message in mailbox.fetch(mark_seen=False):
            for attachment in message.attachments:
                target.write_bytes(attachment.payload)


def official_provider(where: dict[str, str], target: Path) -> None:
    """apache-airflow-providers-imap."""
    from airflow.providers.imap.hooks.imap import ImapHook

    os.environ["AIRFLOW_CONN_OFFICIAL"] = (
        f"imap://{where['login']}:{where['password']}@{where['host']}:{where['port']}?use_ssl=true"
    )
    with ImapHook("official") as hook:
        hook.download_mail_attachments("large.bin", str(target.parent))
    (target.parent / "large.bin").rename(target)


WAYS: dict[str, Callable[[dict[str, str], Path], None]] = {
    "raw TLS socket + base64": raw_socket,
    "this package, download": ours,
    "this package, save": ours_saved,
    "IMAPClient, whole mail": imapclient_whole,
    "imap-tools": imap_tools,
    "official provider": official_provider,
}


def _settings(where: dict[str, str]) -> object:
    from airflow_imap_provider.connection.parsing import parse

    extra = {"encryption": "ssl", "ca_bundle": where["ca"], "timeout": 60}
    return parse(
        "benchmark",
        host=where["host"],
        port=int(where["port"]),
        login=where["login"],
        password=where["password"],
        extra=extra,
        schema=None,
    )


# --- measuring ------------------------------------------------------------------------------------------------------


def peak() -> float:
    """Peak memory of this process in MiB. Not ru_maxrss: that one begins with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure_here(name: str, where: dict[str, str]) -> None:
    """In the process of one way: once with a small mail, so that imports do not count, then with the large one."""
    way = WAYS[name]
    with tempfile.TemporaryDirectory() as folder:
        way({**where, "login": where["small"]}, Path(folder) / "small")
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten (proc(5))
        before, busy, began = peak(), time.process_time(), time.perf_counter()
        way(where, Path(folder) / "large")
        seconds, cpu, added = time.perf_counter() - began, time.process_time() - busy, peak() - before
        digest = hashlib.sha256((Path(folder) / "large").read_bytes()).hexdigest()
    assert digest == where["sha256"], f"{name} has written something else"
    print(json.dumps({"seconds": seconds, "cpu": cpu, "added": added}))


def measure(name: str, where: dict[str, str], home: str) -> dict[str, float]:
    """Run one way in a process of its own."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": home,
        "SSL_CERT_FILE": where["ca"],
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__IMAP__SSL_CONTEXT": "default",
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.attachments", "--way", name, "--where", json.dumps(where)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def place(dovecot: Dovecot, user: User, small: User, folder: Path, content: bytes) -> dict[str, str]:
    """Where everything is, for the processes."""
    authority = folder / "ca.pem"
    authority.write_text(dovecot.authority.pem)
    return {
        "host": dovecot.host,
        "port": str(dovecot.tls_port),
        "login": user.login,
        "small": small.login,
        "password": user.password,
        "ca": str(authority),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=50, help="MB of the attachment")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is taken")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--where", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        measure_here(arguments.way, json.loads(arguments.where))
        return
    content = random.Random(SEED).randbytes(arguments.size * 1_000_000)
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    dovecot = Dovecot()
    try:
        dovecot.start()
        user, small = dovecot.new_user(), dovecot.new_user()
        dovecot.deliver(user, mail_with(content))
        dovecot.deliver(small, mail_with(content[:100_000]))
        with tempfile.TemporaryDirectory() as folder:
            where = place(dovecot, user, small, Path(folder), content)
            for _ in range(arguments.rounds):
                for name, results in figures.items():
                    results.append(measure(name, where, folder))
    finally:
        dovecot.remove()
    seconds = {name: statistics.median(each["seconds"] for each in results) for name, results in figures.items()}
    busy = {name: statistics.median(each["cpu"] for each in results) for name, results in figures.items()}
    floor = seconds["raw TLS socket + base64"]
    print(f"{arguments.size} MB attachment, Dovecot over TLS, median of {arguments.rounds}:")
    for name, results in figures.items():
        added = max(each["added"] for each in results)
        ratio = seconds[name] / floor
        print(f"  {name:26} {seconds[name]:5.2f} s ({busy[name]:5.2f} s CPU)  {ratio:5.2f} x floor  {added:+7.1f} MiB")


if __name__ == "__main__":
    main()
