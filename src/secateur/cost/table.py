"""The latency of every layer against its widths, sampled on the runtime that will run the model.

A runtime's time is no fixed price a multiply-add: it depends on the layer's kind, its place and
its widths. So each layer is timed alone at a few pairs of widths, and what lies between is
interpolated in both, which is exact for a time `a + b in + c out + d in out`. Runtimes compute
channels in blocks, so that a width in between costs as much as the next multiple of a block: eight,
or what convolutions turn out to be computed in on this processor.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np

from secateur.cost.cost import Latency
from secateur.cost.probes import Place, Probe, places, tiny_model
from secateur.cost.race import race
from secateur.cost.runtimes import check_runtime, open_runner, processor, version_of, write_for
from secateur.errors import OutputError
from secateur.files import write_whole
from secateur.graph.graph import Graph

STEP = 8
# What tells blocks of 8, 16 and 32 channels apart, on a size that hardly a net has: so all of them
# are timed in turn, and none is of another hour.
_WIDTHS = (32, 40, 48, 56, 64)
_ALONE = Probe("conv", (11, 11), (3, 3), (1, 1), (1, 1))
SHARES = (1.0, 0.5, 0.25, 0.125)
# Writing a tiny model for LiteRT takes longer than running it.
SHARES_LITERT = (1.0, 0.5, 0.125)
_FORMAT = 2


@dataclass(frozen=True)
class Surface:
    """The milliseconds of a probe on a grid of input and output widths, both ascending.

    Between the points of the grid they rise in steps of so many channels in and out.
    """

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    ms: np.ndarray
    steps: tuple[int, int] = (STEP, STEP)

    def at(self, read: int, written: int) -> float:
        """Return the milliseconds at two widths, interpolated."""
        low, high, share = _between(self.reads, read, self.steps[0])
        left, right, across = _between(self.writes, written, self.steps[1])
        upper = self.ms[low, left] * (1 - across) + self.ms[low, right] * across
        lower = self.ms[high, left] * (1 - across) + self.ms[high, right] * across
        return float(max(upper * (1 - share) + lower * share, 0.0))


@dataclass(frozen=True)
class LatencyTable:
    """What a model costs in milliseconds on one runtime, by the lengths of its weights.

    Args:
        whole: the measured latency of the model as it is.
        surfaces: for each weight with a probe, the probe's place and milliseconds.
        each: for each weight or product without one, milliseconds an element: its share of the
            multiply-adds is taken for its share of the time.
        scale: what a layer's time is multiplied by, so that all of them add up to the whole.
        step: widths that are closer than this may take the same time.
    """

    whole: Latency
    surfaces: dict[str, tuple[tuple[Place, Surface], ...]]
    each: dict[str, float]
    scale: float = 1.0
    step: int = STEP
    _known: dict[tuple[str, tuple[int, ...]], float] = field(
        default_factory=dict, init=False, repr=False
    )

    def cost(self, key: str, lengths: Sequence[int]) -> float:
        """Return the milliseconds that a weight's products take when it has these lengths."""
        if key in self.each:
            return self.each[key] * prod(lengths) * self.scale
        if key not in self.surfaces or 0 in lengths:
            return 0.0
        asked = (key, tuple(lengths))
        if asked not in self._known:
            parts = (surface.at(*place.widths(lengths)) for place, surface in self.surfaces[key])
            self._known[asked] = sum(parts) * self.scale
        return self._known[asked]


def latency_table(
    graph: Graph,
    *,
    runtime: str = "onnxruntime",
    batch: int = 1,
    threads: int = 1,
    cache: str | Path | None = None,
    seconds: float = 0.15,
) -> LatencyTable:
    """Measure what the layers of a model cost at other widths.

    The idea is that of HALP (Shen et al. 2022): a table of latencies in place of multiply-adds.

    Args:
        graph: a traced model.
        runtime: `onnxruntime`, `openvino` or `litert`.
        batch: the rows of one call.
        threads: the threads that one call may use.
        cache: a JSON file of samples taken before, which is added to; the user's by default.
        seconds: how long the samples of one layer are timed, in turn; those that tell in what
            blocks channels are computed are timed eight times as long, once.

    Raises:
        ModelError: the runtime is not known, or the model cannot be exported or run.
        MissingExtraError: the runtime is not installed.
    """
    check_runtime(runtime)
    with tempfile.TemporaryDirectory() as folder:
        path = write_for(graph.model, runtime, Path(folder))
        whole = race(
            {"whole": path},
            batch=batch,
            threads=threads,
            open_length=graph.open_length or 1,
            runtime=runtime,
            openings=3,
        )["whole"]
    taken = whole.quiet_ms or whole.median_ms
    found, _ = places(graph)
    sampled = {
        key: tuple(each for each in made if each.probe.runs_on(runtime))
        for key, made in found.items()
    }
    sampled = {key: made for key, made in sampled.items() if len(made) == len(found[key])}
    samples = _Samples(runtime, batch, threads, Path(cache) if cache else user_cache(), seconds)
    shares = SHARES_LITERT if runtime == "litert" else SHARES
    free = _free_axes(graph)
    grids: dict[Probe, tuple[set[int], set[int]]] = {}
    for key, made in sampled.items():
        shape = graph.weights[key].shape
        for place in made:
            read, written = place.widths(shape)
            reads, writes = grids.setdefault(place.probe, (set(), set()))
            (into, out), groups = samples.steps(place.probe), place.probe.groups
            reads |= _grid(read, shares, not free[key].isdisjoint(place.reads), into, groups)
            writes |= _grid(written, shares, not free[key].isdisjoint(place.writes), out, groups)
    surfaces = {probe: samples.surface(probe, *grid) for probe, grid in grids.items()}
    samples.save()
    table = LatencyTable(
        whole,
        {key: tuple((p, surfaces[p.probe]) for p in made) for key, made in sampled.items()},
        _by_macs(graph, sampled, taken),
        step=max((max(surface.steps) for surface in surfaces.values()), default=STEP),
    )
    parts = (*graph.weights.values(), *graph.products)
    total = sum(table.cost(part.key, part.shape) for part in parts)
    return replace(table, scale=taken / total if total else 1.0)


