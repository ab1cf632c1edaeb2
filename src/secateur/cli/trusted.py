"""The options that say what opens a sealed artifact, and whose signature it must carry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.errors import ArtifactError, SecateurError

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


def secret(
    identity: Path | None, passphrase_file: Path | None, *artifacts: Path | None
) -> Secret | None:
    """Return what opens sealed artifacts, None where nothing is given.

    Raises:
        SecateurError: a key is given, and none of the artifacts is sealed.
    """
    from secateur.formats.sealing import Secret

    if identity is not None and passphrase_file is not None:
        raise SecateurError(
            "--identity and --passphrase-file are both given.", mend="Give what it was sealed to."
        )
    given = identity or passphrase_file
    there = [each for each in artifacts if each is not None and each.exists()]
    if given is not None and there and not any(map(sealed, there)):
        raise SecateurError(
            "it is not sealed, so no key opens it.",
            where=there[0],
            mend=f"Leave out {'--passphrase-file' if identity is None else '--identity'}.",
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
    from secateur.formats.store import ENDING

    if path.is_dir():
        return (path / "manifest.json").is_file()
    return path.is_file() and (path.suffix == ENDING or sealed(path))


def sealed(path: Path) -> bool:
    """Return whether a path is a file that is encrypted."""
    from secateur.formats.sealing import is_sealed

    if not path.is_file():
        return False
    with path.open("rb") as file:
        return is_sealed(file.read(64))


def refuse_sealed(path: Path, mend: str) -> None:
    """Raise `ArtifactError` where an artifact is sealed, for a command that takes no key."""
    if sealed(path):
        raise ArtifactError("the artifact is sealed.", where=path, mend=mend)


def refuse_signer(path: Path, signer: Signer | None) -> None:
    """Raise `SecateurError` where a signature is asked of a file that can carry none."""
    if signer is not None:
        raise SecateurError(
            "only an artifact carries a signature, and this is none.",
            where=path,
            mend="Name an artifact, or ask for no signature.",
        )
