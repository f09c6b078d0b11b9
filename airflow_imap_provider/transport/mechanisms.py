"""Which mechanism to log in with: what the connection allows, what the server offers, and which of these is strongest.

Automatic prefers what does not show the password to the server. CRAM-MD5 is a special case: behind TLS it protects
against nothing that matters, and makes servers keep readable passwords, so it comes last; without encryption it at
least hides the password from who listens, so it goes before PLAIN and LOGIN.
"""

from __future__ import annotations

from airflow_imap_provider.connection.settings import AuthSettings
from airflow_imap_provider.errors import AuthenticationError, SettingsError
from airflow_imap_provider.transport.bearer import BEARER_METHODS, OAuthBearer, XOAuth2
from airflow_imap_provider.transport.remedies import no_mechanism_remedy
from airflow_imap_provider.transport.sasl import Anonymous, CramMd5, External, Mechanism, Plain
from airflow_imap_provider.transport.scram import ChannelBinding, Scram

__all__ = ["choose_mechanism", "make_mechanism", "plus_offered"]

_SCRAM = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1")
_ENCRYPTED = (*_SCRAM, "PLAIN", "LOGIN", "CRAM-MD5")
_READABLE = (*_SCRAM, "CRAM-MD5", "PLAIN", "LOGIN")
_METHODS = {
    "login": ("LOGIN",),
    "plain": ("PLAIN",),
    "cram-md5": ("CRAM-MD5",),
    "scram-sha-1": ("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"),
    "scram-sha-256": ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"),
    "external": ("EXTERNAL",),
    "anonymous": ("ANONYMOUS",),
    # Microsoft and Google announce both, or only the first; it is the one that everybody uses.
    **dict.fromkeys(BEARER_METHODS, ("XOAUTH2", "OAUTHBEARER")),
}
_WITHOUT_ALIAS = frozenset({"LOGIN", "CRAM-MD5", "ANONYMOUS"})


def choose_mechanism(
    auth: AuthSettings, capabilities: frozenset[str], *, encrypted: bool = True, can_bind: bool = False
) -> str:
    """The strongest mechanism that the connection allows and the server offers; ``LOGIN`` is IMAP's own command.

    :param capabilities: upper-case, as the server gives them on this connection right now.
    :param encrypted: whether the connection is.
    :param can_bind: whether this side has a channel binding.
    :raises AuthenticationError: there is none.
    :raises SettingsError: the method has no place for the alias.
    """
    allowed = (_ENCRYPTED if encrypted else _READABLE) if auth.method == "auto" else _METHODS[auth.method]
    if auth.alias:
        allowed = tuple(name for name in allowed if name not in _WITHOUT_ALIAS)
        if not allowed:
            raise SettingsError(
                f"Authentication, Alias (alias): {auth.method.upper()} cannot open another account's mailbox.",
                stage="settings",
                remedy="Choose auto, plain, scram-sha-1, scram-sha-256, external, bearer or a method of OAuth as "
                "Method (auth_method).",
            )
    for name in allowed:
        if _offered(name, capabilities) and (can_bind or not name.endswith("-PLUS")):
            return name
    raise _nothing_offered(auth, capabilities, encrypted=encrypted)


def _offered(name: str, capabilities: frozenset[str]) -> bool:
    if name == "LOGIN":
        # RFC 9051 section 6.2.3: every server has the command unless it says otherwise.
        return "LOGINDISABLED" not in capabilities
    return f"AUTH={name}" in capabilities


def plus_offered(capabilities: frozenset[str]) -> bool:
    """Whether the server announces SCRAM with channel binding."""
    return any(item.startswith("AUTH=SCRAM-") and item.endswith("-PLUS") for item in capabilities)


def make_mechanism(
    name: str,
    auth: AuthSettings,
    capabilities: frozenset[str],
    binding: ChannelBinding | None,
    *,
    host: str = "",
    port: int = 0,
) -> Mechanism:
    """The exchange for a mechanism that was chosen; not for LOGIN, which is no SASL mechanism.

    :param auth: with a token in the password's place for the mechanisms of OAuth.
    :param host: the server's name, which OAUTHBEARER tells, as well as the port.
    """
    if name == "PLAIN":
        return Plain(auth.login, auth.password, auth.alias)
    if name == "CRAM-MD5":
        return CramMd5(auth.login, auth.password)
    if name == "XOAUTH2":
        return XOAuth2(auth.alias or auth.login, auth.password)
    if name == "OAUTHBEARER":
        return OAuthBearer(auth.alias or auth.login, auth.password, host, port)
    if name == "EXTERNAL":
        return External(auth.alias or auth.login)
    if name == "ANONYMOUS":
        return Anonymous(auth.login)
    return Scram(name, auth.login, auth.password, auth.alias, binding=binding, plus_offered=plus_offered(capabilities))


def _nothing_offered(auth: AuthSettings, capabilities: frozenset[str], *, encrypted: bool) -> AuthenticationError:
    offered = sorted(item for item in capabilities if item.startswith("AUTH="))
    words = ", ".join(offered) if offered else "no AUTH mechanism"
    if "LOGINDISABLED" in capabilities:
        words += ", LOGINDISABLED"
    label = "a login with user name and password" if auth.method == "auto" else auth.method.upper()
    if auth.method in BEARER_METHODS:
        label = "a login with a token (XOAUTH2 or OAUTHBEARER)"
    if auth.alias and auth.method == "auto":
        # LOGIN, which every server has, would come to mind.
        label += " that has a place for Alias (alias): PLAIN, SCRAM-SHA-1 or SCRAM-SHA-256"
    if auth.method == "external":
        return AuthenticationError(
            f"the server does not offer EXTERNAL here; it announces {words}.",
            stage="authentication",
            remedy="Choose another Method (auth_method), or ask the server's operator to allow client certificates.",
        )
    return AuthenticationError(
        f"the server does not offer {label} here; it announces {words}.",
        stage="authentication",
        remedy=no_mechanism_remedy(capabilities, encrypted=encrypted),
    )
