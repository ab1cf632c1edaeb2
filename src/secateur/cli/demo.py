"""`secateur demo`: the main job on handwritten digits that a package carries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink
from secateur.cli.keras_setup import prepare


def demo(
    out: Annotated[
        Path, typer.Option("--out", help="The folder to make.", metavar="FOLDER")
    ] = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer images and a smaller model.")
    ] = False,
) -> None:
    """Train, prune, export, score and report on 5,000 handwritten digits: some three minutes.

    Needs the extra `demo`: pip install 'secateur[demo]'.
    """
    prepare()
    from secateur.demo import run_demo

    run_demo(out, quick=quick, say=sink.say, result=sink.result)
