"""`secateur init`: a commented recipe for the data that is there."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateur.cli import out as sink
from secateur.cli.labelled import Header
from secateur.errors import OutputError

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset

_RARE = 0.5


def init(
    data: Annotated[
        str,
        typer.Argument(
            help="A CSV, Parquet or Arrow file, or a folder of such files or of class folders.",
            metavar="DATA",
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option("--target", help="The column to predict; for class folders it is the folder."),
    ] = None,
    above: Annotated[
        float | None,
        typer.Option("--above", help="Make two classes of a number: up to this, and above it."),
    ] = None,
    header: Header = True,
    out: Annotated[Path, typer.Option("--out", help="The recipe to write.", metavar="FILE")] = Path(
        "recipe.yaml"
    ),
    force: Annotated[bool, typer.Option("--force", help="Replace a recipe that is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was seen as JSON.")] = False,
) -> None:
    """Look at data and write a recipe for it, with a comment on every choice."""
    if out.exists() and not force:
        raise OutputError(
            "the file exists already.", where=out, mend="Replace it with --force, or use --out."
        )
    with sink.waiting("reading"):
        from secateur.data.read import read
        from secateur.files import write_whole

        dataset = read(data, target=target, above=above, header=header)
        text = recipe_for(dataset, data, out, target, above)
        write_whole(out, text)
    if json:
        from secateur.cli.told import InitTold

        sink.as_json(
            InitTold(
                recipe=str(out),
                kind=dataset.contract.kind,
                rows=dataset.rows,
                classes=dataset.train.class_counts(),
                notes=tuple(dataset.notes),
            )
        )
        return
    for line in _seen(dataset):
        sink.say(line)
    sink.result(f"wrote {out}; read it, then: secateur run {out}")


def recipe_for(
    data: Dataset, source: str, out: Path, target: str | None, above: float | None
) -> str:
    """Return the text of a recipe for a data set."""
    from secateur.data.places import absolute, is_remote

    contract = data.contract
    whole = absolute(source)
    name = _word(PurePosixPath(whole).stem) or "model"
    place = whole if is_remote(source) else os.path.relpath(whole, out.resolve().parent)
    relative = "" if is_remote(source) else "    # relative to this file"
    lines = [
        f"# What `secateur run {out.name}` does. Every value can be changed here, or for one run",
        "# with --set, as in --set train.epochs=2.",
        f"name: {_quoted(name)}",
        "",
        "data:",
        f"  source: {_quoted(place)}{relative}",
    ]
    if contract.kind == "image":
        lines += _image_lines(data)
    else:
        lines += _table_lines(data, target, above)
    lines += [
        "  split: [0.6, 0.2, 0.2]    # to train, to validate, to test; always the same rows",
        "  # group: person           # no person (recording, patient, ...) in two splits",
        "",
        "model:",
        "  build: default            # or `load: model.keras`, or `build: package.module:function`",
        "",
        "train:",
        *_train_lines(data),
        "",
        "steps:",
        "  - prune:",
        "      macs: 0.5             # at most half of the multiply-accumulates is left",
        "      by: taylor            # or l2, l1, lamp, bn_scale, fpgm, random",
        *(["      round_to: 8           # widths that runtimes compute fast"]),
        "  - finetune:",
        *_tune_lines(data),
        "",
        "measure:",
        "  batches: [1, 32]          # rows a call, timed in ONNX Runtime, before against after",
        "  threads: 1",
        "  # groups: [column]       # the report then says what changed for which of its values",
        "",
        "seed: 0",
    ]
    return "\n".join(lines) + "\n"


def _image_lines(data: Dataset) -> list[str]:
    spec = data.contract.image
    assert spec is not None
    size = f"[{spec.height}, {spec.width}]"
    return [
        f"  image_size: {size:<13} # height and width that photos are brought to",
        f"  mode: {spec.mode:<19} # RGB or L (gray)",
        f"  resize: {spec.resize:<17} # stretch, fit (black borders) or crop",
    ]


def _table_lines(data: Dataset, target: str | None, above: float | None) -> list[str]:
    lines = [f"  target: {_quoted(target or '')}"]
    if above is not None:
        lines.append(f"  above: {above:g}                # two classes: up to this, and above it")
    if not data.contract.header:
        lines.append("  header: false             # columns are named by their place: 0, 1, ...")
    columns = [column.name for column in data.contract.columns]
    lines += [
        "  # The model sees these columns. Ignore what is not known yet when it has to predict:",
        *_wrapped(columns),
        "  ignore: []",
        "  keys: []                  # carried over to the scores, not seen by the model",
    ]
    return lines


def _train_lines(data: Dataset) -> list[str]:
    large = data.train.rows > 50_000
    lines = [
        f"  epochs: {10 if large else 30}                # at most; the best one is kept",
        "  learning_rate: 0.001",
        f"  patience: {3 if large else 10:<15} # stop after so many epochs without a better one",
    ]
    if data.contract.kind == "image":
        lines.append(
            "  augment: {flip: false, rotate: 0.05, shift: 0.08, zoom: 0.1, contrast: 0.1}"
        )
    counts = list(data.train.class_counts().values())
    if counts:
        rare = min(counts) < _RARE * max(counts)
        told = "true" if rare else "false"
        lines.append(f"  class_weights: {told:<10} # weigh classes alike, however rare they are")
    return lines


def _tune_lines(data: Dataset) -> list[str]:
    large = data.train.rows > 50_000
    lines = [
        f"      epochs: {5 if large else 15}",
        "      learning_rate: 0.0005",
    ]
    if data.contract.kind == "image":
        lines.append("      augment: true         # as `augmentation` has it by default")
    counts = list(data.train.class_counts().values())
    if counts and min(counts) < _RARE * max(counts):
        lines.append("      class_weights: true")
    return lines


def _seen(data: Dataset) -> list[str]:
    contract = data.contract
    lines = [f"{data.rows:,} rows of {_KINDS.get(contract.kind, contract.kind)}"]
    counts = data.train.class_counts()
    if counts:
        most = sorted(counts.items(), key=lambda each: -each[1])
        told = ", ".join(f"{name} ({count:,})" for name, count in most[:8])
        more = f" and {len(most) - 8} more" if len(most) > 8 else ""
        lines.append(f"{len(counts)} classes, with rows to train on: {told}{more}")
    return [*lines, *data.notes]


_KINDS = {"image": "images", "table": "a table", "sequence": "sequences"}


def _wrapped(names: list[str], width: int = 92) -> list[str]:
    lines, line = [], "  #  "
    for name in names:
        if len(line) + len(name) > width:
            lines.append(line.rstrip())
            line = "  #  "
        line += f" {name},"
    return [*lines, line.rstrip(", ")]


def _word(text: str) -> str:
    return "".join(each if each.isalnum() or each in "-_" else "-" for each in text).strip("-")


def _quoted(value: Any) -> str:
    """Return a string as YAML has it, with quotes only where they are needed."""
    import yaml

    return yaml.safe_dump(value, allow_unicode=True, width=10_000).removesuffix("\n...\n").strip()
