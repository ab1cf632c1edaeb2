"""`report_several`: runs side by side on one page that needs nothing beside it.

Times of different runs were taken at different moments, and are never set against each other: a
run's speed is told against its own baseline, which raced in the same minute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from secateur.errors import ArtifactError
from secateur.files import write_whole
from secateur.reporting import units
from secateur.reporting.overview import unit_of
from secateur.reporting.plots import Point, scatter
from secateur.reporting.record import FILE_NAME, Run
from secateur.reporting.rendering import digest, environment, file_text
from secateur.reporting.robust import surest_loss
from secateur.reporting.standings import Cell
from secateur.reporting.verdict import Comparison, compare

PAGE_NAME = "runs.html"


@dataclass(frozen=True)
class Entry:
    """A run under the name that the page gives it, and what came out of it."""

    name: str
    run: Run
    seen: Comparison


def report_several(folders: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write one page on several runs and return its path.

    Args:
        folders: the folders that `secateur run` wrote, or their `run.json`; two or more.
        out: the file to write, or a folder for `runs.html`; by default the current folder.

    Raises:
        ArtifactError: a folder holds no record of a run, or the runs predict different things.
        OutputError: the page cannot be written.
    """
    paths = [Path(folder) for folder in folders]
    made = entries(paths, [Run.load(path) for path in paths])
    target = Path() if out is None else Path(out)
    return write_whole(target / PAGE_NAME if target.is_dir() else target, render(made))


def entries(paths: Sequence[Path], runs: Sequence[Run]) -> tuple[Entry, ...]:
    """Give each run a name of its own, and check that they can stand side by side.

    Raises:
        ArtifactError: one predicts classes and another numbers.
    """
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        folders = [path.resolve() for path in paths]
        folders = [path.parent if path.name == FILE_NAME else path for path in folders]
        names = [path.name for path in folders]
        if len(set(names)) < len(names):
            names = [f"{path.parent.name}/{path.name}" for path in folders]
        names = [
            name if names.count(name) == 1 else f"{name} ({place})"
            for place, name in enumerate(names, start=1)
        ]
    made = tuple(Entry(name, run, compare(run)) for name, run in zip(names, runs, strict=True))
    titles = {one.seen.quality[0] for one in made if one.seen.metrics_before}
    if len(titles) > 1:
        raise ArtifactError(
            f"the runs are judged by different figures: {', '.join(sorted(titles))}.",
            where=", ".join(map(str, paths)),
            mend="Compare runs of one task.",
        )
    return made


def render(made: Sequence[Entry]) -> str:
    """Return the whole page as text."""
    script = file_text("common.js")
    columns, rows = table(made)
    return (
        environment()
        .get_template("runs.html.j2")
        .render(
            headline=headline(made),
            remarks=remarks(made),
            plots=plots(made),
            columns=columns,
            rows=rows,
            entries=made,
            version=made[0].run.secateur,
            style=Markup(file_text("report.css") + file_text("compare.css")),
            script=Markup(script),
            script_hash=digest(script),
        )
    )


def headline(made: Sequence[Entry]) -> str:
    """Say in one sentence which run is best, and which is fastest."""
    title = made[0].seen.quality[0]
    good = [(one.seen.quality[1].after, one.name) for one in made]
    known = [(value, name) for value, name in good if value is not None]
    if not known:
        return f"{units.plural(len(made), 'run')}, none of them measured"
    value, best = min(known) if title == "MAE" else max(known, key=lambda one: one[0])
    show = units.percent if title == "Accuracy" else units.figure
    said = f"{best} is best ({title.lower() if title == 'Accuracy' else title} {show(value)})"
    speeds = [(speed, one.name) for one in made if (speed := _speed(one)) is not None]
    if not speeds:
        return said
    times, fastest = max(speeds, key=lambda one: one[0])
    fast = f"{units.ratio(times).removesuffix('×')} times as fast as its baseline"
    if fastest == best:
        return f"{best} is best ({show(value)}) and gained most speed: it is {fast}"
    return f"{said}; {fastest} gained most speed, and is {fast}"


def remarks(made: Sequence[Entry]) -> tuple[str, ...]:
    """Return what keeps the runs from being compared straight."""
    found = []
    rows = {one.run.data.rows.get("test") for one in made if one.run.data}
    sources = {one.run.data.source for one in made if one.run.data}
    classes = {one.run.data.classes for one in made if one.run.data}
    if len(rows) > 1 or len(classes) > 1 or len(sources) > 1:
        found.append(
            "The runs were not measured on the same data: their qualities do not tell which model "
            "is better."
        )
    if len({one.run.environment.get("Processor") for one in made}) > 1:
        found.append("The runs were measured on different machines.")
    settings = {tuple(after.setting for _, after in one.seen.latencies) for one in made}
    if len(settings) > 1:
        found.append("The runs took times at different batch sizes or numbers of threads.")
    bases = [one.seen.quality[1].before for one in made]
    known = [value for value in bases if value is not None]
    if known and made[0].seen.quality[0] == "Accuracy" and max(known) - min(known) > 0.01:
        found.append(
            "The baselines differ by more than a point: a change is against a run's own baseline."
        )
    return tuple(found)


