"""The one table of all fields of an IMAP4 connection.

The form, the parsing, the errors and the field reference in the documentation all come from here. The order is the
order of the form. Keys that Airflow would mask by their name (``proxy``, ``token``…) are kept for secrets: hence
``tunnel_*`` for the fields labelled "Proxy …".
"""

from __future__ import annotations

from airflow_imap_provider.connection import choices, limits
from airflow_imap_provider.connection.field import AUTHENTICATION, ENCRYPTION, MAIN, PROXY, STANDARD, Field, Kind

__all__ = ["CONNECTION_TYPE", "EXTRA_FIELDS", "FIELDS", "field"]

CONNECTION_TYPE = "imap4"

FIELDS: tuple[Field, ...] = (
    Field(
        "host",
        "Address",
        STANDARD,
        Kind.HOST,
        "host",
        "DNS name, IPv4 or IPv6 address of the mail server, without imap:// and without a port. "
        "Empty: the Server preset's.",
        example="imap.example.com; empty with a Server preset",
    ),
    Field(
        "port",
        "Port",
        STANDARD,
        Kind.INTEGER,
        "port",
        "Empty: 993 with implicit encryption, 143 with STARTTLS and without encryption. Airflow 3.3.1 and 3.3.2 answer "
        "the Test button with Bad Request if it is empty.",
        minimum=limits.LOWEST_PORT,
        maximum=limits.HIGHEST_PORT,
        example="993, or 143 with STARTTLS; fill it in for the Test button",
    ),
    Field(
        "login",
        "Username",
        STANDARD,
        Kind.TEXT,
        "auth.login",
        "Often the whole mail address. With OAuth the mailbox to open, if Alias is empty. Empty with EXTERNAL: whom "
        "the client certificate names.",
        example="joe@example.com",
    ),
    Field(
        "password",
        "Password",
        STANDARD,
        Kind.TEXT,
        "auth.password",
        "The account's password, or an app password where the provider asks for one; a bearer token if Method says so. "
        "Not used by OAuth 2.0 and Google service account, and kept for switching back.",
        example="the account's, or an app password",
        secret=True,
    ),
    # -- Main settings
    Field(
        "preset",
        "Server preset",
        MAIN,
        Kind.CHOICE,
        "preset",
        "Fills what is left empty: Address, Port, encryption and authentication. Never changes what is filled in.",
        choices=choices.PRESETS,
        default="custom",
    ),
    Field(
        "timeout",
        "Timeout",
        MAIN,
        Kind.NUMBER,
        "timeout",
        "Seconds for connecting as a whole (OAuth token, DNS, proxy, TLS, greeting and login together), and the limit "
        "for every later answer. Empty: 60.",
        default=limits.DEFAULT_TIMEOUT,
        minimum=limits.LOWEST_TIMEOUT,
        maximum=limits.HIGHEST_TIMEOUT,
        unit="seconds",
    ),
    Field(
        "code_page",
        "Code page",
        MAIN,
        Kind.CODE_PAGE,
        "code_page",
        "Character set for text that declares none or a wrong one and is not UTF-8. Empty: cp1252 (Western European).",
        default="cp1252",
    ),
    # -- Authentication
    Field(
        "auth_method",
        "Method",
        AUTHENTICATION,
        Kind.CHOICE,
        "auth.method",
        "How to log in. Automatic takes the strongest method for a username and password that the server offers: "
        "SCRAM, PLAIN, LOGIN, CRAM-MD5. Empty: the Server preset's, or automatic.",
        choices=choices.AUTH_METHODS,
        default="auto",
    ),
    Field(
        "alias",
        "Alias",
        AUTHENTICATION,
        Kind.TEXT,
        "auth.alias",
        "The shared or delegated mailbox to open with this account's credentials. "
        "Needs a method that can: PLAIN, SCRAM, EXTERNAL, OAuth or a bearer token.",
    ),
    Field(
        "oauth_tenant",
        "OAuth: tenant",
        AUTHENTICATION,
        Kind.TEXT,
        "auth.oauth.tenant",
        "For Microsoft, with client credentials and refresh tokens: the directory (tenant) id or domain; gives "
        "endpoint and scope if those are empty.",
    ),
    Field(
        "oauth_client_id",
        "OAuth: application id",
        AUTHENTICATION,
        Kind.TEXT,
        "auth.oauth.client_id",
        "For client credentials and refresh tokens: the id of the registered application (client id).",
    ),
    Field(
        "oauth_client_secret",
        "OAuth: client secret",
        AUTHENTICATION,
        Kind.TEXT,
        "auth.oauth.client_secret",
        "For client credentials and refresh tokens: the application's secret; filled in, it goes before a private key. "
        "Empty if the application proves itself by a certificate, or has nothing to prove itself with.",
        secret=True,
    ),
    Field(
        "oauth_private_key",
        "OAuth: private key",
        AUTHENTICATION,
        Kind.APPLICATION_KEY,
        "auth.oauth.private_key",
        "For client credentials without a secret: the application's certificate with its key (PEM, or PKCS#12 without "
        "a passphrase). For a service account: its JSON. A path, or the content.",
        secret=True,
    ),
    Field(
        "oauth_refresh_token",
        "OAuth: refresh token",
        AUTHENTICATION,
        Kind.TEXT,
        "auth.oauth.refresh_token",
        "For the method refresh token: what the user's consent gave. Where the endpoint replaces it at each use, the "
        "newest one is kept in an Airflow Variable.",
        secret=True,
    ),
    Field(
        "oauth_endpoint",
        "OAuth: endpoint",
        AUTHENTICATION,
        Kind.URL,
        "auth.oauth.endpoint",
        "Address of the token endpoint, https. Empty: the Server preset's, Microsoft's for the tenant, or the one that "
        "a service account's JSON names.",
    ),
    Field(
        "oauth_scope",
        "OAuth: scope",
        AUTHENTICATION,
        Kind.TEXT,
        "auth.oauth.scope",
        "What the token may do; several with blanks between. Empty: the Server preset's, Microsoft's for a tenant, or "
        "Gmail's for a service account.",
    ),
    # -- Encryption
    Field(
        "encryption",
        "Cryptographic protocol",
        ENCRYPTION,
        Kind.CHOICE,
        "",
        "SSL and TLS mean the same protocols; they differ in the Security mode that an empty one stands for. "
        "No encryption sends the password readable for everybody on the way. "
        "Empty: the Server preset's, or SSL, with full verification.",
        choices=choices.ENCRYPTIONS,
        default="ssl",
    ),
    Field(
        "security_mode",
        "Security mode",
        ENCRYPTION,
        Kind.CHOICE,
        "",
        "Implicit encrypts from the first byte; Explicit begins readable and demands STARTTLS before the login, "
        "never without. Empty: by the port (993 implicit, 143 explicit), else SSL implicit, TLS explicit.",
        choices=choices.SECURITY_MODES,
    ),
    Field(
        "tls_versions",
        "Allowed SSL/TLS versions",
        ENCRYPTION,
        Kind.CHOICES,
        "tls.versions",
        "1.0 and 1.1 are broken and only for servers that know nothing else: they lower OpenSSL's security level for "
        "this connection. Empty: 1.2 and 1.3.",
        choices=choices.TLS_VERSIONS,
        default="TLSv1.2,TLSv1.3",
    ),
    Field(
        "verify",
        "Verify certificate",
        ENCRYPTION,
        Kind.CHOICE,
        "tls.verify",
        "Full: trusted issuer and right name. Chain only: any server with a trusted certificate may pose as yours. "
        "Pinned only: nothing but the fingerprint counts. None: anybody on the way can read and change everything. "
        "Empty: full.",
        choices=choices.VERIFICATIONS,
        default="full",
    ),
    Field(
        "ca_bundle",
        "CA bundle",
        ENCRYPTION,
        Kind.CERTIFICATES,
        "tls.ca_bundle",
        "Trust these issuers instead of the system's: the path of a file or folder (on every machine that connects) or "
        "PEM text; for S/MIME signatures too. Not used for servers where Verify certificate does not check the issuer. "
        "A token endpoint is trusted by these and by the system's.",
    ),
    Field(
        "pins",
        "Pinned fingerprints",
        ENCRYPTION,
        Kind.PINS,
        "tls.pins",
        "SHA-256 of the server's certificate or public key (SPKI), hexadecimal or base64, one a line; a Test's report "
        "shows both. One of them must match, besides what Verify certificate demands.",
    ),
    Field(
        "server_name",
        "Server name (SNI)",
        ENCRYPTION,
        Kind.HOST,
        "tls.server_name",
        "Asked for and checked in the certificate instead of Address.",
    ),
    Field(
        "strict_x509",
        "Strict certificate checks",
        ENCRYPTION,
        Kind.FLAG,
        "tls.strict_x509",
        "As Python 3.13 and later do. Switch off for an old private CA whose certificates lack required extensions. "
        "On by default.",
        default=True,
    ),
    Field(
        "client_certificate",
        "Client certificate",
        ENCRYPTION,
        Kind.CERTIFICATES,
        "tls.client_certificate",
        "Shown to the server: a path (the file may contain the key, too), or PEM text, whose key goes into the next "
        "field. Empty if the private key is PKCS#12.",
    ),
    Field(
        "client_private_key",
        "Client private key",
        ENCRYPTION,
        Kind.KEY,
        "tls.client_private_key",
        "The certificate's key: a path, PEM text (may be pasted into this one line: lost line ends are put back), or "
        "PKCS#12 as base64. Empty if the certificate's file contains it.",
        secret=True,
    ),
    Field(
        "client_private_key_passphrase",
        "Client private key's passphrase",
        ENCRYPTION,
        Kind.TEXT,
        "tls.client_private_key_passphrase",
        "Empty if the key is not encrypted.",
        secret=True,
    ),
    Field(
        "smime_private_key",
        "S/MIME key",
        ENCRYPTION,
        Kind.KEY,
        "smime.private_key",
        "Opens encrypted mails: certificates with their keys, PEM (a path or the text, several one after the other; "
        "may be pasted into this one line) or PKCS#12 (a path or base64). Needs the extra smime.",
        secret=True,
    ),
    Field(
        "smime_private_key_passphrase",
        "S/MIME key's passphrase",
        ENCRYPTION,
        Kind.TEXT,
        "smime.passphrase",
        "Empty if the key is not encrypted.",
        secret=True,
    ),
    # -- Proxy
    Field(
        "tunnel_type",
        "Proxy type",
        PROXY,
        Kind.CHOICE,
        "tunnel.type",
        "No proxy, chosen expressly, keeps the fields below without using them. Empty: no proxy, and the fields below "
        "must be empty too.",
        choices=choices.TUNNEL_TYPES,
        default="none",
    ),
    Field(
        "tunnel_host",
        "Proxy address",
        PROXY,
        Kind.HOST,
        "tunnel.host",
        "DNS name, IPv4 or IPv6 address of the proxy.",
    ),
    Field(
        "tunnel_port",
        "Proxy port",
        PROXY,
        Kind.INTEGER,
        "tunnel.port",
        "Empty: 1080 with SOCKS. HTTP proxies have no usual port, so it must be filled in.",
        minimum=limits.LOWEST_PORT,
        maximum=limits.HIGHEST_PORT,
    ),
    Field(
        "tunnel_auth",
        "Proxy authentication",
        PROXY,
        Kind.CHOICE,
        "tunnel.auth",
        "Automatic: the strongest that an HTTP proxy asks for, username and password with SOCKS5, user id with SOCKS4. "
        "The others are for HTTP. Empty: automatic.",
        choices=choices.TUNNEL_AUTHS,
        default="auto",
    ),
    Field(
        "tunnel_use_credentials",
        "Use proxy credentials",
        PROXY,
        Kind.FLAG,
        "tunnel.use_credentials",
        "Off: the username and password below are kept but not sent. On by default.",
        default=True,
    ),
    Field(
        "tunnel_domain",
        "Proxy domain",
        PROXY,
        Kind.TEXT,
        "tunnel.domain",
        "The NTLM domain; Basic sends it as DOMAIN\\user.",
    ),
    Field("tunnel_login", "Proxy username", PROXY, Kind.TEXT, "tunnel.login", "With SOCKS4 the user id."),
    Field(
        "tunnel_password",
        "Proxy password",
        PROXY,
        Kind.TEXT,
        "tunnel.password",
        "SOCKS4 knows none.",
        secret=True,
    ),
    Field(
        "tunnel_remote_dns",
        "Resolve names at the proxy",
        PROXY,
        Kind.FLAG,
        "tunnel.remote_dns",
        "Off: names are resolved here and the proxy gets an address. SOCKS4 cannot resolve names: switch it off there "
        "or take SOCKS4a. On by default.",
        default=True,
    ),
)

EXTRA_FIELDS: tuple[Field, ...] = tuple(field for field in FIELDS if field.tab != STANDARD)

_BY_KEY = {field.key: field for field in FIELDS}


def field(key: str) -> Field:
    """The field with this key.

    :raises KeyError: if there is none, which is a mistake in this package: keys from outside are checked first.
    """
    return _BY_KEY[key]
