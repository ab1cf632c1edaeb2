"""`secateur sign`: vouch for an artifact with a key or a certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink
from secateur.cli.trusted import key_password, refuse_sealed
from secateur.errors import SecateurError


def sign(
    artifact: Annotated[
        Path, typer.Argument(help="A folder or a .secateur file.", metavar="ARTIFACT")
    ],
    key: Annotated[
        Path | None, typer.Option("--key", help="An elliptic-curve private key, in PEM.")
    ] = None,
    new_key: Annotated[
        Path | None,
        typer.Option("--new-key", help="Make a key first: this file, and its public key beside."),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option("--certificate", help="The key's certificate, in PEM, to sign with it."),
    ] = None,
    chain: Annotated[
        list[Path] | None,
        typer.Option("--chain", help="A certificate between it and the root. Repeatable."),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", help="A file with the password of the private key."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was signed as JSON.")] = False,
) -> None:
    """Sign every file of an artifact, in the format of OpenSSF Model Signing; nothing is sent.

    The signature is written beside the files, as model.sig, and `secateur verify ARTIFACT --key
    PUBLIC` checks it. An artifact is signed before it is sealed.
    """
    if (key is None) == (new_key is None):
        raise SecateurError("a key is needed.", mend="Give --key FILE, or --new-key FILE.")
    for option, given in (("--certificate", certificate), ("--password-file", password_file)):
        if new_key is not None and given is not None:
            raise SecateurError(
                f"{option} is of a key that is there, and --new-key makes one.", mend="Give --key."
            )
    if chain and certificate is None:
        raise SecateurError(
            "--chain leads from a certificate, and there is none.", mend="Give --certificate."
        )
    refuse_sealed(artifact, "`secateur open` it first; sign it, then seal it.")
    with sink.waiting("signing"):
        from secateur.formats import archive, signing
        from secateur.formats.artifact import Artifact
        from secateur.formats.store import FolderStore, ZipStore

        store = Artifact.open(artifact).files
        assert isinstance(store, FolderStore | ZipStore)
        if new_key is not None:
            archive.check_outside(store, new_key)
        public = None if new_key is None else signing.new_key(new_key)
        private = key or new_key
        assert private is not None
        signature = signing.signature_of(
            store,
            private,
            password=None if key is None else key_password(password_file),
            certificate=certificate,
            chain=tuple(chain or ()),
        )
        archive.add_signature(store, signature)
    if json:
        from secateur.cli.told_artifacts import SignTold

        made = None if public is None else str(public)
        sink.as_json(SignTold(artifact=str(artifact), public_key=made))
        return
    if public is not None:
        sink.result(f"key: {new_key} (keep it to yourself); public key: {public}")
    by = "--key PUBLIC" if certificate is None else "--certificate ROOT"
    sink.result(f"{artifact}: signed; check it with: secateur verify {artifact} {by}")
