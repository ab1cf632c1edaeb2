"""`secateur open`: an artifact as a folder again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink
from secateur.cli.trusted import Identity, PassphraseFile, Roots, SignedBy, secret, signer


def open_artifact(
    artifact: Annotated[
        Path, typer.Argument(help="A .secateur file, or a sealed one.", metavar="ARTIFACT")
    ],
    out: Annotated[Path, typer.Argument(help="The folder to make.", metavar="FOLDER")],
    identity: Identity = None,
    passphrase_file: PassphraseFile = None,
    signed_by: SignedBy = None,
    certificates: Roots = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Make a folder of an artifact that is one file, sealed or not, once it is found sound."""
    from secateur.formats.archive import unpack
    from secateur.formats.artifact import Artifact

    with sink.waiting("opening"):
        opened = Artifact.open(
            artifact,
            secret=secret(identity, passphrase_file, artifact),
            signed_by=signer(signed_by, certificates),
        )
        unpack(opened.files, out, known=opened.hashes)
    if json:
        from secateur.cli.told_artifacts import WrittenTold

        sink.as_json(WrittenTold(written=str(out), bytes=opened.bytes))
        return
    sink.result(f"{out}: {len(opened.manifest.files)} files, {opened.bytes:,} bytes")
