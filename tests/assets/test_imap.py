from __future__ import annotations

from collections import namedtuple
from urllib.parse import unquote, urlsplit

import pytest
from airflow.sdk import Asset
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_imap_provider.assets.imap import (
    convert_asset_to_openlineage,
    create_asset,
    create_imaps_asset,
    lineage_name,
    sanitize_uri,
)

# The form of a URI is forever: a changed line here is a new asset for every user, with everything forgotten.
FOREVER = [
    ("imap://mail.example.com/INBOX", "imap://mail.example.com/INBOX"),
    ("imaps://mail.example.com/INBOX", "imaps://mail.example.com/INBOX"),
    ("IMAP://Mail.Example.COM/INBOX", "imap://mail.example.com/INBOX"),
    ("imap://mail.example.com./INBOX", "imap://mail.example.com/INBOX"),
    ("imap://mail.example.com:143/INBOX", "imap://mail.example.com/INBOX"),
    ("imap://mail.example.com:0143/INBOX", "imap://mail.example.com/INBOX"),
    ("imap://mail.example.com:/INBOX", "imap://mail.example.com/INBOX"),
    ("imaps://mail.example.com:993/INBOX", "imaps://mail.example.com/INBOX"),
    ("imap://mail.example.com:993/INBOX", "imap://mail.example.com:993/INBOX"),
    ("imaps://mail.example.com:143/INBOX", "imaps://mail.example.com:143/INBOX"),
    ("imap://192.0.2.7/INBOX", "imap://192.0.2.7/INBOX"),
    ("imap://[2001:DB8:0::1]:1143/INBOX", "imap://[2001:db8::1]:1143/INBOX"),
    ("imap://[::ffff:c000:207]/INBOX", "imap://[::ffff:192.0.2.7]/INBOX"),
    ("imap://bücher.example/INBOX", "imap://xn--bcher-kva.example/INBOX"),
    ("imap://mail.example.com/inbox", "imap://mail.example.com/INBOX"),
    ("imap://mail.example.com/%69nBox", "imap://mail.example.com/INBOX"),
    ("imap://mail.example.com/inbox/invoices", "imap://mail.example.com/inbox/invoices"),
    ("imap://mail.example.com/Invoices", "imap://mail.example.com/Invoices"),
    ("imap://mail.example.com/INBOX/", "imap://mail.example.com/INBOX"),
    ("imap://mail.example.com//INBOX", "imap://mail.example.com/INBOX"),
    ("imap://mail.example.com", "imap://mail.example.com/"),
    ("imap://mail.example.com/Sent Mail", "imap://mail.example.com/Sent%20Mail"),
    ("imap://mail.example.com/Sent%20Mail", "imap://mail.example.com/Sent%20Mail"),
    ("imap://mail.example.com/Sent+Mail", "imap://mail.example.com/Sent+Mail"),
    ("imap://mail.example.com/Entwürfe", "imap://mail.example.com/Entw%C3%BCrfe"),
    ("imap://mail.example.com/Entw%c3%bcrfe", "imap://mail.example.com/Entw%C3%BCrfe"),
    ("imap://mail.example.com/[Gmail]/All Mail", "imap://mail.example.com/%5BGmail%5D/All%20Mail"),
    ("imap://mail.example.com/a%2Fb/c", "imap://mail.example.com/a%2Fb/c"),
    ("imap://mail.example.com/%23news", "imap://mail.example.com/%23news"),
    ("imap://mail.example.com/what%3F", "imap://mail.example.com/what%3F"),
    ("imap://mail.example.com/a%3Bb", "imap://mail.example.com/a%3Bb"),
    ("imap://mail.example.com/a%26b!$'()*,=:@~", "imap://mail.example.com/a&b!$'()*,=:@~"),
    ("imap://mail.example.com/100%", "imap://mail.example.com/100%25"),
    ("imap://mail.example.com/100%25", "imap://mail.example.com/100%25"),
    ("imap://mail.example.com/../INBOX", "imap://mail.example.com/../INBOX"),
    (
        "imap://mail.example.com/INBOX?account=joe@example.com",
        "imap://mail.example.com/INBOX?account=joe@example.com",
    ),
    (
        "imap://mail.example.com/INBOX?account=joe%40example.com",
        "imap://mail.example.com/INBOX?account=joe@example.com",
    ),
    (
        "imap://mail.example.com/INBOX?account=joe+bills@example.com",
        "imap://mail.example.com/INBOX?account=joe+bills@example.com",
    ),
    (
        "imap://mail.example.com/INBOX?account=joe%2Bbills%40example.com",
        "imap://mail.example.com/INBOX?account=joe+bills@example.com",
    ),
    ("imap://mail.example.com/INBOX?account=AD\\joe", "imap://mail.example.com/INBOX?account=AD%5Cjoe"),
    ("imap://mail.example.com/INBOX?account=a/b:c*'()!,$", "imap://mail.example.com/INBOX?account=a/b:c*'()!,$"),
    ("imap://mail.example.com/INBOX?account=a=b", "imap://mail.example.com/INBOX?account=a%3Db"),
    ("imap://mail.example.com/INBOX?account=jürgen", "imap://mail.example.com/INBOX?account=j%C3%BCrgen"),
    ("imap://mail.example.com/INBOX?account=", "imap://mail.example.com/INBOX"),
    ("imap://mail.example.com/INBOX#part", "imap://mail.example.com/INBOX"),
]

