"""What the model gets wrong, before and after: confusion, classes, single samples.

The page stays light and readable from 2 to 1,000 classes: few classes are a table with counts,
many a heat map, very many a list of what is confused most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from secateur.reporting import units
from secateur.reporting.bars import dumbbell, heat_map, shade
from secateur.reporting.record import Guess, MetricsView, Run, Sample
from secateur.reporting.verdict import Comparison

_TABLE_UP_TO = 16
_MAP_UP_TO = 150
_CLASSES_SHOWN = 200
_SAMPLES_SHOWN = 24
_IMAGE_BYTES = 800_000
_FIELDS_OPEN = 6

Counts = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class HeatCell:
    """One cell of a small matrix: its count and the class of its shade."""

    text: str
    shade: str
    words: str


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix, as a table (`rows`) or as a drawing."""

    key: str
    title: str
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...] = ()
    drawing: Markup | None = None
    cells: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class Confused:
    """One pair of classes that the model takes for each other."""

    true: str
    taken_for: str
    before: str
    after: str


@dataclass(frozen=True)
class ClassRow:
    """One class: how many rows it has and what share of them is found, before and after."""

    name: str
    rows: str
    before: str
    after: str
    change: str
    drawing: Markup


@dataclass(frozen=True)
class Said:
    """What one model said of one sample."""

    label: str
    sure: str
    right: bool | None


@dataclass(frozen=True)
class Card:
    """One sample with what was said of it."""

    title: str
    truth: str
    image: str | None
    fields: tuple[tuple[str, str], ...]
    more_fields: tuple[tuple[str, str], ...]
    before: Said | None
    after: Said | None


@dataclass(frozen=True)
class Mistakes:
    """All that the section on mistakes shows."""

    names: tuple[str, ...]
    matrices: tuple[Matrix, ...]
    confused: tuple[Confused, ...]
    classes: tuple[ClassRow, ...]
    classes_left_out: int


def mistakes(run: Run, seen: Comparison) -> Mistakes:
    """Set out what is confused with what, and how each class fares."""
    before, after = _confusion(seen.metrics_before), _confusion(seen.metrics_after)
    many = max((len(counts) for counts in (before, after) if counts), default=0)
    names = _names(run, seen, many)
    matrices = []
    for key, title, counts in (("before", "Before", before), ("after", "After", after)):
        if counts and len(counts) <= _TABLE_UP_TO:
            matrices.append(Matrix(key, title, rows=_heat_rows(counts, names)))
        elif counts and len(counts) <= _MAP_UP_TO:
            drawing = heat_map(counts, names, title=f"Confusion matrix, {title.lower()}")
            matrices.append(Matrix(key, title, drawing=drawing, cells=_filled(counts)))
    # Where the run looked closer, the classes stand among what changed for whom.
    looked = run.robustness is not None and run.robustness.classes
    classes = () if looked else _class_rows(seen, before or after, names)
    return Mistakes(
        names=names,
        matrices=tuple(matrices),
        confused=_confused(before, after, names),
        classes=classes[:_CLASSES_SHOWN],
        classes_left_out=max(0, len(classes) - _CLASSES_SHOWN),
    )


def _confusion(metrics: MetricsView | None) -> Counts | None:
    counts = metrics.confusion if metrics else None
    square = counts is not None and all(len(row) == len(counts) for row in counts)
    return counts if square else None


def _names(run: Run, seen: Comparison, many: int) -> tuple[str, ...]:
    """Return a name for each class of the matrices, and numbers where none are known."""
    known = [run.data.classes] if run.data else []
    for metrics in (seen.metrics_before, seen.metrics_after):
        known.append(tuple(metrics.per_class or ()) if metrics else ())
    numbers = tuple(str(number) for number in range(many))
    return next((names for names in known if names and len(names) == many), numbers)


