"""Fine-tune: train on, so that what is left adapts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secateur.cost.measure import measure
from secateur.errors import DataError
from secateur.steps.result import Note, Result, Stage
from secateur.steps.training import fit

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset


@dataclass(frozen=True)
class FineTune:
    """Train a copy of a model and keep its best epoch.

    Args:
        epochs: how often the training split is passed over, at most.
        batch_size: rows a step; `None` chooses by the number of rows.
        learning_rate: the highest rate.
        patience: stop after so many epochs without a better one.
        class_weights: weigh classes alike, or by a mapping.
        augment: what to vary in the training rows.
        checkpoint: a folder that keeps the state after every epoch.
        resume: go on from the state in `checkpoint`, if there is one.
        seed: gives the order of rows, the variation and the dropout.
        verbose: show a progress bar.
    """

    epochs: int = 10
    batch_size: int | None = None
    learning_rate: float = 5e-4
    patience: int | None = None
    class_weights: bool | Mapping[str, float] = False
    augment: bool | Mapping[str, Any] | None = None
    checkpoint: str | None = None
    resume: bool = False
    seed: int = 0
    verbose: bool = False

    def __call__(self, model: keras.Model, data: Dataset | None = None) -> Result:
        """Return the trained model; the given one is untouched.

        Raises:
            DataError: there is no data.
            ModelError: the loss is no longer a number.
        """
        if data is None:
            raise DataError("fine-tuning needs data.", where="finetune", mend="Pass a Dataset.")
        start = time.perf_counter()
        trained, curve = fit(
            model,
            data,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            patience=self.patience,
            class_weights=self.class_weights,
            augment=self.augment,
            checkpoint=self.checkpoint,
            resume=self.resume,
            seed=self.seed,
            verbose=self.verbose,
        )
        cost = measure(trained)
        note = Note("finetune", "done", f"{curve.epochs} epochs, epoch {curve.best + 1} kept")
        return Result(
            trained,
            before=cost,
            after=cost,
            notes=(note,),
            stages=(Stage("fine-tuned", trained, time.perf_counter() - start),),
            curves=(("fine-tuned", curve),),
        )
