"""`secateur check`: how data differs from what a model was trained on, before it is scored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateur.cli import out as sink
from secateur.cli.exits import TOO_MANY_BAD, UNUSABLE
from secateur.cli.score import kept_keys, share
from secateur.cli.trusted import (
    Identity,
    PassphraseFile,
    Roots,
    SignedBy,
    refuse_signer,
    secret,
    signer,
)

if TYPE_CHECKING:
    from secateur.formats.sealing import Secret
    from secateur.formats.signing import Signer
    from secateur.scoring.findings import DataCheck

_WAYS = {
    "missing": "missing",
    "type": "of another type",
    "infinite": "infinite",
    "range": "out of range",
    "length": "of another length",
}


def check(
    data: Annotated[
        str,
        typer.Argument(
            help="A CSV, Parquet or Arrow file, a folder of such files or of images, or a glob.",
            metavar="DATA",
        ),
    ],
    contract: Annotated[
        Path,
        typer.Option(
            "--contract", help="A contract (JSON or YAML), or an artifact.", metavar="CONTRACT"
        ),
    ],
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="A column to be carried over to the scores. Repeatable."),
    ] = None,
    no_keys: Annotated[
        bool, typer.Option("--no-keys", help="Nothing is to be carried over.")
    ] = False,
    rows: Annotated[
        int | None,
        typer.Option("--rows", min=1, help="Look at about so many rows; at all by default."),
    ] = None,
    max_bad: Annotated[
        str | None,
        typer.Option(
            "--max-bad",
            help="Leave with exit code 3 where more rows than this are bad: 1% or 0.01.",
            metavar="SHARE",
        ),
    ] = None,
    all_columns: Annotated[
        bool, typer.Option("--all", help="Show columns that do not differ as well.")
    ] = False,
    identity: Identity = None,
    passphrase_file: PassphraseFile = None,
    signed_by: SignedBy = None,
    certificates: Roots = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Tell how data differs from the training data, without scoring it.

    Exit codes: 0 where the data can be scored, be it shifted or not; 3 where more rows than
    --max-bad would be quarantined; 4 where nothing would be scored, such as where a column is
    missing; 2 where the data or the contract cannot be read.
    """
    from secateur.scoring.check import check_data

    keys = kept_keys(key, no_keys=no_keys)
    most = None if max_bad is None else share(max_bad)
    with sink.counting(
        "{task.description}",
        "{task.fields[rows]:,} rows",
        "{task.fields[parts]} of {task.fields[all]} parts",
    ) as progress:
        task = progress.add_task("checking", rows=0, parts=0, all=0, total=None)

        def tick(seen: int, parts: int, of: int) -> None:
            progress.update(task, rows=seen, parts=parts, all=of)

        opens = secret(identity, passphrase_file, contract)
        known = _contract(contract, opens, signer(signed_by, certificates))
        found = check_data(data, known, keys=keys, rows=rows, progress=tick)
    if json:
        sink.as_json(found.model_dump(mode="json"))
    else:
        _show(found, all_columns=all_columns)
    if not found.usable:
        raise typer.Exit(UNUSABLE)
    if most is not None and found.bad_share > most:
        sink.say(f"{found.bad_share:.2%} of the data would be quarantined; {most:.2%} may be.")
        raise typer.Exit(TOO_MANY_BAD)


def _contract(path: Path, key: Secret | None, signed_by: Signer | None) -> Any:
    from secateur.data.contract import Contract
    from secateur.errors import ContractError
    from secateur.formats.artifact import Artifact

    if path.suffix in (".json", ".yaml", ".yml"):
        refuse_signer(path, signed_by)
        return Contract.load(path)
    contract = Artifact.open(path, secret=key, signed_by=signed_by).contract
    if contract is None:
        raise ContractError(
            "the artifact has no contract.", where=path, mend="Name a contract's file instead."
        )
    return contract


def _show(found: DataCheck, *, all_columns: bool) -> None:
    from secateur.data.contract import counted

    shown = [c for c in found.columns if all_columns or c.differs or c.name in found.absent]
    if shown:
        sink.table(
            "columns",
            ("column", "kind", "missing", "in training", "PSI", "", "what"),
            [_line(column, found) for column in shown],
        )
    if len(shown) < len(found.columns):
        sink.result(f"{len(found.columns) - len(shown)} of {len(found.columns)} inputs: no change")
    if found.images is not None:
        some = list(found.images.sizes.items())[:5]
        sink.result("sizes: " + ", ".join(f"{size} ({count:,})" for size, count in some))
        modes = found.images.modes.items()
        sink.result("modes: " + ", ".join(f"{mode} ({count:,})" for mode, count in modes))
    for line in _lines(found):
        sink.result(line)
    sink.passed_over(found.passed_over)
    if found.reasons:
        sink.table("would be quarantined", ("rows", "reason"), _reasons(found))
    of = "" if found.whole else " (of a part of the data)"
    sink.result(
        f"{counted(found.rows, 'row')} in {counted(found.parts, 'part')}{of}: "
        f"{found.quarantined:,} would be quarantined ({found.bad_share:.2%})"
    )
    if found.unusable:
        sink.fail(found.unusable, "Bring the data into the form that the model was trained on.")


def _line(column: Any, found: DataCheck) -> tuple[Any, ...]:
    from secateur.data.contract import counted
    from secateur.data.watch import told

    what = told(column, _WAYS)
    if column.name in found.absent:
        what = "; ".join(
            filter(None, [f"absent from {counted(found.absent[column.name], 'part')}", what])
        )
    before = column.missing_in_training
    return (
        column.name if column.unit is None else f"{column.name} ({column.unit})",
        column.kind,
        f"{column.missing / column.rows:.1%}" if column.rows else "",
        "" if before is None else f"{before:.1%}",
        "" if column.psi is None else f"{column.psi:.3f}",
        column.reading or "",
        what,
    )


def _lines(found: DataCheck) -> Iterator[str]:
    lost = {name: n for name, n in found.absent.items() if n and name not in _names(found)}
    if lost:
        yield "absent keys: " + ", ".join(f"{name} ({n:,} parts)" for name, n in lost.items())
    if found.extra:
        names = list(found.extra)
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        yield f"not read by the model: {', '.join(names[:12])}{more}"
    for piece in found.unread[:5]:
        yield f"{piece.source}: {piece.reason}"
    if found.unread_parts > 5:
        yield f"{found.unread_parts - 5} more parts that cannot be read"


def _names(found: DataCheck) -> set[str]:
    return {column.name for column in found.columns}


def _reasons(found: DataCheck) -> list[tuple[str, str]]:
    return [(f"{count:,}", reason) for reason, count in found.reasons.items()]
