"""Regularization while a model trains: the callback that sets how strong it is, and what goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from secateur.errors import ModelError, PlanError
from secateur.graph.observe import Stats
from secateur.graph.weights import to_numpy
from secateur.planning.options import held_by, kinds_of, sparing
from secateur.planning.plan import GroupCut, Plan, plan
from secateur.steps.emptied import cuts_of, empty_units, plan_of, switched_off
from secateur.steps.penalties import Penalising, Penalty, Units

if TYPE_CHECKING:
    from secateur.graph.graph import Graph

ON_UNITS = {"group_lasso": "lasso", "slimming": "lasso", "greg": "ridge"}
MIX = {"l1": 1.0, "l2": 0.0, "elastic_net": 0.5}
PENALTIES = (*MIX, *ON_UNITS)
# What is left of the penalised is ranked by what was penalised.
_RANKS = {"slimming": "bn_scale", "l1": "l1"}
_SCALES = ("gamma", "scale")
# So often in all the strength is seen to.
TIMES = 40
# By how much a budget may raise the strength over a training that never keeps up.
MOST_RAISED = 1000.0


@dataclass(frozen=True)
class Settings:
    """How a penalty works; the arguments are those of `Regularize`."""

    penalty: str
    strength: float
    proximal: bool
    threshold: float
    end: float
    budget: tuple[str, float] | None
    round_to: int
    floor: float
    keep: tuple[str, ...]
    kinds: tuple[str, ...] | None

    @property
    def exact(self) -> bool:
        """Return whether what is driven to zero is zero, and not only small."""
        return self.proximal and self.penalty not in ("l2", "greg")


class Regularizing(keras.callbacks.Callback):
    """Penalise the units or weights of a model while it trains, and take away what is to go.

    Args:
        graph: the traced model that the training starts from.
        settings: how.

    Attributes:
        settled: the epoch, from 0, in which the penalty ends and what is to go is taken away.
        penalty: what is penalised.
        unseen: the groups that the penalty sees nothing of.
        kept: says which state of the training is kept.

    Raises:
        BudgetError: the budget cannot be met.
        PlanError: there is nothing to penalise, or a pattern matches nothing.
    """

    def __init__(self, graph: Graph, settings: Settings):
        super().__init__()
        self.settled = 0
        self.kept: Callable[[], str] = str
        self._graph = graph
        self._settings = settings
        self._last = 0
        self._every = 1
        self._step = 0
        self._twin: Any = None
        self._weights: dict[str, Any] = {}
        self._counts: Any = None
        values = {key: to_numpy(variable) for key, variable in graph.variables.items()}
        # A budget that cannot be met is found before the training, not after it.
        first = None if settings.budget is None else self._planned(values)
        self.penalty, self.unseen = penalty_of(graph, settings, first)

    @property
    def identity(self) -> str:
        """Return what tells this training from another."""
        return repr((asdict(self._settings), [each.group.name for each in self.penalty.units]))

    def optimizer(self, rate: Any) -> keras.optimizers.Optimizer:
        """Return the optimizer to train with."""
        return Penalising(rate)

    def prepare(self, model: keras.Model, steps: int, epochs: int) -> None:
        """Hand the penalty to the optimizer of a compiled copy of the model.

        Args:
            model: the copy.
            steps: steps of one epoch.
            epochs: how many epochs there are at most.
        """
        self._last = int(self._settings.end * (steps * epochs - 1))
        self._every = max(1, self._last // TIMES)
        self.settled = self._last // steps
        self._twin = model
        self._weights = self._graph.variables_of(model)
        optimizer = self._optimizer
        optimizer.build(model.trainable_variables)
        grows = self._settings.penalty == "greg"
        strength = 0.0 if grows else self._settings.strength
        optimizer.attach(self.penalty, self._weights, strength)
        self._counts = optimizer.add_variable(
            (len(self.penalty.units),), "zeros", "float32", name="zeros"
        )

    @property
    def _optimizer(self) -> Penalising:
        return self._twin.optimizer

    @property
    def strength(self) -> float:
        """Return how strong the penalty is now; zero once it has ended."""
        return float(to_numpy(self._optimizer.strength))

    @property
    def zeros(self) -> dict[str, int]:
        """Return for each group how many units were zero when the penalty ended."""
        counts = to_numpy(self._counts).astype(int).tolist()
        return {units.group.name: n for units, n in zip(self.penalty.units, counts, strict=True)}

    def plan(self) -> Plan:
        """Return the plan of what was taken away."""
        gone = {name: to_numpy(each) == 0 for name, each in self._optimizer.alive.items()}
        budget = self._settings.budget
        asked = {} if budget is None else dict([budget])
        return plan_of(self._graph, self._cuts(gone, 1), asked=asked, by=self._settings.penalty)

    def on_train_begin(self, logs: Any = None) -> None:
        """Take up the count of steps where the optimizer's state has it."""
        self._step = int(to_numpy(self._optimizer.iterations))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """See to the strength, and at the end of the penalty to what goes."""
        step = self._step
        self._step += 1
        if step < self._last and step % self._every == 0:
            self._adjust(step)
        elif step == self._last:
            self._finish()

    def _adjust(self, step: int) -> None:
        """Let the strength grow, with the steps or because a budget is not kept up with."""
        progress = step / self._last
        if self._settings.penalty == "greg":
            self._read()
            self._optimizer.strength.assign(self._settings.strength * progress)
        elif self._settings.budget is not None:
            values = self._values()
            if self._settings.penalty in ON_UNITS:
                self._aim(_removed(self._planned(values).cuts))
            name, share = self._settings.budget
            if step and self._left(name, values) > 1 - (1 - share) * progress:
                rounds = max(1, self._last // self._every)
                self._optimizer.strength.assign(self.strength * MOST_RAISED ** (1 / rounds))

    def _aim(self, gone: Mapping[str, list[int]]) -> None:
        """Let the penalty pull at some units alone: what stays for sure is not to suffer for it."""
        for name, target in self._optimizer.target.items():
            pulled = np.zeros(target.shape, "float32")
            pulled[gone.get(name, [])] = 1
            target.assign(pulled)

    def _left(self, name: str, values: Mapping[str, np.ndarray]) -> float:
        """Return what share of the multiply-adds or parameters the units that are not zero take."""
        keep = self._graph.everything()
        zero = self._zero(values)
        for units in self.penalty.units:
            keep[units.group.units[zero[units.group.name]]] = False
        cost = self._graph.macs if name == "macs" else self._graph.parameters
        return cost(keep) / max(1, cost())

    def _finish(self) -> None:
        """Take away what goes, and end the penalty."""
        values = self._values()
        zero = self._zero(values)
        self._counts.assign([float(each.sum()) for each in zero.values()])
        if self._settings.penalty == "greg":
            gone = {units.group.name: np.flatnonzero(units.on) for units in self.penalty.units}
        elif self._settings.budget is not None:
            gone = _removed(self._planned(values).cuts)
        else:
            gone = _removed(self._cuts(zero, self._settings.round_to))
        for name, held in self._optimizer.alive.items():
            alive = np.ones(held.shape, "float32")
            alive[gone.get(name, [])] = 0
            held.assign(alive)
        self._optimizer.strength.assign(0.0)
        self._optimizer.hold.assign(1.0)

    def _cuts(self, gone: Mapping[str, np.ndarray], round_to: int) -> tuple[GroupCut, ...]:
        groups = [units.group for units in self.penalty.units]
        reason = f"{self._settings.penalty} has let them go"
        return cuts_of(self._graph, groups, gone, round_to, reason)

    def _zero(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return for each group which units count as zero, of those that may go."""
        penalty = self._settings.penalty
        threshold = 0.0 if self._settings.exact else self._settings.threshold
        empty: dict[str, np.ndarray] = {}
        if penalty in MIX:
            # Biases and scales are not penalised: they go with the kernels.
            off = switched_off(self._graph, values)
            shut = {key: v * off[key] if key in off else v for key, v in values.items()}
            empty = empty_units(self._graph, shut)
        found = {}
        for units in self.penalty.units:
            name, free = units.group.name, units.group.free
            zero = empty.get(name, np.zeros(len(free), bool))
            if units.parts:
                norms = units.norms(values)
                zero = zero | (norms <= threshold * norms.max())
                # The largest stay, whatever their size.
                order = np.argsort(np.where(free, norms, -1), kind="stable")
                zero[order[len(order) - units.spared :]] = False
            found[name] = zero & free
        return found

    def _planned(self, values: Mapping[str, np.ndarray]) -> Plan:
        settings = self._settings
        budget: dict[str, Any] = {} if settings.budget is None else dict([settings.budget])
        return plan(
            self._graph,
            Stats(values),
            **budget,
            by=_RANKS.get(settings.penalty, "l2"),
            round_to=settings.round_to,
            floor=settings.floor,
            keep=settings.keep,
            kinds=settings.kinds,
        )

    def _values(self) -> dict[str, np.ndarray]:
        self._read()
        values = {key: to_numpy(variable) for key, variable in self._weights.items()}
        for key, value in values.items():
            if not np.isfinite(value).all():
                raise ModelError(
                    f"a weight became NaN or infinite while it was regularized.{self.kept()}",
                    where=key,
                    mend="Lower learning_rate or strength, or check the inputs.",
                )
        return values

    def _read(self) -> None:
        """On JAX, bring the variables up to date with the state that the step carries."""
        sync = getattr(self._twin, "jax_state_sync", None)
        if sync is not None:
            sync()


def penalty_of(
    graph: Graph, settings: Settings, first: Plan | None = None
) -> tuple[Penalty, tuple[str, ...]]:
    """Return what is penalised, and the names of the groups that the penalty sees nothing of.

    Args:
        graph: a traced model.
        settings: how.
        first: the plan for the budget by the weights as they are; `greg` penalises what it removes.

    Raises:
        PlanError: there is nothing to penalise, or a pattern matches nothing.
    """
    allowed, held = kinds_of(graph, settings.kinds), held_by(graph, settings.keep)
    targets = {} if first is None else _removed(first.cuts)
    found, unseen = [], []
    for group in graph.groups:
        if group.kind not in allowed or group.name in held:
            continue
        group = sparing(group, settings.keep)
        whole = tuple(
            part
            for part in group.slices
            if part.role in ("write", "read", "pass") and graph.variables[part.weight].trainable
        )
        scales = settings.penalty == "slimming"
        parts = tuple(part for part in whole if not scales or _is_scale(graph, part))
        if not parts:
            unseen.append(group.name)
        on = group.free
        if settings.penalty == "greg":
            on = np.isin(np.arange(len(group)), targets.get(group.name, []))
        least = max(int(np.ceil(settings.floor * len(group))), 1)
        spared = max(least - int((~group.free).sum()), 0)
        found.append(Units(group, parts, whole, on, spared))
    if not any(units.parts and units.on.any() for units in found):
        raise PlanError(
            f"{settings.penalty} finds nothing to penalise in this model.",
            where=graph.model.name,
            mend="It needs normalisations with a trainable scale (gamma): use group_lasso."
            if settings.penalty == "slimming"
            else "Check `keep`, `kinds` and the layers' `trainable`.",
        )
    kernels = {
        part.weight: None
        for units in found
        for part in units.whole
        if len(graph.variables[part.weight].shape) >= 2
    }
    on_units = ON_UNITS.get(settings.penalty)
    return Penalty(
        units=tuple(found),
        on_units=on_units,
        singles=() if on_units else tuple(kernels),
        mix=MIX.get(settings.penalty, 1.0),
        proximal=settings.proximal,
    ), tuple(unseen)


def _is_scale(graph: Graph, part: Any) -> bool:
    name = part.weight.rpartition("/")[2].partition("#")[0]
    return part.role == "pass" and name in _SCALES and len(graph.variables[part.weight].shape) == 1


def _removed(cuts: Iterable[GroupCut]) -> dict[str, list[int]]:
    return {cut.group: list(cut.remove) for cut in cuts}
