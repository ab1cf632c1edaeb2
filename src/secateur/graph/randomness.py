"""What is drawn while a model is trained, dropout above all, follows from the seed and the epoch.

Layers that draw keep a state, which is saved with a training. With PyTorch, a dropout layer that
was given no seed draws from the process instead; so there the process is seeded for each epoch,
and what it was before is brought back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np


def seed_layers(model: keras.Model, *seed: int) -> None:
    """Give every random layer a state that follows from some numbers."""
    known = {id(each) for each in model.weights}
    states = [each for each in model.variables if id(each) not in known]
    for index, state in enumerate(states):
        # The index stands second, and seeds of one number are most of them.
        drawn = np.random.SeedSequence([seed[0], index, *seed[1:]])
        words = drawn.generate_state(int(np.prod(state.shape)))
        state.assign((words >> 1).reshape(tuple(state.shape)).astype(state.dtype))


@contextmanager
def own_randomness(seed: int | None = None) -> Iterator[None]:
    """Keep what is drawn meanwhile from changing the draws of the process.

    Args:
        seed: what the process is seeded with meanwhile, where layers draw from it.
    """
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.random.fork_rng():
        if seed is not None:
            torch.manual_seed(seed)
        yield


def seeding(model: keras.Model, seed: int, rank: int) -> list[keras.callbacks.Callback]:
    """Return the callback that seeds each epoch, where the backend needs one.

    Args:
        model: the copy that is trained.
        seed: the seed of the training.
        rank: the number of the worker; each draws for its own rows.
    """
    return [_Seeding(model, seed, rank)] if keras.backend.backend() == "torch" else []


class _Seeding(keras.callbacks.Callback):
    """Seed the process and the layers at the start of each epoch."""

    def __init__(self, trained: keras.Model, seed: int, rank: int):
        super().__init__()
        self._trained, self._seed, self._rank = trained, seed, rank

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Seed by the epoch, so that one which is begun again draws the same."""
        import torch

        words = np.random.SeedSequence([self._seed, epoch, self._rank]).generate_state(1)
        torch.manual_seed(int(words[0]))
        seed_layers(self._trained, self._seed, epoch, self._rank)
