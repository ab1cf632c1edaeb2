"""What was done to the model: layers, groups of units, trainings, as the page lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from secateur.reporting import units
from secateur.reporting.bars import bar
from secateur.reporting.plots import lines
from secateur.reporting.record import Curve, GroupCut, LayerWidth

_NAMED = 4


@dataclass(frozen=True)
class LayerRow:
    """One layer: its width before and after, and what share of its parameters went."""

    layer: str
    kind: str
    widths: str
    drawing: Markup
    parameters: str
    change: str


@dataclass(frozen=True)
class GroupRow:
    """One group of units that was cut or left: where it lives, how much went, and why."""

    name: str
    kind: str
    members: str
    more_members: str
    kept: str
    removed: str
    drawing: Markup
    why: str


@dataclass(frozen=True)
class Training:
    """The curves of one training."""

    title: str
    epochs: int
    drawings: tuple[tuple[str, Markup], ...]


def layer_rows(layers: Sequence[LayerWidth]) -> tuple[LayerRow, ...]:
    """Set out every layer, input to output; a bar is full where a layer kept all its width."""
    return tuple(
        LayerRow(
            layer=layer.layer,
            kind=layer.kind,
            widths=_from_to(layer.before, layer.after),
            drawing=bar(layer.before, layer.after, max(layer.before, layer.after)),
            parameters=_from_to(layer.parameters_before, layer.parameters_after, units.count),
            change=_change(layer.parameters_before, layer.parameters_after),
        )
        for layer in layers
    )


def group_rows(groups: Sequence[GroupCut]) -> tuple[tuple[GroupRow, ...], tuple[GroupRow, ...]]:
    """Set out the groups that lost units, those that lost most first, and those that lost none."""
    cut = sorted((group for group in groups if group.removed), key=lambda one: -one.removed)
    left = [group for group in groups if not group.removed]
    return tuple(map(_group_row, cut)), tuple(map(_group_row, left))


def _group_row(group: GroupCut) -> GroupRow:
    kept = group.units - group.removed
    share = units.percent(group.removed / group.units) if group.units else units.NOTHING
    return GroupRow(
        name=group.name,
        kind=group.kind,
        members=", ".join(group.members[:_NAMED]),
        more_members=", ".join(group.members[_NAMED:]),
        kept=f"{units.whole(kept)} of {units.whole(group.units)}",
        removed=share if group.removed else units.NOTHING,
        drawing=bar(group.units, kept, group.units),
        why=group.why,
    )


def _from_to(before: int | None, after: int | None, show=units.whole) -> str:
    if before is None or after is None:
        return show(after if before is None else before)
    return show(before) if before == after else f"{show(before)} → {show(after)}"


def _change(before: int | None, after: int | None) -> str:
    if not before or after is None or before == after:
        return units.NOTHING
    share = units.percent(abs(after / before - 1))
    return f"−{share}" if after < before else f"+{share}"


def trainings(curves: Sequence[Curve]) -> tuple[Training, ...]:
    """Draw every training: the loss first, then what else was watched."""
    shown = []
    for curve in curves:
        bases = [name for name in curve.metrics if not name.startswith("val_")]
        bases += [
            name[4:] for name in curve.metrics if name.startswith("val_") and name[4:] not in bases
        ]
        bases = [name for name in bases if name not in ("lr", "learning_rate")]
        bases.sort(key=lambda name: name != "loss")
        drawings = []
        for name in bases[:4]:
            training, validation = curve.metrics.get(name, ()), curve.metrics.get(f"val_{name}", ())
            if not any(value is not None for value in (*training, *validation)):
                continue
            words = name.replace("_", " ")
            words = words[:1].upper() + words[1:]
            low_is_good = any(word in name for word in ("loss", "error", "mae", "mse", "mape"))
            drawing = lines(
                training,
                validation,
                title=f"{words} in training: {curve.stage}",
                higher_is_better=not low_is_good,
            )
            drawings.append((words, drawing))
        epochs = max((len(values) for values in curve.metrics.values()), default=0)
        if drawings:
            shown.append(
                Training(curve.stage[:1].upper() + curve.stage[1:], epochs, tuple(drawings))
            )
    return tuple(shown)
