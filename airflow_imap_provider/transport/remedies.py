"""What to change, where that follows from the stage, the server's words or its name."""

from __future__ import annotations

import re

__all__ = [
    "ASK_OPERATOR",
    "BROKEN_EXCHANGE",
    "LATER",
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
TAMPERING = "Do not log in over this network; ask the operators of network and server."

_SILENCE = {
    "token": "Check OAuth: endpoint (oauth_endpoint), and that this machine reaches it.",
    "tls": "Check that the port speaks TLS, and that no firewall holds the handshake up.",
    "starttls": "Try Security mode Implicit with port 993; else ask the server's operator.",
    "authentication": "The server is slow to check logins: raise Timeout (timeout), or ask its operator.",
    "folder": "The folder may be very large: raise Timeout (timeout), or ask the server's operator.",
    "idle": "The server announces IDLE and does not answer to it: poll instead, or ask its operator.",
}
_SLOW = "The server is overloaded or slow: raise Timeout (timeout), or ask its operator."


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
    "authentication": "Servers do so after wrong logins or too many connections: check the login, and try later.",
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
    "EXPIRED": "The password has expired: set a new one at the provider and enter it as Password (password).",
    "PRIVACYREQUIRED": "The server wants encryption: choose SSL or TLS as Cryptographic protocol (encryption).",
    "AUTHORIZATIONFAILED": "The password is right, but it does not open this mailbox: check Username (login) and Alias "
    "(alias), and the account's rights at the server.",
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
        return "Microsoft no longer accepts passwords for IMAP: choose OAuth 2.0 as Method (auth_method)."
    if _GOOGLE.search(host):
        return "Google wants an app password or OAuth 2.0 instead of the account's password."
    if _APP_PASSWORDS.search(host) or _APP_PASSWORD_WANTED.search(reply):
        return (
            "The provider wants an app password, made in the account's security settings, instead of the account's "
            "password."
        )
    return ""


_EXCHANGE_APPLICATION = (
    "The token is good, but Exchange does not let the application into this mailbox. An administrator has to register "
    "it by New-ServicePrincipal, with the Object ID of the Enterprise application and not of the App registration, and "
    "to grant it the mailbox by Add-MailboxPermission -AccessRights FullAccess; the application also needs the "
    "permission IMAP.AccessAsApp with admin consent, and the mailbox IMAP switched on."
)
_EXCHANGE_USER = (
    "The token is good, but not for this mailbox. Check that Username (login) is the user who has consented, that this "
    "user may open the mailbox in Alias (alias), that the consent covers IMAP.AccessAsUser.All, and that IMAP is "
    "switched on for the mailbox."
)
_GMAIL = (
    "The token is good, but Gmail does not take it for this mailbox. Check that Username (login), or Alias (alias), is "
    "the account that the token is for, that OAuth: scope (oauth_scope) is https://mail.google.com/, and that IMAP is "
    "allowed for the account."
)
_NOT_RENEWED = (
    "Put a new token into Password (password): it may have expired, which after an hour or so every token does, or be "
    "for another server or user. Methods of OAuth renew their tokens by themselves."
)
_NOT_FOR_THIS_SERVER = (
    "The endpoint has given a token that this server does not take. Check OAuth: scope (oauth_scope), Username (login) "
    "and Alias (alias), and whose tokens the server accepts."
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
