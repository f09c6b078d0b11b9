"""What hypothesis draws connections from."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from airflow_imap_provider.connection.field import Field, Kind
from airflow_imap_provider.connection.fields import EXTRA_FIELDS

from .builders import CERTIFICATE, KEY, PKCS12

ACCOUNT = '{"client_email": "robot@example.com", "private_key": "-----BEGIN"}'
printable = st.text(st.characters(exclude_categories=["C"]), min_size=1)
hosts = st.from_regex(r"[a-z]{1,9}\.example\.com", fullmatch=True) | st.ip_addresses().map(str)


def raw_values(spec: Field) -> st.SearchStrategy[Any]:
    """Values of a field as a form or a JSON document has them."""
    strategies: dict[Kind, st.SearchStrategy[Any]] = {
        Kind.TEXT: printable,
        Kind.HOST: hosts,
        Kind.URL: hosts.map(lambda host: f"https://{f'[{host}]' if ':' in host else host}/token?a=b&c=d%20e"),
        Kind.CODE_PAGE: st.sampled_from(["cp1252", "ISO-8859-2", "koi8-r", "1250"]),
        Kind.CERTIFICATES: st.sampled_from([CERTIFICATE, "/etc/ssl/ca bundle.pem"]),
        Kind.KEY: st.sampled_from([KEY, PKCS12, "/etc/ssl/key.pem"]),
        Kind.APPLICATION_KEY: st.sampled_from([KEY, PKCS12, "/etc/ssl/key.pem", ACCOUNT]),
        Kind.INTEGER: st.integers(spec.minimum, spec.maximum),
        Kind.NUMBER: st.floats(spec.minimum, spec.maximum),
        Kind.FLAG: st.booleans(),
        Kind.CHOICE: st.sampled_from(spec.accepted or ("",)),
        Kind.CHOICES: st.lists(st.sampled_from(spec.accepted or ("",)), min_size=1),
        Kind.PINS: st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex), min_size=1, max_size=3),
    }
    return strategies[spec.kind]


# Any combination of fields, each with a value that is right by itself.
extras = st.fixed_dictionaries({}, optional={spec.key: raw_values(spec) for spec in EXTRA_FIELDS})
