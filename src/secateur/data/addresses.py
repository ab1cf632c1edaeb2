"""Addresses of databases, and what of them may be shown: no user, no password and no options.

A password may hold any sign, also those that part an address. So one of a server is taken apart
only where that can be done in one way, and of any other nothing is shown but its scheme.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from secateur.errors import DataError

_FILE = "duckdb:///"
_HOST = r"(?:\[[^][@/?#]*\]|[^][@/?#:,]*)(?::\d*)?"
_SERVER = re.compile(
    r"(?P<scheme>postgres(?:ql)?)://(?:(?P<user>[^][@/?#]*)@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)(?P<name>/[^@?#]*)?(?P<options>\?[^@\"]*)?"
)
_NOT_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")


def shown(uri: str) -> str:
    """Return what may be shown of a database's address."""
    if uri.startswith(_FILE):
        return uri.partition("?")[0]
    if parts := _SERVER.fullmatch(uri):
        return f"{parts['scheme']}://{parts['hosts']}{parts['name'] or ''}"
    scheme = _scheme(uri)
    return "..." if scheme is None else f"{scheme}://..."


def file_of(uri: str) -> str | None:
    """Return the file that an address names; None where it names a server."""
    return shown(uri).removeprefix(_FILE) if uri.startswith(_FILE) else None


def demand_readable(uri: str) -> None:
    """Refuse what is no address of a database, or one that can be read in two ways.

    Raises:
        DataError: it is one of these; nothing that may be secret is named.
    """
    if uri.startswith(_FILE):
        return
    scheme = _scheme(uri)
    if scheme not in ("postgresql", "postgres"):
        unknown = scheme not in (None, "duckdb")
        raise DataError(
            f"a database at {scheme!r} cannot be read."
            if unknown
            else "this is no address of a database.",
            mend="Give duckdb:///file.db or postgresql://host/database.",
        )
    if not _SERVER.fullmatch(uri) or _NOT_ENCODED.search(uri):
        raise DataError(
            "the address cannot be taken apart: a sign in it is not percent-encoded, or a port is "
            "no number.",
            where=shown(uri),
            mend="In user, password, database and options write % as %25, @ as %40, / as %2F, "
            "? as %3F, # as %23, [ as %5B and ] as %5D; or leave the password to PGPASSWORD.",
        )


def without_secrets(said: str, uri: str) -> str:
    """Return what a driver says of an address without what it quotes of its user or options."""
    parts = _SERVER.fullmatch(uri)
    if parts is None:
        return said
    hidden = f"{parts['user'] or ''} {parts['options'] or ''}"
    hidden += unquote(hidden)
    return re.sub(r'"([^"]+)"', lambda it: '"..."' if it[1] in hidden else it[0], said)


def _scheme(uri: str) -> str | None:
    found = re.match(r"([a-z][a-z0-9+.-]*)://", uri)
    return None if found is None else found[1]
