"""`secateur verify`: is an artifact whole, unchanged, sound, and from whom it should be?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink
from secateur.cli.trusted import Identity, PassphraseFile, Roots, secret, signer
from secateur.errors import ArtifactError


def verify(
    artifact: Annotated[
        Path,
        typer.Argument(help="A folder, a .secateur file, or a sealed one.", metavar="ARTIFACT"),
    ],
    key: Annotated[
        Path | None,
        typer.Option("--key", help="The public key of who must have signed it, in PEM."),
    ] = None,
    certificates: Roots = None,
    identity: Identity = None,
    passphrase_file: PassphraseFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Check every file of an artifact, and name all that is wrong; leave with 2 where anything is.

    Names, sizes, hashes, the contract and the model file are checked; with --key or --certificate
    the signature as well.
    """
    from secateur.formats.verify import verify as check

    with sink.waiting("checking"):
        verdict = check(
            artifact,
            secret=secret(identity, passphrase_file, artifact),
            signed_by=signer(key, certificates),
        )
    if json:
        from secateur.cli.told_artifacts import ProblemTold, VerifyTold

        sink.as_json(
            VerifyTold(
                artifact=str(verdict.path),
                kind=verdict.kind,
                files=verdict.files,
                bytes=verdict.bytes,
                signed=verdict.signed,
                signer=verdict.signer,
                sound=verdict.sound,
                problems=tuple(ProblemTold(**each._asdict()) for each in verdict.problems),
            )
        )
    else:
        for each in verdict.problems:
            sink.result(f"{each.file}: {each.what}")
    if not verdict.sound:
        count = len(verdict.problems)
        raise ArtifactError(
            f"{count} thing{'s are' if count > 1 else ' is'} wrong with the artifact.",
            where=artifact,
            mend="Do not use it; get it again from who made it.",
        )
    if not json:
        sink.result(
            f"{artifact}: sound; {verdict.files} files, {verdict.bytes:,} bytes; "
            + _signature(verdict.signed, verdict.signer)
        )


def _signature(signed: bool, signer: str) -> str:
    if signer:
        return f"signed by {signer}"
    return "signed, by whom --key can tell" if signed else "not signed"
