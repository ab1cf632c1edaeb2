"""Run a model, or an exported file, over a split and say how good it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import DataError
from secateur.evaluation.metrics import Metrics, metrics

if TYPE_CHECKING:
    import keras

    from secateur.data.contract import Contract
    from secateur.data.dataset import Split

Predict = Callable[[Any], np.ndarray]


def evaluate(
    predict_or_model: keras.Model | Predict, split: Split, *, batch_size: int | None = None
) -> Metrics:
    """Measure quality on all rows of a split, a batch at a time.

    Args:
        predict_or_model: a Keras model, or a function from a batch of inputs to outputs, such as
            `Predictor.predict` of an exported file.
        split: the rows; its batches come in order.
        batch_size: rows at a time; None chooses by their size. Memory holds one batch of inputs
            and all outputs.

    Raises:
        DataError: the split has no rows.
        ModelError: the outputs are not numbers or not one a row.
    """
    if split.rows == 0:
        raise DataError(
            f"the {split.name} split has no rows.",
            where=split.name,
            mend="Give it a larger share in data.split.",
        )
    truth, outputs = predict(predict_or_model, split, batch_size=batch_size)
    return metrics(truth, outputs, split.contract)


def predict(
    predict_or_model: keras.Model | Predict, split: Split, *, batch_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the truth and the outputs for all rows of a split, in order."""
    call = as_function(predict_or_model, split.contract)
    truth: list[np.ndarray] = []
    outputs: list[np.ndarray] = []
    batches = split.batches(batch_size or _batch_size(split))
    for index in range(len(batches)):
        x, y = batches[index][:2]
        truth.append(np.asarray(y))
        outputs.append(np.asarray(call(x)))
    return np.concatenate(truth), np.concatenate(outputs)


def _batch_size(split: Split) -> int:
    """Return how many rows make some millions of numbers, from 32 to 4096."""
    numbers = sum(math.prod(shape) for shape, _ in split.contract.inputs().values())
    return max(32, min(4096, 2**22 // numbers))


def as_function(predict_or_model: keras.Model | Predict, contract: Contract) -> Predict:
    """Return a function from one batch of inputs to NumPy outputs.

    One logit becomes the probability of the second class, as an exported file gives it; which of
    many logits is the largest says enough.
    """
    import keras

    from secateur.graph.ending import ending

    if not isinstance(predict_or_model, keras.Model):
        return predict_or_model
    model = predict_or_model
    logits = contract.task == "classification" and ending(model) != "sigmoid"

    # Called as it is: tracing each of a run's models anew would take longer than running it.
    def call(x: Any) -> np.ndarray:
        outputs = model(x, training=False)
        one = logits and outputs.shape[-1] == 1
        return np.asarray(
            keras.ops.convert_to_numpy(keras.ops.sigmoid(outputs) if one else outputs)
        )

    return call
