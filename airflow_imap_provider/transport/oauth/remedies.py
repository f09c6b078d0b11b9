"""What to change when a token endpoint gives no token, as far as its answer tells.

Microsoft's codes are those of "Microsoft Entra authentication and authorization error codes"; they are more precise
than the standard's and mentioned in the description, which is all that one gets.
"""

from __future__ import annotations

import re

__all__ = ["CHECK_ENDPOINT", "SILENT", "TOKEN_STAGE", "UNREACHED", "refusal_remedy"]

TOKEN_STAGE = "token"  # noqa: S105 - the name of a stage

CHECK_ENDPOINT = (
    "Check OAuth: endpoint (oauth_endpoint) and OAuth: tenant (oauth_tenant), and that no portal or filter answers in "
    "its place."
)
SILENT = (
    "The token endpoint does not answer in time. Check OAuth: endpoint (oauth_endpoint), firewalls, and whether the "
    "way out needs a proxy (tunnel_type)."
)
UNREACHED = (
    "Check OAuth: endpoint (oauth_endpoint) and the DNS of this machine, firewalls, and whether the way out needs a "
    "proxy (tunnel_type)."
)

_CONSENT_AGAIN = (
    "The user has to consent again: put the refresh token of a new consent into OAuth: refresh token "
    "(oauth_refresh_token)."
)
_SECRET = "OAuth: client secret (oauth_client_secret)"  # noqa: S105 - the name of a field
_APPLICATION = "OAuth: application id (oauth_client_id)"
_NEEDS_A_PERSON = (
    "The account needs a person to log in (multi-factor authentication or a Conditional Access policy). Consent again, "
    "have the policy changed, or let an application log in by client credentials."
)
_CLOCK = "Check the clock of this machine: assertions count for minutes only."

_MICROSOFT = {
    "50034": "There is no such user in the directory: check OAuth: tenant (oauth_tenant) and the user.",
    "50053": "The account is locked: an administrator has to look at the sign-ins from this machine's address.",
    "50055": f"The user's password has expired. {_CONSENT_AGAIN}",
    "50057": "The user's account is disabled: an administrator has to enable it.",
    "50076": _NEEDS_A_PERSON,
    "50078": _NEEDS_A_PERSON,
    "50079": _NEEDS_A_PERSON,
    "50158": _NEEDS_A_PERSON,
    "50173": f"The consent ended when the user's password changed. {_CONSENT_AGAIN}",
    "53003": _NEEDS_A_PERSON,
    "65001": "Consent is missing: an administrator grants the permission to the application, or the user consents to "
    "it. The administrator's way is API permissions → Grant admin consent.",
    "70000": f"The refresh token is not valid, or of another application. {_CONSENT_AGAIN}",
    "70008": f"The refresh token has expired. {_CONSENT_AGAIN}",
    "70011": "Check OAuth: scope (oauth_scope). An application of its own wants "
    "https://outlook.office365.com/.default, a user's consent "
    "https://outlook.office.com/IMAP.AccessAsUser.All offline_access.",
    "500011": "The scope names something that the directory does not have: check OAuth: scope (oauth_scope) and OAuth: "
    "tenant (oauth_tenant).",
    "700016": f"The directory does not know the application: check {_APPLICATION} and OAuth: tenant (oauth_tenant).",
    "700024": _CLOCK,
    "700025": f"The application is registered as a public client: empty {_SECRET} and OAuth: private key.",
    "700027": "The directory does not know the certificate in OAuth: private key (oauth_private_key). Upload it under "
    "Certificates & secrets of the App registration.",
    "700082": f"The refresh token has expired, as it was not used for too long. {_CONSENT_AGAIN}",
    "700084": f"The refresh token has expired, as those of single-page applications do after a day. {_CONSENT_AGAIN}",
    "7000112": "The application is disabled: an administrator has to enable it.",
    "7000215": f"The secret is wrong: {_SECRET} needs the Value from Certificates & secrets, not the Secret ID.",
    "7000218": f"The application must prove itself: fill in {_SECRET} or OAuth: private key (oauth_private_key).",
    "7000222": f"The secret has expired: make a new one under Certificates & secrets and fill in {_SECRET}.",
    "90002": "There is no such directory: check OAuth: tenant (oauth_tenant).",
    "900023": "This is no directory's id or domain: check OAuth: tenant (oauth_tenant).",
    "900144": "The request lacks something: check that all fields of OAuth that the method needs are filled in.",
}
_CODE = re.compile(r"AADSTS([0-9]{5,7})")
_ABOUT_TIME = re.compile(r"\biat\b|\bexp\b|short-lived|timeframe|not within its valid time|clock", re.IGNORECASE)


def refusal_remedy(code: str, words: str, method: str) -> str:
    """What to change, one sentence or two.

    :param code: RFC 6749 section 5.2.
    :param words: the endpoint's description.
    :param method: a stored value of the field ``auth_method``.
    """
    found = _CODE.search(words)
    if found and found[1] in _MICROSOFT:
        return _MICROSOFT[found[1]]
    if _ABOUT_TIME.search(words) and code in ("invalid_grant", "invalid_client") and method != "oauth-refresh-token":
        return _CLOCK
    if method == "oauth-service-account":
        return _service_account(code)
    if code == "invalid_client":
        return (
            f"Check {_APPLICATION}, and {_SECRET} or OAuth: private key (oauth_private_key): one of them is wrong or "
            "has expired."
        )
    if code == "invalid_grant":
        return f"The refresh token has expired, was revoked or used up, or is another application's. {_CONSENT_AGAIN}"
    if code == "unauthorized_client":
        return (
            f"The application that {_APPLICATION} names is not registered for this Method (auth_method): its "
            "administrator has to allow the grant."
        )
    if code == "invalid_scope":
        return (
            "Check OAuth: scope (oauth_scope): the endpoint does not know it, or does not grant it to this application."
        )
    if code in ("interaction_required", "consent_required", "login_required"):
        return _NEEDS_A_PERSON if code != "consent_required" else _MICROSOFT["65001"]
    if code == "unsupported_grant_type":
        return "The endpoint does not know this way: choose another Method (auth_method)."
    return "Check the fields of OAuth on the tab Authentication."


def _service_account(code: str) -> str:
    if code == "unauthorized_client":
        return (
            "Domain-wide delegation is not granted. An administrator of the Google Workspace has to add the service "
            "account's client id (its Unique ID) with the scope https://mail.google.com/ under Security → API controls "
            "→ Domain-wide delegation; it takes some time to act."
        )
    if code == "invalid_grant":
        return (
            "Google does not know the mailbox in Username (login) or Alias (alias) as a user of the Workspace, or the "
            "service account's key was deleted. Check OAuth: private key (oauth_private_key), and the clock of this "
            "machine."
        )
    if code in ("invalid_scope", "access_denied"):
        return "The delegation does not cover OAuth: scope (oauth_scope): an administrator of the Workspace grants it."
    return "Check OAuth: private key (oauth_private_key): the service account or its key may have been deleted."
