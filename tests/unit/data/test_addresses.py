"""Of an address nothing is shown that may be secret, whatever signs it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.addresses import demand_readable, file_of, shown, without_secrets
from secateur.data.databases import Query
from secateur.errors import DataError


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("postgresql://host/shop", "postgresql://host/shop"),
        ("postgres://me:pw@host:5432/shop?sslmode=require", "postgres://host:5432/shop"),
        ("postgresql://me@a:1,[::1]:2,c/shop", "postgresql://a:1,[::1]:2,c/shop"),
        ("postgresql://me:a%40b:c@host?password=x#y", "postgresql://host"),
        ("postgresql:///shop?host=/run/pg-1&user=test", "postgresql:///shop"),
        ("duckdb:///rows.db", "duckdb:///rows.db"),
        ("duckdb:////home/me@corp/a#1.db?x=1", "duckdb:////home/me@corp/a#1.db"),
    ],
)
def test_an_address_is_shown_without_user_and_options(uri, told):
    demand_readable(uri)
    assert shown(uri) == told


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:se%cret@host/db",
        "postgresql://host/db?user=me&password=se%cret",
        "postgresql://host/db?user=me&password=se@cret",
        "postgresql://host/db?user=me&password=se%00cret",
        "postgresql://me:se[cret@host/db",
        "postgresql://me:se/cret@host/db",
        "postgresql://me:1/secret@host/db",
        "postgresql://me:se#cret@host/db",
        "postgresql://me:se?cret@host/db",
        "postgresql://me:se@cret@host/db",
        "postgresql://me:secret/db",
        "postgresql:me:secret@host/db",
        "duckdb://me:secret@host/db",
        "mysql://me:secret@host/db",
        "me:secret@host/db",
        "//me:secret@host/db",
        "host=h password=secret",
    ],
)
def test_an_address_that_cannot_be_taken_apart_is_refused_without_its_password(uri):
    with pytest.raises(DataError) as caught:
        demand_readable(uri)
    told = f"{caught.value} {shown(uri)} {Query(uri, 'SELECT 1 AS id', 'id')!r}"
    assert not any(
        part in told for part in ("se%", "se[", "se/", "se#", "se?", "se@", "cret", "12")
    )
    assert caught.value.mend


@given(st.text("ab1:/?#@[]%&=,. \n"))
def test_no_password_is_shown_in_part(password):
    assert shown(f"postgresql://me:{password}@db.example/shop") in (
        "postgresql://db.example/shop",
        "postgresql://...",
    )


def test_files_are_named_as_they_are():
    assert file_of("duckdb:///d b@1.db") == "d b@1.db"
    assert file_of("duckdb:////data/rows.db?x=1") == "/data/rows.db"
    assert file_of("postgresql://host/db") is None


def test_what_a_driver_quotes_of_user_and_options_is_left_out():
    uri = "postgresql://me%21:a%2Bb@host/db?sslmode=best&x=pw"
    said = 'no "best" for "me!" with "a+b" or "a%2Bb" and "x" at "host"'
    assert without_secrets(said, uri) == (
        'no "..." for "..." with "..." or "..." and "..." at "host"'
    )
    assert without_secrets('no "best"', "duckdb:///best.db") == 'no "best"'
