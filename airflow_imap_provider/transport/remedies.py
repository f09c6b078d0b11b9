"""What to change, where that follows from the stage, the server's words or its name."""

from __future__ import annotations

import re

__all__ = [
    "ASK_OPERATOR",
    "BROKEN_EXCHANGE",
    "DEAD_LINE",
    "LATER",
    "MISSING_TARGET",
    "NOT_IMAP",
    "REFUSED",
    "TAMPERING",
    "login_remedy",
    "loss_remedy",
    "no_mechanism_remedy",
    "silence_remedy",
    "token_remedy",
]

NOT_IMAP = "Check Address (host) and Port (port): IMAP is usually on 993 (SSL) or 143."
ASK_OPERATOR = "Show this to the server's operator: its log says more."
LATER = "Try later; if it stays like this, ask the server's operator."
BROKEN_EXCHANGE = "Choose another Method (auth_method); if this goes on, show it to the server's operator."
DEAD_LINE = "Lower poll_interval if this goes on: firewalls forget silent connections; else ask the server's operator."
TAMPERING = "Do not log in over this network; ask the operators of network and server."

MISSING_TARGET = "Give create=True, or check the folder's name ('airflow imap4 folders CONN_ID' lists all)."

_SILENCE = {
    "token": "Check OAuth: endpoint (oauth_endpoint), and that this machine reaches it.",
    "tls": "Check that the port speaks TLS, and that no firewall holds the handshake up.",
    "starttls": "Try Security mode Implicit with port 993; else ask the server's operator.",
    "authentication": "Raise Timeout (timeout), or ask the server's operator: it is slow to check logins.",
    "folder": "Raise Timeout (timeout), as the folder may be very large, or ask the server's operator.",
    "idle": "Ask the server's operator: it announces IDLE and does not answer to it.",
}
_SLOW = "Raise Timeout (timeout), or ask the server's operator: it is overloaded or slow."


def silence_remedy(stage: str) -> str:
    """What to change when an answer does not come in time."""
    return _SILENCE.get(stage, _SLOW)


REFUSED = {
    "starttls": "Try Security mode Implicit with port 993; else ask the server's operator.",
    "folder": "Ask the server's operator whether this account may open the folder.",
}
"""By stage: what to do when the server says NO."""

_LOSS = {
    "greeting": "Check Port (port), and whether the server allows connections from this machine's address.",
    "capabilities": "Check Port (port), and whether the server allows connections from this machine's address.",
    "starttls": "Try Security mode Implicit with port 993; else ask the server's operator.",
    "authentication": "Check the login, and try later: servers do so after wrong logins or too many connections.",
}


def loss_remedy(stage: str) -> str:
    """What to do when the server ends the connection."""
    return _LOSS.get(stage, LATER)


_MICROSOFT = re.compile(r"(?:^|\.)(?:office365|outlook|hotmail)\.com$", re.IGNORECASE)
_GOOGLE = re.compile(r"(?:^|\.)(?:gmail|googlemail|google)\.com$", re.IGNORECASE)
_APP_PASSWORDS = re.compile(r"(?:^|\.)(?:yahoo|aol|fastmail|(?:mail\.)?me|icloud)\.com$", re.IGNORECASE)
_APP_PASSWORD_WANTED = re.compile(r"app(?:lication)?[- ]specific|app password", re.IGNORECASE)

_BY_CODE = {
    "WEBALERT": "Log in once in a browser, at the address that the answer names, and confirm that it is you.",
    "EXPIRED": "Set a new password at the provider and enter it as Password (password): the old one has expired.",
    "PRIVACYREQUIRED": "Choose SSL or TLS as Cryptographic protocol (encryption): the server wants encryption.",
    "AUTHORIZATIONFAILED": "Check Username (login), Alias (alias) and the account's rights at the server: the password "
    "is right, but does not open this mailbox.",
    "CONTACTADMIN": "Ask the server's operator: the account needs something that only they can do.",
}
"""By response code: RFC 5530, and Gmail's WEBALERT."""

_CODE = re.compile(rf"\[({'|'.join(_BY_CODE)})\b", re.IGNORECASE)


def login_remedy(host: str, reply: str) -> str:
    """What to change, one sentence; empty if neither the server's words nor its name say more than "no".

    :param host: the server's name.
    :param reply: its words.
    """
    if code := _CODE.search(reply):
        return _BY_CODE[code[1].upper()]
    if _MICROSOFT.search(host):
        return "Choose OAuth 2.0 as Method (auth_method): Microsoft no longer accepts passwords for IMAP."
    if _GOOGLE.search(host):
        return "Use an app password or OAuth 2.0: Google does not accept the account's own password for IMAP."
    if _APP_PASSWORDS.search(host) or _APP_PASSWORD_WANTED.search(reply):
        return (
            "Make an app password in the account's security settings and enter it as Password (password): the provider "
            "does not accept the account's own."
        )
    return ""


_EXCHANGE_APPLICATION = (
    "Grant the mailbox by New-ServicePrincipal and Add-MailboxPermission, with the Enterprise application's Object ID. "
    "The Object ID under App registrations is another one and does not do. The application also needs the permission "
    "IMAP.AccessAsApp with admin consent, and the mailbox IMAP switched on."
)
_EXCHANGE_USER = (
    "Check that Username (login) is the user who has consented, and that this user may open the mailbox in Alias "
    "(alias). The consent must cover IMAP.AccessAsUser.All, and IMAP must be switched on for the mailbox."
)
_GMAIL = (
    "Check that Username (login), or Alias (alias), is the account that the token is for, and that this account may "
    "use IMAP. OAuth: scope (oauth_scope) must be https://mail.google.com/ or include it."
)
_NOT_RENEWED = (
    "Put a new token into Password (password): it may have expired, which after an hour or so every token does, or be "
    "for another server or user. Methods of OAuth renew their tokens by themselves."
)
_NOT_FOR_THIS_SERVER = (
    "Check OAuth: scope (oauth_scope), Username (login) and Alias (alias), and whose tokens this server accepts."
)


def token_remedy(host: str, method: str, reply: str) -> str:
    """What to change when a server does not accept a token, one sentence or two.

    :param host: the server's name.
    :param method: a stored value of the field ``auth_method``.
    :param reply: its words.
    """
    code = _CODE.search(reply)
    if code and code[1].upper() in ("WEBALERT", "CONTACTADMIN"):
        return _BY_CODE[code[1].upper()]
    if method == "bearer":
        return _NOT_RENEWED
    if _MICROSOFT.search(host):
        return _EXCHANGE_APPLICATION if method == "oauth-client-credentials" else _EXCHANGE_USER
    return _GMAIL if _GOOGLE.search(host) else _NOT_FOR_THIS_SERVER


def no_mechanism_remedy(capabilities: frozenset[str], *, encrypted: bool) -> str:
    """What to change when the server offers nothing that Method allows.

    :param capabilities: upper-case, as the server gives them on this connection right now.
    :param encrypted: whether this connection is.
    """
    remedy = "Choose another Method (auth_method)"
    if "LOGINDISABLED" in capabilities and not encrypted:
        return f"{remedy}, or switch encryption on: many servers accept passwords only with it."
    return f"{remedy}."
