"""What is asked of a scoring job, checked before it begins, or instead of it."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from secateur.data.contract import Contract
from secateur.data.databases import Query
from secateur.data.faults import missing_column
from secateur.data.places import Place, is_remote, shown
from secateur.data.sources import Part, names_of
from secateur.errors import ArtifactError, ContractError, DataError, OutputError, SecateurError
from secateur.formats.artifact import Artifact
from secateur.scoring.answers import Carry, demand_free
from secateur.scoring.ledger import Job
from secateur.scoring.scorer import Scorer
from secateur.scoring.sink import Compression

# Endings of files that are no data, told one by one; the rarer ones are not.
_ENDINGS = 50


def contract_of(artifact: Artifact) -> Contract:
    """Return the contract of an artifact that raw data can be read for."""
    contract = artifact.contract
    if contract is None:
        raise ArtifactError(
            "the artifact has no contract, so raw data cannot be read for it.",
            where=artifact.path,
            mend="Export the model with `contract=`, or use Predictor on arrays.",
        )
    if contract.kind == "array":
        raise ArtifactError(
            "the model was trained on arrays, which no file of raw data holds.",
            where=artifact.path,
            mend="Use Predictor on arrays, or train on files.",
        )
    if contract.target is None:
        raise ArtifactError("the contract says nothing of a target.", where=artifact.path)
    return contract


def job_of(scorer: Scorer, parts: Sequence[Part], *, runtime: str, chunk: int | None) -> Job:
    """Return what makes another run the same job, as the ledger holds it."""
    home = parts[0].home
    return Job(
        model=scorer.predictor.artifact.model_sha256,
        contract=scorer.contract.fingerprint(),
        source=str(home) if isinstance(home, Place) else str(home.resolve()),
        keys=scorer.keys,
        probability=scorer.probability,
        columns=scorer.carry,
        compression=scorer.compression,
        runtime=runtime,
        chunk=chunk,
    )


def check_engine(engine: str, address: str | None, memory: int | None) -> None:
    """Refuse an engine that there is none, and options that it has not."""
    if engine not in ("local", "ray"):
        raise SecateurError(f"there is no engine {engine!r}.", mend="Use 'local' or 'ray'.")
    for name, value in (("address", address), ("memory", memory)):
        if value is not None and engine == "local":
            raise SecateurError(
                f"`{name}` is {value!r}, and the local engine has none.", mend="Use engine 'ray'."
            )
    if memory is not None and memory < 1:
        raise SecateurError(f"`memory` is {memory}.", mend="Give 1 byte or more.")


def named(keys: Sequence[str] | str) -> tuple[str, ...]:
    """Return the names of columns; one may be given alone."""
    return (keys,) if isinstance(keys, str) else tuple(keys)


def check_options(batch_rows: int | None, max_bad: float | None) -> None:
    """Refuse numbers out of range."""
    if batch_rows is not None and batch_rows < 1:
        raise SecateurError(f"`batch_rows` is {batch_rows}.", mend="Give 1 or more.")
    if max_bad is not None and not 0 <= max_bad <= 1:
        raise SecateurError(f"`max_bad` is {max_bad}.", mend="Give a share from 0 to 1.")


def check_written(columns: str, compression: str, probability: object) -> None:
    """Refuse what cannot be written."""
    if probability not in (True, False, "all"):
        raise SecateurError(f"`probability` is {probability!r}.", mend="Give True, False or 'all'.")
    if columns not in get_args(Carry):
        raise SecateurError(f"`columns` is {columns!r}.", mend="Give 'keys' or 'all'.")
    if compression not in get_args(Compression):
        known = ", ".join(get_args(Compression))
        raise SecateurError(f"there is no compression {compression!r}.", mend=f"Give {known}.")


def check_carried(keys: tuple[str, ...], columns: Carry, contract: Contract) -> None:
    """Refuse columns to carry over that the scores have, or that images have not."""
    if (keys or columns == "all") and contract.kind == "image":
        raise ContractError(
            "images have no key columns, nor others, to carry over.",
            mend="The path of each is in the column `source`.",
        )
    demand_free(keys, contract)


def check_out(out: str | Path) -> None:
    """Refuse a store as the output."""
    if is_remote(out):
        raise OutputError(
            "scores are written to a disk, not to a store.",
            where=shown(out),
            mend="Name a folder here, and copy it when the job is done.",
        )


def check_apart(out: Path, source: str | Path | Query, parts: Sequence[Part]) -> None:
    """Raise where the scores would be found as data when the job is started again."""
    root = parts[0].home
    if isinstance(root, Place):
        return
    given = str(source).removeprefix("file://")
    # A glob with a wildcard for a folder, such as "data/*/*.parquet", may find the scores as well.
    deep = Path(given).is_dir() or "**" in given or glob.has_magic(str(Path(given).parent))
    # Not `resolve`, which raises where a link leads to itself.
    target, above = Path(os.path.realpath(out)), Path(os.path.realpath(root))
    if target == above or (deep and target.is_relative_to(above)):
        raise OutputError(
            "the output folder is inside the source.",
            where=out,
            mend="Name a folder outside it.",
        )


def check_names(parts: Sequence[Part]) -> None:
    """Refuse files whose names cannot be written down: those that are no UTF-8."""
    for name in (name for part in parts for name in (part.root, *(part.files or (part.path,)))):
        shown = name.encode(errors="backslashreplace").decode()
        if not name.isascii() and shown != name:
            raise DataError("the name is not UTF-8 text.", where=shown, mend="Rename it.")


def check_columns(parts: Sequence[Part], scorer: Scorer) -> None:
    """Raise where no file can be read, or none has the columns: then the job itself is wrong."""
    if scorer.contract.kind == "image":
        return
    found: list[SecateurError] = []
    for part in parts:
        error = fault_of(part, scorer)
        if error is None:
            return
        found.append(error)
    # That a column is missing says more than that a file cannot be read.
    raise next((error for error in found if isinstance(error, ContractError)), found[0])


def fault_of(part: Part, scorer: Scorer) -> SecateurError | None:
    """Return why nothing of a part can be scored, as far as the names of its columns tell.

    Raises:
        ContractError: it has a column to carry over with the name of one of the scores.
    """
    try:
        names = names_of(part, contract=scorer.contract)
    except DataError as error:
        return error
    if scorer.carry == "all":
        demand_free(names, scorer.contract, part.file)
    missing = [name for name in scorer.columns if name not in names]
    if not missing:
        return None
    inputs = {column.name for column in scorer.contract.columns}
    mend = None if missing[0] in inputs else "Do not carry it over (keys=(), or --no-keys)."
    return ContractError(missing_column(missing[0], names), where=part.file, mend=mend)


def passed_over(source: str | Path | Query, parts: Sequence[Part]) -> dict[str, int]:
    """Count the files of a folder that are in no part, by their ending."""
    if isinstance(source, Query) or is_remote(source):
        return {}
    root = Path(source)
    if not root.is_dir():
        return {}
    taken = {name for part in parts for name in (part.files or (part.path,))}
    found: Counter[str] = Counter()
    for path in root.rglob("*"):
        if not path.is_dir() and path.relative_to(root).as_posix() not in taken:
            found[path.suffix or path.name] += 1
    return dict(found.most_common(_ENDINGS))
