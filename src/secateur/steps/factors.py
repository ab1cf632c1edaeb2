"""The ways there are to write a layer as several: a `Form` is one method for one layer.

What they compute with is in `secateur.steps.decompositions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from secateur.cost.stacks import Piece
from secateur.graph.parts import Part
from secateur.graph.weights import to_numpy
from secateur.planning.ranks import Choice
from secateur.steps.convolutions import Chain, Spatial, Tucker, Unfolded
from secateur.steps.decompositions import penalty_for
from secateur.steps.inputs import Watched
from secateur.steps.matrices import Matrix, piece_of
from secateur.steps.subject import CONVOLUTIONS, Ranks, Subject

METHODS = ("svd", "spatial", "tucker")


class Form(Protocol):
    """One method for one layer."""

    @property
    def name(self) -> str:
        """Return the method's name."""
        ...

    def ranks(self, step: int) -> list[Ranks]:
        """Return the ranks that can be chosen, multiples of `step`."""
        ...

    def beneath_noise(self, step: int) -> Ranks:
        """Return the ranks that VBMF finds, rounded up to multiples of `step`."""
        ...

    def choice(self, ranks: Ranks) -> Choice:
        """Return what ranks cost and lose."""
        ...

    def parts(self, ranks: Ranks) -> list[Part]:
        """Return the layers that stand for the layer."""
        ...

    def pieces(self, ranks: Ranks) -> list[Piece]:
        """Return the layers to be timed."""
        ...


def forms_of(subject: Subject, watched: Watched | None, methods: Sequence[str]) -> list[Form]:
    """Return the methods that there are for a layer, those for convolutions as they are named."""
    penalty = 0.0
    if watched is not None:
        penalty = penalty_for(subject.weights, watched.fitted, watched.held)
    layer = subject.layer
    if not isinstance(layer, CONVOLUTIONS):
        return [Matrix(subject, watched, penalty)]
    sizes = layer.kernel_size
    found: list[Form] = []
    # Where a kernel has one position there is but one way.
    if "svd" in methods or max(sizes) == 1:
        found.append(Unfolded(subject, watched, penalty))
    if "spatial" in methods and len(sizes) == 2 and min(sizes) > 1:
        found.append(Spatial(subject, watched, penalty))
    if "tucker" in methods and max(sizes) > 1:
        found.append(Tucker(subject, watched, penalty))
    return found


def whole_pieces(subject: Subject) -> list[Piece]:
    """Return a layer as it is, to be timed."""
    if isinstance(subject.layer, CONVOLUTIONS):
        kernel = to_numpy(subject.layer.kernel)
        own = (True,) * subject.layer.rank
        return Chain(subject, [(kernel.shape, own)]).pieces()
    return [piece_of(subject)]
