"""`secateur pack`: an artifact as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink
from secateur.cli.trusted import refuse_sealed
from secateur.errors import OutputError


def pack(
    artifact: Annotated[Path, typer.Argument(help="The artifact.", metavar="ARTIFACT")],
    out: Annotated[
        Path | None,
        typer.Argument(help="The file; ARTIFACT.secateur by default.", metavar="FILE"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Make one .secateur file of an artifact; score, verify and inspect take it as it is.

    `secateur open FILE FOLDER` makes a folder of it again.
    """
    from secateur.formats.archive import pack as write
    from secateur.formats.artifact import Artifact
    from secateur.formats.store import ENDING

    here = artifact.resolve()
    out = out or here.with_name(here.name + ENDING)
    if out.exists():
        raise OutputError("it exists already.", where=out, mend="Name another file.")
    refuse_sealed(artifact, "It is one file already: `secateur open` it first.")
    with sink.waiting("packing"):
        write(Artifact.open(artifact).files, out)
    size = out.stat().st_size
    if json:
        from secateur.cli.told_artifacts import WrittenTold

        sink.as_json(WrittenTold(written=str(out), bytes=size))
        return
    sink.result(f"{out}: {size:,} bytes")
