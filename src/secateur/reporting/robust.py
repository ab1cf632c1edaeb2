"""What pruning changed for whom: classes, groups of rows, inputs of a bad day, confidence.

All functions here take the record of a run and return frozen values of text and drawings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from secateur.reporting import units
from secateur.reporting.bars import bar, dumbbell
from secateur.reporting.plots import BOTTOM, LEFT, RIGHT, TOP, frame
from secateur.reporting.record import CalibrationView, RobustnessView, Run, SliceView
from secateur.reporting.svg import picture, scale, tag

_SHOWN = 200
_NAMED = 5
_SIDE = 300.0


@dataclass(frozen=True)
class SliceRow:
    """Some rows of the test data, before and after; `between` bounds the change."""

    name: str
    rows: str
    before: str
    after: str
    change: str
    between: str
    flagged: bool
    drawing: Markup


@dataclass(frozen=True)
class SliceTable:
    """The slices of one kind, those that lost most first, or in their own order."""

    title: str
    about: str
    head: str
    rows: tuple[SliceRow, ...]
    left_out: int = 0


@dataclass(frozen=True)
class Confidence:
    """The calibration before and after, in figures and as a reliability diagram."""

    before: str
    after: str
    change: str
    drawing: Markup


@dataclass(frozen=True)
class Changed:
    """All that the section shows: one sentence, tables, and the calibration."""

    sentence: str
    tables: tuple[SliceTable, ...]
    errors: bool
    confidence: Confidence | None


def changed(run: Run) -> Changed | None:
    """Set out what changed for whom; None where the run did not look."""
    found = run.robustness
    if found is None or not (found.classes or found.groups or found.conditions):
        return None
    errors = _by_error(run)
    tables = []
    if found.classes:
        tables.append(
            _table(
                "Each class", "Share of each class that is found.", "Class", found.classes, errors
            )
        )
    for column, slices in found.groups.items():
        tables.append(_table(f"By {column}", "", column, slices, errors))
    if found.conditions:
        rows = units.plural(found.conditions[0].rows, "test row")
        about = f"The same {rows}, corrupted on purpose: both models get the same inputs."
        tables.append(
            _table("On a bad day", about, "Inputs", found.conditions, errors, ranked=False)
        )
    return Changed(
        sentence=_sentence(found, errors),
        tables=tuple(tables),
        errors=errors,
        confidence=_confidence(found.calibration),
    )


def losses(run: Run) -> tuple[str, ...]:
    """Return a warning for each class, group or condition that lost more than the margin."""
    found = run.robustness
    if found is None:
        return ()
    errors = _by_error(run)
    told = []
    parts = [("Class {}", found.classes)]
    parts += [(f"{column} {{}}", slices) for column, slices in found.groups.items()]
    parts += [("With {}", found.conditions)]
    for words, slices in parts:
        for each in slices:
            if each.flagged and each.before is not None and each.after is not None:
                name = (
                    each.name if words != "With {}" else f"{each.name[:1].lower()}{each.name[1:]}"
                )
                told.append(
                    f"{words.replace('{}', name)}: {_figure(each.before, errors)} before, "
                    f"{_figure(each.after, errors)} after, on "
                    f"{units.plural(each.rows, 'test row')}. That is more than the margin of "
                    f"{_margin(found, errors)}, and more than noise."
                )
    if len(told) > _NAMED:
        told[_NAMED:] = [f"{len(told) - _NAMED} more lost more than the margin: see below."]
    return tuple(told)


def _by_error(run: Run) -> bool:
    return any(stage.metrics and stage.metrics.task == "regression" for stage in run.stages)


def _sentence(found: RobustnessView, errors: bool) -> str:
    looked = [(units.plural(len(found.classes), "class", "classes"), found.classes)]
    looked += [
        (f"{units.plural(len(slices), 'group')} of {column}", slices)
        for column, slices in found.groups.items()
    ]
    kinds = units.plural(len(found.conditions), "kind of input", "kinds of input")
    looked.append((kinds, found.conditions))
    counted = [(words, sum(one.flagged for one in slices)) for words, slices in looked if slices]
    some = [f"{units.whole(count)} of {words}" for words, count in counted if count]
    none = [words for words, count in counted if not count]
    margin = f"{_margin(found, errors)} beyond noise"
    if not some:
        sentence = f"None of {_listed(none)} loses more than {margin}."
    else:
        sentence = f"More than {margin} are lost by {_listed(some)}"
        sentence += f", by none of {_listed(none)}." if none else "."
    return f"{sentence} {_worst(found, errors)}".strip()


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def surest_loss(found: RobustnessView, errors: bool) -> SliceView | None:
    """Return the class or group with the largest loss of those whose interval is all loss.

    Of many small groups one always seems to lose a lot.
    """
    every = (*found.classes, *(one for slices in found.groups.values() for one in slices))
    bounds = [(one.low if errors else one.high, one) for one in every]
    sure = [one for bound, one in bounds if bound is not None and (bound > 0) == errors and bound]
    return min(sure, key=lambda one: _gain(one, errors)) if sure else None


def _worst(found: RobustnessView, errors: bool) -> str:
    kinds = [name for name, have in (("class", found.classes), ("group", found.groups)) if have]
    if not kinds:
        return ""
    among = " or ".join(kinds)
    lost = surest_loss(found, errors)
    if lost is None:
        return f"No {among} loses anything that could not be chance."
    change = f"{_change(lost, errors)} ({_between(lost, errors)})"
    return f"The {among} that surely loses most is {lost.name}: {change}."


def _gain(one: SliceView, errors: bool) -> float:
    change = (one.after or 0.0) - (one.before or 0.0)
    return -change if errors else change


def _margin(found: RobustnessView, errors: bool) -> str:
    return f"{found.margin:g}{units.NO_BREAK}{'% of the error' if errors else 'points'}"


def _table(
    title: str,
    about: str,
    head: str,
    slices: Sequence[SliceView],
    errors: bool,
    *,
    ranked: bool = True,
) -> SliceTable:
    known = [v for one in slices for v in (one.before, one.after) if v is not None]
    low = min(0.9, int(min(known, default=0.0) * 10) / 10)
    most = max(known, default=1.0)
    order = sorted(slices, key=lambda one: _gain(one, errors)) if ranked else list(slices)
    rows = tuple(
        SliceRow(
            name=one.name,
            rows=units.whole(one.rows),
            before=_figure(one.before, errors),
            after=_figure(one.after, errors),
            change=_change(one, errors, bare=True),
            between=_between(one, errors),
            flagged=one.flagged,
            drawing=bar(one.before or 0, one.after or 0, most)
            if errors
            else dumbbell(one.before, one.after, low),
        )
        for one in order[:_SHOWN]
    )
    return SliceTable(title, about, head, rows, max(0, len(order) - _SHOWN))


def _figure(value: float | None, errors: bool) -> str:
    return units.figure(value) if errors else units.percent(value)


def _change(one: SliceView, errors: bool, *, bare: bool = False) -> str:
    if one.before is None or one.after is None:
        return units.NOTHING
    change = one.after - one.before
    if errors:
        return f"{units.change(change)}" if bare else f"{units.change(change)} of error"
    return units.points(change) if bare else f"{units.points(change)}{units.NO_BREAK}points"


def _between(one: SliceView, errors: bool) -> str:
    if one.low is None or one.high is None:
        return ""
    show = units.change if errors else units.points
    return f"{show(one.low)} to {show(one.high)}"


def _confidence(found: tuple[CalibrationView, CalibrationView] | None) -> Confidence | None:
    if found is None or any(one.error is None for one in found):
        return None
    before, after = (one.error or 0.0 for one in found)
    return Confidence(
        before=units.percent(before),
        after=units.percent(after),
        change=units.points(after - before),
        drawing=_reliability(*found),
    )


def _reliability(before: CalibrationView, after: CalibrationView) -> Markup:
    width, height = _SIDE + LEFT, _SIDE
    x_of = scale([0.0, 100.0], LEFT + 6, width - RIGHT - 8)
    y_of = scale([0.0, 1.0], height - BOTTOM, TOP, within=(0.0, 1.0))
    drawn = frame(x_of, y_of, width, height, "How sure the model is, %", True)
    drawn.append(tag("line", x1=x_of(0), y1=y_of(0), x2=x_of(100), y2=y_of(1), class_="level"))
    words = []
    # The area of a dot is the share of the rows: a far dot of three rows is no alarm.
    for name, kind, found in (("before", "training", before), ("after", "validation", after)):
        total = sum(one.rows for one in found.bins) or 1
        places = [(x_of(100 * one.confidence), y_of(one.accuracy)) for one in found.bins]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(tag("polyline", points=path, class_=f"curve {kind}"))
        for one, (x, y) in zip(found.bins, places, strict=True):
            said = (
                f"{units.plural(one.rows, 'row')}, {units.percent(one.confidence)} sure, "
                f"{units.percent(one.accuracy)} right {name}"
            )
            radius = 2.0 + 7.0 * (one.rows / total) ** 0.5
            drawn.append(
                tag("g", tag("title", said), tag("circle", cx=x, cy=y, r=radius, class_=kind))
            )
        words.append(f"{name}: off by {units.percent(found.error)} on average")
    return picture(
        drawn,
        width=width,
        height=height,
        title="How often the model is right when it is so sure",
        description="; ".join(words),
    )
