"""Convolutions as several, each with strides and dilation along axes of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from secateur.cost.probes import Probe
from secateur.cost.stacks import Piece
from secateur.graph.parts import Part
from secateur.graph.stock.common import channels
from secateur.graph.weights import to_numpy
from secateur.planning.ranks import Choice, vbmf_rank
from secateur.steps.decompositions import Kernel, composed
from secateur.steps.inputs import Watched
from secateur.steps.matrices import Matrix
from secateur.steps.subject import Ranks, Shape, Subject, bare, last, multiples, rounded_up

# As many ranks of a method are tried at most where each takes a solution of its own.
MOST_RANKS = 12
# The shares of the energy of both unfoldings at which Tucker ranks are tried.
LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.87, 0.92, 0.96, 0.98, 0.99, 0.999)


@dataclass
class Convolution:
    """A convolution as several, each with strides and dilation along axes of its own."""

    subject: Subject
    watched: Watched | None
    penalty: float
    name = ""

    @cached_property
    def kernel(self) -> Kernel:
        """Return the kernel over two axes of space, the second of length one for a line."""
        values = to_numpy(self.subject.layer.kernel).astype(np.float64)
        values = values if values.ndim == 4 else values[:, None]
        return Kernel(values, None if self.watched is None else self.watched.all, self.penalty)

    def chain(self, ranks: Ranks) -> Chain:
        """Return the shapes of the kernels, and the axes that each of them is over."""
        raise NotImplementedError

    def factors(self, ranks: Ranks) -> tuple[np.ndarray, ...]:
        """Return the kernels, over two axes of space."""
        raise NotImplementedError

    def choice(self, ranks: Ranks) -> Choice:
        """Return what ranks cost and lose."""
        chain = self.chain(ranks)
        error = self.kernel.error(self.factors(ranks))
        return self.subject.choice(self.name, ranks, chain.macs, chain.params, error)

    def parts(self, ranks: Ranks) -> list[Part]:
        """Return the layers that stand for the layer."""
        factors = self.factors(ranks)
        missing = self.kernel.values - composed(factors)
        bias = self.subject.biased(missing.reshape(self.subject.weights.shape), self.watched)
        flat = factors if self.subject.layer.rank == 2 else tuple(each[:, 0] for each in factors)
        return self.chain(ranks).parts(flat, bias)

    def pieces(self, ranks: Ranks) -> list[Piece]:
        """Return the layers to be timed."""
        return self.chain(ranks).pieces()

    @property
    def _all(self) -> tuple[bool, ...]:
        return (True,) * self.subject.layer.rank

    @property
    def _none(self) -> tuple[bool, ...]:
        return (False,) * self.subject.layer.rank

    @property
    def _sizes(self) -> tuple[Shape, int, int]:
        *size, read, made = self.subject.layer.kernel.shape
        return tuple(size), read, made


class Unfolded(Convolution):
    """A convolution to fewer channels, then one of one position (`svd`).

    Zhang, Zou, He & Sun 2016, "Accelerating very deep convolutional networks for classification
    and detection", without their account of the activation.
    """

    name = "svd"

    @cached_property
    def matrix(self) -> Matrix:
        """Return the kernel as one matrix of patches and outputs."""
        return Matrix(self.subject, self.watched, self.penalty)

    def ranks(self, step: int) -> list[Ranks]:
        """Return the ranks that can be chosen, multiples of `step`."""
        return self.matrix.ranks(step)

    def beneath_noise(self, step: int) -> Ranks:
        """Return the ranks that VBMF finds, rounded up to multiples of `step`."""
        return self.matrix.beneath_noise(step)

    def chain(self, ranks: Ranks) -> Chain:
        """Return the shapes of the kernels, and the axes that each of them is over."""
        size, read, made = self._sizes
        one = tuple(1 for _ in size)
        kernels = [((*size, read, ranks[0]), self._all), ((*one, ranks[0], made), self._none)]
        return Chain(self.subject, kernels)

    def factors(self, ranks: Ranks) -> tuple[np.ndarray, ...]:
        """Return the kernels, over two axes of space."""
        first, second = self.matrix.spectrum.factors(ranks[0])
        return first.reshape(*self.kernel.values.shape[:3], -1), second[None]

    def choice(self, ranks: Ranks) -> Choice:
        """Return what ranks cost and lose."""
        chain, error = self.chain(ranks), float(self.matrix.spectrum.errors[ranks[0]])
        return self.subject.choice("svd", ranks, chain.macs, chain.params, error)


class Spatial(Convolution):
    """A convolution over the height, then one over the width (`spatial`)."""

    name = "spatial"

    def ranks(self, step: int) -> list[Ranks]:
        """Return the ranks that can be chosen, multiples of `step`."""
        (high, wide), read, made = self._sizes
        most = min(high * read, wide * made)
        return [(rank,) for rank in _thinned(multiples(step, most))]

    def beneath_noise(self, step: int) -> Ranks:
        """Return the ranks that VBMF finds, rounded up to multiples of `step`."""
        columns = self.kernel.as_columns
        values = np.linalg.svd(columns, compute_uv=False)
        return (rounded_up(vbmf_rank(values, *columns.shape), step, min(columns.shape)),)

    def chain(self, ranks: Ranks) -> Chain:
        """Return the shapes of the kernels, and the axes that each of them is over."""
        (high, wide), read, made = self._sizes
        kernels = [
            ((high, 1, read, ranks[0]), (True, False)),
            ((1, wide, ranks[0], made), (False, True)),
        ]
        return Chain(self.subject, kernels)

    def factors(self, ranks: Ranks) -> tuple[np.ndarray, ...]:
        """Return the kernels, over two axes of space."""
        return self.kernel.spatial(ranks[0])


class Tucker(Convolution):
    """A convolution of one position to fewer channels, the core, and one of one position."""

    name = "tucker"

    def ranks(self, step: int) -> list[Ranks]:
        """Return the ranks that can be chosen, multiples of `step`."""
        _, read, made = self._sizes
        found = []
        for level in LEVELS:
            sides = zip(self.kernel.modes, (read, made), strict=True)
            found.append(
                tuple(rounded_up(_at(values, level), step, most) for values, most in sides)
            )
        return sorted(set(found))

    def beneath_noise(self, step: int) -> Ranks:
        """Return the ranks that VBMF finds, rounded up to multiples of `step`."""
        size, read, made = self._sizes
        taps = prod(size)
        inner, outer = self.kernel.modes
        return (
            rounded_up(vbmf_rank(inner, read, taps * made), step, read),
            rounded_up(vbmf_rank(outer, made, taps * read), step, made),
        )

    def chain(self, ranks: Ranks) -> Chain:
        """Return the shapes of the kernels, and the axes that each of them is over."""
        size, read, made = self._sizes
        (inner, outer), one = ranks, tuple(1 for _ in size)
        kernels = [
            ((*one, read, inner), self._none),
            ((*size, inner, outer), self._all),
            ((*one, outer, made), self._none),
        ]
        return Chain(self.subject, kernels)

    def factors(self, ranks: Ranks) -> tuple[np.ndarray, ...]:
        """Return the kernels, over two axes of space."""
        return self.kernel.tucker(*ranks)


def _at(values: np.ndarray, level: float) -> int:
    powers = np.cumsum(np.square(values))
    return int(np.searchsorted(powers, level * powers[-1])) + 1


def _thinned(ranks: list[int]) -> list[int]:
    if len(ranks) <= MOST_RANKS:
        return ranks
    places = np.linspace(0, len(ranks) - 1, MOST_RANKS).round().astype(int)
    return [ranks[place] for place in places]


@dataclass(frozen=True)
class Chain:
    """Convolutions one after the other, by their kernels' shapes and the axes of space of each."""

    subject: Subject
    kernels: Sequence[tuple[Shape, tuple[bool, ...]]]

    @property
    def params(self) -> int:
        """Return how many elements the kernels have."""
        return sum(prod(shape) for shape, _ in self.kernels)

    @property
    def macs(self) -> int:
        """Return the multiply-adds of all calls for one sample."""
        total = 0
        for given, made in self.subject.shapes:
            for (shape, _), (_, after) in zip(self.kernels, self._spaces(given, made), strict=True):
                total += given[0] * prod(after) * prod(shape)
        return total

    def pieces(self) -> list[Piece]:
        """Return the convolutions to be timed."""
        layer, found = self.subject.layer, []
        spaces = self._spaces(*self.subject.shapes[0])
        for (shape, own), (before, _) in zip(self.kernels, spaces, strict=True):
            probe = Probe(
                "conv",
                space=before,
                kernel=shape[:-2],
                strides=_along(layer.strides, own),
                dilation=_along(layer.dilation_rate, own),
                padding=layer.padding if any(own) else "valid",
            )
            found.append(Piece("conv", *shape[-2:], probe=probe))
        return found

    def parts(self, kernels: Sequence[np.ndarray], bias: list[np.ndarray]) -> list[Part]:
        """Return the layers, the last of them with the bias."""
        layer = self.subject.layer
        config, found = layer.get_config(), []
        for number, (kernel, (_, own)) in enumerate(zip(kernels, self.kernels, strict=True)):
            final = number == len(kernels) - 1
            changes = {
                "filters": kernel.shape[-1],
                "kernel_size": kernel.shape[:-2],
                "strides": _along(layer.strides, own),
                "dilation_rate": _along(layer.dilation_rate, own),
                "padding": layer.padding if any(own) else "valid",
            }
            base = last(config) if final else bare(config)
            found.append(Part(type(layer), {**base, **changes}, [kernel, *(bias if final else ())]))
        return found

    def _spaces(self, given: Shape, made: Shape) -> Iterator[tuple[Shape, Shape]]:
        """Yield the lengths of the axes of space before and after each kernel."""
        lead = slice(1, -1) if channels(self.subject.layer) == -1 else slice(2, None)
        before, end = given[lead], made[lead]
        for _, own in self.kernels:
            after = tuple(e if o else b for b, e, o in zip(before, end, own, strict=True))
            yield before, after
            before = after


def _along(numbers: Any, own: tuple[bool, ...]) -> Shape:
    numbers = np.broadcast_to(numbers, len(own)).tolist()
    return tuple(n if o else 1 for n, o in zip(numbers, own, strict=True))
