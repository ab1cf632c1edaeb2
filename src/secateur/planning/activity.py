"""How much each unit matters, by what passes through it. No labels are needed.

All functions here take `(group, stats)` and return one score a unit, the lower, the sooner it goes.
A unit counts as the weights that read it see it, after its activation and normalisation. Of two
kinds of units there is nothing to be seen there:

- Units that no weight reads, such as those of queries and keys, are multiplied with each other.
  They count by what the layers that make them give, the geometric mean over these layers: a unit
  that is zero in one of them adds nothing to the product.
- A residual block counts by what it adds to the stream, once for each unit of the stream.
"""

from __future__ import annotations

import numpy as np

from secateur.planning.scoring import (
    GroupLike,
    StatsLike,
    averaged,
    kernels,
    mean_per_unit,
    needs,
    normalised,
    per_unit,
)

# What is added to the second moments before they are inverted, as a share of their mean.
PENALTY = 1e-4


@needs("activations")
def activation(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Mean size of the activation.

    Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference".
    Averaged over the weights that read the unit and scaled to a mean of one in the group, since
    the size of activations depends on the layer.
    """
    return group.breadth * normalised(_seen(group, stats, "size"))


@needs("activations")
def apoz(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Share of activations that are not zero, one minus APoZ (Hu et al. 2016, "Network Trimming").

    A share means the same in every group, so it is not scaled. It tells units apart only behind
    activations that give zeros, as a ReLU does: elsewhere it is one for all units, which then go
    after all others, and among themselves in no order of worth.
    """
    return group.breadth * (1 - _seen(group, stats, "zeros"))


@needs("activations")
def wanda(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Weights times what they multiply: |W| * ||x||, summed to units.

    Sun et al. 2024, "A Simple and Effective Pruning Approach for Large Language Models"; for units
    An et al. 2024, "Fluctuation-based Adaptive Structured Pruning for Large Language Models".
    Summed over the weights that read the unit; averaged over these kernels, each scaled to a mean
    of one, since the size of activations depends on the layer. Where none reads it, the kernels
    that make the unit take their place, as for a block the weights at its end, where a weight that
    multiplies nothing seen (a bias) counts by itself.
    """
    inputs = stats.activations.inputs

    def weighed(key: str, array: np.ndarray) -> np.ndarray:
        return np.abs(array) * np.sqrt(inputs[key].square) if key in inputs else np.abs(array)

    if group.kind == "block":
        total = np.zeros(len(group))
        for part in group.slices:
            if part.role == "write" and part.weight in stats.weights:
                total += per_unit(group, part, weighed(part.weight, stats.weights[part.weight]))
        return group.breadth * normalised(total)
    found = list(kernels(group, stats, "read")) or list(kernels(group, stats, "write"))
    lines = [per_unit(group, part, weighed(part.weight, array)) for part, array in found]
    return averaged(group, [line for line in lines if line.any()])


@needs("activations", "moments")
def reconstruction(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Error of what the readers give when the unit is gone and the others make up for it.

    With S the second moments of the units as a reader sees them, taken around the mean where the
    reader can add a constant, and w_i its weights on unit i, the error of the best linear
    compensation is |w_i|^2 / [S^-1]_ii (Hassibi & Stork 1993, "Optimal Brain Surgeon"; for layers
    Frantar & Alistarh 2022, "Optimal Brain Compression"; for channels Luo et al. 2017, "ThiNet").
    A ridge keeps S invertible; what it adds to the error is taken off again, so a unit that
    another one repeats, or that is the same for all rows, costs next to nothing.

    Set, for each reader, against the mean error without compensation, and averaged over the
    readers: a group without redundancy has a mean of about one, as magnitudes have, and one with
    redundancy a smaller one, so that groups compete by what they can spare. Groups too wide for
    second moments count without compensation; so do units that no weight reads, and blocks,
    by the mean square of what is made.
    """
    lines = []
    if group.kind != "block":
        moments = stats.moments.get(group.name, ())
        for part, array in kernels(group, stats, "read"):
            energy = per_unit(group, part, np.square(array))
            mine = [each for each in moments if each.weight == part.weight]
            for each in mine:
                alone = each.products.diagonal()
                left = _left(each.products, each.mean, each.offset)
                lines.append((energy * left, energy * alone))
            if not mine and part.weight in stats.activations.inputs:
                square = stats.activations.inputs[part.weight].square
                cost = per_unit(group, part, np.square(array) * square)
                lines.append((cost, cost))
    relative = [left / alone.mean() for left, alone in lines if alone.any()]
    if relative:
        return np.mean(relative, axis=0)
    return group.breadth * normalised(_seen(group, stats, "square"))


def _left(products: np.ndarray, mean: np.ndarray, offset: bool) -> np.ndarray:
    """Return what of the mean square of each unit the others cannot give."""
    found = np.zeros(len(products))
    s = products - np.outer(mean, mean) if offset else products
    alive = np.flatnonzero(s.diagonal() > 0)
    if not len(alive):
        return found
    s = s[np.ix_(alive, alive)]
    ridge = PENALTY * float(np.trace(s)) / len(s)
    inverse = np.linalg.inv(s + ridge * np.eye(len(s)))
    found[alive] = np.clip(1 / inverse.diagonal() - ridge, 0, s.diagonal())
    return found


def _seen(group: GroupLike, stats: StatsLike, figure: str) -> np.ndarray:
    """Return a figure of each unit's activations: as they are read, else as they are made."""
    if group.kind == "block":
        added = stats.activations.blocks
        return np.array([float(getattr(added[unit], figure)) for unit in group.units.tolist()])
    read = _figures(group, stats, stats.activations.inputs, figure, ("read",))
    if any(np.isfinite(line).any() for line in read):
        return _mean(read, group)
    made = _figures(group, stats, stats.activations.outputs, figure, ("write",))
    # A share of zeros cannot be multiplied: a product is zero where one of its factors is.
    if figure == "zeros":
        return 1 - np.exp(_mean([_log(1 - line) for line in made], group))
    return np.exp(_mean([_log(line) for line in made], group)) if made else np.zeros(len(group))


def _figures(
    group: GroupLike, stats: StatsLike, seen: object, figure: str, roles: tuple[str, ...]
) -> list[np.ndarray]:
    lines = []
    for part in group.slices:
        if part.role in roles and part.weight in seen:  # type: ignore[operator]
            array = getattr(seen[part.weight], figure)  # type: ignore[index]
            line = mean_per_unit(group, part, array)
            if line is not None:
                lines.append(line)
    return lines


def _mean(lines: list[np.ndarray], group: GroupLike) -> np.ndarray:
    """Average over the lines that a unit is in; zero for a unit that is in none."""
    if not lines:
        return np.zeros(len(group))
    there = np.isfinite(lines)
    total = np.where(there, lines, 0).sum(0)
    return total / np.maximum(there.sum(0), 1)


def _log(line: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(line, np.finfo(float).tiny))
