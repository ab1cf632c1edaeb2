"""Workers that train one model together: each reads its part of every batch, all take one step.

Every worker has all of the model. JAX sees the parts of the workers as one batch, so that all that
is computed over a batch is what one worker would have computed. With PyTorch each worker computes
on its own part; their gradients are averaged before each step, and their figures and statistics
before these are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from secateur.errors import ModelError
from secateur.graph.weights import to_numpy
from secateur.steps.keeper import Keeper

Make = Callable[[Any], keras.optimizers.Optimizer]
# The backends that workers can train with.
BACKENDS = ("jax", "torch")


class Replica(Protocol):
    """One of the workers of a training."""

    @property
    def rank(self) -> int:
        """Return its number, from 0; the first one saves the state."""
        ...

    @property
    def workers(self) -> int:
        """Return how many there are."""
        ...

    def scope(self) -> AbstractContextManager[Any]:
        """Return what models are made and trained in."""
        ...

    def optimizer(self, make: Make) -> Make:
        """Return what makes the optimizer: of all workers, where one worker would not do."""
        ...

    def callbacks(self, model: keras.Model) -> Sequence[Any]:
        """Return callbacks for the copy that is trained, which come before those of others."""
        ...


@dataclass(frozen=True)
class Alone:
    """The only worker."""

    rank = 0
    workers = 1

    def scope(self) -> AbstractContextManager[Any]:
        """Return nothing special."""
        return nullcontext()

    def optimizer(self, make: Make) -> Make:
        """Return what makes the optimizer, as it is."""
        return make

    def callbacks(self, model: keras.Model) -> Sequence[Any]:
        """Return none."""
        return ()


ALONE = Alone()


@dataclass(frozen=True)
class JaxReplica:
    """A worker that is a process of JAX, with a device of its own."""

    rank: int
    workers: int

    def scope(self) -> AbstractContextManager[Any]:
        """Return the distribution of the rows over all processes."""
        devices: Any = keras.distribution.list_devices()
        return keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False).scope()

    def optimizer(self, make: Make) -> Make:
        """Return what makes the optimizer, as it is: gradients are those of the whole batch."""
        return make

    def callbacks(self, model: keras.Model) -> Sequence[Any]:
        """Return none: figures, statistics and dropout are those of the whole batch."""
        return ()


@dataclass(frozen=True)
class TorchReplica:
    """A worker that is a process of a group of `torch.distributed`."""

    rank: int
    workers: int

    def scope(self) -> AbstractContextManager[Any]:
        """Return nothing special."""
        return nullcontext()

    def optimizer(self, make: Make) -> Make:
        """Return what makes an optimizer that steps by the mean of the workers' gradients."""

        def made(rate: Any) -> keras.optimizers.Optimizer:
            optimizer: Any = make(rate)
            step = optimizer.apply

            def step_together(grads: Any, trainable_variables: Any = None) -> Any:
                return step(_averaged(grads, self.workers), trainable_variables)

            optimizer.apply = step_together
            return optimizer

        return made

    def callbacks(self, model: keras.Model) -> Sequence[Any]:
        """Return what keeps the workers alike."""
        return (_Meeting(self, model),)


class _Meeting(keras.callbacks.Callback):
    """Make figures and statistics those of all workers."""

    def __init__(self, replica: TorchReplica, trained: keras.Model):
        super().__init__()
        self._replica = replica
        self._statistics: list[Any] = [
            each
            for each in trained.non_trainable_weights
            if keras.backend.is_float_dtype(each.dtype)
        ]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Bring the figures together when they are looked at, so that all stop or none."""
        if batch % Keeper.LOOK_EVERY == 0:
            self._bring_together(logs)

    def on_test_begin(self, logs: Any = None) -> None:
        """Bring the statistics together, so that all judge the same model."""
        self._bring_statistics_together()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Bring the figures and the statistics together before they are kept."""
        self._bring_statistics_together()
        self._bring_together(logs)

    def _bring_together(self, logs: Any) -> None:
        # What comes after this callback sees the same dict.
        if logs:
            means = _means(np.array([float(each) for each in logs.values()]), self._replica)
            logs.update(zip(logs, means.tolist(), strict=True))

    def _bring_statistics_together(self) -> None:
        if not self._statistics:
            return
        arrays = [to_numpy(each) for each in self._statistics]
        means = _means(np.concatenate([each.ravel() for each in arrays]), self._replica)
        bounds = np.cumsum([each.size for each in arrays])[:-1]
        parts = np.split(means, bounds)
        for variable, array, part in zip(self._statistics, arrays, parts, strict=True):
            variable.assign(part.reshape(array.shape).astype(array.dtype))


def _means(values: np.ndarray, replica: TorchReplica) -> np.ndarray:
    """Return the means over the workers; what is the same on all of them stays as it is."""
    import torch
    from torch import distributed

    mine = torch.from_numpy(values.astype(np.float64))
    others = [torch.empty_like(mine) for _ in range(replica.workers)]
    distributed.all_gather(others, mine)
    gathered = torch.stack(others).numpy()
    return np.where((gathered == gathered[0]).all(axis=0), gathered[0], gathered.mean(axis=0))


def _averaged(gradients: Sequence[Any], workers: int) -> list[Any]:
    """Return the means of gradients over the workers; they are sent as one tensor."""
    import torch
    from torch import distributed

    with torch.no_grad():
        there = [each for each in gradients if each is not None]
        flat = torch.cat([each.reshape(-1).to(torch.float32) for each in there])
        distributed.all_reduce(flat)
        parts = iter(torch.split(flat / workers, [each.numel() for each in there]))
        return [
            None if each is None else next(parts).reshape(each.shape).to(each.dtype)
            for each in gradients
        ]


class Share(keras.utils.PyDataset):
    """The part of every batch that one worker reads.

    Args:
        batches: the batches of all workers.
        replica: the worker.
    """

    def __init__(self, batches: Any, replica: Replica):
        super().__init__()
        self._batches = batches
        self._replica = replica

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return the worker's part of a batch."""
        return self._batches.part(index, self._replica.rank, self._replica.workers)

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's order."""
        self._batches.on_epoch_end()


def share(batches: Any, replica: Replica) -> Any:
    """Return the part of every batch that a worker reads."""
    return batches if replica.workers == 1 else Share(batches, replica)


def divisible(rows: int, workers: int) -> int:
    """Return the least number of rows from this one on that workers can divide."""
    return -(-rows // workers) * workers


def check_backend() -> str:
    """Return the name of the Keras backend, if workers can train with it.

    Raises:
        ModelError: they cannot.
    """
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise ModelError(
            f"several workers cannot train with the {backend} backend.",
            where="finetune",
            mend="Set KERAS_BACKEND=jax or KERAS_BACKEND=torch before Python starts, or leave "
            "workers out.",
        )
    return backend