def _heat_rows(
    counts: Counts, names: Sequence[str]
) -> tuple[tuple[str, tuple[HeatCell, ...]], ...]:
    rows = []
    for true, row in enumerate(counts):
        total = sum(row) or 1
        cells = tuple(
            HeatCell(
                text=units.whole(number) if number else "",
                shade=shade(number / total, right=true == said),
                words=f"{names[true]} taken for {names[said]}: {units.whole(number)}",
            )
            for said, number in enumerate(row)
        )
        rows.append((names[true], cells))
    return tuple(rows)


def _filled(counts: Counts) -> tuple[tuple[int, int, int], ...]:
    return tuple(
        (true, said, number)
        for true, row in enumerate(counts)
        for said, number in enumerate(row)
        if number
    )


def _confused(
    before: Counts | None, after: Counts | None, names: Sequence[str], most: int = 8
) -> tuple[Confused, ...]:
    leading = after or before
    if leading is None:
        return ()
    pairs = [(number, true, said) for true, said, number in _filled(leading) if true != said]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    same = before is not None and after is not None and len(before) == len(after)
    return tuple(
        Confused(
            names[true],
            names[said],
            units.whole(before[true][said]) if before and same else units.NOTHING,
            units.whole(number) if after else units.NOTHING,
        )
        for number, true, said in pairs[:most]
    )


def _class_rows(
    seen: Comparison, counts: Counts | None, names: Sequence[str]
) -> tuple[ClassRow, ...]:
    before, after = _recalls(seen.metrics_before, names), _recalls(seen.metrics_after, names)
    support = {name: sum(row) for name, row in zip(names, counts or (), strict=False)}
    found = list(dict.fromkeys([*before, *after]))
    known = [value for value in (*before.values(), *after.values()) if value is not None]
    low = min(0.9, int(min(known, default=0.0) * 10) / 10)

    def change(name: str) -> float:
        was, now = before.get(name), after.get(name)
        return 0.0 if was is None or now is None else now - was

    # Those who pay for the saving come first.
    found.sort(key=lambda name: (round(change(name), 6), after.get(name) or before.get(name) or 0))
    return tuple(
        ClassRow(
            name=name,
            rows=units.whole(support.get(name)),
            before=units.percent(before.get(name)),
            after=units.percent(after.get(name)),
            change=units.points(change(name)) if name in before and name in after else "",
            drawing=dumbbell(before.get(name), after.get(name), low),
        )
        for name in found
    )


def _recalls(metrics: MetricsView | None, names: Sequence[str]) -> dict[str, float | None]:
    if metrics is None:
        return {}
    if metrics.per_class is not None:
        return dict(metrics.per_class)
    counts = _confusion(metrics)
    if counts is None or len(counts) != len(names):
        return {}
    return {
        name: row[place] / sum(row) if sum(row) else None
        for place, (name, row) in enumerate(zip(names, counts, strict=True))
    }


def cards(run: Run) -> tuple[Card, ...]:
    """Set out the samples; past a count or a weight of pictures the rest is left out."""
    judged = not any(stage.metrics and stage.metrics.task == "regression" for stage in run.stages)
    shown, weight = [], 0
    for sample in run.samples[:_SAMPLES_SHOWN]:
        weight += len(sample.image or "")
        image = sample.image if weight <= _IMAGE_BYTES else None
        fields = tuple((sample.fields or {}).items())
        shown.append(
            Card(
                title=sample.title,
                truth=sample.truth,
                image=image,
                fields=fields[:_FIELDS_OPEN],
                more_fields=fields[_FIELDS_OPEN:],
                before=_said(sample, sample.before, judged),
                after=_said(sample, sample.after, judged),
            )
        )
    return tuple(shown)


def _said(sample: Sample, guess: Guess | None, judged: bool) -> Said | None:
    if guess is None:
        return None
    right = guess.label == sample.truth if judged else None
    sure = units.percent(guess.probability) if guess.probability is not None else ""
    return Said(guess.label, sure, right)
