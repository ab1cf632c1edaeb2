"""Products with matrices as two: dense layers, projections and tables of codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from string import ascii_letters
from typing import Any

import numpy as np
from keras import layers

from secateur.cost.stacks import Piece
from secateur.graph.parts import Part
from secateur.planning.ranks import Choice, vbmf_rank
from secateur.steps.decompositions import Spectrum, spectrum
from secateur.steps.inputs import Watched
from secateur.steps.subject import Ranks, Subject, bare, last, multiples, rounded_up, rows_of


@dataclass
class Matrix:
    """A product with matrices as two, the first of them without a bias (`svd`)."""

    subject: Subject
    watched: Watched | None
    penalty: float
    name = "svd"

    @cached_property
    def spectrum(self) -> Spectrum:
        """Return the directions of the outputs."""
        seen = None if self.watched is None else self.watched.all
        return spectrum(self.subject.weights, seen, self.penalty)

    @property
    def most(self) -> int:
        """Return the highest rank there is."""
        return min(self.subject.weights.shape[1:])

    def ranks(self, step: int) -> list[Ranks]:
        """Return the ranks that can be chosen, multiples of `step`."""
        return [(rank,) for rank in multiples(step, self.most)]

    def beneath_noise(self, step: int) -> Ranks:
        """Return the ranks that VBMF finds, rounded up to multiples of `step`."""
        _, read, made = self.subject.weights.shape
        values = np.linalg.svd(self.subject.weights, compute_uv=False)
        found = [vbmf_rank(each, read, made) for each in values]
        return (rounded_up(max(found), step, self.most),)

    def choice(self, ranks: Ranks) -> Choice:
        """Return what ranks cost and lose."""
        groups, read, made = self.subject.weights.shape
        params = groups * ranks[0] * (read + made)
        places = self.subject.places
        macs = places * (groups * ranks[0] * made if self.subject.read is None else params)
        return self.subject.choice(
            self.name, ranks, macs, params, float(self.spectrum.errors[ranks[0]])
        )

    def parts(self, ranks: Ranks) -> list[Part]:
        """Return the layers that stand for the layer."""
        first, second = self.spectrum.factors(ranks[0])
        bias = self.subject.biased(self.subject.weights - first @ second, self.watched)
        layer = self.subject.layer
        if isinstance(layer, layers.Embedding):
            return _embedding(layer, first[0], second[0])
        if isinstance(layer, layers.EinsumDense):
            return _einsum(self.subject, first, second, bias)
        config = layer.get_config()
        return [
            Part(layers.Dense, {**bare(config), "units": ranks[0]}, [first[0]]),
            Part(layers.Dense, last(config), [second[0], *bias]),
        ]

    def pieces(self, ranks: Ranks) -> list[Piece]:
        """Return the layers to be timed."""
        before = piece_of(self.subject)
        (rank,) = ranks
        return [
            Piece(before.kind, before.read, rank, before.rows, before.groups),
            Piece("product", rank, before.written, before.rows, before.groups),
        ]


def piece_of(subject: Subject) -> Piece:
    """Return a layer as it is, to be timed."""
    groups, read, made = subject.weights.shape
    kind = "lookup" if subject.read is None else "product"
    return Piece(kind, read, made, rows_of(subject), groups)


def _embedding(layer: Any, table: np.ndarray, matrix: np.ndarray) -> list[Part]:
    config = layer.get_config()
    small = {**last(config), "output_dim": table.shape[1]}
    small |= {"embeddings_constraint": None, "activity_regularizer": None}
    dense = {key: config[key] for key in ("dtype", "trainable")}
    dense |= {"units": matrix.shape[1], "use_bias": False}
    return [Part(layers.Embedding, small, [table]), Part(layers.Dense, dense, [matrix])]


def _einsum(
    subject: Subject, first: np.ndarray, second: np.ndarray, bias: list[np.ndarray]
) -> list[Part]:
    layer, read = subject.layer, subject.read
    assert read is not None
    config = layer.get_config()
    operands, _, made = layer.equation.replace(" ", "").partition("->")
    given, kernel = operands.split(",")
    groups, features, units = (
        "".join(kernel[axis] for axis in axes) for axes in (read.groups, read.features, read.units)
    )
    # The new axis lies where the first of the units does.
    label = next(letter for letter in ascii_letters if letter not in layer.equation)
    place = min(made.index(unit) for unit in units)
    between = "".join(e for e in made[:place] + label + made[place:] if e not in units)
    named = [each for each in made if each != "."]
    named = named if made.startswith("...") else named[1:]
    said = dict(zip(named, _lengths(config), strict=True)) | {label: first.shape[-1]}
    stated = said
    lengths = {made for _, made in subject.shapes}
    if not subject.open and len(lengths) == 1 and "..." not in made:
        # What follows may need to know the lengths that the layer itself could leave open.
        stated = said | dict(zip(named, lengths.pop()[1:], strict=True))
    left = [each for each in between if each in stated]
    sizes = {axis: read.split[axis] for axis in range(len(read.split))}
    one = [sizes[axis] for axis in (*read.groups, *read.features)]
    other = [sizes[axis] for axis in read.groups]
    return [
        Part(
            layers.EinsumDense,
            {
                **bare(config),
                "equation": f"{given},{groups}{features}{label}->{between}",
                "output_shape": tuple(stated[each] for each in left),
            },
            [first.reshape(*one, -1)],
            {"output_shape": tuple(said[each] for each in left)},
        ),
        Part(
            layers.EinsumDense,
            {
                **last(config),
                "equation": f"{between},{groups}{label}{units}->{made}",
                "output_shape": tuple(stated[each] for each in named),
            },
            [second.reshape(*other, first.shape[-1], *(sizes[a] for a in read.units)), *bias],
            {"output_shape": config["output_shape"]},
        ),
    ]


def _lengths(config: dict[str, Any]) -> Sequence[int | None]:
    shape = config["output_shape"]
    return (shape,) if isinstance(shape, int) or shape is None else tuple(shape)
