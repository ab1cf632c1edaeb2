"""`secateur export`: a Keras model as an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink
from secateur.cli.idle import refuse_without
from secateur.cli.keras_setup import prepare
from secateur.cli.labelled import Above, Header, Ignore, Key, Reading, Target, read_for
from secateur.errors import OutputError, SecateurError


def export(
    model: Annotated[Path, typer.Argument(help="A .keras or .h5 file.", metavar="MODEL")],
    out: Annotated[Path, typer.Argument(help="The folder to make.", metavar="ARTIFACT")],
    contract: Annotated[
        Path | None,
        typer.Option("--contract", help="What a valid row is: a contract (JSON or YAML)."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="The training data, to learn from it what a valid row is."),
    ] = None,
    target: Target = None,
    above: Above = None,
    key: Key = None,
    ignore: Ignore = None,
    header: Header = True,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            help="A layer: give its output, a vector a row, and no prediction.",
            metavar="LAYER",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="The largest difference from the Keras model.")
    ] = 1e-3,
    litert: Annotated[
        bool, typer.Option("--litert", help="Write a file for LiteRT beside the one in ONNX.")
    ] = False,
) -> None:
    """Write a model as ONNX with all that scoring needs, and check it against the Keras model.

    With a contract, or data to learn it from, the artifact scores raw data; without one it
    predicts arrays.
    """
    if contract is not None and data is not None:
        raise SecateurError(
            "--contract and --data are both given.", mend="Give the one that says more."
        )
    how = Reading(target, above, key, ignore, header)
    refuse_without("--data", how.given, there=data is not None)
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise OutputError("it exists already.", where=out, mend="Name another folder.")
    prepare()
    with sink.waiting("exporting"):
        from secateur.data.contract import Contract
        from secateur.formats.onnx import export as write
        from secateur.graph.functional import laid_out
        from secateur.models.fits import check_fits
        from secateur.models.load import load_model_with_notes

        loaded, notes = load_model_with_notes(model)
        kept, sample = None, None
        if contract is not None:
            kept = Contract.load(contract)
            check_fits(laid_out(loaded), kept, where=model)
        if data is not None:
            dataset = read_for(laid_out(loaded), data, how, where=model)
            kept, sample = dataset.contract, dataset.train.sample(64)[0]
        made = write(
            loaded,
            out,
            contract=kept,
            sample=sample,
            tolerance=tolerance,
            litert=litert,
            features=features,
        )
    sink.notes(notes)
    parity = made.manifest.parity
    if json:
        from secateur.cli.told import ExportTold

        sink.as_json(
            ExportTold(
                artifact=str(out),
                bytes=made.model_path.stat().st_size,
                max_difference=parity.max_difference,
                rows=parity.rows,
                contract=kept is not None,
                notes=tuple(notes),
            )
        )
        return
    sink.result(
        f"{out}: {made.model_path.stat().st_size:,} bytes of ONNX, at most "
        f"{parity.max_difference:.2g} from the Keras model on {parity.rows} rows"
    )
    if kept is None:
        sink.result("no contract: it predicts arrays, but cannot score raw data")
