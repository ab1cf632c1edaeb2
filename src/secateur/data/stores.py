"""Encoded samples by split and number: `take` gives what a model reads, `raw` what a person reads.

Tables are encoded once, into memory; `mapped` and `streamed` have what is too large for it. Images
are decoded once into memory where they fit, else each time they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from secateur.data.contract import Contract, ImageSpec
from secateur.data.encode import Encoded, encode, encode_target
from secateur.data.frames import Frames, release
from secateur.data.images import load_image
from secateur.data.kinds import Kind, conform
from secateur.data.places import Place
from secateur.data.shards import Shards
from secateur.machine import cores

THREADS = min(4, cores())


class Store(Protocol):
    """Samples of three splits."""

    def count(self, split: int) -> int:
        """Return how many samples a split has."""
        ...

    def labels(self, split: int) -> np.ndarray:
        """Return the targets of a split, in order."""
        ...

    def take(self, split: int, rows: np.ndarray) -> Encoded:
        """Return the model's inputs for some samples."""
        ...

    def raw(self, split: int, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return some samples as they were read."""
        ...


class TableStore:
    """Rows of frames, encoded when they are first asked for.

    Args:
        contract: how rows are encoded.
        frames: the rows.
        codes: the split of each row.
        kinds: the kind of each input column and of the target.
        lengths: how many numbers the lists of a column of kind "list" have.
    """

    def __init__(
        self,
        contract: Contract,
        frames: Frames,
        codes: np.ndarray,
        kinds: Mapping[str, Kind],
        lengths: Mapping[str, int],
    ):
        self.contract, self.frames, self.codes = contract, frames, codes
        self.kinds, self.lengths = kinds, lengths
        self.counts = [int((codes == split).sum()) for split in range(3)]
        self._encoded: list[dict[str, np.ndarray]] | None = None

    def count(self, split: int) -> int:
        """Return how many rows a split has."""
        return self.counts[split]

    def labels(self, split: int) -> np.ndarray:
        """Return the targets of a split."""
        return np.array(self._arrays(split)["y"])

    def take(self, split: int, rows: np.ndarray) -> Encoded:
        """Return encoded rows."""
        arrays = self._arrays(split)
        inputs = {name: arrays[name][rows] for name in self.contract.inputs()}
        return lone_or_named(inputs)

    def raw(self, split: int, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return rows as they stand in the source, by column."""
        numbers = np.flatnonzero(self.codes == split)[rows]
        target = self.contract.target
        columns = [*self.contract.reads, *([target.name] if target else [])]
        table = self.frames.take(numbers, list(dict.fromkeys(columns)))
        return numbers_as_numbers(table, self.kinds).to_pylist()

    def _arrays(self, split: int) -> dict[str, np.ndarray]:
        if self._encoded is None:
            self._encoded = self._encode()
            release()
        return self._encoded[split]

    def _encode(self) -> list[dict[str, np.ndarray]]:
        arrays = self._allocate()
        filled = [0, 0, 0]
        for start, raw in self.frames.blocks(list(self.kinds)):
            table = conform(raw, self.kinds, self.lengths)[0]
            codes = self.codes[start : start + raw.num_rows]
            for split in range(3):
                rows = table.filter(pa.array(codes == split))
                if rows.num_rows:
                    stop = filled[split] + rows.num_rows
                    for name, values in self._rows(rows).items():
                        arrays[split][name][filled[split] : stop] = values
                    filled[split] = stop
        return arrays

    def _rows(self, table: pa.Table) -> dict[str, np.ndarray]:
        x = encode(self.contract, table)
        named = x if isinstance(x, dict) else {next(iter(self.contract.inputs())): x}
        return {**named, "y": encode_target(self.contract, table)}

    def _allocate(self) -> list[dict[str, np.ndarray]]:
        return [
            {name: np.empty(*made) for name, made in self._shapes(split).items()}
            for split in range(3)
        ]

    def _shapes(self, split: int) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return the shape and type of what a split's rows are encoded into, "y" the targets."""
        kind = "int32" if self.contract.task == "classification" else "float32"
        shapes = {**self.contract.inputs(), "y": ((), kind)}
        return {
            name: ((self.counts[split], *shape), dtype) for name, (shape, dtype) in shapes.items()
        }


class ArrayStore:
    """Samples of arrays that are in memory already; nothing is copied."""

    def __init__(self, x: np.ndarray, y: np.ndarray, codes: np.ndarray):
        self.x, self.y = x, y
        self.rows = [np.flatnonzero(codes == split) for split in range(3)]

    def count(self, split: int) -> int:
        """Return how many samples a split has."""
        return len(self.rows[split])

    def labels(self, split: int) -> np.ndarray:
        """Return the targets of a split."""
        return self.y[self.rows[split]]

    def take(self, split: int, rows: np.ndarray) -> Encoded:
        """Return samples."""
        return self.x[self.rows[split][rows]]

    def raw(self, split: int, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return the number of each sample in the arrays."""
        return [{"row": int(row)} for row in self.rows[split][rows]]


class ImageStore:
    """Image files, decoded by a few threads.

    Args:
        root: the folder that the files are relative to.
        files: the files, all of which can be decoded.
        y: the target of each file.
        codes: the split of each file.
        spec: how they are decoded.
        pixels: all files decoded, where they fit in memory.
    """

    def __init__(
        self,
        root: Path | Place | Shards,
        files: Sequence[str],
        y: np.ndarray,
        codes: np.ndarray,
        spec: ImageSpec,
        pixels: np.ndarray | None,
    ):
        self.root, self.files, self.y, self.spec, self.pixels = root, files, y, spec, pixels
        self.rows = [np.flatnonzero(codes == split) for split in range(3)]

    def count(self, split: int) -> int:
        """Return how many images a split has."""
        return len(self.rows[split])

    def labels(self, split: int) -> np.ndarray:
        """Return the targets of a split."""
        return self.y[self.rows[split]]

    def take(self, split: int, rows: np.ndarray) -> Encoded:
        """Return decoded images."""
        numbers = self.rows[split][rows]
        if self.pixels is not None:
            return self.pixels[numbers]
        out = np.empty((len(numbers), *self.spec.shape), np.uint8)

        def load(place: int) -> None:
            file = self.files[int(numbers[place])]
            out[place] = load_image(self.root / file, self.spec)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(load, range(len(numbers))))
        return out

    def raw(self, split: int, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return the path of each image, relative to the folder that was read."""
        return [{"file": self.files[row]} for row in self.rows[split][rows]]


def row_bytes(contract: Contract) -> int:
    """Return how many bytes an encoded row and its target take."""
    return sum(4 * int(np.prod(shape)) for shape, _ in contract.inputs().values()) + 4


def numbers_as_numbers(table: pa.Table, kinds: Mapping[str, Kind]) -> pa.Table:
    """Return a table with its numbers and truths typed, which CSV gives as text."""
    typed: dict[str, Kind] = {
        name: kind for name, kind in kinds.items() if kind in ("numeric", "boolean")
    }
    columns = conform(table, typed)[0]
    for name in typed:
        table = table.set_column(table.schema.get_field_index(name), name, columns.column(name))
    return table


def lone_or_named(inputs: dict[str, np.ndarray]) -> Encoded:
    """Return a lone array as it is; tables with categories stay a dict."""
    if len(inputs) == 1 and Contract.CATEGORICAL not in inputs:
        return next(iter(inputs.values()))
    return inputs
