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
    json: Annotated[bool, typer.Option("--json", help="Print run and tally as JSON.")] = False,
) -> None:
    """Train, prune, export, score and report on 5,000 handwritten digits: some three minutes.

    Needs the extra `demo`: pip install 'secateur[demo]'.
    """
    prepare()
    from secateur.demo import run_demo

    try:
        run_demo(out, quick=quick, say=sink.say, result=sink.say if json else sink.result)
    except KeyboardInterrupt as interrupt:
        interrupt.add_note("Give the same command again to go on from here.")
        raise
    if json:
        from secateur.cli.run import told
        from secateur.cli.told import DemoTold
        from secateur.reporting.record import Run
        from secateur.scoring.score import TALLY
        from secateur.scoring.tally import Tally

        tally = (out / "scored" / TALLY).read_text(encoding="utf-8")
        sink.as_json(
            DemoTold(
                run=told(Run.load(out / "run"), out / "run"),
                tally=Tally.model_validate_json(tally),
            )
        )