texts = st.text(st.characters(exclude_categories=["Cs"]))
odd = st.text(alphabet="aZ09.-_~%2fF5b3D[]@:/;?#&=+ \t\nüßI\u0130\u3002\x7f", max_size=20)


@pytest.mark.parametrize(("written", "uri"), FOREVER)
def test_an_asset_has_this_uri_forever(written: str, uri: str) -> None:
    assert Asset(name="mails", uri=written).uri == uri


@pytest.mark.parametrize("uri", sorted({uri for _, uri in FOREVER}))
def test_the_final_form_stays_and_is_the_normalized_one(uri: str) -> None:
    asset = Asset(name="mails", uri=uri)
    assert asset.uri == uri
    assert asset.normalized_uri == uri


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("imap:///INBOX", "host"),
        ("imap:INBOX", "host"),
        ("imap://:143/INBOX", "host"),
        ("imap://mail example/INBOX", "blank"),
        ("imap://mail_%2e.example/INBOX", "host"),
        ("imap://2001:db8::1/INBOX", "host"),
        ("imap://[mail.example.com]/INBOX", r"mail\.example\.com|host|IP"),
        ("imap://[fe80::1%25eth0]/INBOX", "host"),
        ("imap://mail.example.com:0/INBOX", "port"),
        ("imap://mail.example.com:imap/INBOX", "port"),
        ("imap://mail.example.com:65536/INBOX", "port"),
        ("imap://mail.example.com/INBOX;UIDVALIDITY=385759045", "%3B"),
        ("imap://mail.example.com/INBOX/;UID=20", "%3B"),
        ("imap://mail.example.com/Entw%FCrfe", "UTF-8"),
        ("imap://mail.example.com/a%0D%0Ab", "control character"),
        ("imap://mail.example.com/INBOX?user=joe", "account"),
        ("imap://mail.example.com/INBOX?account=a&account=b", "once"),
        ("imap://mail.example.com/INBOX?account=a%0Ab", "control character"),
    ],
)
def test_what_has_no_clear_meaning_is_refused(uri: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Asset(name="mails", uri=uri)


def test_a_user_name_is_dropped_with_a_warning_at_the_line_that_wrote_it() -> None:
    with pytest.warns(UserWarning, match=r"write \?account=") as warned:
        asset = Asset(name="mails", uri="imap://joe@mail.example.com/INBOX")
    assert asset.uri == "imap://mail.example.com/INBOX"
    assert warned[0].filename == __file__


def test_a_password_is_dropped_by_airflow_itself() -> None:
    with pytest.warns(UserWarning, match="should not contain a password"):
        asset = Asset(name="mails", uri="imap://joe:secret@mail.example.com/INBOX")
    assert asset.uri == "imap://mail.example.com/INBOX"


@settings(max_examples=500)
@given(scheme=st.sampled_from(["imap", "imaps"]), host=odd | st.just("h.example"), rest=odd | texts)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_sanitizing_twice_is_sanitizing_once(scheme: str, host: str, rest: str) -> None:
    try:
        asset = Asset(name="mails", uri=f"{scheme}://{host}/{rest}")
    except ValueError:
        assume(False)
    assert asset.uri.startswith(f"{scheme}://")
    assert asset.uri.isascii()
    assert Asset(name="mails", uri=asset.uri).uri == asset.uri
    assert sanitize_uri(urlsplit(asset.uri)).geturl() == asset.uri


@given(
    folder=texts,
    account=st.text(st.characters(exclude_categories=["C"], exclude_characters=" ")),
    port=st.integers(1, 65535),
)
def test_any_folder_name_comes_back_out_of_its_uri(folder: str, account: str, port: int) -> None:
    assume(not any(character < " " or character == "\x7f" for character in folder))
    asset = create_asset(host="mail.example.com", folder=folder, account=account, port=port)
    name = unquote(urlsplit(asset.uri).path[1:])
    assert name == ("INBOX" if folder.strip("/").upper() == "INBOX" else folder.strip("/"))
    assert asset.name == asset.uri == Asset(name="mails", uri=asset.uri).uri
    assert lineage_name(asset.uri)[1] == "/".join(part for part in (account, name) if part) or "/"


def test_the_factories_make_the_uris_that_people_write() -> None:
    assert create_asset(host="Mail.example.com").uri == "imap://mail.example.com/INBOX"
    assert create_asset(host="::1", port=1143, folder="#news").uri == "imap://[::1]:1143/%23news"
    assert create_imaps_asset(host="mail.example.com", port=993).uri == "imaps://mail.example.com/INBOX"
    assert create_imaps_asset(host="h", account="joe@example.com", name="joe", extra={"a": 1}) == Asset(
        name="joe", uri="imaps://h/INBOX?account=joe@example.com", extra={"a": 1}
    )


def test_a_factory_refuses_other_schemes_and_what_is_no_host() -> None:
    with pytest.raises(ValueError, match="imap, imaps"):
        create_asset(host="mail.example.com", scheme="pop3")
    with pytest.raises(ValueError, match="leave out"):
        create_asset(host="imap://mail.example.com")
    for odd_one in ({"folder": "a\ud800"}, {"account": "a\ud800"}):
        with pytest.raises(ValueError, match=r"'a\\ud800' contains half a character"):
            create_asset(host="mail.example.com", **odd_one)
    # Airflow takes "joe x" and "joe+x" for the same account: one of them has to go.
    with pytest.raises(ValueError, match="blank"):
        create_asset(host="mail.example.com", account="joe x")


def test_a_reference_by_uri_is_the_uri_as_one_writes_it() -> None:
    written = "imap://outlook.office365.com/INBOX?account=joe+invoices@example.com"
    assert Asset.ref(uri=written).uri == Asset(name="mails", uri=written).uri


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        ("imap://mail.example.com/INBOX", "imap://mail.example.com:143", "INBOX"),
        ("imaps://mail.example.com:1993/a/Entw%C3%BCrfe", "imaps://mail.example.com:1993", "a/Entwürfe"),
        ("imaps://[2001:db8::1]/INBOX", "imaps://[2001:db8::1]:993", "INBOX"),
        ("imap://h/INBOX?account=joe%40example.com", "imap://h:143", "joe@example.com/INBOX"),
        ("imap://mail.example.com/", "imap://mail.example.com:143", "/"),
    ],
)
def test_openlineage_gets_server_and_folder(
    uri: str, namespace: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Airflow puts a class that knows nothing in the place of OpenLineage's where that is not installed.
    data_set = namedtuple("data_set", ["namespace", "name"])
    monkeypatch.setattr("airflow.providers.common.compat.openlineage.facet.Dataset", data_set)
    assert convert_asset_to_openlineage(Asset(name="mails", uri=uri), None) == data_set(namespace, name)
