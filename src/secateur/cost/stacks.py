"""Layers one after the other as a tiny model, to time them against another way to compute the same.

What stands around a convolution in `secateur.cost.probes` stands around a stack of them as well, so
the share of the time that is left is told a little nearer to one than it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from secateur.cost.probes import Nodes, Probe, conv_options
from secateur.cost.race import race, ratio
from secateur.cost.runtimes import check_runtime
from secateur.errors import PlanError

# The runtimes that stacks are written for.
RUNTIMES = ("onnxruntime", "openvino")
# The largest code that random inputs give, and one more.
_CODES = 8


@dataclass(frozen=True)
class Piece:
    """One layer of a stack.

    Args:
        kind: a product with matrices, a row looked up in a table, or a convolution.
        read: the width of its input; of a table, the number of rows.
        written: the width of its output.
        rows: how many rows of one sample are multiplied or looked up.
        groups: how many matrices there are, each with rows of its own.
        probe: what a convolution computes.
    """

    kind: Literal["product", "lookup", "conv"]
    read: int
    written: int
    rows: int = 1
    groups: int = 1
    probe: Probe | None = None


def stacked(pieces: Sequence[Piece], batch: int) -> bytes:
    """Return an ONNX file of pieces that read one another, with random numbers as weights."""
    nodes, first = Nodes(), pieces[0]
    if first.probe is not None:
        nodes.add("Conv", (first.read, 1, *(1 for _ in first.probe.space)), (first.read,))
    elif first.kind == "lookup":
        nodes.look_up((max(first.read, _CODES), first.written))
    for piece in pieces:
        if piece.probe is not None:
            kernel = (piece.written, piece.read, *piece.probe.kernel)
            nodes.add("Conv", kernel, **conv_options(piece.probe))
        elif piece.kind == "product":
            lead = () if piece.groups == 1 else (piece.groups,)
            nodes.add("MatMul", (*lead, piece.read, piece.written))
    if first.probe is not None:
        nodes.add("GlobalAveragePool")
    return nodes.model(_shape(first, batch))


def _shape(first: Piece, batch: int) -> tuple[int, ...]:
    """Return the shape of what a stack reads."""
    if first.probe is not None:
        return (batch, 1, *first.probe.space)
    if first.kind == "lookup":
        return (batch * first.rows,)
    shape = (first.groups, batch * first.rows, first.read)
    return shape[1:] if first.groups == 1 else shape


def check_stacks(runtime: str) -> None:
    """Refuse a runtime that stacks cannot be timed on.

    Raises:
        ModelError: there is no such runtime.
        MissingExtraError: it is not installed.
        PlanError: there are no stacks for it.
    """
    check_runtime(runtime)
    if runtime not in RUNTIMES:
        raise PlanError(
            f"single layers are not timed on {runtime!r}.",
            where="runtime",
            mend=f"Use {' or '.join(RUNTIMES)}, or leave single layers untimed: faster=False.",
        )


def time_left(
    before: Sequence[Piece],
    after: Sequence[Piece],
    *,
    runtime: str = "onnxruntime",
    batch: int = 1,
    threads: int = 1,
    seconds: float = 0.3,
    seed: int = 0,
) -> float:
    """Return the share of the time of one stack that another takes, both called in turn.

    Args:
        before: a layer.
        after: what is to stand for it.
        runtime: `onnxruntime` or `openvino`.
        batch: the rows of one call.
        threads: the threads that one call may use.
        seconds: how long to go on.
        seed: for the random inputs.

    Raises:
        ModelError: the runtime cannot run a stack.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, pieces in (("before", before), ("after", after)):
            paths[name] = Path(folder) / f"{name}.onnx"
            paths[name].write_bytes(stacked(pieces, batch))
        times = race(
            paths,
            batch=_shape(before[0], batch)[0],
            threads=threads,
            seconds=seconds,
            seed=seed,
            runtime=runtime,
            openings=3,
        )
    return ratio(times["before"], times["after"])
