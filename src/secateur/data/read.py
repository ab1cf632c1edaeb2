"""`read` makes a `Dataset` of raw data: files, a folder of images, a data frame, or arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa

from secateur.data import splits
from secateur.data.arrays import read_arrays
from secateur.data.databases import Query
from secateur.data.dataset import Dataset
from secateur.data.folders import read_folder
from secateur.data.frames import TableFrames, open_parts, profile
from secateur.data.places import shown
from secateur.data.plain import plain
from secateur.data.sources import find_parts
from secateur.data.tables import TableArguments, read_table
from secateur.errors import DataError

if TYPE_CHECKING:
    from secateur.data.contract import Contract

Resize = Literal["stretch", "fit", "crop"]
Mode = Literal["RGB", "L"]
CACHE_BYTES = 512 * 2**20


def read(
    source: Any,
    *,
    target: str | None = None,
    above: float | None = None,
    keys: Sequence[str] = (),
    ignore: Sequence[str] = (),
    group: Any = None,
    stratify: bool = True,
    split: Sequence[float] = (0.6, 0.2, 0.2),
    image_size: Sequence[int] | None = None,
    mode: Mode | None = None,
    resize: Resize = "stretch",
    shape: Sequence[int] | None = None,
    header: bool = True,
    contract: Contract | None = None,
    seed: int = 0,
    class_names: Sequence[str] | Mapping[str, str] | None = None,
    cache_bytes: int = CACHE_BYTES,
    stream: bool | None = None,
) -> Dataset:
    """Read raw data, learn what a valid row is, and split it.

    Args:
        source: a CSV, Parquet or Arrow file, a folder or glob of such files, a folder of images
            with one sub-folder a class, a `Query`, a data frame or Arrow table, or a pair of arrays
            (x, y). Files may lie in a store ("s3://bucket/data").
        target: the column to predict. Text, truths, and whole numbers with at most 100 different
            values are classes; other numbers are predicted as numbers. Of images it is the folder;
            of tar files of images a .cls file, else the field of this name ("class") of a .json
            file, else the folder in front of the name.
        above: makes two classes of a number: "<= above" and "> above".
        keys: columns that are carried to the scores and that the model does not see.
        ignore: columns that are not used.
        group: a column whose value names the person or recording; no group is in two splits. Of
            images a regular expression on the path, of arrays an array with one value a sample.
        stratify: whether each class is split in the same shares (without `group`).
        split: the shares of training, validation and test; positive, and 1 together.
        image_size: (height, width) of images; where None, the most common size, scaled down to
            multiples of 8 with a longer side of 128 where it is longer.
        mode: "RGB" or "L" (gray); where None, "L" if all images are gray.
        resize: how an image comes to its size: "stretch", "fit" or "crop"; see `ImageSpec`.
        shape: (steps, channels) of a sequence: the columns are then its numbers, step by step.
        header: whether CSV files have a line of names; without, columns are named "0", "1", ...
        contract: what is learned, where it is known already.
        seed: decides the splits.
        class_names: other names for the classes: in order of the classes, or by class.
        cache_bytes: the most memory that encoded samples may take; more is kept in mapped files, or
            streamed.
        stream: whether rows are read anew from their Parquet or Arrow files in every epoch, so that
            neither memory nor the disk holds them; where None, if they are more than `cache_bytes`
            and more than five million, or more than the disk has room for.

    Returns:
        The dataset. Rows that cannot be used are left out and counted in its notes.

    Raises:
        DataError: an argument means nothing, or the data cannot be read or is not as asked for.
        ContractError: a column is not there.
    """
    shares = _shares(split)
    _demand_one_of("mode", mode, (None, *get_args(Mode)))
    _demand_one_of("resize", resize, get_args(Resize))
    if not isinstance(seed, int) or seed < 0:
        raise DataError(f"`seed` is a whole number from 0, not {seed!r}.")
    if above is not None and (isinstance(above, bool) or not isinstance(above, int | float)):
        raise DataError(f"`above` is a number, not {above!r}.")
    size = _whole_numbers("image_size", image_size)
    if size is not None and len(size) != 2:
        raise DataError(f"`image_size` is (height, width), not {tuple(size)}.")
    keys, ignore = _names("keys", keys), _names("ignore", ignore)
    arguments = TableArguments(
        target=target,
        above=above,
        keys=keys,
        ignore=ignore,
        group=group,
        stratify=stratify,
        shares=shares,
        shape=_whole_numbers("shape", shape),
        header=header,
        contract=contract,
        seed=seed,
        class_names=class_names,
        cache_bytes=cache_bytes,
        stream=stream,
    )
    table = _as_table(source)
    if table is not None:
        _demand_group_name(group)
        frames = TableFrames(table)
        return read_table(frames, profile(frames), _index(source), "a table in memory", arguments)
    if isinstance(source, tuple | list):
        if len(source) != 2:
            raise DataError(f"arrays are given as (x, y), not as {len(source)} values.")
        return read_arrays(
            *source,
            target=target,
            above=above,
            group=group,
            stratify=stratify,
            shares=shares,
            class_names=class_names,
            contract=contract,
            seed=seed,
        )
    if not isinstance(source, str | Path | Query):
        raise DataError(
            f"a {type(source).__name__} cannot be read.",
            mend="Give a path, a query, a data frame, an Arrow table, or arrays (x, y).",
        )
    _demand_group_name(group)
    parts = find_parts(source, kind=_wanted_kind(contract))
    if parts[0].kind in ("image", "tar"):
        if size is not None:
            size = (size[0], size[1])
        return read_folder(
            parts,
            target=target,
            group=group,
            stratify=stratify,
            shares=shares,
            image_size=size,
            mode=mode,
            resize=resize,
            class_names=class_names,
            contract=contract,
            cache_bytes=cache_bytes,
            seed=seed,
        )
    named = str(source) if isinstance(source, Query) else shown(source)
    if size is not None or mode is not None:
        raise DataError(
            "`image_size` and `mode` are for images, and these are tables.", where=named
        )
    header = header if contract is None else contract.header
    frames, seen, notes = open_parts(parts, header=header)
    return read_table(frames, seen, notes, named, arguments)


def _shares(split: Sequence[float]) -> splits.Shares:
    try:
        shares = tuple(float(share) for share in split)
    except (TypeError, ValueError):
        shares = ()
    if len(shares) != 3 or not all(share > 0 for share in shares):
        raise DataError(
            f"`split` is three positive shares, not {split!r}.",
            mend="Give training, validation and test, such as (0.6, 0.2, 0.2).",
        )
    if abs(sum(shares) - 1) > 1e-6:
        raise DataError(f"the shares of `split` sum to {sum(shares):g}, not to 1.")
    return shares[0], shares[1], shares[2]


def _demand_one_of(name: str, value: Any, allowed: Sequence[Any]) -> None:
    if value not in allowed:
        known = ", ".join(repr(one) for one in allowed if one is not None)
        raise DataError(f"`{name}` is one of {known}, not {value!r}.")


def _demand_group_name(group: Any) -> None:
    if group is not None and not isinstance(group, str):
        raise DataError(f"`group` is the name of a column, not a {type(group).__name__}.")


def _whole_numbers(name: str, value: Sequence[int] | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        numbers = tuple(int(one) for one in value)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or any(one < 1 for one in numbers) or list(numbers) != list(value):
        raise DataError(f"`{name}` is a list of positive whole numbers, not {value!r}.")
    return numbers


def _names(name: str, value: Sequence[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    names = tuple(map(str, value))
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise DataError(f"`{name}` names {twice!r} twice.")
    return names


def _wanted_kind(contract: Contract | None) -> Literal["table", "image"] | None:
    if contract is None:
        return None
    return "image" if contract.kind == "image" else "table"


def _as_table(source: Any) -> pa.Table | None:
    """Return a data frame or Arrow table as an Arrow table; None for anything else."""
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    if type(source).__module__.partition(".")[0] == "pandas":
        return _from_pandas(source)
    if not isinstance(source, pa.Table):
        if not hasattr(source, "__arrow_c_stream__"):
            return None
        source = pa.table(source)
    return _usable(source)


def _from_pandas(frame: Any) -> pa.Table | None:
    if not hasattr(frame, "columns"):
        raise DataError("a Series is one column.", mend="Give a data frame.")
    names = [str(name) for name in frame.columns]
    columns = []
    for place in range(len(names)):
        series = frame.iloc[:, place]
        try:
            columns.append(pa.array(series, from_pandas=True))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            # Cells of several types, as untidy files give: what they have in common is text.
            columns.append(
                pa.array(series.astype(str).where(series.notna()), pa.string(), from_pandas=True)
            )
    return _usable(pa.Table.from_arrays(columns, names=names))


def _index(source: Any) -> list[str]:
    """Note that an index that means something is not read."""
    index = getattr(source, "index", None)
    if index is None or (index.name is None and getattr(index.dtype, "kind", "") in "iu"):
        return []
    return [f"the index ({index.name or index.dtype}) left out: make it a column to use it"]


def _usable(table: pa.Table) -> pa.Table:
    """Return a table in plain kinds, once its columns are named once and it has rows."""
    names = table.schema.names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"two columns are named {twice!r}.", mend="Give each a name of its own.")
    if not table.num_rows:
        raise DataError("the table has no rows.")
    return plain(table)
