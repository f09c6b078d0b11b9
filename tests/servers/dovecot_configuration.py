"""What the test server's configuration is made from; the braces of Dovecot's own blocks are doubled."""

from __future__ import annotations

__all__ = ["CLIENT_CERTIFICATES", "CONFIGURATION", "OAUTH", "OAUTH_VALIDATION", "ONE_TLS_VERSION", "OPENSSL"]

CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
listen = {host}
protocols = imap
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
auth_username_chars =
auth_cache_size = 0
mail_location = sdbox:{folder}/mail/%u
mail_max_userip_connections = 5000
first_valid_uid = 1
default_process_limit = 1000
default_client_limit = 4000
default_vsz_limit = 2G
{unprivileged}
{capabilities}
{client_certificates}
# Who is named by a client certificate needs no password.
passdb {{
  driver = passwd-file
  mechanisms = external
  args = username_format=%u {folder}/certified/%u
}}
passdb {{
  driver = passwd-file
  mechanisms = external
  master = yes
  args = username_format=%u {folder}/certified-masters/%u
}}
# Masters log in with their own password and open anybody's mailbox, by the authorization identity.
passdb {{
  driver = passwd-file
  master = yes
  args = username_format=%u {folder}/masters/%u
}}
passdb {{
  driver = passwd-file
  # A file for each user: one for all would be read again only a second later.
  args = username_format=%u {folder}/users/%u
}}
{oauth}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
  service_count = 0
  client_limit = 1000
  process_min_avail = 1
  process_limit = 2
  {no_chroot}
}}
service imap {{
  process_limit = 1000
}}
service anvil {{
  client_limit = 4000
  {no_chroot}
  # No growing delay after wrong passwords: the tests try many.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  client_limit = 4000
}}
service auth {{
  client_limit = 4000
}}
"""

CLIENT_CERTIFICATES = """
ssl_ca = <{authority}
ssl_require_crl = no
ssl_verify_client_cert = yes
auth_ssl_username_from_cert = yes
"""

ONE_TLS_VERSION = """
ssl_min_protocol = {version}
ssl_cipher_list = DEFAULT:@SECLEVEL=0
import_environment = OPENSSL_CONF
"""

OPENSSL = """
openssl_conf = openssl
[openssl]
ssl_conf = ssl
[ssl]
system_default = default
[default]
MinProtocol = {version}
MaxProtocol = {version}
CipherString = DEFAULT:@SECLEVEL=0
"""

OAUTH = """
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf
}}
"""

OAUTH_VALIDATION = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = email
username_format = %u
"""
"""Tokens are JWTs that it checks by itself: signed with the key below ``keys/``, for the user in their ``email``."""
