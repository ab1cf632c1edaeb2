"""Is the exported model the model? Run both on the same rows and compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from secateur.data.contract import Contract
from secateur.errors import ArtifactError, ModelError
from secateur.formats.artifact import Parity, TensorSpec
from secateur.formats.overflow import overflows
from secateur.formats.predictor import OneForEach, feed_for
from secateur.formats.sessions import open_session

# Enough rows to meet every branch of an activation, few enough to take no time.
ROWS = 64
# The length given to an axis that the model leaves free.
_FREE = 32

Inputs = np.ndarray | Mapping[str, np.ndarray]


def compare(
    call: Callable[[dict[str, np.ndarray]], np.ndarray],
    path: Path,
    inputs: tuple[TensorSpec, ...],
    sample: Inputs,
    *,
    tolerance: float,
) -> Parity:
    """Return how far the ONNX file at `path` is from `call`, at most `tolerance`.

    The difference of a value is absolute up to 1 and relative above, so that one tolerance suits
    probabilities and prices alike. The file runs once on all rows and once on the first alone: a
    batch size that was frozen into it does not pass.

    Raises:
        ModelError: the model's own outputs are not finite.
        ArtifactError: the difference is larger than the tolerance.
    """
    feed = feed_for(inputs, sample)
    expected = _answers(call, feed)
    session = open_session(path)
    whole = np.asarray(session.run(None, feed)[0])
    alone = np.asarray(session.run(None, {name: array[:1] for name, array in feed.items()})[0])
    difference = max(_difference(expected, whole), _difference(expected[:1], alone))
    if not difference <= tolerance:
        raise ArtifactError(
            f"the exported model differs from the Keras model by {difference:.2g}, more than the "
            f"tolerance of {tolerance:.2g}.",
            mend="Raise `tolerance` if that is good enough, or report the layer that differs.",
        )
    return Parity(tolerance=tolerance, max_difference=difference, rows=len(expected))


def compare_litert(
    call: Callable[[dict[str, np.ndarray]], np.ndarray],
    path: Path,
    inputs: tuple[TensorSpec, ...],
    sample: Inputs,
    *,
    tolerance: float,
) -> None:
    """Refuse a LiteRT file that differs from `call` by more than `tolerance`.

    Raises:
        ArtifactError: it does.
    """
    feed = feed_for(inputs, sample)
    difference = _difference(_answers(call, feed), OneForEach(path, "litert", 1)(feed))
    if not difference <= tolerance:
        raise ArtifactError(
            f"the LiteRT file differs from the Keras model by {difference:.2g}, more than the "
            f"tolerance of {tolerance:.2g}.",
            mend="Raise `tolerance` if that is good enough, or leave `litert` out.",
        )


def compare_rounded(
    call: Callable[[dict[str, np.ndarray]], np.ndarray],
    path: Path,
    inputs: tuple[TensorSpec, ...],
    sample: Inputs,
    *,
    least: float,
    wide: bool = False,
) -> Parity:
    """Return how far the int8 file at `path` is from `call`, the fake-quantized model.

    Integers and float32 now and then round the other way, by one step; so it is the answers that
    are compared. The file runs on the first row alone as well, which shows that its batch is free.

    Args:
        call: the fake-quantized model.
        path: the file.
        inputs: what it takes.
        sample: rows to compare on.
        least: the share of rows, from 0 to 1, whose answer must be the same.
        wide: whether it has products of weights of eight bits, of which sums can overflow.

    Raises:
        ModelError: the model's own outputs are not finite.
        ArtifactError: fewer rows agree.
    """
    feed = feed_for(inputs, sample)
    expected = _answers(call, feed)
    session = open_session(path)
    found = np.asarray(session.run(None, feed)[0])
    session.run(None, {name: array[:1] for name, array in feed.items()})
    difference = _difference(expected, found)
    share = agreement(expected, found)
    if not share >= least:
        what = (
            f"the int8 file gives the answer of the fake-quantized model on {share:.1%} of "
            f"{len(expected)} rows, fewer than {least:.1%}"
        )
        if wide and overflows():
            raise ArtifactError(
                f"{what}: sums of eight-bit products overflow on this processor (x86 without "
                "VNNI).",
                mend="Quantize with reduce_range=True, or None on the processor that will run it.",
            )
        raise ArtifactError(
            f"{what}.",
            mend="Give a larger sample of real rows, or keep the layer that differs in float32.",
        )
    return Parity(
        tolerance=difference, max_difference=difference, rows=len(expected), agreement=share
    )


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of rows of two outputs with the same answer.

    That is the largest of several, the side of one half for one between 0 and 1, and else a value
    within a hundredth of the largest.
    """
    one, other = (np.asarray(each).reshape(len(each), -1) for each in (one, other))
    if one.shape[1] > 1:
        same = one.argmax(1) == other.argmax(1)
    elif one.min() >= 0 and one.max() <= 1:
        same = (one[:, 0] > 0.5) == (other[:, 0] > 0.5)
    else:
        same = np.abs(one - other)[:, 0] <= 0.01 * max(float(np.abs(one).max()), 1e-12)
    return float(same.mean())


def _answers(
    call: Callable[[dict[str, np.ndarray]], np.ndarray], feed: dict[str, np.ndarray]
) -> np.ndarray:
    """Return what a model gives, which has to be finite."""
    expected = call(feed)
    if not np.isfinite(expected).all():
        raise ModelError(
            "the model's outputs are not finite numbers on the sample.",
            mend="Train it again with a smaller learning rate, or check its input for NaN.",
        )
    return expected


def _difference(expected: np.ndarray, found: np.ndarray) -> float:
    if expected.shape != found.shape:
        raise ArtifactError(
            f"the exported model gives {found.shape} where the Keras model gives {expected.shape}."
        )
    scale = np.maximum(1.0, np.abs(expected))
    return float(np.max(np.abs(expected - found) / scale, initial=0.0))


def random_inputs(
    inputs: tuple[TensorSpec, ...], contract: Contract | None, *, rows: int = ROWS, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return rows that the model can take, where the caller has no real ones at hand.

    Categories are drawn from the contract's vocabularies, numbers around its means; without a
    contract, integers are 0 or 1, which every embedding knows.
    """
    random = np.random.default_rng(seed)
    drawn: dict[str, np.ndarray] = {}
    for spec in inputs:
        shape = (rows, *(_FREE if axis is None else axis for axis in spec.shape[1:]))
        kind = np.dtype(spec.dtype).kind
        if spec.dtype == "uint8":
            values = random.integers(0, 256, shape)
        elif kind in "iu":
            values = random.integers(0, _code_limits(contract, shape[-1]), shape)
        elif kind == "b":
            values = random.integers(0, 2, shape)
        else:
            mean, deviation = _moments(contract, spec.name, shape)
            values = mean + deviation * random.standard_normal(shape)
        drawn[spec.name] = values.astype(spec.dtype)
    return drawn


def _code_limits(contract: Contract | None, columns: int) -> np.ndarray | int:
    if contract is None:
        return 2
    sizes = [len(column.vocabulary) + 1 for column in contract.categorical()]
    return np.array(sizes) if len(sizes) == columns else 2


def _moments(
    contract: Contract | None, name: str, shape: tuple[int, ...]
) -> tuple[np.ndarray | float, np.ndarray | float]:
    if contract is None or name != "numeric" or contract.kind != "table":
        return 0.0, 1.0
    mean, variance = contract.moments()
    return (mean, np.sqrt(variance)) if mean.shape == shape[1:] else (0.0, 1.0)