def channel_blocks(runtime: str, *, threads: int = 1) -> tuple[int, int]:
    """Measure in blocks of how many channels a runtime computes convolutions on this processor.

    Args:
        runtime: `onnxruntime`, `openvino` or `litert`.
        threads: the threads that one call may use.

    Returns:
        The block of input channels and that of output channels: 8, 16 or 32 each.

    Raises:
        ModelError: the runtime is not known.
        MissingExtraError: the runtime is not installed.
    """
    check_runtime(runtime)
    with tempfile.TemporaryDirectory() as nothing_known:
        samples = _Samples(runtime, 1, threads, Path(nothing_known) / "latency.json", 0.15)
        return samples.steps(_ALONE)


def user_cache() -> Path:
    """Return the file in which samples are kept from one run to the next."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "secateur" / "latency.json"


class _Samples:
    """Samples of one runtime, batch and number of threads: those of the cache, and new ones."""

    def __init__(self, runtime: str, batch: int, threads: int, cache: Path, seconds: float):
        self.runtime, self.batch, self.threads = runtime, batch, threads
        self.cache, self.seconds = cache, seconds
        self._device = " | ".join(
            (runtime, version_of(runtime), processor(), f"threads {threads}", f"batch {batch}")
        )
        self._ms: dict[str, float] = dict(_read(cache).get(self._device, {}))
        self._new: dict[str, float] = {}
        self._blocks: tuple[int, int] | None = None

    def surface(self, probe: Probe, reads: set[int], writes: set[int]) -> Surface:
        """Return a probe's milliseconds on a grid, timing what is not known yet."""
        rows = tuple(sorted(reads))
        columns = (0,) if probe.narrow else tuple(sorted(writes))
        wanted = [(read, written) for read in rows for written in columns]
        missing = [pair for pair in wanted if _name(probe, *pair) not in self._ms]
        if missing:
            self._time(probe, missing, self.seconds)
        grid = rising(self._known(probe, wanted).reshape(len(rows), len(columns)))
        return Surface(rows, columns, grid, self.steps(probe))

    def steps(self, probe: Probe) -> tuple[int, int]:
        """Return in how many channels at once a probe is computed: those in, and those out."""
        if probe.kind != "conv" or len(probe.space) > 2 or probe.groups > 1:
            return STEP, STEP
        if self._blocks is None:
            self._blocks = self._measured_blocks()
        return self._blocks

    def _measured_blocks(self) -> tuple[int, int]:
        most = _WIDTHS[-1]
        reads = [(width, most) for width in _WIDTHS]
        writes = [(most, width) for width in _WIDTHS]
        if any(_name(_ALONE, *pair) not in self._ms for pair in (*reads, *writes)):
            self._time(_ALONE, list(dict.fromkeys([*reads, *writes])), 8 * self.seconds)
        return block_of(self._known(_ALONE, reads)), block_of(self._known(_ALONE, writes))

    def _known(self, probe: Probe, pairs: list[tuple[int, int]]) -> np.ndarray:
        return np.array([self._ms[_name(probe, *pair)] for pair in pairs])

    def save(self) -> None:
        """Add the new samples to the cache; where it cannot be written they are lost."""
        if not self._new:
            return
        known = _read(self.cache)
        known[self._device] = {**known.get(self._device, {}), **self._new}
        with suppress(OutputError):
            write_whole(self.cache, json.dumps({"format": _FORMAT, "samples": known}, indent=0))

    def _time(self, probe: Probe, pairs: list[tuple[int, int]], seconds: float) -> None:
        """Time pairs of widths in turn, each less its surroundings."""
        around = {pair: probe.around(*pair) for pair in pairs}
        bare = list(dict.fromkeys(each for both in around.values() for each in both))
        entries = [*((probe, *pair) for pair in pairs), *((each, n, n) for each, n in bare)]
        calls = [self._opened(*entry) for entry in entries]
        times: list[list[float]] = [[] for _ in calls]
        for runner, feed in calls:
            runner.run(feed)
            runner.run(feed)
        end = time.perf_counter() + seconds
        while len(times[0]) < 7 or time.perf_counter() < end:
            for taken, (runner, feed) in zip(times, calls, strict=True):
                start = time.perf_counter()
                runner.run(feed)
                taken.append(time.perf_counter() - start)
        # Most calls that something else holds up are above the first quarter.
        ms = [float(np.percentile(taken, 25)) * 1000 for taken in times]
        below = dict(zip(bare, ms[len(pairs) :], strict=True))
        for pair, taken in zip(pairs, ms, strict=False):
            net = taken - sum(below[each] for each in around[pair]) / 2
            # What is not slower than its surroundings is not free either.
            self._new[_name(probe, *pair)] = round(max(net, 0.01 * taken), 6)
        self._ms |= self._new

    def _opened(self, probe: Probe, read: int, written: int) -> tuple[Any, dict[str, np.ndarray]]:
        content = tiny_model(probe, read, written, self.batch, self.runtime)
        runner = open_runner(content, self.runtime, self.threads)
        rng = np.random.default_rng(0)
        shapes = {i.name: tuple(n or 1 for n in i.shape) for i in runner.inputs}
        return runner, {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}


