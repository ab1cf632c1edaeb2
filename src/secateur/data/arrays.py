"""Arrays `(x, y)` in memory become a `Dataset`; x is not copied where it is float32 or uint8."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from secateur.data import splits
from secateur.data.contract import Contract, NumericColumn, Target, counted
from secateur.data.dataset import Dataset
from secateur.data.learn import Moments
from secateur.data.stores import ArrayStore
from secateur.data.survey import MAX_WHOLE_CLASSES, in_order, make_target
from secateur.errors import DataError

_CHUNK = 8192


def read_arrays(
    x: Any,
    y: Any,
    *,
    target: str | None,
    above: float | None,
    group: Any,
    stratify: bool,
    shares: splits.Shares,
    class_names: Sequence[str] | Mapping[str, str] | None,
    contract: Contract | None,
    seed: int,
) -> Dataset:
    """Read samples and their targets from arrays.

    The arguments are those of `read`; `group` is an array with one value a sample.

    Raises:
        DataError: the arrays do not fit each other, hold what is no number, or have one class.
    """
    x, y = _samples(x), _targets(y)
    if len(x) != len(y):
        raise DataError(f"x has {len(x):,} samples, and y has {len(y):,}.", where="(x, y)")
    name = target or "target"
    notes: list[str] = []
    goal = contract.target if contract else None
    if goal is None:
        goal, notes = _goal(name, y, above, class_names)
    y, lost = _encoded(goal, y)
    if lost.any():
        notes.append(f"{counted(int(lost.sum()), 'sample')} without a target left out")
        x, y = x[~lost], y[~lost]
        group = None if group is None else np.asarray(group)[~lost]
    content = _hashes(x)
    codes = _split(content, y, goal, group, stratify, shares, seed)
    splits.demand_rows(codes)
    if contract is None:
        contract = Contract(
            kind="array",
            shape=tuple(x.shape[1:]),
            dtype="uint8" if x.dtype == np.uint8 else "float32",
            columns=_columns(x, codes == 0),
            target=goal,
        )
    elif tuple(contract.shape or ()) != x.shape[1:]:
        raise DataError(f"samples have the shape {x.shape[1:]}, not {contract.shape}.", where="x")
    digest = hashlib.sha256(content.tobytes() + y.tobytes()).hexdigest()
    return Dataset.of(
        ArrayStore(x, y, codes),
        contract,
        notes=notes,
        source=f"arrays of {' x '.join(map(str, x.shape))}",
        digest=digest,
        splitting={
            "shares": shares,
            "seed": seed,
            "group": None if group is None else hashlib.sha256(_words(group)).hexdigest(),
            "stratify": stratify,
        },
    )


def _samples(x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim < 2:
        raise DataError(
            f"x has the shape {x.shape}; it needs one axis for the samples and more.", where="x"
        )
    if not len(x):
        raise DataError("x has no samples.", where="x")
    if x.dtype.kind not in "fiub":
        raise DataError(f"x holds {x.dtype}, not numbers.", where="x")
    if x.dtype not in (np.float32, np.uint8):
        x = x.astype(np.float32)
    if x.dtype == np.float32:
        for start in range(0, len(x), _CHUNK):
            bad = ~np.isfinite(x[start : start + _CHUNK]).reshape(
                len(x[start : start + _CHUNK]), -1
            )
            if bad.any():
                row = start + int(bad.any(axis=1).argmax())
                raise DataError(f"sample {row} holds a number that is not finite.", where="x")
    return x


def _targets(y: Any) -> np.ndarray:
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if (
        y.ndim == 2
        and y.dtype.kind in "fiub"
        and np.isin(y, (0, 1)).all()
        and (y.sum(1) == 1).all()
    ):
        y = y.argmax(axis=1)
    if y.ndim != 1:
        raise DataError(
            f"y has the shape {y.shape}.",
            where="y",
            mend="Give one target a sample, or one-hot rows.",
        )
    return y


def _goal(
    name: str,
    y: np.ndarray,
    above: float | None,
    class_names: Sequence[str] | Mapping[str, str] | None,
) -> tuple[Target, list[str]]:
    """Return what y is: classes, or numbers to be predicted."""
    if above is not None:
        if y.dtype.kind not in "fiu":
            raise DataError(f"`above` asks for numbers, and y holds {y.dtype}.", where="y")
        names = (f"<= {above:g}", f"> {above:g}")
        return make_target(name, names, class_names, above), []
    distinct = np.unique(y[~_lacking(y)].astype(str) if y.dtype.kind in "OUSb" else y)
    if y.dtype.kind == "f" or (y.dtype.kind in "iu" and len(distinct) > MAX_WHOLE_CLASSES):
        return Target(name=name), [
            f"{name} holds numbers: it is predicted as a number (regression)"
        ]
    labels = in_order([str(value) for value in distinct.tolist()])
    if len(labels) < 2:
        raise DataError(f"y has one class, {labels[0] if labels else None!r}.", where="y")
    return make_target(name, labels, class_names), []


def _lacking(y: np.ndarray) -> np.ndarray:
    if y.dtype.kind == "O":
        return np.array([value is None or value != value for value in y])
    return np.isnan(y) if y.dtype.kind == "f" else np.zeros(len(y), dtype=bool)


def _encoded(goal: Target, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return codes or values, and which samples have none."""
    lacking = _lacking(y)
    if goal.above is not None:
        return (y.astype(np.float64) > goal.above).astype(np.int32), lacking
    if goal.classes is None:
        return y.astype(np.float32), lacking | ~np.isfinite(y.astype(np.float64))
    code = {label: i for i, label in enumerate(goal.raw)}
    codes = np.array([code.get(str(value), -1) for value in y.tolist()], np.int32)
    unknown = (codes < 0) & ~lacking
    if unknown.any():
        raise DataError(
            f"y holds {y[unknown.argmax()]!r}, which is no class of {goal.raw}.", where="y"
        )
    return codes, lacking


def _hashes(x: np.ndarray) -> np.ndarray:
    rows = np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8)
    digests = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, np.uint64)


def _split(
    content: np.ndarray,
    y: np.ndarray,
    goal: Target,
    group: Any,
    stratify: bool,
    shares: splits.Shares,
    seed: int,
) -> np.ndarray:
    if group is None:
        labels = y if stratify and goal.classes is not None else None
        hashes = splits.seeded(splits.apart(content)[0], seed)
        return splits.assign(hashes, shares, labels)
    names = [str(name) for name in np.asarray(group).tolist()]
    if len(names) != len(y):
        raise DataError(f"`group` has {len(names):,} values for {len(y):,} samples.", where="group")
    return splits.assign_groups(splits.seeded(splits.hash_words(names), seed), shares)


def _words(group: Any) -> bytes:
    return "\0".join(map(str, np.asarray(group).tolist())).encode()


def _columns(x: np.ndarray, train: np.ndarray) -> tuple[NumericColumn, ...]:
    """Learn the moments of each channel of the last axis, from the training split."""
    channels = x.shape[-1]
    moments = Moments()
    for start in range(0, len(x), _CHUNK):
        chunk = x[start : start + _CHUNK][train[start : start + _CHUNK]]
        moments.add(chunk.reshape(-1, channels).astype(np.float64))
    low = x.reshape(-1, channels).min(axis=0)
    high = x.reshape(-1, channels).max(axis=0)
    return tuple(
        NumericColumn(
            name=str(i),
            mean=float(moments.mean[i]),
            std=float(moments.std[i]),
            low=float(low[i]),
            high=float(high[i]),
        )
        for i in range(channels)
    )