def table(
    made: Sequence[Entry],
) -> tuple[tuple[tuple[str, bool], ...], tuple[tuple[str, str, tuple[Cell, ...]], ...]]:
    """Set out every run in a row: its columns (title, more is better), and name, note and cells."""
    title = made[0].seen.quality[0]
    share = title == "Accuracy"
    show = units.percent if share else units.figure
    columns: list[tuple[str, bool, Callable[[Entry], Cell]]] = [
        (title, title != "MAE", lambda one: _cell(one.seen.quality[1].after, show)),
        (
            "Change, points" if share else "Change",
            title != "MAE",
            lambda one: _cell(one.seen.quality[1].change, units.points if share else units.change),
        ),
        ("Size", False, lambda one: _cell(one.seen.bytes.after, units.size)),
        ("Parameters", False, lambda one: _cell(one.seen.parameters.after, units.count)),
        ("MACs", False, lambda one: _cell(one.seen.macs.after, units.count)),
    ]
    settings = dict.fromkeys(after.setting for one in made for _, after in one.seen.latencies)
    for setting in settings:
        columns.append((f"Batch {units.whole(setting[1])}", True, _speed_at(setting)))
    columns += [
        ("Surest loss of a class or group", True, _worst),
        ("Calibration error", False, _calibration),
        ("Took", False, lambda one: _cell(one.run.seconds, units.seconds)),
    ]
    filled = [(name, more, [make(one) for one in made]) for name, more, make in columns]
    filled = [one for one in filled if any(cell.text != units.NOTHING for cell in one[2])]
    rows = tuple(
        (one.name, _asked(one.run), tuple(cells[place] for _, _, cells in filled))
        for place, one in enumerate(made)
    )
    return tuple((name, more) for name, more, _ in filled), rows


def plots(made: Sequence[Entry]) -> tuple[tuple[str, Markup], ...]:
    """Plot every stage of every run: how good it is against its MACs and its size."""
    title = made[0].seen.quality[0]
    name = {"Accuracy": "accuracy", "R²": "r2", "MAE": "mae"}[title]
    drawn = []
    for what, unit, field in (("MACs", "count", "macs"), ("size", "bytes", "bytes")):
        points = []
        for one in made:
            stages = [s for s in one.run.stages if getattr(s.metrics, name, None) is not None]
            # What is left right after the cut says nothing of the model that came of it, and so
            # far down that all else would lie on one line.
            stages = [s for s in stages if s.name not in ("cut", "rewound") or s is stages[-1]]
            costed = [s for s in stages if getattr(s, field) is not None]
            for stage in costed:
                last = stage is costed[-1] and len(costed) > 1
                role = "before" if stage.name == "baseline" else "after" if last else "between"
                label = one.name if last else f"{one.name}, {stage.label.lower()}"
                x, y = float(getattr(stage, field)), float(getattr(stage.metrics, name))
                points.append(Point(label, x, y, role))
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
            least=0.0 if name == "mae" else 0.05,
            joined=False,
        )
        drawn.append((f"{title} against {what}", drawing))
    return tuple(drawn)


def _cell(value: float | None, show: Callable[..., str], small: str = "") -> Cell:
    return Cell() if value is None else Cell(show(value), small, float(value))


def _speed(one: Entry) -> float | None:
    found = [b.median_ms / a.median_ms for b, a in one.seen.latencies if a.median_ms]
    return max(found, default=None)


def _speed_at(setting: tuple[str, int, int]) -> Callable[[Entry], Cell]:
    def make(one: Entry) -> Cell:
        for before, after in one.seen.latencies:
            if after.setting == setting and after.median_ms:
                times = before.median_ms / after.median_ms
                return Cell(f"{times:.2f}×", units.ms(after.median_ms), times)
        return Cell()

    return make


def _worst(one: Entry) -> Cell:
    found = one.run.robustness
    if found is None or one.seen.regression:
        return Cell()
    lost = surest_loss(found, errors=False)
    if lost is None or lost.before is None or lost.after is None:
        return Cell("none", "", 0.0)
    change = lost.after - lost.before
    return Cell(units.points(change), lost.name, change)


def _calibration(one: Entry) -> Cell:
    found = one.run.robustness
    if found is None or found.calibration is None:
        return Cell()
    before, after = found.calibration
    was = f"was {units.percent(before.error)}" if before.error is not None else ""
    return _cell(after.error, units.percent, was)


def _asked(run: Run) -> str:
    return "; ".join(f"{key}: {value}" for key, value in list(run.asked.items())[:3])