def block_of(ms: np.ndarray) -> int:
    """Return in blocks of how many channels a time rises: 8, or 16 or 32 where that is plain.

    Args:
        ms: milliseconds at 32, 40, 48, 56 and 64 channels.
    """

    def missed(block: int) -> float:
        filled = np.ceil(np.array(_WIDTHS) / block) * block
        slope, start = np.polyfit(filled, ms, 1)
        return float(np.square(start + slope * filled - ms).sum())

    # A time that does not rise fits all of them.
    plain = max(missed(STEP) / 2, 1e-6 * float(np.square(ms).sum()))
    best = min((2 * STEP, 4 * STEP), key=missed)
    return best if missed(best) < plain < missed(STEP) else STEP


def rising(ms: np.ndarray) -> np.ndarray:
    """Return measured times such that a wider layer never costs less than a narrower one.

    What the measurement's noise turns round is set to the mean of the bounds from both sides.
    """
    for axis in range(ms.ndim):
        upper = np.maximum.accumulate(ms, axis=axis)
        lower = np.flip(np.minimum.accumulate(np.flip(ms, axis), axis=axis), axis)
        ms = (upper + lower) / 2
    return ms


def _between(grid: tuple[int, ...], width: int, step: int) -> tuple[int, int, float]:
    """Return the two places of a grid around a width, and how far it is from the first."""
    if len(grid) == 1:
        return 0, 0, 0.0
    after = grid[min(bisect_left(grid, width), len(grid) - 1)]
    step = step if width > step else STEP
    width = min(ceil(width / step) * step, after)
    high = max(bisect_left(grid, width), 1)
    low = high - 1
    share = (width - grid[low]) / (grid[high] - grid[low])
    return low, high, share


def _grid(width: int, shares: Sequence[float], free: bool, step: int, groups: int) -> set[int]:
    """Return the widths to sample: shares of a width, in whole blocks from one block up."""
    if not free:
        return {width}
    parts = [width * share for share in shares]
    steps = [groups * (step if part > step else STEP) for part in parts]
    return {min(width, ceil(part / each) * each) for part, each in zip(parts, steps, strict=True)}


def _free_axes(graph: Graph) -> dict[str, set[int]]:
    """Return the axes of each weight that some removable unit is on."""
    axes: dict[str, set[int]] = {key: set() for key in graph.weights}
    for group in graph.groups:
        for part in group.slices:
            if part.weight in axes and group.kind != "block":
                axes[part.weight].add(part.axis)
    return axes


def _by_macs(graph: Graph, sampled: dict[str, tuple[Place, ...]], whole: float) -> dict[str, float]:
    found, bare = places(graph)
    without = bare | (found.keys() - sampled.keys())
    parts = (*graph.weights.values(), *graph.products)
    total = sum(part.uses * prod(part.shape) for part in parts)
    return {part.key: whole * part.uses / total for part in parts if part.key in without}


def _name(probe: Probe, read: int, written: int) -> str:
    """Return what a sample is called in the cache."""
    values = [str(value).replace(" ", "") for value in vars(probe).values()]
    return f"{' '.join(values)} {read}->{written}"


def _read(cache: Path) -> dict[str, dict[str, float]]:
    """Return the samples of a cache, none where it cannot be read or is not one."""
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            return {}
        return {
            str(device): {str(name): float(ms) for name, ms in samples.items()}
            for device, samples in content["samples"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
