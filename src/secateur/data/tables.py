"""Rows of a table become a `Dataset`: columns are chosen, rows surveyed, the contract learned."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from tempfile import gettempdir

import numpy as np

from secateur.data import splits, values
from secateur.data.contract import Contract, ListColumn, Target
from secateur.data.dataset import Dataset
from secateur.data.faults import missing_column
from secateur.data.feed import window_rows
from secateur.data.frames import Frames, release
from secateur.data.kinds import Kind, Profile
from secateur.data.learn import learn, learn_target
from secateur.data.lists import list_shape
from secateur.data.mapped import MappedStore
from secateur.data.rowgroups import demand_one_schema, row_groups
from secateur.data.stores import Store, TableStore, row_bytes
from secateur.data.streamed import StreamedStore, too_large
from secateur.data.survey import EXACT_ROWS, Question, survey
from secateur.errors import ContractError, DataError

# Names that pandas gives to an index that it writes beside the columns.
_NAMELESS = ("Unnamed: ", "__index_level_")


@dataclass(frozen=True)
class TableArguments:
    """The arguments of `read` that concern tables, checked."""

    target: str | None
    above: float | None
    keys: tuple[str, ...]
    ignore: tuple[str, ...]
    group: str | None
    stratify: bool
    shares: splits.Shares
    shape: tuple[int, ...] | None
    header: bool
    contract: Contract | None
    seed: int
    class_names: Sequence[str] | Mapping[str, str] | None
    cache_bytes: int
    stream: bool | None = None


def read_table(
    frames: Frames, seen: Profile, notes: Sequence[str], source: str, arguments: TableArguments
) -> Dataset:
    """Make a dataset of frames.

    Raises:
        DataError: the columns or rows are not what was asked for.
        ContractError: a column is not there.
    """
    target = _target_name(frames, source, arguments)
    _demand_columns(frames, target, source, arguments)
    kinds, shape, left_out = _choose(frames, seen, target, arguments)
    demand_one_schema(frames, list(kinds))
    lengths = {name: int(np.prod(shape or ())) for name, kind in kinds.items() if kind == "list"}
    found = survey(frames, _question(target, kinds, lengths, seen, arguments))
    inputs: dict[str, Kind] = {name: kind for name, kind in kinds.items() if name != target}
    if arguments.contract is None:
        aim = learn_target(frames, found.codes, found.target, kinds[target])
        contract, more, codes = _learn(
            frames, found.codes, inputs, lengths, seen, shape, aim, arguments
        )
    else:
        contract, more, codes = arguments.contract, [], found.codes
    read = {column.name for column in contract.columns}
    encoded: dict[str, Kind] = {
        name: kind for name, kind in kinds.items() if name in read or name == target
    }
    store, stored = _store(contract, frames, codes, encoded, lengths, arguments)
    release()
    return Dataset.of(
        store,
        contract,
        notes=[*notes, *left_out, *more, *found.notes, *stored],
        source=source,
        digest=found.digest,
        splitting={
            "shares": arguments.shares,
            "seed": arguments.seed,
            "group": arguments.group,
            "stratify": arguments.stratify,
        },
    )


def _store(
    contract: Contract,
    frames: Frames,
    codes: np.ndarray,
    kinds: Mapping[str, Kind],
    lengths: Mapping[str, int],
    arguments: TableArguments,
) -> tuple[Store, list[str]]:
    """Hold encoded rows in memory or in mapped files, or read them anew each time.

    A mapped file is quicker than reading anew, and takes room on the disk and four bytes of memory
    a row: it is for what is too large for memory, and not for what has no end.
    """
    limit, asked, why = arguments.cache_bytes, arguments.stream, ""
    needed = row_bytes(contract) * int(np.count_nonzero(codes != splits.LEFT_OUT))
    if asked is None:
        large = frames.rows > EXACT_ROWS or needed > shutil.disk_usage(gettempdir()).free
        asked = large and needed > limit
    groups = row_groups(frames) if asked else None
    if groups is None:
        where = "Parquet or Arrow files on this machine with all their columns in them"
        why = f"the rows are not in {where}" if asked else ""
    else:
        why = too_large(groups, window_rows(contract, limit))
    if asked and not why and groups is not None:
        told = ["rows are read from their files in every epoch"]
        return StreamedStore(contract, frames, groups, codes, kinds, lengths, limit), told
    if arguments.stream:
        raise DataError(
            f"the rows cannot be streamed: {why}.",
            mend="Write Parquet files with smaller row groups, or raise `cache_bytes`.",
        )
    if needed <= limit:
        return TableStore(contract, frames, codes, kinds, lengths), []
    told = [f"rows are not streamed, but kept in a mapped file: {why}"] if why else []
    return MappedStore(contract, frames, codes, kinds, lengths, limit), told


def _target_name(frames: Frames, source: str, arguments: TableArguments) -> str:
    name = arguments.target
    if name is None and arguments.contract and arguments.contract.target:
        name = arguments.contract.target.name
    if name is None:
        some = ", ".join(frames.names[:12]) + (", ..." if len(frames.names) > 12 else "")
        raise DataError(
            "no target was named.",
            where=source,
            mend=f"Name the column to predict; there are: {some}.",
        )
    return name


def _demand_columns(frames: Frames, target: str, source: str, arguments: TableArguments) -> None:
    asked = {"target": (target,), "keys": arguments.keys, "ignore": arguments.ignore}
    asked["group"] = (arguments.group,) if arguments.group else ()
    for argument, names in asked.items():
        for name in names:
            if name not in frames.names:
                raise ContractError(
                    missing_column(name, frames.names), where=f"{source}, `{argument}`"
                )
    for argument in ("keys", "ignore", "group"):
        if target in asked[argument]:
            raise DataError(f"the target {target!r} is named in `{argument}` as well.")


def _choose(
    frames: Frames, seen: Profile, target: str, arguments: TableArguments
) -> tuple[dict[str, Kind], tuple[int, ...] | None, list[str]]:
    """Choose the input columns and their kinds; return them, the shape of a sequence, and notes."""
    all_kinds = seen.kinds()
    if all_kinds.get(target) not in ("numeric", "categorical", "boolean"):
        what = seen.types[target] if seen.present(target) else "no value at all"
        raise DataError(
            f"the column holds {what}, and cannot be predicted.", where=f"target {target}"
        )
    if arguments.contract is not None:
        return _of_contract(arguments.contract, frames, target, all_kinds)
    aside = {target, *arguments.keys, *arguments.ignore, arguments.group}
    kinds: dict[str, Kind] = {}
    notes = []
    for name in frames.names:
        kind = all_kinds.get(name)
        if name in aside:
            continue
        if name.startswith(_NAMELESS):
            notes.append(f"column {name} left out: it has no name, as a written index has none")
        elif kind is None:
            what = (
                f"{seen.types[name]} cannot be read by a model"
                if seen.present(name)
                else "it is empty"
            )
            notes.append(f"column {name} left out: {what}")
        else:
            kinds[name] = kind
    lists = [name for name, kind in kinds.items() if kind == "list"]
    if lists:
        kinds, shape = _one_list(frames, kinds, lists, arguments.shape, notes)
    else:
        shape = arguments.shape
        if shape is not None:
            _demand_shape(kinds, shape)
    if not kinds:
        raise DataError("no column is left that a model could read.", mend="Ignore fewer columns.")
    return {**kinds, target: all_kinds[target] or "categorical"}, shape, notes


def _of_contract(
    contract: Contract, frames: Frames, target: str, all_kinds: Mapping[str, Kind | None]
) -> tuple[dict[str, Kind], tuple[int, ...] | None, list[str]]:
    kinds: dict[str, Kind] = {}
    for column in contract.columns:
        if column.name not in frames.names:
            raise ContractError(missing_column(column.name, frames.names))
        kinds[column.name] = column.kind
    return {**kinds, target: all_kinds[target] or "categorical"}, contract.shape, []


def _one_list(
    frames: Frames,
    kinds: Mapping[str, Kind],
    lists: Sequence[str],
    shape: tuple[int, ...] | None,
    notes: list[str],
) -> tuple[dict[str, Kind], tuple[int, ...]]:
    """Take the one column of lists as a sequence, and leave the other columns out."""
    if len(lists) > 1:
        raise DataError(
            f"there are {len(lists)} columns of lists: {', '.join(lists)}.",
            mend="Ignore all but one: it is the sequence.",
        )
    name = lists[0]
    notes += [
        f"column {other} left out: {name} is a sequence, which stands alone"
        for other in kinds
        if other != name
    ]
    for _, block in frames.blocks([name]):
        cells = values.flat(block.column(name)).drop_null()
        if len(cells):
            return {name: "list"}, shape or list_shape(cells)
    raise DataError("the lists are all missing.", where=f"column {name}")


def _demand_shape(kinds: Mapping[str, Kind], shape: tuple[int, ...]) -> None:
    for name, kind in kinds.items():
        if kind not in ("numeric", "boolean"):
            raise DataError(
                f"the column {name!r} is {kind}, and a sequence is made of numbers.",
                mend="Ignore the column, or leave `shape` out.",
            )
    if int(np.prod(shape)) != len(kinds):
        raise DataError(
            f"`shape` {shape} asks for {int(np.prod(shape))} columns of numbers, and there are "
            f"{len(kinds)}.",
            mend="Ignore what is not part of the sequence, or give another shape.",
        )


def _question(
    target: str,
    kinds: Mapping[str, Kind],
    lengths: Mapping[str, int],
    seen: Profile,
    arguments: TableArguments,
) -> Question:
    return Question(
        target=target,
        kinds=kinds,
        lengths=lengths,
        whole=target in seen.integers(),
        above=arguments.above,
        group=arguments.group,
        stratify=arguments.stratify,
        shares=arguments.shares,
        seed=arguments.seed,
        class_names=arguments.class_names,
        contract=arguments.contract,
    )


def _learn(
    frames: Frames,
    codes: np.ndarray,
    kinds: Mapping[str, Kind],
    lengths: Mapping[str, int],
    seen: Profile,
    shape: tuple[int, ...] | None,
    target: Target,
    arguments: TableArguments,
) -> tuple[Contract, list[str], np.ndarray]:
    columns, notes, codes = learn(frames, codes, kinds, lengths, seen.integers())
    if not columns:
        raise DataError(f"no column is left that a model could read: {'; '.join(notes)}.")
    sequence = shape is not None or any(isinstance(column, ListColumn) for column in columns)
    contract = Contract(
        kind="sequence" if sequence else "table",
        columns=columns,
        shape=shape,
        target=target,
        keys=arguments.keys,
        fields=None if arguments.header else frames.names,
    )
    return contract, notes, codes
