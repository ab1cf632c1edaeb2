"""The options that say what opens a sealed artifact, and whose signature it must carry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.errors import SecateurError

if TYPE_CHECKING:
    from secateur.formats.sealing import Secret
    from secateur.formats.signing import Signer

# A passphrase is never an argument: every process of the machine can read those.
_VARIABLE = "SECATEUR_PASSPHRASE"

Identity = Annotated[
    Path | None,
    typer.Option(
        "--identity", help="A file with the age identity, or SSH key, that opens a sealed artifact."
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help=f"A file with the passphrase of a sealed artifact; else {_VARIABLE} holds it.",
    ),
]
SignedBy = Annotated[
    Path | None,
    typer.Option("--signed-by", help="The public key of who must have signed it, in PEM."),
]
Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--certificate",
        help="A root certificate, in PEM, that the signature's must lead to. Repeatable.",
    ),
]


def secret(identity: Path | None, passphrase_file: Path | None) -> Secret | None:
    """Return what opens a sealed artifact, None where nothing is given."""
    from secateur.formats.sealing import Secret

    if identity is not None and passphrase_file is not None:
        raise SecateurError(
            "--identity and --passphrase-file are both given.", mend="Give what it was sealed to."
        )
    if identity is not None:
        return Secret(identity=identity)
    phrase = passphrase(passphrase_file)
    return None if phrase is None else Secret(passphrase=phrase)


def passphrase(file: Path | None) -> str | None:
    """Return the passphrase in a file, or in the environment; None where there is neither."""
    if file is None:
        return os.environ.get(_VARIABLE) or None
    from secateur.formats.sealing import read_secret

    try:
        found = read_secret(file).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise SecateurError("the passphrase is not UTF-8 text.", where=file) from error
    if not found:
        raise SecateurError("the file is empty.", where=file, mend="Write a passphrase into it.")
    return found


def signer(key: Path | None, certificates: list[Path] | None) -> Signer | None:
    """Return whose signature is asked for, None where none is."""
    from secateur.formats.signing import Signer

    if key is not None and certificates:
        raise SecateurError(
            "a public key and certificates are both given.", mend="Give what it was signed with."
        )
    if key is None and not certificates:
        return None
    return Signer(key=key, certificates=tuple(certificates or ()))


def key_password(file: Path | None) -> str | None:
    """Return the password of a private key: from a file, or from the environment."""
    if file is not None:
        return passphrase(file)
    return os.environ.get("SECATEUR_KEY_PASSWORD") or None


def is_artifact(path: Path) -> bool:
    """Return whether a path is more likely an artifact than a model file."""
    from secateur.formats.sealing import is_sealed
    from secateur.formats.store import ENDING

    if path.is_dir():
        return (path / "manifest.json").is_file()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix == ENDING or is_sealed(file.read(64))
