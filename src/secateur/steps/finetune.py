"""Fine-tune: train on, so that what is left adapts."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from secateur.cost.measure import measure
from secateur.data.contract import counted
from secateur.errors import DataError, RecipeError
from secateur.graph.functional import laid_out
from secateur.steps.asked import check_dataset, check_names, check_trained, is_number
from secateur.steps.order import NOTHING
from secateur.steps.result import Note, Result, Stage
from secateur.steps.training import check_training, fit

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset
    from secateur.steps.teaching import Teaching


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
        distill: learn from another model as well (Hinton et al. 2015, "Distilling the Knowledge in
            a Neural Network"): True from the one that the chain began with, or that is given in
            the call, or the path of a model's file. Classes are compared by the Kullback-Leibler
            divergence at `temperature`, times its square; values by their squared error.
        temperature: by what logits are divided before they are compared.
        alpha: the share of the loss that is the teacher's; the rest is that of the labels.
        features: names of layers whose outputs are to be like those of the teacher as well, by
            their squared error as a share of the mean square of the teacher's, the mean over the
            layers being added. Narrower ones are compared through a linear projection that is
            learned along and thrown away (Romero et al. 2015, "FitNets").
        checkpoint: a folder that keeps the state after every epoch, and within.
        resume: go on from the state in `checkpoint`, if there is one.
        seed: gives the order of rows, the variation and the dropout.
        verbose: show a progress bar.
        workers: how many processes train together, under Ray Train: on the cluster that
            RAY_ADDRESS names, else on this machine. It takes the JAX or the PyTorch backend; a
            batch is divided among them, and where one dies all go on from the last epoch.
    """

    epochs: int = 10
    batch_size: int | None = None
    learning_rate: float = 5e-4
    patience: int | None = None
    class_weights: bool | Mapping[str, float] = False
    augment: bool | Mapping[str, Any] | None = None
    distill: bool | str = False
    temperature: float = 4.0
    alpha: float = 0.5
    features: tuple[str, ...] = ()
    checkpoint: str | None = None
    resume: bool = False
    seed: int = 0
    verbose: bool = False
    workers: int = 1

    spares: ClassVar[frozenset[str]] = NOTHING

    def __post_init__(self) -> None:
        _check(self)

    @property
    def wants_teacher(self) -> bool:
        """Say whether the call is to be given a teacher."""
        return self.distill is True

    def __call__(
        self,
        model: keras.Model,
        data: Dataset | None = None,
        *,
        teacher: keras.Model | None = None,
    ) -> Result:
        """Return the trained model; the given one is untouched.

        Args:
            model: where to start.
            data: what to learn from.
            teacher: the model to learn from as well, with `distill=True`; it is untouched.

        Raises:
            DataError: there is no data, or it is no Dataset.
            ModelError: the model does not fit the data, the loss is no longer a number, or the
                teacher does not fit the model.
            RecipeError: there is no teacher, or one that is not asked for; or there are several
                workers, and they cannot divide a batch.
            MissingExtraError: there are several workers, and no Ray Train.
            PlanError: there is no layer of a name in `features`.
        """
        if data is None:
            raise DataError("fine-tuning needs data.", where="finetune", mend="Pass a Dataset.")
        check_dataset(data, "fine-tuning learns from", "finetune", model, labels=True)
        model = laid_out(model)
        teaching = self._teaching(None if teacher is None else laid_out(teacher))
        start = time.perf_counter()
        settings: dict[str, Any] = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "patience": self.patience,
            "class_weights": self.class_weights,
            "augment": self.augment,
            "checkpoint": self.checkpoint,
            "resume": self.resume,
            "seed": self.seed,
            "verbose": self.verbose,
        }
        together = ""
        if self.workers == 1:
            trained, curve = fit(model, data, **settings, teaching=teaching)
        else:
            from secateur.steps.distributed import fit_distributed

            trained, curve, again = fit_distributed(
                model, data, **settings, workers=self.workers, teaching=teaching
            )
            together = f", by {self.workers} workers"
            if again:
                together += f", begun again {counted(again, 'time')} because one had died"
        cost = measure(trained)
        told = f"{curve.epochs} epochs, epoch {curve.best + 1} kept"
        if teaching is not None:
            told += f", taught by {teaching.teacher.name}"
        told += together
        note = Note("finetune", "done", told)
        return Result(
            trained,
            before=cost,
            after=cost,
            notes=(note,),
            stages=(Stage("fine-tuned", trained, time.perf_counter() - start),),
            curves=(("fine-tuned", curve),),
        )

    def _teaching(self, teacher: keras.Model | None) -> Teaching | None:
        if not self.distill:
            if teacher is None:
                return None
            raise RecipeError(
                f"a teacher ({teacher.name}) was given, and distill is off.",
                where="finetune",
                mend="Use distill=True.",
            )
        from secateur.steps.teaching import Teaching

        if isinstance(self.distill, str):
            from secateur.models.load import load_model

            teacher = load_model(self.distill)
        if teacher is None:
            raise RecipeError(
                "distill=True learns from the model that a chain begins with, and there is none.",
                where="finetune",
                mend="Pass teacher=model in the call, put the step in a chain, or give the path of "
                "a model's file.",
            )
        return Teaching(teacher, self.temperature, self.alpha, tuple(self.features), self.seed)


def _check(step: FineTune) -> None:
    check_training(step.epochs, step.batch_size, step.learning_rate, step.patience)
    check_trained(step, "finetune")
    check_names("finetune", features=step.features)
    if isinstance(step.workers, bool) or not isinstance(step.workers, int) or step.workers < 1:
        raise RecipeError(
            f"workers must be 1 or more, got {step.workers!r}.", where="finetune", mend="Use 2."
        )
    if not step.distill:
        plain = FineTune.temperature, FineTune.alpha, FineTune.features
        if (step.temperature, step.alpha, tuple(step.features)) != plain:
            raise RecipeError(
                "temperature, alpha and features are for distillation, and distill is off.",
                where="finetune",
                mend="Add distill: true, or leave them out.",
            )
        return
    for name, value, most in (
        ("temperature", step.temperature, math.inf),
        ("alpha", step.alpha, 1.0),
    ):
        if not is_number(value) or not 0 < value <= most:
            raise RecipeError(
                f"{name} must be above 0{' and at most 1' if most == 1 else ''}, got {value!r}.",
                where="finetune",
                mend="4 and 0.5 are usual.",
            )
