"""What the top of the page shows: key figures, plots and the table of stages.

All functions here take a `Run` (or the comparison made of it) and return frozen values of text and
drawings that the template only has to lay out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from secateur.reporting import units
from secateur.reporting.bars import bar
from secateur.reporting.plots import Point, Role, scatter
from secateur.reporting.record import LatencyView, Run, Stage
from secateur.reporting.verdict import Comparison, Pair, conditions, interval, speed, times

Setting = tuple[str, int, int]


@dataclass(frozen=True)
class Tile:
    """One key figure: what it is now, what it was, and what the difference comes to."""

    label: str
    value: str
    was: str = ""
    change: str = ""
    tone: str = ""
    detail: str = ""
    drawing: Markup | None = None


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, and a smaller line beneath."""

    text: str = units.NOTHING
    small: str = ""


@dataclass(frozen=True)
class StageRow:
    """One row of the table of stages."""

    label: str
    note: str
    final: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class StageTable:
    """All stages with every figure that at least one of them has."""

    columns: tuple[str, ...]
    rows: tuple[StageRow, ...]


def tiles(seen: Comparison) -> tuple[Tile, ...]:
    """Pick the figures that decide: how good, how big, how much arithmetic, how long."""
    shown = [_quality_tile(seen)]
    if seen.bytes.after is not None or seen.bytes.before is not None:
        shown.append(_cost_tile("Size", seen.bytes, units.size, ("smaller", "larger")))
    else:
        shown.append(_cost_tile("Parameters", seen.parameters, units.count, ("fewer", "more")))
    shown.append(_cost_tile("MACs a sample", seen.macs, units.count, ("fewer", "more")))
    for before, after in seen.latencies[:3]:
        pair = Pair(before.median_ms, after.median_ms)
        each = 1000 * after.batch / after.median_ms if after.median_ms else None
        tile = _cost_tile(f"Latency, batch {units.whole(after.batch)}", pair, units.ms, None)
        detail = f"{conditions(after)}; {units.count(each)} samples a second"
        shown.append(replace(tile, detail=detail) if tile else None)
    return tuple(tile for tile in shown if tile is not None)


def _quality_tile(seen: Comparison) -> Tile | None:
    title, pair = seen.quality
    now = pair.after if pair.after is not None else pair.before
    if now is None:
        return None
    is_share = title == "Accuracy"
    show = units.percent if is_share else units.figure
    metrics = seen.metrics_after or seen.metrics_before
    rows = metrics.rows if metrics else None
    detail = units.plural(rows, "test row") if rows else ""
    if is_share and (around := interval(now, rows)):
        low, high = (f"{end * 100:.1f}" for end in around)
        detail = f"{low} to {high} at 95 % confidence; {detail}"
    change, tone = "", ""
    if pair.change is not None:
        change = f"{units.points(pair.change)} points" if is_share else units.change(pair.change)
        better = pair.change < 0 if title == "MAE" else pair.change > 0
        tone = "good" if better else "bad" if abs(pair.change) > 0.0005 else ""
    both = pair.before is not None and pair.after is not None
    return Tile(
        label=title,
        value=show(now),
        was=show(pair.before) if both else "",
        change=change,
        tone=tone,
        detail=detail,
        drawing=bar(pair.before or 0, pair.after or 0, 1.0) if both and is_share else None,
    )


def _cost_tile(
    label: str,
    pair: Pair,
    show: Callable[[float | None], str],
    words: tuple[str, str] | None,
) -> Tile | None:
    """Make the tile of a cost; without words of its own it is a time."""
    before, after = pair.before, pair.after
    if before is None or after is None:
        known = before if after is None else after
        return None if known is None else Tile(label, show(known))
    if not pair.ratio:
        return Tile(label, show(after), was=show(before))
    change = times(pair.ratio, *words, "unchanged") if words else speed(pair.ratio)
    same = change in ("unchanged", speed(1.0))
    return Tile(
        label=label,
        value=show(after),
        was=show(before),
        change=change,
        tone="" if same else "good" if pair.ratio > 1 else "bad",
        drawing=bar(before, after, max(before, after)),
    )


def settings(run: Run) -> tuple[Setting, ...]:
    """Return every setting at which a latency was taken, small batches first."""
    found = {latency.setting for stage in run.stages for latency in stage.latencies}
    return tuple(sorted(found, key=lambda setting: (setting[1], setting[2], setting[0])))


def stage_table(run: Run) -> StageTable:
    """Set out every stage in a row; a figure that no stage has gets no column."""
    base = next((stage for stage in run.stages if stage.name == "baseline"), None)
    columns: list[tuple[str, Callable[[Stage], Cell]]] = [
        ("Accuracy", lambda stage: _metric(stage, "accuracy", units.percent)),
        ("Change, points", lambda stage: Cell(_points(base, stage))),
        ("Macro\u00a0F1", lambda stage: _metric(stage, "macro_f1", units.percent)),
        ("R²", lambda stage: _metric(stage, "r2", units.figure)),
        ("MAE", lambda stage: _metric(stage, "mae", units.figure)),
        ("RMSE", lambda stage: _metric(stage, "rmse", units.figure)),
        ("Parameters", lambda stage: Cell(units.count(stage.parameters))),
        ("MACs", lambda stage: Cell(units.count(stage.macs))),
        ("Size", lambda stage: Cell(units.size(stage.bytes))),
        ("File", lambda stage: Cell(units.size(stage.file_bytes))),
    ]
    known = settings(run)
    for setting in known:
        columns.append((_setting_title(setting, known), _latency_cell(setting)))
    columns.append(("Took", lambda stage: Cell(units.seconds(stage.seconds))))
    made = [(title, [make(stage) for stage in run.stages]) for title, make in columns]
    filled = [
        (title, cells) for title, cells in made if any(cell.text != units.NOTHING for cell in cells)
    ]
    return StageTable(
        columns=tuple(title for title, _ in filled),
        rows=tuple(
            StageRow(
                label=stage.label,
                note=stage.note,
                final=place == len(run.stages) - 1 and place > 0,
                cells=tuple(cells[place] for _, cells in filled),
            )
            for place, stage in enumerate(run.stages)
        ),
    )


