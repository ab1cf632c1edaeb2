"""What makes a training one of the pruning network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from secateur.graph.randomness import seed_layers
from secateur.graph.weights import to_numpy
from secateur.steps.network import Decide, PruningNetwork

if TYPE_CHECKING:
    from secateur.graph.graph import Graph
    from secateur.steps.aware import Rounding
    from secateur.steps.gates import Gates


# The share of the epochs after which the choice is made; the others train what was chosen.
_CHOOSING = 0.4


@dataclass
class Selecting:
    """Train a pruning network where a model would be trained.

    Args:
        graph: the traced model.
        kind: the kind of gates.
        start: for each group that has gates, by name, a logit a unit to begin with.
        prices: what an element of each weight and product costs, by key.
        share: the share of the cost that may be left.
        decide: makes the plan of what the gates have learned.
        rounding: what to round while it trains, if anything.
        steps: how many steps an epoch has.
        epochs: how many epochs it has.
        speed: how much faster gates learn than weights.
        only: whether it ends with the choice, so that something else trains what was chosen.
        seed: for the gates' draws, and for dropout.
        asked: what is asked of the plan, in words.

    Attributes:
        network: the network, once the training has begun.
    """

    graph: Graph
    kind: type[Gates]
    start: Mapping[str, np.ndarray]
    prices: Mapping[str, float]
    share: float
    decide: Decide
    rounding: Rounding | None = None
    steps: int = 1
    epochs: int = 1
    speed: float = 1.0
    only: bool = False
    seed: int = 0
    asked: str = ""
    network: PruningNetwork = field(init=False, repr=False)

    @property
    def choosing(self) -> int:
        """Return how many epochs gates are learned for."""
        return max(1, round(_CHOOSING * self.epochs))

    @property
    def until(self) -> int:
        """Return how many epochs the network is trained for."""
        return self.choosing if self.only else self.epochs

    @property
    def settled(self) -> int:
        """Return the first epoch whose weights may be kept: one after the choice, or the last."""
        return min(self.choosing, self.until - 1)

    @property
    def identity(self) -> str:
        """Return what tells this selection from another."""
        start = {name: values.tolist() for name, values in sorted(self.start.items())}
        rounded = self.rounding and self.rounding.quantization.to_json()
        told = (self.share, self.asked, self.steps, self.speed, self.only, self.seed, rounded)
        return repr((self.kind.__name__, start, *told))

    def around(self, steps: int) -> PruningNetwork:
        """Return the network, whose gates settle in so many steps."""
        gates = {
            name: self.kind(values, speed=self.speed, seed=self.seed + index)
            for index, (name, values) in enumerate(sorted(self.start.items()))
        }
        network = PruningNetwork(
            self.graph,
            gates,
            prices=self.prices,
            share=self.share,
            steps=steps,
            speed=self.speed,
            decide=self.decide,
            rounding=self.rounding,
        )
        seed_layers(network.model, self.seed)
        return network

    def pupil(self, student: keras.Model, labels: Any) -> PruningNetwork:
        """Return the network; it has weights of its own, and leaves the student as it is."""
        self.network = self.around(self.steps * self.choosing)
        return self.network


class Settle(keras.callbacks.Callback):
    """Settle the gates of a pruning network, so that the epochs left train what was chosen.

    Args:
        epoch: at the beginning of which epoch, from 0.
    """

    def __init__(self, epoch: int):
        super().__init__()
        self._epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Settle them, if it is time."""
        # Keras sets the model before it calls anything here.
        network: Any = self.model
        if epoch >= self._epoch and not to_numpy(network.settled):
            network.settle()
