"""Who stands where in a comparison: the table, and who is beaten by nobody.

All functions here take a `Comparison` and return frozen values of text and figures, for the page
and for the terminal alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from secateur.reporting import units
from secateur.reporting.comparison import (
    Comparison,
    Entrant,
    Spread,
    Trial,
    file_figure,
    over_seeds,
    quality,
    quality_name,
    time_left,
    timing,
)

RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}
# What two trainings of one model with two seeds differ by, as a share.
CLOSE = 0.01

_SHORT = {"Change, points": "points", "Change": "change", "Parameters": "params"}

Of = Callable[[Entrant], Spread | None]
Text = Callable[[float | None], str]


@dataclass(frozen=True)
class Axis:
    """A cost that quality is set against: the less the better.

    `runtime` is the one whose files' quality belongs to it; `unit` is `bytes`, `count` or `share`.
    """

    key: str
    title: str
    unit: str
    runtime: str
    of: Of


@dataclass(frozen=True)
class Cell:
    """A cell of the table: its text, a smaller line beneath, and the figure to sort by."""

    text: str = units.NOTHING
    small: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Row:
    """An entrant in the table; `failures` say what went wrong with it, `best` that nobody beats it.

    Beaten is who is not better than another in quality and not cheaper in the first axis.
    """

    name: str
    steps: str
    cells: tuple[Cell, ...]
    failures: tuple[str, ...] = ()
    through: bool = True
    best: bool = False


@dataclass(frozen=True)
class Standings:
    """The table: its columns (title, and whether more is better), and a row for each entrant."""

    columns: tuple[tuple[str, bool], ...]
    rows: tuple[Row, ...]


def leading_runtime(made: Comparison) -> str:
    """Return the first runtime that the baseline runs in: its files tell quality and size."""
    seen = (r for r in made.runtimes if any(t.on(r) for t in made.baseline.trials))
    return next(seen, made.runtimes[0])


def axes(made: Comparison) -> tuple[Axis, ...]:
    """Return the costs of which at least one contender has a figure."""
    lead = leading_runtime(made)
    found = [
        Axis(
            f"time-{runtime}-{batch}",
            f"Time in {RUNTIMES[runtime]}, batch {units.whole(batch)}",
            "share",
            runtime,
            _time(runtime, batch),
        )
        for runtime in made.runtimes
        for batch in made.batches
    ]
    found += [
        Axis("bytes", "File size", "bytes", lead, lambda e: file_figure(e, lead, "bytes")),
        Axis("macs", "MACs", "count", lead, lambda e: over_seeds(e, lambda t: t.macs)),
        Axis("parameters", "Parameters", "count", lead, lambda e: over_seeds(e, _parameters)),
        Axis("memory", "Memory", "bytes", lead, lambda e: file_figure(e, lead, "memory")),
    ]
    return tuple(axis for axis in found if any(axis.of(each) for each in made.entrants))


def _parameters(trial: Trial) -> int | None:
    return trial.parameters


def _time(runtime: str, batch: int) -> Of:
    return lambda entrant: time_left(entrant, runtime, batch)


def front(made: Comparison, axis: Axis) -> tuple[str, ...]:
    """Return who is beaten by nobody on an axis, the cheapest first: the Pareto front.

    One beats another that is at least as good and at least as cheap, and better in one of the two.
    Only means over seeds are looked at.
    """
    name = quality_name(made)
    known = []
    for each in (made.baseline, *made.entrants):
        cost, good = axis.of(each), quality(each, axis.runtime, name)
        if cost is not None and good is not None:
            known.append((each.name, cost.mean, good.mean))
    best = [
        one
        for one in known
        if not any(
            other[1] <= one[1] and other[2] >= one[2] and other[1:] != one[1:] for other in known
        )
    ]
    return tuple(one[0] for one in sorted(best, key=lambda one: one[1]))


def standings(made: Comparison) -> Standings:
    """Set out the baseline and every contender in a row; what nobody has gets no column."""
    name, lead = quality_name(made), leading_runtime(made)
    base = quality(made.baseline, lead, name)
    columns: list[tuple[str, bool, Callable[[Entrant], Cell]]] = [
        (quality_title(name), True, lambda e: _quality_cell(made, e, name, lead)),
        (
            "Change, points" if name == "accuracy" else "Change",
            True,
            lambda e: _change_cell(made, e, name, lead, base),
        ),
        ("File", False, lambda e: _file_cell(made, e, lead)),
        ("Parameters", False, lambda e: _cell(over_seeds(e, _parameters), units.count)),
        ("MACs", False, lambda e: _cell(over_seeds(e, lambda t: t.macs), units.count)),
        ("Memory", False, lambda e: _cell(file_figure(e, lead, "memory"), units.size)),
    ]
    for runtime in made.runtimes:
        for batch in made.batches:
            title = f"{RUNTIMES[runtime]}, batch {units.whole(batch)}"
            columns.append((title, True, _speed(runtime, batch)))
    columns += [
        ("Epochs", False, lambda e: _cell(over_seeds(e, lambda t: t.epochs), units.count)),
        ("Took", False, lambda e: _cell(over_seeds(e, lambda t: t.seconds), units.seconds)),
    ]
    entrants = (made.baseline, *made.entrants)
    made_of = [(title, more, [make(each) for each in entrants]) for title, more, make in columns]
    filled = [one for one in made_of if any(cell.text != units.NOTHING for cell in one[2])]
    found = axes(made)
    best = front(made, found[0]) if found else ()
    return Standings(
        columns=tuple((title, more) for title, more, _ in filled),
        rows=tuple(
            Row(
                name=each.name,
                steps=each.steps,
                cells=tuple(cells[place] for _, _, cells in filled),
                failures=each.failures,
                through=bool(each.through),
                best=each.name in best,
            )
            for place, each in enumerate(entrants)
        ),
    )


def quality_title(name: str) -> str:
    """Return what the figure of quality is called."""
    return {"accuracy": "Accuracy", "r2": "R²"}[name]


def quality_text(name: str) -> Text:
    """Return how the figure of quality is written."""
    return units.percent if name == "accuracy" else units.figure


def winner(made: Comparison) -> Entrant | None:
    """Return the contender that is fastest of those which lose next to nothing.

    That is at most a hundredth of accuracy or R²; the time is that of the first axis.
    """
    found = axes(made)
    name, lead = quality_name(made), leading_runtime(made)
    base = quality(made.baseline, lead, name)
    if base is None or not found:
        return None
    axis = found[0]
    held = [
        (cost.mean, place, each)
        for place, each in enumerate(made.entrants)
        if (good := quality(each, lead, name)) is not None
        and good.mean >= base.mean - CLOSE
        and (cost := axis.of(each)) is not None
    ]
    return min(held)[2] if held else None


def headline(made: Comparison) -> str:
    """Return what the comparison comes to, in one sentence."""
    name, lead = quality_name(made), leading_runtime(made)
    best, found = winner(made), axes(made)
    if best is None:
        if not made.came_through:
            return "No contender came through"
        return "No contender keeps within a point of the baseline"
    base, good = quality(made.baseline, lead, name), quality(best, lead, name)
    cost = found[0].of(best)
    assert base is not None and good is not None and cost is not None  # noqa: PT018
    change = good.mean - base.mean
    lost = f"{units.points(change)} points" if name == "accuracy" else f"{units.change(change)} R²"
    if found[0].unit != "share":
        return f"{best.name} is cheapest within a point of the baseline ({lost})"
    if cost.mean > 1 / 1.05:
        return "No contender within a point of the baseline is faster than it"
    return f"{best.name} is {units.ratio(1 / cost.mean)} as fast ({lost})".replace("×", " times")


def about_failures(made: Comparison) -> tuple[str, ...]:
    """Return a line for everything that went wrong."""
    return tuple(
        f"{each.name}: {why}" for each in (made.baseline, *made.entrants) for why in each.failures
    )


def _cell(of: Spread | None, text: Text) -> Cell:
    if of is None:
        return Cell()
    small = ""
    if of.deviation is not None and text(of.low) != text(of.high):
        small = f"{text(of.low)} to {text(of.high)}"
    return Cell(text(of.mean), small, of.mean)


def _quality_cell(made: Comparison, entrant: Entrant, name: str, lead: str) -> Cell:
    show, of = quality_text(name), quality(entrant, lead, name)
    if of is None:
        return Cell("failed") if entrant.failures and not entrant.through else Cell()
    told = []
    if of.deviation is not None:
        seeds = len([t for t in entrant.through if t.on(lead)])
        told.append(f"±{_plain(of.deviation, name)} over {units.plural(seeds, 'seed')}")
    for runtime in made.runtimes:
        other = quality(entrant, runtime, name)
        if other is not None and show(other.mean) != show(of.mean):
            told.append(f"{RUNTIMES[runtime]} {show(other.mean)}")
    return Cell(show(of.mean), "; ".join(told), of.mean)


def _plain(deviation: float, name: str) -> str:
    return f"{deviation * 100:.1f}" if name == "accuracy" else units.figure(deviation)


def _change_cell(
    made: Comparison, entrant: Entrant, name: str, lead: str, base: Spread | None
) -> Cell:
    of = quality(entrant, lead, name)
    if of is None or base is None or entrant is made.baseline:
        return Cell()
    change = of.mean - base.mean
    return Cell(units.points(change) if name == "accuracy" else units.change(change), "", change)


def _file_cell(made: Comparison, entrant: Entrant, lead: str) -> Cell:
    of = file_figure(entrant, lead, "bytes")
    if of is None:
        return Cell()
    told: list[str] = []
    for runtime in made.runtimes:
        other = file_figure(entrant, runtime, "bytes")
        if other is not None and abs(other.mean - of.mean) > 0.005 * of.mean:
            told.append(f"{RUNTIMES[runtime]} {units.size(other.mean)}")
    return Cell(units.size(of.mean), "; ".join(told), of.mean)


def _speed(runtime: str, batch: int) -> Callable[[Entrant], Cell]:
    def make(entrant: Entrant) -> Cell:
        left = time_left(entrant, runtime, batch)
        taken = over_seeds(entrant, lambda t: (one := timing(t, runtime, batch)) and one.median_ms)
        if taken is None:
            return Cell()
        if left is None:
            return Cell(units.ms(taken.mean), "not against the baseline")
        return Cell(f"{1 / left.mean:.2f}×", units.ms(taken.mean), 1 / left.mean)

    return make


def terminal(made: Comparison) -> Sequence[tuple[str, list[str], list[list[str]]]]:
    """Return the tables for a terminal, each with title, columns and rows: quality, then speed.

    They hold to 80 columns, so what the page alone tells is left out.
    """
    table = standings(made)
    titles = [title for title, _ in table.columns]
    speed = [place for place, title in enumerate(titles) if ", batch " in title]
    first = [
        place
        for place, title in enumerate(titles)
        if place not in speed and title not in ("Epochs", "Took")
    ]
    parts = {f"{made.name}: quality and size": first}
    if speed:
        parts["times as fast as the exported baseline, in the same race"] = speed
    return [
        (
            title,
            ["", *(_SHORT.get(titles[place], _two_lines(titles[place])) for place in places)],
            [
                [
                    row.name if row.through else f"{row.name} (failed)",
                    *(_spoken(row.cells[place]) for place in places),
                ]
                for row in table.rows
            ],
        )
        for title, places in parts.items()
    ]


def _two_lines(title: str) -> str:
    return title.replace("ONNX Runtime", "ONNX RT").replace(", batch", "\nbatch")


def _spoken(cell: Cell) -> str:
    """Return a cell as a terminal shows it; what is not there stays empty."""
    if cell.value is None:
        return ""
    spread = cell.small.partition(" over ")[0] if cell.small.startswith("±") else ""
    return f"{cell.text} {spread}".strip().replace("\u00a0", " ")