def _metric(stage: Stage, name: str, show: Callable[[float | None], str]) -> Cell:
    return Cell(show(getattr(stage.metrics, name, None)))


def _points(base: Stage | None, stage: Stage) -> str:
    before = base.metrics.accuracy if base and base.metrics else None
    after = stage.metrics.accuracy if stage.metrics else None
    if stage is base or before is None or after is None:
        return units.NOTHING
    return units.points(after - before)


def _latency_cell(setting: Setting) -> Callable[[Stage], Cell]:
    def make(stage: Stage) -> Cell:
        taken = next((one for one in stage.latencies if one.setting == setting), None)
        if taken is None:
            return Cell()
        small = f"p95 {units.ms(taken.p95_ms)}" if taken.p95_ms is not None else ""
        return Cell(units.ms(taken.median_ms), small)

    return make


def _setting_title(setting: Setting, among: Sequence[Setting]) -> str:
    runtime, batch, threads = setting
    title = f"Latency, batch {units.whole(batch)}"
    # The conditions are said once below the table unless they differ from column to column.
    if len({(one[0], one[2]) for one in among}) > 1:
        title += ", " + conditions(
            LatencyView(runtime=runtime, batch=batch, threads=threads, median_ms=1)
        )
    return title


def plots(run: Run, seen: Comparison) -> tuple[tuple[str, Markup], ...]:
    """Plot how good every stage is against what it costs: size, MACs, and each latency.

    Returns:
        The title and the drawing of each plot.
    """
    title = seen.quality[0]
    name = {"Accuracy": "accuracy", "R²": "r2", "MAE": "mae"}[title]
    axes: list[tuple[str, str, Callable[[Stage], float | None]]] = [
        ("size", "bytes", lambda stage: stage.bytes),
        ("MACs", "count", lambda stage: stage.macs),
    ]
    if all(stage.bytes is None for stage in run.stages):
        axes[0] = ("parameters", "count", lambda stage: stage.parameters)
    known = settings(run)
    for setting in known[:4]:
        words = _setting_title(setting, known)
        words = words[:1].lower() + words[1:]
        axes.append((words, "ms", _median_at(setting)))
    drawn = []
    for what, unit, cost_of in axes:
        points = _points_of(run.stages, name, cost_of)
        if len(points) < 2:
            continue
        divisor, unit_name, show = unit_of(unit, max(point.x for point in points))
        drawing = scatter(
            points,
            title=f"{title} against {what}",
            x_name=f"{what[:1].upper()}{what[1:]}" + (f" ({unit_name})" if unit_name else ""),
            x_text=show,
            y_text=units.percent if name == "accuracy" else units.figure,
            divisor=divisor,
            share=name == "accuracy",
            # A tenth of a point must not look like a cliff.
            least=0.0 if name == "mae" else 0.05,
        )
        drawn.append((f"{title} against {what}", drawing))
    return tuple(drawn)


_COSTS = {"macs": "MACs", "params": "parameters", "bytes": "bytes", "ratio": "units"}


def search_plot(run: Run) -> Markup | None:
    """Plot every budget that a search tried: how much was left, and how good that was."""
    met = [one for one in run.tried if one.value is not None]
    if len(met) < 2:
        return None
    cost = _COSTS.get(met[0].cost, met[0].cost)
    points = [
        Point(
            f"{one.share * 100:.3g} % of the {cost}{' (taken)' if one.chosen else ''}",
            one.share * 100,
            float(one.value or 0.0),
            "after" if one.chosen else "between",
        )
        for one in met
    ]
    share = all(0 <= point.y <= 1 for point in points)
    return scatter(
        points,
        title="What was tried",
        x_name=f"{cost[:1].upper()}{cost[1:]} left, %",
        x_text=lambda value: f"{value:.3g}{units.NO_BREAK}%",
        y_text=units.percent if share else units.figure,
        share=share,
        least=0.05,
        joined=False,
        named=False,
    )


def _median_at(setting: Setting) -> Callable[[Stage], float | None]:
    return lambda stage: next(
        (one.median_ms for one in stage.latencies if one.setting == setting), None
    )


def _points_of(
    stages: Sequence[Stage], name: str, cost_of: Callable[[Stage], float | None]
) -> list[Point]:
    found = []
    for place, stage in enumerate(stages):
        cost, good = cost_of(stage), getattr(stage.metrics, name, None)
        if cost is None or good is None:
            continue
        last = place == len(stages) - 1
        role: Role = "before" if stage.name == "baseline" else "after" if last else "between"
        found.append(Point(stage.label, float(cost), float(good), role))
    return found


def unit_of(unit: str, most: float) -> tuple[float, str, Callable[[float | None], str]]:
    """Return what values up to `most` are divided by, the unit then, and how one is written."""
    if unit == "ms":
        return 1.0, "ms", units.ms
    step, names = (
        (1024, ("bytes", "KiB", "MiB", "GiB")) if unit == "bytes" else (1000, ("", "k", "M", "G"))
    )
    power = 0
    while most >= step and power + 1 < len(names):
        most /= step
        power += 1
    return float(step**power), names[power], units.size if unit == "bytes" else units.count
