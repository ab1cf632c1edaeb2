"""`secateur seal`: an artifact that only some may read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink
from secateur.cli.trusted import passphrase, refuse_sealed
from secateur.errors import OutputError, SecateurError


def seal(
    artifact: Annotated[
        Path, typer.Argument(help="A folder or a .secateur file.", metavar="ARTIFACT")
    ],
    out: Annotated[
        Path | None,
        typer.Argument(help="The file; ARTIFACT.secateur.age by default.", metavar="FILE"),
    ] = None,
    recipients: Annotated[
        list[str] | None,
        typer.Option(
            "--to", help="Who may open it: an age recipient or SSH public key. Repeatable."
        ),
    ] = None,
    new_identity: Annotated[
        Path | None,
        typer.Option("--new-identity", help="Make an age identity, a new file, and seal to it."),
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="A file with a passphrase.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Encrypt an artifact with age, to people or to a passphrase.

    What is sealed is scored, verified and inspected as it is: it is decrypted in memory, and
    nothing of it is written. The artifact itself stays where it is.
    """
    from secateur.formats import sealing
    from secateur.formats.archive import check_outside, packed
    from secateur.formats.artifact import Artifact
    from secateur.formats.store import ENDING

    here = artifact.resolve()
    named = here.name if here.suffix == ENDING else here.name + ENDING
    out = out or here.with_name(named + sealing.SEALED_ENDING)
    if out.exists():
        raise OutputError("it exists already.", where=out, mend="Name another file.")
    refuse_sealed(artifact, "`secateur open` it first, and seal it anew.")
    given = list(recipients or [])
    phrase = passphrase(passphrase_file)
    if given or new_identity:
        if passphrase_file is not None:
            raise SecateurError(
                "recipients and a passphrase are both given.", mend="Give the one or the other."
            )
        phrase = None
    with sink.waiting("sealing"):
        store = Artifact.open(artifact).files
        for each in filter(None, (out, new_identity)):
            check_outside(store, each)
        content = packed(store)
        sealing.check_recipients(given)
        if new_identity is not None:
            given.append(sealing.new_identity(new_identity))
        sealing.seal(content, out, recipients=given, passphrase=phrase)
    if json:
        from secateur.cli.told_artifacts import SealTold

        size = out.stat().st_size
        sink.as_json(SealTold(written=str(out), bytes=size, recipients=tuple(given)))
        return
    if new_identity is not None:
        sink.result(f"identity: {new_identity} (keep it to yourself); recipient: {given[-1]}")
    sink.result(f"{out}: {out.stat().st_size:,} bytes")
