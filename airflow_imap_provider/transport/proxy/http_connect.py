"""HTTP CONNECT (RFC 9110 section 9.3.6), with the rounds that a login takes."""

from __future__ import annotations

from airflow_imap_provider.transport.proxy.challenges import parse_challenges
from airflow_imap_provider.transport.proxy.credentials import LOGIN_REMEDY, Credentials
from airflow_imap_provider.transport.proxy.http_auth import HttpLogin, choose_login
from airflow_imap_provider.transport.proxy.http_head import read_head, skip_body
from airflow_imap_provider.transport.proxy.refusals import closed, http_refusal, login_refused
from airflow_imap_provider.transport.proxy.steps import Handshake, Reconnect, Send

__all__ = ["http_connect"]

_LOGIN_WANTED = 407
_UNAUTHORIZED = 401


def http_connect(
    host: str, port: int, credentials: Credentials | None, *, method: str = "auto", proxy_host: str = ""
) -> Handshake:
    """Ask for a tunnel, and log in if the proxy wants that.

    Nothing is proved or sent unasked: a password goes only to a proxy that wants one in a way that is allowed.

    :param host: name or IP address of the mail server.
    :param method: ``auto``, ``basic``, ``digest`` or ``ntlm``.
    :param proxy_host: the proxy's name, which NTLM takes in.
    :raises ProxyError: the proxy refuses, or does not speak HTTP.
    :raises ProxyAuthenticationError: it wants a login that we do not have, or does not accept ours.
    """
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    login: HttpLogin | None = None
    answer: str | None = None
    used = False  # whether something was answered on this connection before
    repeated = False
    while True:  # each way of logging in has an end: a small number of answers
        yield Send(_request(target, answer))
        head = yield from read_head()
        if head is None:
            # A proxy that promised to keep the connection open, and did not.
            if not used or repeated or login is None or not login.repeatable:
                raise closed(LOGIN_REMEDY if login else "")
            repeated, used = True, False
            yield Reconnect()
            continue
        if 200 <= head.status < 300:
            # Whatever Content-Length says, the tunnel begins right after the head.
            return f"{head.words} (login by {login.name})" if login else head.words
        if head.status == _UNAUTHORIZED and login is not None:
            # tinyproxy's answer to a wrong password.
            raise login_refused(head.words, login.name)
        if head.status != _LOGIN_WANTED:
            raise http_refusal(head.status, head.words)
        challenges = parse_challenges(head.values("proxy-authenticate"))
        if login is None:
            login = choose_login(challenges, method, credentials, target=target, proxy_host=proxy_host)
        answer = login.answer(challenges)
        if answer is None:
            raise login_refused(head.words, login.name)
        if login.repeatable:
            used = head.stays_open and (yield from skip_body(head))
            if not used:
                yield Reconnect()
        else:
            # NTLM's last message belongs to this connection, so whether the proxy wants to keep it does not count.
            if not (yield from skip_body(head, default=0)):
                raise closed(
                    "Choose another Proxy authentication (tunnel_auth): NTLM needs a connection that stays open."
                )
            used = True


def _request(target: str, answer: str | None) -> bytes:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", "Proxy-Connection: Keep-Alive"]
    if answer is not None:
        lines.append(f"Proxy-Authorization: {answer}")
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("utf-8", "surrogateescape")
