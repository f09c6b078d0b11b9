"""What to change when a token endpoint gives no token, as far as its answer tells.

Microsoft's codes are those of "Microsoft Entra authentication and authorization error codes"; they are more precise
than the standard's and mentioned in the description, which is all that one gets.
"""

from __future__ import annotations

import re

__all__ = ["CHECK_ENDPOINT", "MICROSOFT", "SILENT", "TOKEN_STAGE", "UNREACHED", "refusal_remedy"]

TOKEN_STAGE = "token"  # noqa: S105 - the name of a stage

CHECK_ENDPOINT = (
    "Check OAuth: endpoint (oauth_endpoint) and OAuth: tenant (oauth_tenant), and that no portal or filter answers in "
    "its place."
)
SILENT = (
    "Check OAuth: endpoint (oauth_endpoint), firewalls, and whether the way out needs a proxy (tunnel_type). The "
    "token endpoint does not answer in time."
)
UNREACHED = (
    "Check OAuth: endpoint (oauth_endpoint) and the DNS of this machine, firewalls, and whether the way out needs a "
    "proxy (tunnel_type)."
)

_CONSENT_AGAIN = (
    "Let the user consent again, and put the new refresh token into OAuth: refresh token (oauth_refresh_token)."
)
_SECRET = "OAuth: client secret (oauth_client_secret)"  # noqa: S105 - the name of a field
_APPLICATION = "OAuth: application id (oauth_client_id)"
_GRANT_CONSENT = (
    "Grant admin consent under API permissions of the App registration, or let the user consent. Consent is missing."
)
_NEEDS_A_PERSON = (
    "Let the user consent again, with multi-factor authentication, or have the Conditional Access policy changed. The "
    "account needs a person to log in; an application that logs in by client credentials needs none."
)
_CLOCK = "Check the clock of this machine: assertions count for minutes only."

MICROSOFT = {
    "50034": "Check OAuth: tenant (oauth_tenant) and the user: there is no such user in the directory.",
    "50053": "Have an administrator look at the sign-ins from this machine's address: the account is locked.",
    "50055": f"Let the user set a new password: the old one has expired. {_CONSENT_AGAIN}",
    "50057": "Have an administrator enable the user's account: it is disabled.",
    "50076": _NEEDS_A_PERSON,
    "50078": _NEEDS_A_PERSON,
    "50079": _NEEDS_A_PERSON,
    "50158": _NEEDS_A_PERSON,
    "50173": f"{_CONSENT_AGAIN} The consent ended when the user's password changed.",
    "50194": "Fill in OAuth: tenant (oauth_tenant): the application is registered for its own directory only.",
    "53003": _NEEDS_A_PERSON,
    "65001": _GRANT_CONSENT,
    "70000": f"{_CONSENT_AGAIN} The old one is not valid, or of another application.",
    "70008": f"{_CONSENT_AGAIN} The old one has expired.",
    "70011": "Check OAuth: scope (oauth_scope). An application of its own wants "
    "https://outlook.office365.com/.default, a user's consent "
    "https://outlook.office.com/IMAP.AccessAsUser.All offline_access.",
    "500011": "Check OAuth: scope (oauth_scope) and OAuth: tenant (oauth_tenant): the scope names something that the "
    "directory does not have.",
    "700016": f"Check {_APPLICATION} and OAuth: tenant (oauth_tenant): the directory does not know the application.",
    "700024": _CLOCK,
    "700025": f"Empty {_SECRET} and OAuth: private key (oauth_private_key): the application is a public client.",
    "700027": "Upload the certificate in OAuth: private key (oauth_private_key) under Certificates & secrets of the "
    "App registration. The directory does not know it.",
    "700082": f"{_CONSENT_AGAIN} The old one has expired, as it was not used for too long.",
    "700084": f"{_CONSENT_AGAIN} The old one has expired, as those of single-page applications do after a day.",
    "1002012": "Set OAuth: scope (oauth_scope) to https://outlook.office365.com/.default, or empty it: client "
    "credentials take no other kind.",
    "7000112": "Have an administrator enable the application: it is disabled.",
    "7000215": f"Fill in {_SECRET} with the Value from Certificates & secrets, not the Secret ID: this one is wrong.",
    "7000218": f"Fill in {_SECRET} or OAuth: private key (oauth_private_key): the application must prove itself.",
    "7000222": f"Make a new secret under Certificates & secrets and fill in {_SECRET}: the old one has expired.",
    "90002": "Check OAuth: tenant (oauth_tenant): there is no such directory.",
    "900023": "Check OAuth: tenant (oauth_tenant): this is no directory's id or domain.",
    "900144": "Check that all fields of OAuth that the method needs are filled in: the request lacks something.",
}
"""By code of an AADSTS error. 50194 and 1002012 are what an application for one directory gets at /organizations, and
client credentials with a user's scope."""

_CODE = re.compile(r"AADSTS([0-9]{5,7})")
_ABOUT_TIME = re.compile(r"\biat\b|\bexp\b|short-lived|timeframe|not within its valid time|clock", re.IGNORECASE)


def refusal_remedy(code: str, words: str, method: str) -> str:
    """What to change, one sentence or two.

    :param code: RFC 6749 section 5.2.
    :param words: the endpoint's description.
    :param method: a stored value of the field ``auth_method``.
    """
    found = _CODE.search(words)
    if found and found[1] in MICROSOFT:
        return MICROSOFT[found[1]]
    if _ABOUT_TIME.search(words) and code in ("invalid_grant", "invalid_client") and method != "oauth-refresh-token":
        return _CLOCK
    if method == "oauth-service-account":
        return _service_account(code)
    if code == "invalid_client" or (code == "invalid_grant" and method == "oauth-client-credentials"):
        return f"Check {_APPLICATION}, and {_SECRET} or the private key. One of them is wrong or has expired."
    if code == "invalid_grant" and method == "oauth-refresh-token":
        return f"{_CONSENT_AGAIN} The old one has expired, was revoked or used up, or is another application's."
    if code == "unauthorized_client":
        return (
            f"Have the administrator of the application in {_APPLICATION} allow this grant, or choose another Method "
            "(auth_method)."
        )
    if code == "invalid_scope":
        return (
            "Check OAuth: scope (oauth_scope): the endpoint does not know it, or does not grant it to this application."
        )
    if code in ("interaction_required", "consent_required", "login_required"):
        return _NEEDS_A_PERSON if code != "consent_required" else _GRANT_CONSENT
    if code == "unsupported_grant_type":
        return "Choose another Method (auth_method): the endpoint does not know this one."
    return "Check the fields of OAuth on the tab Authentication."


def _service_account(code: str) -> str:
    if code == "unauthorized_client":
        return (
            "Add the service account's Unique ID with the scope https://mail.google.com/ under Domain-wide delegation. "
            "An administrator of the Google Workspace finds it in the Admin console under Security → API controls; it "
            "takes some time to act."
        )
    if code == "invalid_grant":
        return (
            "Check that Username (login), or Alias (alias), is a user of the Workspace, and OAuth: private key "
            "(oauth_private_key). The service account's key may have been deleted, or this machine's clock be wrong."
        )
    if code in ("invalid_scope", "access_denied"):
        return "Add OAuth: scope (oauth_scope) to the delegation in the Google Admin console, which does not cover it."
    return "Check OAuth: private key (oauth_private_key): the service account or its key may have been deleted."
