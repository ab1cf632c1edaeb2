"""Run a model, or an exported file, over a split and say how good it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import DataError
from secateur.evaluation.metrics import Metrics, metrics

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Split

Predict = Callable[[Any], np.ndarray]


def evaluate(
    predict_or_model: keras.Model | Predict, split: Split, *, batch_size: int = 256
) -> Metrics:
    """Measure quality on all rows of a split, a batch at a time.

    Args:
        predict_or_model: a Keras model, or a function from a batch of inputs to outputs, such as
            `Predictor.predict` of an exported file.
        split: the rows; its batches come in order.
        batch_size: rows at a time; memory holds one batch of inputs and all outputs.

    Raises:
        DataError: the split has no rows.
        ModelError: the outputs are not numbers or not one a row.
    """
    if split.rows == 0:
        raise DataError(
            f"The {split.name} split has no rows.",
            where=split.name,
            mend="Give it a larger share in data.split.",
        )
    truth, outputs = predict(predict_or_model, split, batch_size=batch_size)
    return metrics(truth, outputs, split.contract)


def predict(
    predict_or_model: keras.Model | Predict, split: Split, *, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Return the truth and the outputs for all rows of a split, in order."""
    call = as_function(predict_or_model)
    truth: list[np.ndarray] = []
    outputs: list[np.ndarray] = []
    batches = split.batches(batch_size)
    for index in range(len(batches)):
        x, y = batches[index][:2]
        truth.append(np.asarray(y))
        outputs.append(np.asarray(call(x)))
    return np.concatenate(truth), np.concatenate(outputs)


def as_function(predict_or_model: keras.Model | Predict) -> Predict:
    """Return a function from one batch of inputs to NumPy outputs."""
    import keras

    if not isinstance(predict_or_model, keras.Model):
        return predict_or_model
    model = predict_or_model

    def call(x: Any) -> np.ndarray:
        return np.asarray(model.predict_on_batch(x))

    return call
